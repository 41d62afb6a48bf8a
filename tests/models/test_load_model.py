import json
import shutil

import huggingface_hub
import numpy as np
import pytest

from nestvec.errors import InvalidArgument, ModelError
from nestvec.models.device import available_devices
from nestvec.models.encoding import embed
from nestvec.models.load import load_model
from nestvec.models.precomputed import PrecomputedVectors, save_vectors
from nestvec.models.sentence_transformer import SentenceTransformerEncoder
from nestvec.models.static import StaticEncoder


class Broken:
    """An encoder whose answer is set by the test."""

    def __init__(self, info, answer):
        self.info = info
        self.answer = answer

    def encode(self, texts, *, kind, on_progress=None):
        return self.answer

    def count_truncated(self, texts, *, kind):
        return 0


@pytest.fixture
def vectors_folder(tmp_path):
    save_vectors(
        ["d1", "d2"], np.eye(2, 8, dtype=np.float32), tmp_path / "vectors", kind="document"
    )
    return tmp_path / "vectors"


def test_the_kind_of_encoder_follows_from_what_the_folder_holds(
    static_folder, vectors_folder, table
):
    from safetensors.numpy import save_file

    assert isinstance(load_model(static_folder), StaticEncoder)
    assert isinstance(load_model(str(vectors_folder)), PrecomputedVectors)
    save_file({"embeddings": table}, static_folder / "model.safetensors")  # as model2vec names it
    model = load_model(static_folder, device="cpu")
    assert isinstance(model, SentenceTransformerEncoder)
    np.testing.assert_allclose(model.encode(["csv"], kind="query"), table[[3]], rtol=1e-6)
    assert model.count_truncated(["csv"], kind="query") == 0


def test_widths_and_prompts_that_are_asked_for_come_first(static_folder):
    info = load_model(static_folder, dims=[2, 4], prompts={"query": "find: "}).info
    assert (info.dims, info.dims_source) == ((8, 4, 2), "requested")
    assert info.query_prompt == "find: "


@pytest.mark.parametrize("fixture", ["static_folder", "vectors_folder"])
def test_a_dim_above_full_dim_raises(request, fixture):
    with pytest.raises(InvalidArgument, match="dim=16 is larger than full_dim=8"):
        load_model(request.getfixturevalue(fixture), dims=[16])


def test_prompts_for_precomputed_vectors_raise(vectors_folder):
    with pytest.raises(InvalidArgument, match="prompts have no effect"):
        load_model(vectors_folder, prompts={"query": "q: "})


@pytest.mark.parametrize("name", ["/no/such/folder", "./model", "a/b/c", "~/none-of-it"])
def test_a_path_that_is_not_there_is_not_looked_for_on_the_hub(name):
    with pytest.raises(ModelError, match="no such folder"):
        load_model(name)


def test_a_file_and_a_folder_without_a_model_raise(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ModelError, match="is a file"):
        load_model(tmp_path / "notes.txt")
    with pytest.raises(ModelError, match="contains no model"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    ("name", "hub_id"),
    [
        ("owner/model", "owner/model"),
        ("some-model", "sentence-transformers/some-model"),
        ("bge-small-en-v1.5", "BAAI/bge-small-en-v1.5"),
    ],
)
def test_a_hub_that_cannot_be_reached_is_one_line_with_the_way_out(monkeypatch, name, hub_id):
    seen = []

    def fail(wanted, **options):
        seen.append(wanted)
        raise huggingface_hub.errors.LocalEntryNotFoundError("no network\nat all")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(ModelError, match="copy the model's folder here") as raised:
        load_model(name)
    assert str(raised.value).startswith(f"{name}: ")
    assert "\n" not in str(raised.value)
    assert seen == [hub_id]


def test_a_hub_model_is_described_as_the_same_folder_is(monkeypatch, static_folder, tmp_path):
    snapshot = shutil.copytree(static_folder, tmp_path / "snapshots" / "0abc")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: str(snapshot))
    hub, local = load_model("owner/static").info, load_model(static_folder).info
    assert hub.name == "owner/static"
    assert hub.fingerprint == local.fingerprint


def test_embed_encodes_texts_or_takes_vectors_by_id(static_folder, vectors_folder):
    model = load_model(static_folder)
    got = embed(model, ["d1"], ["a csv"], kind="document")
    np.testing.assert_array_equal(got, model.encode(["a csv"], kind="document"))
    got = embed(load_model(vectors_folder), ["d2"], ["whatever"], kind="document")
    np.testing.assert_array_equal(got, np.eye(2, 8, dtype=np.float32)[[1]])


def test_embed_refuses_what_an_encoder_should_not_give(static_folder):
    info = load_model(static_folder).info
    ids, texts = ["d1", "d2"], ["a", "b"]
    damaged = np.ones((2, 8))
    damaged[1, 3] = np.nan
    with pytest.raises(ModelError, match=r"NaN or infinite values for 1 of 2 .* 'd2'"):
        embed(Broken(info, damaged), ids, texts, kind="query")
    with pytest.raises(ModelError, match=r"shape \[2, 4\], not \[2, 8\]"):
        embed(Broken(info, np.ones((2, 4))), ids, texts, kind="query")
    with pytest.raises(InvalidArgument, match="1 ids for 2 texts"):
        embed(Broken(info, damaged), ids[:1], texts, kind="query")


@pytest.mark.parametrize("device", ["gpu", "cuda:99"])
def test_a_device_that_is_not_available_raises(bert_folder, tmp_path, device):
    for cache in (None, tmp_path):
        with pytest.raises(
            InvalidArgument, match=f"device='{device}' is not available. Avail.*cpu"
        ):
            load_model(bert_folder, device=device, cache=cache)


def test_an_available_device_is_used(bert_folder):
    assert load_model(bert_folder, device="cpu").library_model.device.type == "cpu"
    assert "cpu" in available_devices()


def test_a_device_and_a_dtype_without_effect_are_reported(static_folder, vectors_folder, caplog):
    reasons = {static_folder: "runs on the CPU", vectors_folder: "vectors are stored"}
    for folder, reason in reasons.items():
        caplog.clear()
        load_model(folder, device="cuda", dtype="bfloat16")
        device, dtype = (record.getMessage() for record in caplog.records)
        assert device.startswith(f"device='cuda' has no effect on {folder}.")
        assert dtype.startswith("dtype='bfloat16' has no effect on")
        assert reason in device
        caplog.clear()
        load_model(folder, device="cpu")
        assert not caplog.records


def test_models_of_many_vectors_are_refused(bert_folder, tmp_path):
    """The library would load them as plain transformers, and average the vectors of tokens."""
    refused = "returns a vector for each token .multi-vector, as ColBERT does.*Choose a model that"
    with pytest.raises(ModelError, match=refused):
        load_model("jinaai/jina-colbert-v2")  # before it is downloaded
    for name, architecture in (("jina-colbert-v2", "BertModel"), ("mine", "HF_ColBERT")):
        folder = shutil.copytree(bert_folder, tmp_path / name)
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "architectures": [architecture]}))
        (folder / "modules.json").unlink()
        with pytest.raises(ModelError, match=refused):
            load_model(folder)
