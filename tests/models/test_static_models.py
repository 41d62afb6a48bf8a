import json
import os
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from nestvec.errors import DataError, InvalidArgument, ModelError
from nestvec.models import static
from nestvec.models.info import ModelOptions
from nestvec.models.static import StaticEncoder, is_static, save_static_model
from nestvec.types import Encoder

TEXTS = ["read a csv file into a table", "", "what is nested", "words unseen", "  a  a a\n"]


def load(folder):
    return StaticEncoder.load(folder, ModelOptions(folder.name))


def sentence_transformer(folder):
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(folder), device="cpu")


def reference(folder, prompt=""):
    return sentence_transformer(folder).encode(TEXTS, prompt=prompt, show_progress_bar=False)


def test_it_is_an_encoder(static_folder):
    encoder = load(static_folder)
    assert isinstance(encoder, Encoder)
    assert encoder.info.dims == (8, 4)
    assert encoder.info.dims_trained
    assert encoder.info.max_tokens is None


def test_an_embedding_is_the_mean_of_its_tokens_worked_by_hand(static_folder, table):
    got = load(static_folder).encode(["a csv a"], kind="document")
    np.testing.assert_allclose(got, (table[2] * 2 + table[3])[None] / 3, rtol=1e-6)


def test_it_equals_sentence_transformers(static_folder):
    got = load(static_folder).encode(TEXTS, kind="document")
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, reference(static_folder), atol=1e-5)


def test_it_equals_sentence_transformers_with_normalize(with_normalize):
    assert is_static(with_normalize)
    got = load(with_normalize).encode(TEXTS, kind="document")
    np.testing.assert_allclose(got, reference(with_normalize), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(got[0]), 1, rtol=1e-6)


def test_it_equals_sentence_transformers_where_the_tokenizer_cuts(static_folder, tokenizer):
    tokenizer.enable_truncation(3)
    tokenizer.save(str(static_folder / "tokenizer.json"))
    encoder = load(static_folder)
    np.testing.assert_allclose(
        encoder.encode(TEXTS, kind="query"), reference(static_folder), atol=1e-5
    )
    assert encoder.info.max_tokens == 3
    assert encoder.count_truncated([*TEXTS, "a a a"], kind="query") == 1


def test_prompts_go_before_the_texts_of_their_kind(static_folder):
    encoder = StaticEncoder.load(static_folder, ModelOptions("m", prompts={"query": "find: "}))
    expected = reference(static_folder, prompt="find: ")
    np.testing.assert_allclose(encoder.encode(TEXTS, kind="query"), expected, atol=1e-5)
    plain = encoder.encode(TEXTS, kind="document")
    np.testing.assert_allclose(plain, reference(static_folder), atol=1e-5)


def test_a_padding_tokenizer_does_not_dilute_the_mean(static_folder, tokenizer, table):
    tokenizer.enable_padding(length=16, pad_id=0)
    tokenizer.save(str(static_folder / "tokenizer.json"))
    got = load(static_folder).encode(["csv"], kind="document")
    np.testing.assert_allclose(got, table[[3]], rtol=1e-6)


def test_a_text_without_tokens_is_a_zero_vector(static_folder):
    assert not load(static_folder).encode(["", "  "], kind="document").any()
    assert load(static_folder).encode([], kind="document").shape == (0, 8)


def test_chunks_change_nothing_and_report_progress(static_folder, monkeypatch):
    expected = load(static_folder).encode(TEXTS, kind="document")
    monkeypatch.setattr(static, "CHUNK", 2)
    seen = []
    got = load(static_folder).encode(
        TEXTS, kind="document", on_progress=lambda done, total: seen.append((done, total))
    )
    np.testing.assert_array_equal(got, expected)
    assert seen == [(2, 5), (4, 5), (5, 5)]


def test_a_float16_table_gives_float32(static_folder, table):
    save_file({"embedding.weight": table.astype(np.float16)}, static_folder / "model.safetensors")
    assert is_static(static_folder)
    got = load(static_folder).encode(TEXTS[:1], kind="document")
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, reference(static_folder)[:1].astype(np.float32), atol=2e-3)


def test_the_module_may_lie_in_a_folder_of_its_own(static_folder):
    place = static_folder / "0_StaticEmbedding"
    place.mkdir()
    for name in ("tokenizer.json", "model.safetensors"):
        (static_folder / name).rename(place / name)
    text = (static_folder / "modules.json").read_text()
    (static_folder / "modules.json").write_text(
        text.replace('"path": ""', f'"path": "{place.name}"')
    )
    got = load(static_folder).encode(TEXTS, kind="document")
    np.testing.assert_allclose(got, reference(static_folder), atol=1e-5)


def test_saving_leaves_the_widths_where_vllm_reads_them(static_folder):
    assert json.loads((static_folder / "config.json").read_text())["matryoshka_dimensions"] == [
        8,
        4,
    ]


def test_sentence_transformers_saves_the_same_weights_again(static_folder, tmp_path, table):
    sentence_transformer(static_folder).save(str(tmp_path / "again"))
    assert is_static(tmp_path / "again")
    got = load_file(tmp_path / "again" / "model.safetensors")["embedding.weight"]
    np.testing.assert_array_equal(got, table)


def test_other_kinds_of_model_are_not_static(static_folder, table):
    save_file({"embeddings": table}, static_folder / "model.safetensors")  # model2vec's name
    assert not is_static(static_folder)
    text = (static_folder / "modules.json").read_text()
    (static_folder / "modules.json").write_text(text.replace("StaticEmbedding", "Transformer"))
    assert not is_static(static_folder)
    (static_folder / "modules.json").unlink()
    assert not is_static(static_folder)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("model.safetensors", "cannot be read"),
        ("tokenizer.json", "is not a tokenizer"),
        ("modules.json", "is not a list of modules"),
    ],
)
def test_a_damaged_file_is_one_clear_line(static_folder, name, message):
    file = static_folder / name
    file.write_bytes(file.read_bytes()[:20])
    with pytest.raises(ModelError, match=message) as raised:
        assert is_static(static_folder)
        load(static_folder)
    assert name in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_table_with_too_few_rows_raises(static_folder, table):
    save_file({"embedding.weight": table[:5]}, static_folder / "model.safetensors")
    with pytest.raises(ModelError, match="token id 10, but the table has 5 rows"):
        load(static_folder)


@pytest.mark.parametrize(
    ("dims", "spoil", "message"),
    [
        ((16,), lambda table: table, "dim=16 is not from 1 to full_dim=8"),
        ((8,), lambda table: table.astype(np.float64), "table is float64"),
        ((8,), lambda table: np.where(table > 1, np.nan, table), "NaN"),
    ],
)
def test_an_invalid_table_is_not_saved(tmp_path, tokenizer, table, dims, spoil, message):
    with pytest.raises(InvalidArgument, match=message):
        save_static_model(spoil(table), tokenizer, tmp_path / "m", matryoshka_dims=dims, extra={})
    assert not (tmp_path / "m").exists()


def test_a_folder_that_is_no_model_is_not_replaced(tmp_path, tokenizer, table):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(DataError, match=r"has no modules\.json"):
        save_static_model(table, tokenizer.to_str(), tmp_path, matryoshka_dims=(8,), extra={})
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_neither_torch_nor_sentence_transformers_is_loaded(static_folder):
    program = f"""
import sys
from nestvec.models.load import load_model
load_model({str(static_folder)!r}).encode(["read a csv file"], kind="query")
print(sorted({{"torch", "sentence_transformers", "transformers"}} & set(sys.modules)))
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.stdout == "[]\n", run.stderr


@pytest.mark.skipif(os.name == "nt", reason="Windows has other rights")
def test_who_may_read_the_folder_may_read_the_weights(static_folder):
    modes = {path.name: path.stat().st_mode for path in static_folder.iterdir()}
    assert modes["model.safetensors"] == modes["config.json"]


def test_a_text_alone_has_the_same_bits_as_in_a_batch(static_folder):
    model = load(static_folder)
    rng = np.random.default_rng(0)
    ids = [rng.integers(0, len(model.table), n).tolist() for n in (0, 1, 2, 7, 100, 600)]
    together = model.encode_tokens(ids)
    alone = np.concatenate([model.encode_tokens([each]) for each in ids])
    np.testing.assert_array_equal(alone, together)
