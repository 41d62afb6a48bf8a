"""The model of stored vectors: stated, recorded or named by the folder."""

import json

import numpy as np
import pytest

from nestvec.codec.arrays import as_embeddings
from nestvec.errors import DataError, InvalidArgument
from nestvec.models.load import load_model
from nestvec.models.precomputed import save_vectors
from nestvec.recipes.adapting import fit_adapter
from nestvec.types import ModelInfo

OPENAI = "text-embedding-3-large"


def vectors(folder, width, n=2, **options):
    rng = np.random.default_rng(0)
    ids = [f"d{i}" for i in range(n)]
    values = as_embeddings(rng.standard_normal((n, width), dtype=np.float32))
    save_vectors(ids, values, folder, kind="document", **options)
    return folder


def test_a_recorded_model_states_the_trained_dims(tmp_path, caplog):
    folder = vectors(tmp_path / "v", 3072, model=OPENAI)
    assert json.loads((folder / "vectors.json").read_text()) == {"version": 1, "model": OPENAI}
    model = load_model(folder)
    assert (model.info.dims, model.info.dims_trained) == ((3072, 1024, 256), True)
    assert model.info.matryoshka
    assert (model.model_name, model.info.name) == (OPENAI, str(folder))
    assert not caplog.records


def test_a_stated_model_is_used_for_vectors_without_a_record(tmp_path):
    folder = vectors(tmp_path / "v", 1000)
    assert not load_model(folder).info.matryoshka
    info = load_model(folder, model="Qwen/Qwen3-Embedding-4B").info
    assert (info.min_dim, info.matryoshka) == (32, True)
    assert info.dims == (1000, 500, 250, 125, 62)
    assert info.is_trained_for(300) and not info.is_trained_for(31)


def test_a_contradiction_and_an_unknown_name_are_reported(tmp_path, caplog):
    folder = vectors(tmp_path / "v", 1024, model=OPENAI)
    load_model(folder, model="jina-embeddings-v3")
    (record,) = caplog.records
    assert f"are of the model {OPENAI}. The stated model jina-embeddings-v3" in record.getMessage()
    caplog.clear()
    load_model(vectors(tmp_path / "w", 8), model="voyage-4-larg")
    (record,) = caplog.records
    assert "voyage-4-larg is not a known model" in record.getMessage()
    assert "voyage-4-large" in record.getMessage()


def test_vectors_of_another_width_than_the_model_are_reported(tmp_path, caplog):
    info = load_model(vectors(tmp_path / "v", 100), model=OPENAI).info
    assert not info.matryoshka
    (record,) = caplog.records
    assert "vectors of 100 dims, but the known model text-embedding-3-large has 3072" in (
        record.getMessage()
    )


def test_two_models_in_one_folder_and_a_damaged_record_are_refused(tmp_path):
    folder = vectors(tmp_path / "v", 8, model="one")
    with pytest.raises(InvalidArgument, match="records vectors of one, not of two"):
        vectors(folder, 8, model="two")
    (folder / "vectors.json").write_text('{"version": 1}')
    with pytest.raises(DataError, match=r"vectors\.json: has no name of a model"):
        load_model(folder)


def test_a_model_folder_refuses_the_name_of_a_model(static_folder):
    with pytest.raises(InvalidArgument, match="is a model, so model='x' has no effect"):
        load_model(static_folder, model="x")


def test_adapters_need_labels_for_vectors_of_a_matryoshka_model(tmp_path, caplog):
    folder = vectors(tmp_path / "v", 256, n=1100)
    free = fit_adapter(load_model(folder), method="svd", dims=[64])
    assert (free.method, free.base_name) == ("svd", str(folder))
    caplog.clear()
    adapter = fit_adapter(load_model(folder, model=OPENAI), dims=[64])
    assert (adapter.method, adapter.base_name) == ("none", OPENAI)
    assert any("was trained with Matryoshka" in each.getMessage() for each in caplog.records)
    assert sorted(path.name for path in folder.iterdir()) == ["corpus.ids.txt", "corpus.npy"]


def test_requested_dims_do_not_hide_the_training(tmp_path):
    folder = vectors(tmp_path / OPENAI, 3072)
    info = load_model(folder, dims=[100]).info
    assert (info.dims_trained, info.matryoshka) == (False, True)
    assert ModelInfo.from_json(info.to_json()) == info
