"""The table of known models, files of users, and the look-up by name."""

import datetime
import os
from dataclasses import fields
from importlib import resources

import pytest

from nestvec.errors import DataError
from nestvec.models.known import ROWS_FILE, closest_names, find_known, known_models
from nestvec.models.known_row import KnownModel, read_rows

MINIMAL = '[[model]]\nnames = ["my/model"]\nfull_dim = 512\n'


@pytest.fixture(autouse=True)
def no_file_of_the_developer(monkeypatch):
    monkeypatch.delenv("NESTVEC_MODELS", raising=False)


def rows_file(tmp_path, text, name="models.toml"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


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


def test_every_row_has_a_source_and_the_date_of_its_check():
    rows = known_models()
    assert len(rows) > 90
    for row in rows:
        assert row.source.startswith("https://"), row.name
        assert row.checked is not None, row.name
        assert datetime.date(2026, 1, 1) < row.checked < datetime.date(2036, 1, 1)
        assert not row.trained_dims or row.trained_dims[0] == row.full_dim
        assert not row.api or (row.license and not row.remote_code)


def test_the_table_is_part_of_the_package():
    assert (resources.files("nestvec.models") / ROWS_FILE).is_file()


@pytest.mark.parametrize(
    ("name", "trained"),
    [
        ("Qwen/Qwen3-Embedding-0.6B", "any from 32"),
        ("google/embeddinggemma-300m", "768,512,256,128"),
        ("gemini-embedding-2", "any from 128"),
        ("voyage-4-large", "2048,1024,512,256"),
        ("codefuse-ai/F2LLM-v2-4B", "not published"),
        ("BAAI/bge-m3", "not trained"),
        ("text-embedding-ada-002", "not trained"),
        ("NovaSearch/stella_en_400M_v5", "refused"),
    ],
)
def test_rows_state_how_a_model_was_trained_for_truncation(name, trained):
    row = find_known(name)
    found = ",".join(map(str, row.trained_dims)) or (
        f"any from {row.min_dim}" if row.min_dim else ""
    )
    if row.not_prefixes:
        found = "refused"
    assert (found or ("not published" if row.matryoshka else "not trained")) == trained


def test_models_of_one_space_are_named():
    names = {row.name for row in known_models() if row.space == "voyage-4"}
    assert names == {"voyage-4-large", "voyage-4", "voyage-4-lite", "voyageai/voyage-4-nano"}


def test_rows_of_a_file_take_precedence_and_are_read_again_when_the_file_changes(tmp_path):
    path = rows_file(
        tmp_path,
        '[[model]]\nnames = ["BAAI/bge-small-en-v1.5", "mine"]\nfull_dim = 384\n'
        'min_dim = 48\nquery_prompt = "q: "\n',
    )
    assert find_known("bge-small-en-v1.5", path).min_dim == 48
    assert find_known("x/mine", str(path)).query_prompt == "q: "
    assert find_known("bge-base-en-v1.5", path).full_dim == 768  # of the package
    assert find_known("bge-small-en-v1.5").min_dim is None
    path.write_text(MINIMAL, encoding="utf-8")
    os.utime(path, ns=(1, 1))
    assert find_known("mine", path) is None
    assert find_known("my/model", path).full_dim == 512


def test_the_environment_variable_names_a_file(tmp_path, monkeypatch):
    monkeypatch.setenv("NESTVEC_MODELS", str(rows_file(tmp_path, MINIMAL)))
    assert find_known("my/model").full_dim == 512
    assert find_known("my/model", ()) is None
    monkeypatch.setenv("NESTVEC_MODELS", str(tmp_path / "none.toml"))
    with pytest.raises(DataError, match=r"none\.toml: cannot be read \(No such file"):
        find_known("my/model")


def test_rows_can_be_passed_without_a_file():
    row = KnownModel(names=("bge-small-en-v1.5",), full_dim=384, trained_dims=(384, 64))
    assert find_known("bge-small-en-v1.5", [row]) is row


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "contains no table [[model]]"),
        ("model = 3", "contains no table [[model]]"),
        ("[[models]]\nfull_dim = 3", "has the key 'models'"),
        ("[[model]\n", "is not TOML"),
        ("[[model]]\nfull_dim = 3", "model 1: names is missing."),
        ("[[model]]\nnames = []\nfull_dim = 3", "model 1: names is missing."),
        ('[[model]]\nnames = ["m"]', "model 1 (m): full_dim is missing."),
        (MINIMAL + "trained_dim = [512]", "the key 'trained_dim' is unknown. Did you mean"),
        (MINIMAL + "zzz = 1", "the key 'zzz' is unknown. Known keys: names, full_dim"),
        (MINIMAL + "trained_dims = [512, 600]", "trained dim 600 is larger than full_dim = 512"),
        (MINIMAL + "trained_dims = [512, 64, 256]", "must begin with full_dim = 512 and decrease"),
        (MINIMAL + "trained_dims = [512, 64, 64]", "must begin with full_dim = 512 and decrease"),
        (MINIMAL + "trained_dims = [256, 64]", "must begin with full_dim = 512 and decrease"),
        (MINIMAL + "trained_dims = [512, true]", "trained_dims = [512, True] is not a list of"),
        (MINIMAL + "trained_dims = 512", "trained_dims = 512 is not a list of whole numbers"),
        (MINIMAL + "trained_dims = [512]\nmin_dim = 32", "both trained_dims and min_dim"),
        (MINIMAL + "min_dim = 512", "min_dim = 512 must be less than full_dim = 512"),
        (MINIMAL + "min_dim = 0", "min_dim = 0 is not a whole number above 0"),
        (MINIMAL + "min_dim = 32\nmatryoshka = false", "matryoshka = false contradicts"),
        (MINIMAL + 'min_dim = 32\nnot_prefixes = "heads"', "not_prefixes contradicts"),
        (MINIMAL + 'layer_norm = "yes"', "layer_norm = 'yes' is not true or false"),
        (MINIMAL + "query_prompt = 3", "query_prompt = 3 is not a string"),
        (
            MINIMAL + 'query_prompt = "q"\nquery_prompt_name = "query"',
            "both query_prompt and query_prompt_name",
        ),
        (MINIMAL + 'query_prompt = "q"\nprompts_refused = "no"', "contradicts the query prompt"),
        (MINIMAL + 'query_task = "retrieval"', "must be stated together"),
        (MINIMAL + 'refused_dtypes = ["fp16"]', "refused dtype 'fp16' is not one of float16"),
        (MINIMAL + 'source = "card"', "source = 'card' is not a URL"),
        (MINIMAL + 'checked = "2026"', "checked = '2026' is not a date such as"),
        (MINIMAL + '[[model]]\nnames = ["other/My_Model", "MODEL"]\nfull_dim = 8', "same name"),
    ],
)
def test_each_mistake_in_a_file_is_one_line(tmp_path, text, message):
    path = rows_file(tmp_path, text)
    with pytest.raises(DataError) as raised:
        read_rows(path)
    assert message in str(raised.value)
    assert str(raised.value).startswith(f"{path}: ")
    assert "\n" not in str(raised.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match=r"models\.toml: cannot be read"):
        find_known("x", tmp_path / "models.toml")


def test_every_key_is_read_from_a_file(tmp_path):
    keys = {
        "names": '["a/b"]',
        "full_dim": "64",
        "matryoshka": "true",
        "refused_dtypes": '["float16"]',
        "remote_code": "true",
        "api": "false",
        "layer_norm": "true",
        "checked": "2026-11-30",
        "source": '"https://example.org"',
    }
    row = read_rows(
        rows_file(
            tmp_path, "[[model]]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items())
        )
    )[0]
    assert row == KnownModel(
        names=("a/b",),
        full_dim=64,
        matryoshka=True,
        refused_dtypes=("float16",),
        remote_code=True,
        layer_norm=True,
        checked=datetime.date(2026, 11, 30),
        source="https://example.org",
    )
    assert keys.keys() <= {field.name for field in fields(KnownModel)}


@pytest.mark.parametrize(
    ("width", "expected"),
    [(3072, (3072, 1024, 256)), (1024, (1024, 256)), (256, (256,)), (512, None), (4000, None)],
)
def test_stored_vectors_can_be_a_trained_prefix_of_their_model(width, expected):
    row = find_known("text-embedding-3-large").truncated_to(width)
    assert (None if row is None else row.trained_dims) == expected


def test_a_range_contains_every_width_and_layer_norm_needs_the_full_width():
    ranged = find_known("Qwen/Qwen3-Embedding-4B").truncated_to(1000)
    assert (ranged.full_dim, ranged.min_dim) == (1000, 32)
    assert find_known("Qwen/Qwen3-Embedding-4B").truncated_to(31) is None
    assert find_known("nomic-embed-text-v1.5").truncated_to(256) is None


def test_similar_names_are_suggested():
    assert "google/embeddinggemma-300m" in closest_names("embeddinggemma")
    assert closest_names("qwen3-embedding-0.6")[0] == "Qwen/Qwen3-Embedding-0.6B"
    assert closest_names("zzzzzzzz") == []
