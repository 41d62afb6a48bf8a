"""How the demo ends: with the one command that opens the page on what it made."""

import shlex

import pytest
from typer.testing import CliRunner

from nestvec.cli.console import print_next
from nestvec.cli.main import app


def test_the_last_line_opens_the_page_on_what_was_made(demo_folder):
    *_, last = (demo_folder.parent / "said.txt").read_text("utf-8").splitlines()
    opening, program, command, folder = shlex.split(last)
    assert (opening, program, command) == ("Open", "nestvec", "serve")
    assert folder == str(demo_folder)
    assert CliRunner().invoke(app, [command, "--help"]).exit_code == 0


@pytest.mark.parametrize(
    ("called", "on_path", "shown"),
    [
        ("venv/bin/nestvec", False, "venv/bin/nestvec serve nestvec"),
        ("venv/bin/nestvec", True, "nestvec serve nestvec"),
        ("main.py", False, "nestvec serve nestvec"),
    ],
)
def test_a_command_is_shown_as_it_can_be_typed(
    monkeypatch, tmp_path, capsys, called, on_path, shown
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", [str(tmp_path / called)])
    monkeypatch.setattr("shutil.which", lambda name: f"/bin/{name}" if on_path else None)
    print_next("nestvec serve nestvec", heading="Open")
    assert capsys.readouterr().out == f"Open  {shown}\n"
