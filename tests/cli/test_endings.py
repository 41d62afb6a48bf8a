"""How commands begin and end: interrupts, closed pipes, errors of the system and of ours."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from unittest.mock import Mock

import pytest

from nestvec.cli.console import print_wrapped, printable, width
from nestvec.cli.main import run
from nestvec.engines.embedded import place as index_place
from nestvec.errors import DataError
from nestvec.models import encoding as batches
from nestvec.recipes import trained
from nestvec.recipes.demo import DemoFolder, replacing

COMMAND = [sys.executable, "-m", "nestvec.cli.main"]
COMMANDS = [
    "",
    "demo",
    "train",
    "adapt",
    "apply",
    "evaluate",
    "plan",
    "index",
    "index build",
    "index add",
    "index delete",
    "index use",
    "index reembed",
    "index adapt",
    "index compact",
    "index verify",
    "index stats",
    "search",
    "shrink",
    "serve",
    "report",
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_an_example_on_one_line(nestvec, command):
    ended = nestvec(*command.split(), "--help")
    assert (ended.code, ended.err) == (0, "")
    text = ended.out
    assert max(map(len, text.splitlines())) <= 80
    if command not in ("", "index"):
        (example,) = re.findall(r"Example: nestvec (.+)", text)
        assert example.startswith(command)
    if command == "":
        assert "nestvec demo --quick" in text


def test_examples_of_the_help_are_commands_that_exist(nestvec):
    for command in COMMANDS:
        if command not in ("", "index"):
            text = nestvec(*command.split(), "--help").out
            (example,) = re.findall(r"Example: nestvec (.+)", text)
            for option in re.findall(r" (--?[a-z-]+)", example):
                assert option in text.replace("Example", "", 1).split(example, 1)[1]


def test_help_and_errors_name_arguments_in_capitals_as_help_texts_do(nestvec):
    text = nestvec("convert", "--help").out
    assert re.search(r"Usage: nestvec convert \[OPTIONS\] \W?SOURCE\W? \W?TARGET", text)
    assert "Format of TARGET" in text
    text = nestvec("index", "build", "--help").out
    assert re.search(r"\[OPTIONS\] \W?MODEL\W? \W?CORPUS", text)
    assert "Missing argument 'QUERY'" in nestvec("search", "index").err


def test_the_bare_command_shows_help_and_the_version_is_asked_for(nestvec):
    assert "Usage: nestvec" in nestvec().out
    assert re.fullmatch(r"nestvec \d+\.\d+\.\d+\n", nestvec("--version").out)


def test_help_starts_without_anything_heavy():
    code = (
        "import sys; sys.argv = ['nestvec', '--help']\n"
        "from nestvec.cli.main import run\n"
        "try:\n    run()\n"
        "except SystemExit:\n"
        "    print(*{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    heavy = {"torch", "scipy", "faiss", "matplotlib", "tokenizers", "sentence_transformers"}
    assert not heavy & {*done.stderr.split()}


def test_searching_a_static_model_loads_no_torch(place):
    command = [sys.executable, "-X", "importtime", *COMMAND[1:], "search", "index", "x"]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    modules = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "faiss" in modules
    assert not {"torch", "transformers", "matplotlib"} & modules


def test_completion_completes():
    env = os.environ | {
        "_NESTVEC_COMPLETE": "complete_bash",
        "COMP_WORDS": "nestvec ev",
        "COMP_CWORD": "1",
    }
    code = "import sys; sys.argv = ['nestvec']; from nestvec.cli.main import run; run()"
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "evaluate"


def has_ended(group):
    """Wait for the last process of a group to be gone."""
    for _ in range(100):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.skipif(os.name == "nt", reason="sends SIGINT to a process group")
def test_an_interrupted_demo_leaves_the_old_one_and_no_process(tmp_path):
    out = tmp_path / "out"
    (out / "data").mkdir(parents=True)
    (out / "data/corpus.jsonl").write_text("old")
    (out / "plan.json").write_text("old")
    command = [*COMMAND, "demo", "--quick", "--out", str(out)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    demo = subprocess.Popen(command, text=True, start_new_session=True, **pipes)
    line = demo.stdout.readline()  # the texts are written, the training begins
    time.sleep(1)
    os.killpg(demo.pid, signal.SIGINT)  # as a terminal does: to every process of the command
    rest, errors = demo.communicate(timeout=30)
    assert line.startswith("1/6 texts    ")
    assert errors.splitlines()[-1] == "nestvec: interrupted. Existing files are unchanged."
    assert rest == ""
    # `python -m` kills itself where the interrupt came in an exec, as modules do when they load
    # (CPython's unhandled_keyboard_interrupt); a shell says 130 of that too.
    assert demo.returncode in (130, -signal.SIGINT)
    found = {path.relative_to(out).as_posix() for path in out.rglob("*")}
    assert found == {"data", "data/corpus.jsonl", "plan.json"}
    assert (out / "data/corpus.jsonl").read_text() == "old"
    assert has_ended(demo.pid)


@pytest.mark.skipif(os.name == "nt", reason="sends SIGINT to a process group")
def test_an_interrupt_while_processes_read_docstrings_is_one_line(tmp_path):
    code = (
        "import sys, os, signal\n"
        "from nestvec.cli.main import run\n"
        "from nestvec.data import docstrings\n"
        "def strike(done, total):\n    os.killpg(0, signal.SIGINT)\n"
        "follow = docstrings._follow\n"
        "docstrings._follow = lambda readings, packages, _: follow(readings, packages, strike)\n"
        "if __name__ == '__main__':\n"
        "    sys.argv = ['nestvec', 'demo', '--quick', '--out', 'out']\n"
        "    run()\n"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        start_new_session=True,
    )
    assert done.returncode == 130
    assert done.stderr == "nestvec: interrupted. Existing files are unchanged.\n"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("module", "name", "typed"),
    [
        (trained, "train_static", "train --static --pairs data --out model"),
        (batches, "embed", "index build model data --point 8:int4 --out index"),
        (index_place, "create_folder", "index build model data --point 8:int4 --out index"),
        (batches, "embed", "index reembed index model --point 8:int4"),
    ],
)
def test_an_interrupted_step_is_one_line_and_leaves_the_old(
    nestvec, place, monkeypatch, module, name, typed
):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, name, interrupted)
    before = sorted(place.rglob("*"))
    ended = nestvec(*typed.split())
    assert (ended.code, ended.out) == (130, "")
    assert ended.err == "nestvec: interrupted. Existing files are unchanged.\n"
    assert sorted(place.rglob("*")) == before


def test_a_demo_that_fails_is_undone_and_one_that_succeeds_replaces(tmp_path):
    folder = DemoFolder(tmp_path / "out")

    def write(text):
        for path in (folder.data / "corpus.jsonl", folder.plan):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    with pytest.raises(ZeroDivisionError), replacing(folder):
        write("never")
        raise ZeroDivisionError
    assert not folder.out.exists()
    with replacing(folder):
        write("first")
    (folder.out / "notes.txt").write_text("mine")
    with pytest.raises(ZeroDivisionError), replacing(folder):
        write("never")
        (folder.out / "curve.svg").write_text("never")
        raise ZeroDivisionError
    assert folder.plan.read_text() == "first"
    with replacing(folder):
        folder.data.mkdir()
        (folder.data / "corpus.jsonl").write_text("second")
    names = {path.relative_to(folder.out).as_posix() for path in folder.out.rglob("*")}
    assert names == {"data", "data/corpus.jsonl", "notes.txt"}


@pytest.mark.parametrize("began", [[], ["data/corpus.jsonl"]])
def test_a_demo_that_was_killed_is_undone_by_the_next(tmp_path, began):
    folder = DemoFolder(tmp_path / "out")

    def write(*names, text):
        for name in names:
            (folder.out / name).parent.mkdir(parents=True, exist_ok=True)
            (folder.out / name).write_text(text)

    with replacing(folder):
        write("data/corpus.jsonl", "plan.json", text="first")
    with replacing(folder):
        write(*began, text="never")
        shutil.copytree(folder.out, tmp_path / "killed")
    killed = DemoFolder(tmp_path / "killed")
    with pytest.raises(ZeroDivisionError), replacing(killed):
        raise ZeroDivisionError
    assert killed.plan.read_text() == "first"
    assert (killed.data / "corpus.jsonl").read_text() == "first"
    assert {path.name for path in killed.out.iterdir()} == {"data", "plan.json"}


def test_what_a_killed_demo_had_begun_to_remove_is_removed(tmp_path):
    folder = DemoFolder(tmp_path / "out")
    with replacing(folder):
        folder.data.mkdir()
        (folder.data / "corpus.jsonl").write_text("kept")
    (folder.out / ".obsolete-1").mkdir()
    (folder.out / ".obsolete-1" / "plan.json").write_text("old")
    with pytest.raises(ZeroDivisionError), replacing(folder):
        raise ZeroDivisionError
    assert {path.name for path in folder.out.iterdir()} == {"data"}
    assert (folder.data / "corpus.jsonl").read_text() == "kept"


def test_a_reader_that_leaves_the_pipe_gets_no_traceback(place):
    command = [*COMMAND, "search", "index", "about", "-k", "10"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=place, text=True, **pipes) as search:
        search.stdout.close()
        assert search.stderr.read() == ""
        assert search.wait(timeout=60) == 1


def test_errors_of_the_system_are_one_line_and_ours_keep_their_traceback(nestvec, monkeypatch):
    def raising(error):
        monkeypatch.setattr("nestvec.curve.curve.Curve.load", Mock(side_effect=error))
        return nestvec("plan", "curve.json")

    ended = raising(PermissionError(13, "Permission denied", "curve.json"))
    assert (ended.code, ended.err) == (2, "nestvec: curve.json: Permission denied\n")
    ended = raising(OSError(28, "No space left on device"))
    assert (ended.code, ended.err) == (2, "nestvec: No space left on device\n")
    ended = raising(DataError("a\x1b[2Jb", "two\nlines", line=3))
    assert (ended.code, ended.err) == (2, "nestvec: a [2Jb:3: two lines\n")
    for error in (KeyError("x"), OSError("raised by code")):
        monkeypatch.setattr("nestvec.curve.curve.Curve.load", Mock(side_effect=error))
        monkeypatch.setattr("sys.argv", ["nestvec", "plan", "curve.json"])
        with pytest.raises(type(error)):
            run()


def test_no_color_or_control_code_reaches_a_pipe(place):
    for arguments in (["--help"], ["search", "index", "x"], ["plan", "curve.json"]):
        done = subprocess.run(
            [*COMMAND, *arguments], cwd=place, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0
        assert "\x1b" not in done.stdout + done.stderr


def test_an_encoding_without_a_sign_is_no_reason_to_fail(place):
    done = subprocess.run(
        [*COMMAND, "search", "index", "x"],
        cwd=place,
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"PYTHONIOENCODING": "ascii", "COLUMNS": "40"},
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_lines_are_as_wide_as_the_terminal_and_at_most_80(monkeypatch):
    widths = []
    for columns in ("20", "60", "200"):
        monkeypatch.setenv("COLUMNS", columns)
        widths.append(width())
    assert widths == [40, 60, 80]


def test_what_a_terminal_would_act_on_is_shown_as_space():
    assert printable("a\x1b[1mb\x9bc\x7fd\u202ee\u2028f\udcffg ü日") == "a [1mb c d e f g ü日"


def test_a_number_and_its_unit_stay_on_one_line(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "40")
    print_wrapped("240 documents and more words, 480.2 kB on disk, 98.5 % of all, 12 s")
    assert capsys.readouterr().out.splitlines() == [
        "240 documents and more words, 480.2 kB",
        "  on disk, 98.5 % of all, 12 s",
    ]
