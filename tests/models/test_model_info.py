import json

import pytest

from nestvec.errors import InvalidArgument, ModelError
from nestvec.models.info import ModelOptions, choose_dims, default_dims, describe
from nestvec.models.known import find_known


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    return tmp_path


def write(folder, name, values):
    (folder / name).write_text(json.dumps(values))


def test_an_unknown_model_gets_halvings_that_are_marked_as_guesses():
    assert choose_dims(384) == ((384, 192, 96, 48), "guess: halvings, not trained for", False)
    assert choose_dims(8).dims == (8,)


def test_a_known_model_without_matryoshka_training_is_a_guess_too():
    assert not choose_dims(384, known=find_known("all-MiniLM-L6-v2")).trained


def test_the_configuration_of_the_model_comes_before_the_table():
    known = find_known("nomic-embed-text-v1.5")
    assert choose_dims(768, configured=(64, 256), known=known)[:2] == (
        (768, 256, 64),
        "config.json",
    )


def test_what_is_asked_for_comes_first_and_is_trained_only_where_the_model_is():
    chosen = choose_dims(768, requested=(128, 64), configured=(768, 128, 64))
    assert chosen == ((768, 128, 64), "requested", True)
    assert not choose_dims(768, requested=(100,), configured=(768, 128, 64)).trained
    assert not choose_dims(768, requested=(768,)).trained


@pytest.mark.parametrize(("dim", "message"), [(900, "dim=900 is larger"), (0, "dim=0 is below 1")])
def test_a_dim_outside_the_limits_raises(dim, message):
    with pytest.raises(InvalidArgument, match=message):
        choose_dims(768, requested=(dim,))
    with pytest.raises(ModelError, match=message):
        choose_dims(768, configured=(dim,))


def test_a_known_model_brings_prompts_and_layer_norm(folder):
    info = describe(folder, ModelOptions("nomic-embed-text-v1.5"), full_dim=768, max_tokens=8192)
    assert (info.query_prompt, info.document_prompt) == ("search_query: ", "search_document: ")
    assert info.layer_norm
    assert info.dims_source.startswith("known model: https://")


def test_a_model_of_another_width_is_not_the_known_one(folder):
    info = describe(folder, ModelOptions("nomic-embed-text-v1.5"), full_dim=512, max_tokens=None)
    assert not info.layer_norm
    assert info.query_prompt == ""


def test_prompts_of_the_model_itself_are_used(folder):
    prompts = {"query": "q: ", "passage": "p: "}
    write(folder, "config_sentence_transformers.json", {"prompts": prompts})
    info = describe(folder, ModelOptions("mine"), full_dim=64, max_tokens=None)
    assert (info.query_prompt, info.document_prompt) == ("q: ", "p: ")


def test_a_default_prompt_stands_in_for_a_missing_one(folder):
    values = {"prompts": {"query": "q: ", "plain": "t: "}, "default_prompt_name": "plain"}
    write(folder, "config_sentence_transformers.json", values)
    info = describe(folder, ModelOptions("mine"), full_dim=64, max_tokens=None)
    assert (info.query_prompt, info.document_prompt) == ("q: ", "t: ")


def test_a_prompt_that_is_asked_for_wins_and_changes_the_fingerprint(folder):
    plain = describe(folder, ModelOptions("mine"), full_dim=64, max_tokens=None)
    options = ModelOptions("mine", prompts={"query": "find: "})
    prompted = describe(folder, options, full_dim=64, max_tokens=None)
    assert prompted.query_prompt == "find: "
    assert prompted.fingerprint != plain.fingerprint


def test_a_prompt_for_an_unknown_kind_raises():
    with pytest.raises(InvalidArgument, match="'passage'"):
        ModelOptions("mine", prompts={"passage": "p: "})


@pytest.mark.parametrize("dims", [[64, "32"], 64, [True]])
def test_dims_of_the_configuration_that_are_not_numbers_raise(folder, dims):
    write(folder, "config.json", {"matryoshka_dimensions": dims})
    with pytest.raises(ModelError, match="not a list of whole numbers"):
        describe(folder, ModelOptions("mine"), full_dim=64, max_tokens=None)


def test_a_configuration_that_is_not_json_is_one_line(folder):
    (folder / "config.json").write_text("{")
    with pytest.raises(ModelError, match=r"config\.json: is not JSON") as raised:
        describe(folder, ModelOptions("mine"), full_dim=64, max_tokens=None)
    assert "\n" not in str(raised.value)


def test_default_dims_are_halvings_down_to_32():
    assert default_dims(384) == (384, 192, 96, 48)
    assert default_dims(24) == (24,)
