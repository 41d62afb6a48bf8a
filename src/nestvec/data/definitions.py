"""Read the documented definitions of a Python file with ``ast``, without importing it.

Definitions are modules, classes, functions and methods with a docstring. Functions inside
functions are skipped. White space in docstrings is collapsed.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import NamedTuple

_MAX_CHARACTERS = 2_000
"""Longest text of a definition. Some docstrings have 100,000 characters and would match every
query; models read only the first few hundred tokens of a text."""

_MIN_WORDS, _MAX_WORDS = 3, 60
_WORD = re.compile(r"[^\W\d_]{2,}")
_NO_QUESTION = re.compile(
    r"""
      ^\W*(args?|arguments|parameters?|attributes|returns?|yields|raises|notes?|examples?|todo)\b
          \s*(:|-{2,}|={2,})                   # a section heading
    | ^[:@]\s?\w+                              # a field such as ":param x:" or "@return"
    | ^[\w.]+\([^)]*\)                         # a signature, as in docstrings of C extensions
    | >>> | -{4,} | ={4,} | ~{4,} | ^\.\.\s            # doctests, tables, directives
    | copyright | licen[cs]e | auto-?generated | do\snot\sedit
    """,
    re.VERBOSE | re.IGNORECASE,
)
_PARAGRAPH = re.compile(r"\n\s*\n")

Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


class Definition(NamedTuple):
    """A documented module, class or function.

    Attributes:
        name: Dotted name, such as ``csv.DictReader.fieldnames``.
        line: Line of the definition, from 1.
        question: First paragraph of the docstring, if it is a sentence and other paragraphs
            follow; else empty.
        text: Signature and the docstring without the question.
    """

    name: str
    line: int
    question: str
    text: str


def read_definitions(source: bytes, module: str) -> list[Definition]:
    """Return the documented definitions of a file, in line order.

    Args:
        source: Content of the file.
        module: Dotted name of the module.

    Raises:
        SyntaxError, ValueError, RecursionError, MemoryError: If Python cannot parse it.
    """
    tree = ast.parse(source)
    return [
        _define(node, name, docstring)
        for node, name in _walk(tree, module)
        if (docstring := ast.get_docstring(node))
    ]


def _walk(node: Documented, name: str) -> Iterator[tuple[Documented, str]]:
    yield node, name
    if isinstance(node, ast.Module | ast.ClassDef):
        for child in _definitions_in(node.body):
            yield from _walk(child, f"{name}.{child.name}")


def _definitions_in(
    body: list[ast.stmt],
) -> Iterator[ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    # Visit statements only: ast.walk also visits every expression, which is as slow as parsing.
    for statement in body:
        if isinstance(statement, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield statement
        elif isinstance(statement, ast.If | ast.Try | ast.With):
            yield from _definitions_in(statement.body)
            yield from _definitions_in(getattr(statement, "orelse", []))
            for handler in getattr(statement, "handlers", []):
                yield from _definitions_in(handler.body)


def _define(node: Documented, name: str, docstring: str) -> Definition:
    paragraphs = [_fold(paragraph) for paragraph in _PARAGRAPH.split(docstring)]
    question = ""
    if len(paragraphs) > 1 and _is_question(paragraphs[0]):
        question = paragraphs.pop(0)
    text = "\n".join([*_signature(node), *paragraphs])
    return Definition(name, getattr(node, "lineno", 1), question, text[:_MAX_CHARACTERS])


def _is_question(text: str) -> bool:
    words = len(text.split())
    return (
        words <= _MAX_WORDS
        and len(_WORD.findall(text)) >= _MIN_WORDS
        and _NO_QUESTION.search(text) is None
    )


def _signature(node: Documented) -> Iterator[str]:
    if isinstance(node, ast.ClassDef):
        bases = ", ".join(ast.unparse(base) for base in node.bases)
        yield f"class {node.name}({bases})" if bases else f"class {node.name}"
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
        yield f"def {node.name}({ast.unparse(node.args)}){returns}"


def _fold(text: str) -> str:
    # A docstring can contain a lone surrogate, which UTF-8 cannot encode.
    return " ".join(text.encode("utf-8", "replace").decode("utf-8").split())
