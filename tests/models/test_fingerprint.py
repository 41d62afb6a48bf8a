import json
import shutil

import pytest

from nestvec.errors import ModelError
from nestvec.models.fingerprint import fingerprint_folder

PROMPTS = {"query": "", "document": ""}


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "model"
    (folder / "1_Pooling").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "tokenizer.json").write_text("{}")
    (folder / "config.json").write_text(json.dumps({"hidden_size": 8}))
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode": "mean"}))
    return folder


def test_the_place_of_the_folder_does_not_matter(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "elsewhere" / "copy")
    assert fingerprint_folder(copy, PROMPTS) == fingerprint_folder(folder, PROMPTS)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("README.md", "a card"),
        ("picture.png", "x"),
        ("onnx/model.bin", "a copy"),
        (".git/config.json", "{}"),
        ("config_sentence_transformers.json", '{"__version__": {}}'),
        ("config.json", '{"matryoshka_dimensions": [8, 4], "hidden_size": 8}'),
    ],
)
def test_what_no_vector_depends_on_changes_nothing(folder, name, content):
    before = fingerprint_folder(folder, PROMPTS)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(content)
    assert fingerprint_folder(folder, PROMPTS) == before


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("model.safetensors", "other weights"),
        ("tokenizer.json", '{"truncation": null}'),
        ("config.json", '{"hidden_size": 16}'),
        ("1_Pooling/config.json", '{"pooling_mode": "cls"}'),
        ("2_Dense/model.safetensors", "one more layer"),
        ("modules.json", "[]"),
    ],
)
def test_what_vectors_depend_on_changes_it(folder, name, content):
    before = fingerprint_folder(folder, PROMPTS)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(content)
    assert fingerprint_folder(folder, PROMPTS) != before


def test_the_prompts_that_nestvec_applies_count(folder):
    other = {**PROMPTS, "query": "search_query: "}
    assert fingerprint_folder(folder, other) != fingerprint_folder(folder, PROMPTS)


def test_an_empty_folder_raises(tmp_path):
    with pytest.raises(ModelError, match="contains no model files"):
        fingerprint_folder(tmp_path, PROMPTS)
