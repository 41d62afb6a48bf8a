"""Run the code blocks of README.md and docs/, page by page, in their order.

The Python blocks of a page share one namespace, and all its blocks share one empty working folder.
If a block names `nestvec-demo`, the folder has a copy of the output of the quick demo. A comment
`<!-- not run: why -->` before a block excludes the block. The output of commands is not compared
with the page: times and scores differ between machines.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from nestvec.train.config import FinetuneConfig, config_from_file

REPOSITORY = Path(__file__).parent.parent
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]

RUN = {"python", "console"}
SHOWN = {"text", "json", "jsonl", "tsv", "toml", "bash"}  # output, files, set-up of a machine

FENCE = re.compile(r"^( *)```([^\n`]*)\n(.*?)^\1```[ ]*$", re.MULTILINE | re.DOTALL)
FENCE_LINE = re.compile(r"^ *```", re.MULTILINE)
NOT_RUN = re.compile(r"<!-- not run: \S[^>]*-->\s*\Z")
PROMPT = "$ "


class Block(NamedTuple):
    """A fenced block: its language, its text, the line of its first line, whether it is run."""

    language: str
    text: str
    line: int
    is_run: bool


def read_blocks(page: str) -> list[Block]:
    """Split a page into its fenced blocks.

    Raises:
        ValueError: If a fence is not closed, or its language is neither run nor known as shown.
    """
    blocks = []
    for match in FENCE.finditer(page):
        indent, language, text = match.groups()
        line = page.count("\n", 0, match.start()) + 2
        if language not in RUN | SHOWN:
            raise ValueError(f"line {line - 1}: block language {language!r}, not one of "
                             f"{', '.join(sorted(RUN | SHOWN))}")  # fmt: skip
        skipped = NOT_RUN.search(page[: match.start()]) is not None
        dedented = textwrap.dedent(text) if indent else text
        blocks.append(Block(language, dedented, line, language in RUN and not skipped))
    if len(FENCE_LINE.findall(page)) != 2 * len(blocks):
        raise ValueError("a ``` fence is not closed")
    return blocks


def commands(block: Block) -> Iterator[list[str]]:
    r"""Yield the arguments of each `$ nestvec ...` line, lines ending in \ joined.

    Raises:
        ValueError: If a command is not nestvec's.
    """
    for line in block.text.replace("\\\n", " ").splitlines():
        if line.startswith(PROMPT):
            program, *arguments = shlex.split(line.removeprefix(PROMPT), comments=True)
            if program != "nestvec":
                raise ValueError(f"only nestvec is run here, not {program!r}: mark it `not run`")
            yield arguments


def run_python(block: Block, page: Path, namespace: dict[str, Any]) -> None:
    source = "\n" * (block.line - 1) + block.text  # a traceback then names the page's own line
    exec(compile(source, str(page), "exec"), namespace)


def run_console(block: Block, page: Path) -> None:
    for arguments in commands(block):
        command = [sys.executable, "-m", "nestvec.cli.main", *arguments]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL
        )
        if done.returncode != 0:
            pytest.fail(
                f"{page}:{block.line}: nestvec {shlex.join(arguments)} ended with "
                f"{done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
            )


def run_page(page: Path, blocks: list[Block]) -> None:
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks:
        if block.language == "python":
            run_python(block, page, namespace)
        else:
            run_console(block, page)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_the_blocks_of_a_page_run(
    page: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    blocks = [block for block in read_blocks(page.read_text("utf-8")) if block.is_run]
    if any("nestvec-demo" in block.text for block in blocks):
        # A copy: what one page writes there must not reach the next.
        shutil.copytree(request.getfixturevalue("demo_folder"), tmp_path / "nestvec-demo")
    monkeypatch.chdir(tmp_path)
    run_page(page, blocks)


EXAMPLE = """# Title
```python
x = 1
```

<!-- not run: needs a network -->

```console
$ nestvec demo
1/6 texts
```
1. in a list
   ```console
   $ nestvec search "nestvec-demo/index" \\
       "two words" -k 3   # why
   .71 csv.DictReader
   ```
```text
anything
```
"""


def test_the_settings_that_are_shown_are_taken(tmp_path: Path) -> None:
    page = (REPOSITORY / "docs" / "train.md").read_text("utf-8")
    blocks = [block for block in read_blocks(page) if block.language == "toml"]
    assert blocks
    for block in blocks:
        (tmp_path / "run.toml").write_text(block.text, encoding="utf-8")
        config_from_file(FinetuneConfig, tmp_path / "run.toml", defaults={}, overrides={})


def test_blocks_are_found_with_their_line_and_whether_they_run() -> None:
    seen = [(block.language, block.line, block.is_run) for block in read_blocks(EXAMPLE)]
    assert seen == [
        ("python", 3, True),
        ("console", 9, False),
        ("console", 14, True),
        ("text", 19, False),
    ]


def test_commands_are_split_as_a_shell_does() -> None:
    block = read_blocks(EXAMPLE)[2]
    assert list(commands(block)) == [["search", "nestvec-demo/index", "two words", "-k", "3"]]


@pytest.mark.parametrize(
    ("page", "message"),
    [
        ("```python\nx = 1\n", "not closed"),
        ("```\nx = 1\n```\n", "block language ''"),
        ("```pyhton\nx = 1\n```\n", "line 1: block language 'pyhton'"),
    ],
)
def test_a_block_that_would_be_missed_is_refused(page: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_blocks(page)


def test_a_marker_without_a_reason_or_before_another_block_does_not_skip() -> None:
    page = "<!-- not run: -->\n```python\n```\n<!-- not run: slow -->\ntext\n```python\n```\n"
    assert [block.is_run for block in read_blocks(page)] == [True, True]


def test_a_command_of_another_program_is_refused() -> None:
    with pytest.raises(ValueError, match="only nestvec is run here, not 'pip'"):
        list(commands(Block("console", "$ pip install nestvec\n", 1, True)))


def test_python_blocks_share_names_and_fail_at_the_line_of_the_page() -> None:
    text = "```python\nx = 1\n```\n\n```python\nassert x == 1\nraise KeyError(x)\n```\n"
    with pytest.raises(KeyError) as error:
        run_page(Path("page.md"), read_blocks(text))
    last = error.traceback[-1]
    assert (str(last.path), last.lineno + 1) == ("page.md", 7)


def test_a_command_that_fails_fails_the_page() -> None:
    block = Block("console", "$ nestvec no-such-command\n", 5, True)
    with pytest.raises(pytest.fail.Exception, match=r"page\.md:5: nestvec no-such-command ended"):
        run_page(Path("page.md"), [block])
