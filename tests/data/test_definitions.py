"""One file's documented definitions are found by name and line, and split into query and text."""

from textwrap import dedent

import pytest

from nestvec.data.definitions import read_definitions


def read(source, module="m"):
    return read_definitions(dedent(source).encode(), module)


def one(docstring, head="def f():"):
    [definition] = read(f"{head}\n    {docstring!r}\n")
    return definition


def test_modules_classes_methods_and_functions_are_named_and_placed():
    source = '''\
        """Of the module."""
        import nothing_that_exists
        @decorator
        class A(Base, list[int]):
            """Of the class."""
            async def method(self, x: int = 3, *rest, key=None) -> str:
                """Of the method."""
                def inner():
                    """Nobody can call it by name."""
            def undocumented(self): ...
        if True:
            def f(): "Under if."
        else:
            def g(): "Under else."
        try:
            def h(): "Under try."
        except ImportError:
            def i(): "Under except."
        '''
    found = [(name, line, text) for name, line, _, text in read(source)]
    method = "def method(self, x: int=3, *rest, key=None) -> str\nOf the method."
    assert found == [
        ("m", 1, "Of the module."),
        ("m.A", 4, "class A(Base, list[int])\nOf the class."),
        ("m.A.method", 6, method),
        ("m.f", 12, "def f()\nUnder if."),
        ("m.g", 14, "def g()\nUnder else."),
        ("m.h", 16, "def h()\nUnder try."),
        ("m.i", 18, "def i()\nUnder except."),
    ]


def test_the_first_paragraph_is_the_question_and_leaves_the_text():
    definition = one("Read a table\n    from disk.\n\n    Slowly,  but\n    well.\n\n    The end.")
    assert definition.question == "Read a table from disk."
    assert definition.text == "def f()\nSlowly, but well.\nThe end."


def test_a_docstring_of_one_paragraph_is_text_without_a_question():
    assert one("Read a table from disk.")[2:] == ("", "def f()\nRead a table from disk.")


@pytest.mark.parametrize(
    "first",
    [
        "Read it.",
        "x = 1 + 2",
        "word " * 61,
        "Parameters\n----------\nx : the thing to read",
        "Args: path is what to read",
        ":param path: what to read",
        "fill(value, axis=None) fills the array",
        "Do this >>> f(1)",
        "A title of words\n~~~~~~~~~~~~~~~~",
        "Copyright 2020 by the authors",
    ],
)
def test_what_nobody_would_ask_stays_in_the_text(first):
    definition = one(f"{first}\n\nMore of it.")
    assert definition.question == ""
    assert definition.text == f"def f()\n{' '.join(first.split())}\nMore of it."


def test_long_texts_are_truncated():
    assert len(one("Read a table.\n\n" + "long " * 10_000).text) == 2_000


def test_half_a_surrogate_pair_becomes_text_that_can_be_written():
    assert one("Read \ud800 it.").text.encode() == b"def f()\nRead ? it."


@pytest.mark.parametrize("source", [b"def f(:", b"\xff\xfe", b"x = 1\0", b"# coding: nonsense\n"])
def test_what_python_cannot_parse_raises(source):
    with pytest.raises((SyntaxError, ValueError)):
        read_definitions(source, "m")
