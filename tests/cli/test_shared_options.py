"""Options that several commands share: the same names everywhere, and what they do."""

from __future__ import annotations

import inspect
import json
import re

import pytest

from nestvec.cli.models import ModelChoice, model_options
from nestvec.cli.options import IndexDtypeOption
from nestvec.curve.curve import Curve
from nestvec.engines import registry
from nestvec.engines.embedded.engine import EmbeddedEngine
from nestvec.engines.engine import Capabilities
from nestvec.recipes import finetuned

COMPUTING = {"--dtype", "--device", "--trust-remote-code"}
PROMPTS = {"--query-prompt", "--document-prompt"}
LOADING = {*COMPUTING, *PROMPTS, "--models"}
PAIR = {"--query-model", "--same-space"}
COSTS = {"--prices", "--yes"}
CACHE = {"--cache", "--no-cache"}
RECORDED = {*LOADING, *PAIR, *CACHE, "--base-url"}
ENCODING = {*RECORDED, *COSTS, "--model"}
SHARED = {*ENCODING, "--adapter"}
ACCEPTED = {
    "train": LOADING,
    "adapt": ENCODING,
    "apply": {*PROMPTS, "--trust-remote-code", "--models"},
    "batch write": PROMPTS,
    "embed": {*LOADING, *COSTS, "--adapter", "--base-url"},
    "evaluate": {*ENCODING, "--adapter"},
    "index build": {*ENCODING, "--adapter"},
    "index add": {*COMPUTING, *CACHE, *COSTS, "--model"},
    "index model": RECORDED,
    "index reembed": {*ENCODING, "--adapter"},
    "search": {*COMPUTING, *PAIR, "--model", "--query-prompt"},
    "serve": {*LOADING, *PAIR, "--adapter"},
}


@pytest.fixture
def bert(place, bert_folder):
    """An index of the data set by a transformer, without its texts in a cache."""
    (place / "bert").symlink_to(bert_folder)
    return place / "bert"


def refused(ended, message):
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.count("\n") == 1
    assert message in ended.err


@pytest.mark.parametrize("command", ACCEPTED)
def test_options_have_the_same_names_everywhere(nestvec, command):
    text = nestvec(*command.split(), "--help").out
    options = set(re.findall(r"--[a-z-]+", text[text.index("\nOptions:") :]))
    assert options & SHARED == ACCEPTED[command]


def test_a_command_receives_its_options_and_the_defaults_of_all_others():
    received = []

    @model_options("device", "dtype", dtype=IndexDtypeOption)
    def command(name: str, *, choice: ModelChoice, as_json: bool = False) -> None:
        received.append((name, choice, as_json))

    names = [*inspect.signature(command).parameters]
    assert names == ["name", "dtype", "device", "as_json"]
    command(name="model", dtype=None, device="cuda", as_json=True)
    assert received == [("model", ModelChoice(dtype=None, device="cuda"), True)]


def test_an_unknown_option_of_a_command_is_refused():
    with pytest.raises(ValueError, match="devise: no field of ModelChoice"):
        model_options("device", "devise")


@pytest.mark.parametrize("option", ["--metric", "--slice"])
def test_lists_have_plural_names(nestvec, option):
    refused(nestvec("evaluate", "model", "data", option, "x"), f"No such option: {option}")


BUILD = "index build bert data --point 32:int8 --no-cache --out bert-index"


@pytest.mark.parametrize(
    "typed",
    [
        "evaluate bert data --device gpu",
        "adapt bert data --device gpu",
        "index build bert data --point 32:int8 --out new --device gpu",
        "index reembed index bert --device gpu",
    ],
)
def test_a_device_that_is_not_available_is_one_line(nestvec, bert, typed):
    message = "device='gpu' is not available. Available on this computer: cpu"
    refused(nestvec(*typed.split()), message)


def test_an_index_is_used_on_the_named_device(nestvec, bert):
    assert nestvec(*BUILD.split(), "--device", "cpu").code == 0
    for typed in ("search bert-index x", "index add bert-index data", "serve bert-index --port 0"):
        refused(nestvec(*typed.split(), "--device", "gpu"), "device='gpu' is not available")
    ended = nestvec("search", "bert-index", "x", "--device", "cpu")
    assert (ended.code, ended.err) == (0, "")


def test_a_device_without_effect_is_reported(nestvec):
    ended = nestvec("search", "index", "x", "--device", "cuda")
    assert ended.code == 0
    assert "nestvec: device='cuda' has no effect on" in ended.err
    assert ended.err.endswith("A static model runs on the CPU in float32.\n")
    train = "train --static --pairs data --dims 32 --epochs 1 --batch-size 60 --out new"
    ended = nestvec(*train.split(), "--device", "cuda")
    assert ended.err == (
        "nestvec: --device cuda has no effect: static models are trained on the CPU\n"
    )


@pytest.mark.parametrize("device", ["mps", "cuda:1"])
def test_fine_tuning_runs_on_the_cpu_or_a_gpu(nestvec, bert, device):
    ended = nestvec("train", "bert", "--pairs", "data", "--out", "new", "--device", device)
    refused(ended, f"device='{device}' is not supported for fine-tuning. Choose cpu or cuda")


def test_the_device_of_the_command_is_that_of_training(nestvec, bert, monkeypatch):
    used = []
    load = finetuned.load_model
    monkeypatch.setattr(
        finetuned, "load_model", lambda *given, **named: used.append(named) or load(*given, **named)
    )
    typed = "train bert --pairs data --dims 16 --epochs 1 --device cpu --out new"
    assert nestvec(*typed.split()).code == 0
    assert used == [{"prompts": {}, "device": "cpu", "trust_remote_code": False, "models": None}]


def test_another_dtype_than_that_of_the_index_is_one_warning(nestvec, bert):
    assert nestvec(*BUILD.split()).code == 0
    for command in ("search bert-index x", "index add bert-index data"):
        for model in ([], ["--model", "bert"]):
            ended = nestvec(*command.split(), "--dtype", "bfloat16", *model)
            assert ended.code == 0, ended.err
            assert ended.err.count("\n") == 1
            assert "bfloat16" in ended.err and "float32" in ended.err
            ended = nestvec(*command.split(), "--dtype", "float32", *model)
            assert (ended.code, ended.err) == (0, "")


def test_an_index_is_embedded_again_behind_an_adapter(nestvec, place):
    texts = (place / "data/corpus.jsonl").read_text()
    words = re.findall(r"about (\w+)", texts)[:15]  # 225 pairs: an adapter needs 4 texts a dim
    rows = (json.dumps({"_id": f"{a} {b}", "text": f"{a} {b}"}) for a in words for b in words)
    (place / "pairs.jsonl").write_text("".join(f"{row}\n" for row in rows))
    fit = "adapt model pairs.jsonl --dims 16 --method svd --out a.st"
    for typed in (fit, "index reembed index model --adapter a.st"):
        ended = nestvec(*typed.split())
        assert ended.code == 0, ended.err
    assert "with an adapter" in nestvec("index", "stats", "index").out


def test_the_engine_is_named(nestvec):
    refused(
        nestvec("evaluate", "model", "data", "--engine", "nowhere"),
        "engine 'nowhere' is not installed. Choose one of: embedded",
    )
    grid = ("--precisions", "float32", "--out", "new.json")
    ended = nestvec("evaluate", "model", "data", "--engine", "embedded", *grid)
    assert (ended.code, ended.err) == (0, "")


def test_another_engine_limits_the_grid_and_needs_a_search(nestvec, place, monkeypatch):
    halves = frozenset({"float16"})
    capabilities = Capabilities(frozenset({"int8"}), frozenset({"int8"}), halves, max_stages=1)
    engine = type("SmallEngine", (EmbeddedEngine,), {"capabilities": capabilities})
    monkeypatch.setattr(registry, "engine_class", lambda name: engine)
    ended = nestvec(*["evaluate", "model", "data", "--engine", "small", "--out", "new.json"])
    assert ended.code == 0, ended.err
    curve = Curve.load(place / "new.json")
    assert curve.dataset["engine"] == "small"
    assert {str(row.point).partition(":")[2] for row in curve.points} == {"float32", "int8"}
    rows = ({"sentence1": "a", "sentence2": "b", "score": score} for score in (1, 2, 3))
    (place / "pairs.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    refused(nestvec("evaluate", "model", "pairs.jsonl", "--engine", "small"), "does not apply to")
