import pytest

from nestvec.models.known import KNOWN_MODELS, find_known


@pytest.mark.parametrize(
    "name",
    [
        "nomic-ai/nomic-embed-text-v1.5",
        "some/local/folder/Nomic_Embed_Text_v1.5/",
        "C:\\models\\nomic-embed-text-v1.5",
    ],
)
def test_the_last_part_of_a_name_finds_the_row(name):
    known = find_known(name)
    assert known is not None
    assert known.trained_dims == (768, 512, 256, 128, 64)
    assert known.query_prompt == "search_query: "
    assert known.layer_norm


@pytest.mark.parametrize("name", ["nomic-embed-text-v1", "", "my-bge-small-en-v1.5", "/"])
def test_another_model_is_not_mistaken_for_a_known_one(name):
    assert find_known(name) is None


def test_every_row_has_a_source_and_starts_with_its_full_width():
    for model in KNOWN_MODELS:
        assert model.source.startswith("https://")
        assert list(model.trained_dims) == sorted(set(model.trained_dims), reverse=True)
        assert not model.trained_dims or model.trained_dims[0] == model.full_dim


def test_names_are_unique():
    names = [name.lower() for model in KNOWN_MODELS for name in model.names]
    assert len(names) == len(set(names))
