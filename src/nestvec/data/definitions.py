"""What one Python file defines and documents, read by ``ast``: nothing is ever imported.

Modules, classes, functions and methods with a docstring. Left out: functions inside functions,
which nobody can call by name, and the docstring's layout, since it is read by models of words.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import NamedTuple

_MAX_CHARACTERS = 2_000
"""Of a definition's text. The longest docstrings run to 100,000 characters, which would make them
the best match for everything, and a model reads a few hundred tokens of a text in any case."""

_MIN_WORDS, _MAX_WORDS = 3, 60
_WORD = re.compile(r"[^\W\d_]{2,}")
_NO_QUESTION = re.compile(
    r"""
      ^\W*(args?|arguments|parameters?|attributes|returns?|yields|raises|notes?|examples?|todo)\b
          \s*(:|-{2,}|={2,})                   # the heading of a section
    | ^[:@]\s?\w+                              # a field: ":param x:", "@return"
    | ^[\w.]+\([^)]*\)                         # a signature, as C extensions have it
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
        name: Its dotted name, ``csv.DictReader.fieldnames``.
        line: Where it is defined, counted from 1.
        question: The docstring's first paragraph, where that is a sentence of some words and
            more paragraphs follow; else empty.
        text: Its signature and what the question leaves of the docstring.
    """

    name: str
    line: int
    question: str
    text: str


def read_definitions(source: bytes, module: str) -> list[Definition]:
    """List what a file documents, in the order of its lines.

    Args:
        source: The file's content.
        module: Its dotted name.

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
    # Statements only: ast.walk would visit every expression and take as long as the parser.
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
    # A docstring can hold half a surrogate pair, which no file of UTF-8 can.
    return " ".join(text.encode("utf-8", "replace").decode("utf-8").split())
