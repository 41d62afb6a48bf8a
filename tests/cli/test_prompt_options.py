"""Prompts on the command line, and the model of an index of one's own vectors."""

import json
import shlex

import numpy as np
import pytest

from nestvec.models.load import load_model
from nestvec.models.precomputed import save_vectors

PROMPTS = ("--query-prompt", "how does ", "--document-prompt", "about ")


def recorded(place):
    return json.loads((place / "index" / "manifest.json").read_text())["model"]


def test_prompts_of_evaluate_are_printed_and_stored_in_the_curve(nestvec, place):
    ended = nestvec("evaluate", "model", "data", "--keeps", "10", "--out", "c.json", *PROMPTS)
    assert ended.code == 0, ended.err
    assert "prompts: query 'how does ', document 'about ' (requested)" in ended.out
    model = json.loads((place / "c.json").read_text())["model"]
    assert (model["query_prompt"], model["prompts_source"]) == ("how does ", "requested")
    report = nestvec("report", "c.json", "--card", "card.md")
    assert report.code == 0, report.err
    card = (place / "card.md").read_text()
    assert "Queries begin with `how does ` and documents begin with `about `" in card


def test_an_index_built_with_prompts_is_searched_grown_and_described(nestvec, place):
    built = nestvec(
        "index", "build", "model", "data", "--point", "32:int8", "--out", "index", *PROMPTS
    )
    assert built.code == 0, built.err
    assert "prompts: query 'how does ', document 'about ' (requested)" in built.out
    assert recorded(place)["document_prompt"] == "about "
    for more in ((), ("--model", "model")):
        assert nestvec("search", "index", "about", *more).code == 0
    (place / "more.jsonl").write_text(json.dumps({"_id": "new", "text": "about about"}) + "\n")
    assert nestvec("index", "add", "index", "more.jsonl").code == 0
    rows = dict(
        line.split(maxsplit=1) for line in nestvec("index", "stats", "index").out.splitlines()
    )
    assert rows["prompts"] == "query 'how does ', document 'about ' (requested)"
    assert (rows["pooling"], rows["dtype"]) == ("mean", "float32")
    assert rows["max"] == "tokens no limit"
    encoder = json.loads(nestvec("index", "stats", "index", "--json").out)["encoder"]
    assert (encoder["query_prompt"], encoder["pooling"]) == ("how does ", "mean")


def test_a_plan_names_its_prompts_and_the_command_that_uses_them(nestvec):
    data = ("--keeps", "10", "--precisions", "int8", "--out", "c.json")
    assert nestvec("evaluate", "model", "data", *data, *PROMPTS).code == 0
    planned = nestvec("plan", "c.json", "--min-retention", "0.5", "--out", "p.json")
    command = shlex.split(planned.out.splitlines()[-1].split("nestvec ", 1)[1])
    refused = nestvec("index", "build", "model", "data", "--plan", "p.json", "--out", "own")
    assert refused.code == 2
    assert "query prompt ('how does ' in the plan, '' in the model)" in refused.err
    assert "document prompt ('about ' in the plan, '' in the model)" in refused.err
    command[command.index("CORPUS")], command[-1] = "data", "own"
    built = nestvec(*command)
    assert built.code == 0, built.err
    assert "prompts: query 'how does ', document 'about ' (requested)" in built.out


def test_search_with_another_query_prompt_prints_both(nestvec):
    ended = nestvec("search", "index", "about", "--query-prompt", "what ")
    assert ended.code == 0
    assert "records the query prompt '', but queries are encoded with 'what '" in ended.err


def test_reembed_records_the_prompts(nestvec, place):
    ended = nestvec("index", "reembed", "index", "model", *PROMPTS)
    assert ended.code == 0, ended.err
    assert "prompts: query 'how does '" in ended.out
    assert recorded(place)["query_prompt"] == "how does "


def test_adapt_and_apply_use_the_same_prompts(nestvec, place):
    lines = (place / "data" / "corpus.jsonl").read_text().splitlines()
    texts = [json.loads(line)["text"] for line in lines]
    rows = [{"_id": f"d{n}", "text": f"{texts[n % 60]} {texts[n // 60]}"} for n in range(200)]
    (place / "more.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    fit = (
        "adapt",
        "model",
        "more.jsonl",
        "--method",
        "svd",
        "--dims",
        "16",
        "--out",
        "a.safetensors",
    )
    fitted = nestvec(*fit, *PROMPTS)
    assert fitted.code == 0, fitted.err
    assert "--query-prompt 'how does ' --document-prompt 'about '" in fitted.out
    refused = nestvec("apply", "a.safetensors", "model", "--out", "adapted")
    assert "is not the model that the adapter was fitted on" in refused.err
    assert "in use: query '', document ''. Pass the prompts of the fit" in refused.err
    assert nestvec("apply", "a.safetensors", "model", "--out", "adapted", *PROMPTS).code == 0
    info = load_model(place / "adapted").info
    assert (info.query_prompt, info.document_prompt) == ("how does ", "about ")


@pytest.fixture
def own_vectors(nestvec, place):
    """An index of vectors that the model made with a document prompt."""
    rows = [json.loads(line) for line in (place / "data" / "corpus.jsonl").read_text().splitlines()]
    texts = [f"{row['title']} {row['text']}".strip() for row in rows]
    model = load_model(place / "model", prompts={"document": "about "})
    made = model.encode(texts, kind="document")
    assert np.isfinite(made).all()
    save_vectors([row["_id"] for row in rows], made, place / "vectors", kind="document")
    built = nestvec("index", "build", "vectors", "data", "--point", "32:int8", "--out", "own")
    assert built.code == 0, built.err


@pytest.mark.usefixtures("own_vectors")
def test_the_model_of_own_vectors_is_recorded_once_and_then_texts_are_searched(nestvec):
    for more in ((), ("--model", "model")):
        refused = nestvec("search", "own", "about", *more)
        assert refused.code == 2
        assert "nestvec index model" in refused.err
    wrong = nestvec("index", "model", "own", "model")
    assert wrong.code == 2
    assert "lowest cosine of 16 documents is" in wrong.err
    assert "--document-prompt" in wrong.err
    right = nestvec("index", "model", "own", "model", "--document-prompt", "about ")
    assert right.code == 0, right.err
    assert "lowest cosine to the stored vectors 1.0000" in right.out
    assert "document 'about '" in right.out
    found = nestvec("search", "own", "about", "-k", "3")
    assert found.code == 0, found.err
    assert "3 of 60 documents" in found.out
    stats = nestvec("index", "stats", "own").out
    assert "document 'about '" in stats


def test_an_empty_query_is_one_line(nestvec):
    ended = nestvec("search", "index", "  ")
    assert ended.code == 2
    assert "queries[0] is empty" in ended.err
