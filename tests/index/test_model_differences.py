"""Opening an index with another model names what differs; recorded prompts are used again."""

import json
from dataclasses import replace

import pytest
from test_text_index import CORPUS, POINT, make_model

from nestvec.errors import ModelMismatch
from nestvec.index.building import build_index
from nestvec.index.index import Index
from nestvec.index.matching import check_model
from nestvec.index.model import load_for_index
from nestvec.models.load import load_model
from nestvec.types import ModelInfo

PROMPTS = {"query": "open ", "document": "table "}
STORED = ModelInfo(
    "m", "a" * 64, 32, (32,), "guess", False, pooling="mean", weights="b" * 64, dtype="float32"
)


@pytest.fixture
def path(tmp_path):
    """An index built with prompts that the folder of the model does not state."""
    make_model(tmp_path / "model")
    model = load_model(tmp_path / "model", prompts=PROMPTS)
    build_index(model, CORPUS, POINT, tmp_path / "index").close()
    return tmp_path / "index"


def test_an_index_built_with_given_prompts_is_opened_by_its_path(path, tmp_path):
    with Index.open(path) as index:
        found = index.search("read csv file", 3)
        assert found.ids[0][0] == "csv"
        assert index.model.info.query_prompt == "open "
    for name in (None, str(tmp_path / "model")):
        with Index.open(path, load_for_index(name, str(path))) as index:
            assert index.search("read csv file", 3) == found


def test_prompts_that_the_folder_states_later_do_not_change_an_index(path, tmp_path):
    file = tmp_path / "model" / "config_sentence_transformers.json"
    file.write_text(json.dumps({"prompts": {"query": "read ", "document": "write "}}))
    with Index.open(path) as index:
        index.search("csv")
        assert index.model.info.query_prompt == "open "


def test_other_prompts_are_named_with_both_values(path, tmp_path):
    with pytest.raises(ModelMismatch) as raised:
        Index.open(path, tmp_path / "model")
    message = str(raised.value)
    assert "query prompt ('open ' in the index, '' in the model)" in message
    assert "document prompt ('table ' in the index, '' in the model)" in message
    assert "weights" not in message
    assert "\n" not in message


def test_another_query_prompt_is_used_with_a_warning(path, caplog):
    other = load_for_index(None, str(path), prompts={"query": "write "})
    with Index.open(path, other) as index:
        assert index.search("csv").ids
        assert index.model.info.query_prompt == "write "
    (message,) = caplog.messages
    assert "records the query prompt 'open ', but queries are encoded with 'write '" in message


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"weights": "d" * 64}, "Different: weights or tokenizer (bbbbbbbbbbbb, dddddddddddd)."),
        ({"pooling": "cls"}, "Different: pooling ('mean' in the index, 'cls' in the model)."),
        ({"max_tokens": 9}, "Different: maximum tokens (no limit in the index, 9 in the model)."),
        ({"full_dim": 64}, "Different: dims (32 in the index, 64 in the model)."),
        ({"adapter": "e" * 64}, "Different: adapter (none in the index, eeeeeeeeeeee with the"),
        ({"weights": ""}, "Different: weights, tokenizer or vectors (aaaaaaaaaaaa, cccccccccccc)"),
    ],
)
def test_each_difference_is_named(changes, expected):
    given = replace(STORED, fingerprint="c" * 64, **changes)
    with pytest.raises(ModelMismatch) as raised:
        check_model(STORED, given, "index")
    assert expected in str(raised.value)


def test_another_maximum_number_of_tokens_is_reported(caplog):
    check_model(replace(STORED, max_tokens=512), replace(STORED, max_tokens=256), "index")
    (message,) = caplog.messages
    assert "at most 512 tokens of each text, but the model is loaded with 256" in message


def test_another_query_prompt_of_other_weights_or_documents_is_refused():
    for changes in ({"weights": "d" * 64}, {"document_prompt": "d: "}, {"weights": ""}):
        given = replace(STORED, fingerprint="c" * 64, query_prompt="q: ", **changes)
        with pytest.raises(ModelMismatch, match="query prompt"):
            check_model(STORED, given, "index")
