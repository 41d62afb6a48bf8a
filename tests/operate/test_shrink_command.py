"""The options of ``nestvec shrink``: what is refused, passed on and printed, without a server."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from ended_commands import refused, run_in, well
from nestvec.models.adapter import Adapter, Head
from nestvec.models.adapter_file import save_adapter
from nestvec.operate.shrink import table
from nestvec.operate.shrink.outcome import PlannedStatement, ShrinkOutcome, ShrinkStep
from nestvec.planning.choose import Plan
from nestvec.types import OperatingPoint

URL = "postgresql://user:secret@localhost/shop?table=docs"
SWITCHED = ShrinkOutcome(
    *("postgresql://localhost/shop?table=docs", "switched", "8:sign", "public.docs_search"),
    *(200, 0.97, 9_000_000, 1_000_000, 30_000, 0),
    notes=("A note.",),
)


@pytest.fixture
def called(monkeypatch):
    """Replace the functions that need a server, and return the requests that they get."""
    requests = []

    def shrink(url, request, *, on_step, on_progress):
        assert url == URL
        requests.append(request)
        if on_step is not None:
            on_step(ShrinkStep("build the index", 75.0, "1.0 MB"))
        return SWITCHED

    def preview(_url, request):
        requests.append(request)
        planned = [
            PlannedStatement("ANALYZE docs", "SHARE UPDATE EXCLUSIVE", 90.0, 2_000_000),
            PlannedStatement("DROP INDEX old", "a lock", 0.0, -5_000_000, "finish"),
        ]
        return tuple(planned), ("A note.",)

    monkeypatch.setattr(table, "shrink", shrink)
    monkeypatch.setattr(table, "preview_shrink", preview)
    return requests


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "Pass either --plan or --point"),
        (("--plan", "p.json", "--point", "8:sign"), "Pass either --plan or --point"),
        (("--finish", "--undo"), "--finish and --undo exclude each other"),
        (("--undo", "--point", "8:sign", "--dry-run"), "Remove --point, --dry-run"),
        (("--drop-function",), "--drop-function requires --undo"),
        (("--force", "--undo"), "--force requires --finish"),
        (("--point", "8:sign", "--metric", "l1"), "metric 'l1' is not one of"),
        (("--point", "8"), "is not an operating point"),
    ],
)
def test_options_that_do_not_fit_are_refused(tmp_path, options, message):
    refused(run_in(tmp_path, "shrink", URL, *options), message)


def test_the_end_names_the_sizes_the_call_and_the_next_commands(tmp_path, called):
    options = ("--point", "8:sign", "--column", "small", "--min-overlap", ".9", "--skip-nulls")
    ended = run_in(tmp_path, "shrink", URL, *options)
    assert (ended.code, ended.err) == (0, "")
    assert "secret" not in ended.out
    text = " ".join(ended.out.split())
    assert "build the index: 1.0 MB (75 s)" in text
    assert "A note. index: 9.0 MB before, 1.0 MB now, column 30.0 kB" in text
    assert "search with: SELECT * FROM public.docs_search($1, 10)" in text
    place = "'postgresql://localhost/shop?table=docs'"
    assert text.endswith(f"nestvec shrink {place} --finish nestvec shrink {place} --undo")
    (request,) = called
    assert (request.column, request.min_overlap, request.skip_nulls) == ("small", 0.9, True)


def test_a_preview_fits_the_width_and_says_that_nothing_was_changed(tmp_path, called):
    text = well(run_in(tmp_path, "shrink", URL, "--point", "8:sign", "--dry-run"))
    assert "ANALYZE docs; -- lock: SHARE UPDATE EXCLUSIVE" in text
    assert "-- estimated: about 90 s, 2.0 MB needed" in text
    assert "-- estimated: 5.0 MB freed -- run by --finish only" in text
    assert text.endswith("A note. Nothing was changed.")
    ended = run_in(tmp_path, "shrink", URL, "--point", "8:sign", "--dry-run", "--json")
    assert json.loads(ended.out)["statements"][1]["when"] == "finish"


def plan(monkeypatch, **model):
    found = SimpleNamespace(
        point=OperatingPoint.parse("8:sign"),
        confirmed=False,
        verdict="NOT CONFIRMED",
        model=SimpleNamespace(**{"adapter": "", "full_dim": 64, **model}),
    )
    monkeypatch.setattr(Plan, "load", lambda _path: found)


def test_a_plan_that_is_not_confirmed_is_a_warning(tmp_path, called, monkeypatch):
    plan(monkeypatch)
    ended = run_in(tmp_path, "shrink", URL, "--plan", "plan.json", "--json")
    assert ended.code == 0
    assert "the plan is NOT CONFIRMED" in ended.err
    assert ShrinkOutcome.from_json(
        {k: v for k, v in json.loads(ended.out).items() if k != "warnings"}
    ) == (SWITCHED)
    assert called[0].full_dim == 64


def test_a_plan_of_adapted_vectors_is_refused(tmp_path, called, monkeypatch):
    plan(monkeypatch, adapter="e" * 64)
    ended = run_in(tmp_path, "shrink", URL, "--plan", "plan.json")
    refused(ended, "was measured with an adapter. Pass the same --adapter")
    assert called == []


def test_a_plan_needs_its_own_adapter(tmp_path, called, monkeypatch):
    matrix = Head(np.eye(64, dtype=np.float32))
    adapter = Adapter("linear", (8,), "", "any", False, matrix, matrix, 0)
    file = tmp_path / "a.safetensors"
    save_adapter(adapter, file)
    options = ("--plan", "plan.json", "--adapter", file, "--column", "small", "--json")
    plan(monkeypatch)
    refused(run_in(tmp_path, "shrink", URL, *options), "was measured without an adapter")
    plan(monkeypatch, adapter=adapter.digest())
    assert run_in(tmp_path, "shrink", URL, *options).code == 0
    assert called[0].adapter == file


def test_an_interrupt_names_how_to_continue(tmp_path, called, monkeypatch):
    def interrupted(*_arguments, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr(table, "shrink", interrupted)
    ended = run_in(tmp_path, "shrink", URL, "--point", "8:sign")
    assert ended.code == 130
    assert "Repeat the command to continue, or run it with --undo." in ended.err
