"""Adapters applied to folders of vectors and models, or exported as a matrix."""

import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file
from tokenizers import Tokenizer, models, pre_tokenizers

from fakes import NestedHashEncoder
from nestvec.codec.prefix import prefix
from nestvec.errors import DataError, InvalidArgument, ModelError, ModelMismatch
from nestvec.models import adapter as adapter_module
from nestvec.models.adapted import AdaptedEncoder
from nestvec.models.adapter import Adapter, Head
from nestvec.models.load import load_model
from nestvec.models.precomputed import save_vectors
from nestvec.models.static import save_static_model
from nestvec.recipes import adapted_files
from nestvec.recipes.adapted_files import apply_adapter, save_matrix
from nestvec.recipes.adapting import fit_adapter
from task_model import TASKS, rows, write_task_model

RNG = np.random.default_rng(0)
MATRIX, OTHER = RNG.standard_normal((2, 8, 8)).astype(np.float32)
WORDS = ["[UNK]", "read", "a", "csv", "file", "into", "table"]
TEXTS = ["read a csv file", "table", "into a file"]


def adapter(documents=MATRIX, queries=None, *, method="linear", base=""):
    head = Head(documents)
    other = head if queries is None else Head(queries)
    return Adapter(method, (8, 4), base, "a model", False, head, other, 0)


@pytest.fixture
def vectors(tmp_path):
    folder = tmp_path / "vectors"
    folder.mkdir()
    for kind, n in (("document", 30), ("query", 5)):
        values = RNG.standard_normal((n, 8)).astype(np.float32)
        save_vectors([f"{kind}{i}" for i in range(n)], values, folder, kind=kind)
    return folder


@pytest.fixture
def static(tmp_path):
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    folder = tmp_path / "static"
    table = RNG.standard_normal((len(WORDS), 8)).astype(np.float32)
    save_static_model(table, tokenizer, folder, matryoshka_dims=(8,), extra={"own": 1})
    return folder


@pytest.mark.parametrize("queries", [None, OTHER], ids=["one head", "two heads"])
def test_a_folder_of_vectors_is_transformed_block_by_block(vectors, tmp_path, monkeypatch, queries):
    for module in (adapted_files, adapter_module):
        monkeypatch.setattr(module, "BLOCK", 7)
    fitted, seen = adapter(MATRIX, queries), []
    apply_adapter(fitted, vectors, tmp_path / "out", on_progress=lambda *now: seen.append(now))
    before, after = load_model(vectors), load_model(tmp_path / "out")
    for kind in ("document", "query"):
        assert after.ids(kind) == before.ids(kind)
        expected = fitted.apply(before.take(before.ids(kind), kind=kind), kind)
        np.testing.assert_allclose(after.take(after.ids(kind), kind=kind), expected, atol=1e-6)
    assert after.info.fingerprint != before.info.fingerprint
    assert seen[-1] == (35, 35)
    assert after.info.dims == (8, 4)


def test_only_an_adapted_folder_is_replaced(vectors, tmp_path):
    for _ in range(2):
        apply_adapter(adapter(), vectors, tmp_path / "out")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/file").touch()
    with pytest.raises(DataError, match="is not replaced"):
        apply_adapter(adapter(), vectors, tmp_path / "other")


@pytest.mark.parametrize("out", ["static", "static/new", "static/../static", "."])
def test_the_source_is_not_overwritten(static, tmp_path, out):
    before = {path: path.read_bytes() for path in static.iterdir() if path.is_file()}
    fitted = adapter(base=load_model(static).info.fingerprint)
    with pytest.raises(InvalidArgument, match="Choose another folder to write"):
        apply_adapter(fitted, static, tmp_path / out)
    assert {path: path.read_bytes() for path in static.iterdir()} == before


def test_ids_with_line_breaks_are_rejected_first(tmp_path):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    (tmp_path / "vectors").mkdir()
    table = arrow.table({"id": ["a", "b\nc"], "vector": MATRIX[:2].tolist()})
    parquet.write_table(table, tmp_path / "vectors/corpus.parquet")
    seen = []
    with pytest.raises(InvalidArgument, match=r"id 'b\\nc' is empty or has a line break"):
        apply_adapter(adapter(), tmp_path / "vectors", tmp_path / "out",
                      on_progress=lambda *now: seen.append(now))  # fmt: skip
    assert not seen


def test_an_interrupt_leaves_no_files(vectors, tmp_path):
    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        apply_adapter(adapter(), vectors, tmp_path / "out", on_progress=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["vectors"]


def test_the_table_of_a_static_model_is_multiplied(static, tmp_path):
    model = load_model(static)
    fitted = adapter(base=model.info.fingerprint)
    apply_adapter(fitted, static, tmp_path / "out")
    changed = load_model(tmp_path / "out")
    expected = prefix(fitted.apply(model.encode(TEXTS, kind="document"), "document"), 4)
    found = prefix(changed.encode(TEXTS, kind="document"), 4)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert changed.info.fingerprint != model.info.fingerprint
    assert changed.info.dims == (8, 4)
    config = json.loads((tmp_path / "out/config.json").read_text())
    assert config["own"] == 1
    assert config["nestvec"]["adapter"]["digest"] == fitted.digest()


def test_a_model_gets_two_layers_that_sentence_transformers_loads(static, tmp_path):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    modules = json.loads((static / "modules.json").read_text())
    kind = "sentence_transformers.models.Normalize"
    modules += [{"idx": i, "name": str(i), "path": f"{i}_Normalize", "type": kind} for i in (1, 2)]
    for module in modules[1:]:
        (static / module["path"]).mkdir()
    (static / "modules.json").write_text(json.dumps(modules))  # two: not read as a static table
    model = load_model(static)
    fitted = adapter(base=model.info.fingerprint)
    apply_adapter(fitted, static, tmp_path / "out")
    expected = prefix(fitted.apply(load_model(static).encode(TEXTS, kind="query"), "query"), 8)
    reference = sentence_transformers.SentenceTransformer(str(tmp_path / "out")).encode(TEXTS)
    actual = load_model(tmp_path / "out")
    np.testing.assert_allclose(reference, expected, atol=1e-5)
    np.testing.assert_allclose(actual.encode(TEXTS, kind="query"), expected, atol=1e-5)
    assert actual.info.dims == (8, 4)


@pytest.mark.parametrize("suffix", [".npy", ".safetensors"])
def test_the_matrix_is_exported(tmp_path, suffix):
    path = tmp_path / f"matrix{suffix}"
    save_matrix(adapter(), path)
    found = np.load(path) if suffix == ".npy" else load_file(path)["matrix"]
    np.testing.assert_array_equal(found, MATRIX)


def test_a_matrix_file_with_another_suffix_is_rejected(tmp_path):
    with pytest.raises(InvalidArgument, match=r"ending in \.npy or \.safetensors"):
        save_matrix(adapter(), tmp_path / "matrix.csv")


def test_two_heads_cannot_become_a_layer_of_a_model(static, tmp_path):
    base = load_model(static).info.fingerprint
    with pytest.raises(InvalidArgument, match="a separate head for queries"):
        apply_adapter(adapter(MATRIX, OTHER, base=base), static, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_another_model_or_width_is_rejected(static, vectors, tmp_path):
    with pytest.raises(ModelMismatch, match="is not the model that the adapter was fitted on"):
        apply_adapter(adapter(base="0" * 64), static, tmp_path / "out")
    narrow = adapter(MATRIX[:4, :4])
    with pytest.raises(ModelMismatch, match="has 8 dims, but the adapter is for 4"):
        apply_adapter(narrow, vectors, tmp_path / "out")


@pytest.mark.parametrize("kind", ["vectors", "static"])
def test_an_adapted_source_is_not_adapted_again(kind, request, tmp_path):
    source, out = request.getfixturevalue(kind), tmp_path / "out"
    apply_adapter(adapter(base=load_model(source).info.fingerprint), source, out)
    known = adapter(base=load_model(out).info.fingerprint)
    with pytest.raises(ModelMismatch, match="out is adapted already"):
        apply_adapter(known, out, tmp_path / "twice")
    with pytest.raises(ModelMismatch, match="out is adapted already"):
        fit_adapter(load_model(out), dims=(4,), method="svd")


def test_an_adapter_without_effect_is_not_applied(vectors, tmp_path):
    with pytest.raises(InvalidArgument, match="has method 'none' and no effect"):
        apply_adapter(adapter(np.eye(8, dtype=np.float32), method="none"), vectors, tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_a_layer_normalized_model_is_rejected(static, tmp_path, monkeypatch):
    loaded = load_model(static)
    loaded._info = replace(loaded.info, layer_norm=True)
    monkeypatch.setattr(adapted_files, "load_model", lambda *_, **__: loaded)
    fitted = replace(adapter(base=loaded.info.fingerprint), layer_norm=True)
    with pytest.raises(ModelError, match="layer-normalizes vectors before truncation"):
        apply_adapter(fitted, static, tmp_path / "out")


def test_an_adapted_encoder_returns_transformed_vectors(vectors):
    model = NestedHashEncoder()
    matrix, other = RNG.standard_normal((2, 64, 64)).astype(np.float32)
    fitted = adapter(matrix, other, base=model.info.fingerprint)
    adapted = AdaptedEncoder(model, fitted)
    for kind in ("document", "query"):
        expected = fitted.apply(model.encode(["one two"], kind=kind), kind)
        np.testing.assert_allclose(adapted.encode(["one two"], kind=kind), expected, rtol=1e-6)
    assert adapted.info.adapter == fitted.digest()
    with pytest.raises(ModelMismatch, match="Transform them"):
        AdaptedEncoder(load_model(vectors), adapter())


def test_tasks_that_only_the_table_knows_are_saved_with_an_adapter(bert_folder, tmp_path, caplog):
    folder, out = write_task_model(bert_folder, tmp_path / "base"), tmp_path / "out"
    known = rows(folder, 64, **TASKS)
    model = load_model(folder, models=known, trust_remote_code=True)
    matrix, *_ = np.linalg.qr(np.random.default_rng(0).standard_normal((64, 64)))
    rotation = adapter(matrix.astype(np.float32), base=model.info.fingerprint)
    apply_adapter(rotation, folder, out, models=known, trust_remote_code=True)
    caplog.clear()
    adapted = load_model(out, trust_remote_code=True)
    assert not caplog.records
    assert (adapted.info.query_task, adapted.info.document_task) == tuple(TASKS.values())
    for kind in ("query", "document"):
        expected = rotation.apply(model.encode(["find a table"], kind=kind), kind)
        found = adapted.encode(["find a table"], kind=kind)
        np.testing.assert_allclose(found, expected, atol=1e-4)
