"""Where prompts come from: the caller, the folder, the table of known models; and warnings."""

import json
import logging

import pytest

from nestvec.models.info import ModelOptions, describe
from nestvec.models.known_row import KnownModel
from nestvec.models.prompts import prompts_text, stated_prompts, warn_without_prompts
from nestvec.types import ModelInfo

BGE = "Represent this sentence for searching relevant passages: "


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "bge-small-en-v1.5"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


def prompts_in(folder, prompts, **others):
    file = folder / "config_sentence_transformers.json"
    file.write_text(json.dumps({"prompts": prompts, **others}))


def described(folder, name=None, *, full_dim=384, prompts=None):
    options = ModelOptions(name or str(folder), prompts=prompts or {})
    return describe(folder, options, full_dim=full_dim, max_tokens=None)


@pytest.mark.parametrize("prompt", ["find: ", ""])
def test_the_prompts_of_a_folder_take_precedence_over_the_table_entry_of_its_name(folder, prompt):
    prompts_in(folder, {"query": prompt, "document": ""})
    info = described(folder)
    assert (info.query_prompt, info.document_prompt) == (prompt, "")
    assert info.prompts_source == "config_sentence_transformers.json"


@pytest.mark.parametrize("prompts", [None, {}, {"classification": "c: "}])
def test_the_table_is_used_for_a_folder_that_names_no_prompt(folder, prompts):
    prompts_in(folder, prompts)
    info = described(folder)
    assert info.query_prompt == BGE
    assert info.prompts_source == "known model: https://huggingface.co/BAAI/bge-small-en-v1.5"


def test_a_passage_prompt_survives_the_empty_one_that_the_library_adds_on_saving(folder):
    prompts_in(folder, {"query": "query: ", "passage": "passage: "})
    before = described(folder)
    prompts_in(folder, {"query": "query: ", "document": "", "passage": "passage: "})
    after = described(folder)
    assert after.document_prompt == "passage: "
    assert after == before


def test_the_source_names_the_kinds_that_the_caller_passed(folder):
    prompts_in(folder, {"query": "q: ", "document": "d: "})
    info = described(folder, prompts={"query": "mine: "})
    assert (info.query_prompt, info.document_prompt) == ("mine: ", "d: ")
    assert info.prompts_source == "requested; document: config_sentence_transformers.json"
    both = described(folder, prompts={"query": "", "document": ""})
    assert both.prompts_source == "requested"


@pytest.mark.parametrize(
    ("name", "full_dim"), [("intfloat/e5-base-v2", 768), ("multilingual-e5-small", 384)]
)
def test_e5_models_get_the_prefixes_of_their_model_cards(folder, name, full_dim):
    info = described(folder, name, full_dim=full_dim)
    assert (info.query_prompt, info.document_prompt) == ("query: ", "passage: ")


@pytest.mark.parametrize(
    ("name", "base"), [("my-e5-tuned", ""), ("model", "intfloat/e5-base-v2"), ("e5-base", "")]
)
def test_a_model_of_the_e5_family_without_prompts_is_reported(folder, caplog, name, base):
    (folder / "config.json").write_text(json.dumps({"_name_or_path": base}))
    place = folder.rename(folder.with_name(name))
    info = described(place, full_dim=32)
    assert info.query_prompt == ""
    warn_without_prompts(place, info, {})
    (record,) = caplog.records
    assert "(query 'query: ', document 'passage: ')" in record.getMessage()
    assert "--query-prompt" in record.getMessage()


@pytest.mark.parametrize(
    ("name", "requested"), [("re5ult", {}), ("model", {}), ("e5-base", {"query": ""})]
)
def test_other_models_and_prompts_of_the_caller_are_not_reported(folder, caplog, name, requested):
    place = folder.rename(folder.with_name(name))
    with caplog.at_level(logging.WARNING):
        warn_without_prompts(place, described(place, full_dim=32), requested)
    assert not caplog.records


def test_prompts_are_printed_with_their_source():
    info = ModelInfo("m", "f" * 64, 8, (8,), "guess", False, query_prompt="q: ")
    assert prompts_text(info) == "prompts: query 'q: ', document ''"
    known = ModelInfo(
        "m", "f" * 64, 8, (8,), "guess", False, query_prompt="q: ", prompts_source="s"
    )
    assert prompts_text(known) == "prompts: query 'q: ', document '' (s)"
    assert prompts_text(ModelInfo("m", "f" * 64, 8, (8,), "guess", False)) == "prompts: none"


@pytest.mark.parametrize(
    ("prompts", "query", "document"),
    [
        ({"retrieval.query": "Q: ", "retrieval.passage": "P: ", "separation": "s"}, "Q: ", "P: "),
        ({"Retrieval-query": "Q: ", "Retrieval-document": "D: ", "STS": "s"}, "Q: ", "D: "),
        ({"search_query": "Q: ", "search_document": "D: "}, "Q: ", "D: "),
        ({"web_search_query": "Q: ", "sts_query": "s"}, "Q: ", ""),
        ({"query": "", "document": "", "retrieval.query": "Q: "}, "Q: ", ""),
        ({"query": "first", "search_query": "second"}, "first", ""),
    ],
)
def test_the_usual_names_of_prompts_are_known(folder, prompts, query, document):
    place = folder.rename(folder.with_name("mine"))
    prompts_in(place, prompts)
    info = described(place)
    assert (info.query_prompt, info.document_prompt) == (query, document)


def test_the_prompt_names_of_a_known_model_come_first(folder):
    prompts_in(folder, {"query": "usual", "special": "S: "})
    row = KnownModel(names=("mine",), full_dim=384, query_prompt_name="special")
    options = ModelOptions("mine", models=[row])
    assert describe(folder, options, full_dim=384, max_tokens=None).query_prompt == "S: "


def test_prompts_that_cannot_be_mapped_are_reported_once_with_their_names(folder, caplog):
    place = folder.rename(folder.with_name("mine"))
    prompts_in(place, {"sts": "s: ", "classification": "c: ", "query": ""})
    warn_without_prompts(place, described(place), {})
    (record,) = caplog.records
    assert "mine has prompts ('sts', 'classification')" in record.getMessage()
    assert "--query-prompt" in record.getMessage()
    caplog.clear()
    warn_without_prompts(place, described(place), {"query": ""})
    assert not caplog.records


def test_saved_prompts_have_one_name_for_each_kind(folder):
    info = described(folder, prompts={"query": "", "document": "d: "})
    saved = stated_prompts(info, {"retrieval.query": "old", "search_document": "old", "sts": "s"})
    assert saved == {"query": "", "document": "d: ", "sts": "s"}
