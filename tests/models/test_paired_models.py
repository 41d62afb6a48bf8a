"""Two models of one space: documents by one, queries by the other."""

import json
from dataclasses import replace

import numpy as np
import pytest

from fakes import NestedHashEncoder, fake_info
from nestvec.errors import DataError, InvalidArgument, ModelError, ModelMismatch
from nestvec.models import sharing
from nestvec.models.adapted import AdaptedEncoder, uncached
from nestvec.models.adapter import Adapter, Head, adapted_info
from nestvec.models.differences import differences, same_model
from nestvec.models.encoding import embed, embed_timed
from nestvec.models.known_row import KnownModel
from nestvec.models.load import load_model
from nestvec.models.paired import PairedEncoder, encoded_kinds
from nestvec.models.precomputed import save_vectors
from nestvec.types import ModelInfo
from pairs import save_model, save_pair

TEXTS = ["read a csv file", "open socket"]
LARGE, NANO = fake_info(), fake_info(name="fake/nano", fingerprint="e" * 64)


def pair_of(documents=LARGE, queries=NANO):
    return PairedEncoder(NestedHashEncoder(documents), NestedHashEncoder(queries))


@pytest.fixture
def folders(tmp_path):
    return save_pair(tmp_path)


@pytest.fixture
def vectors(tmp_path, folders):
    """A folder of document vectors that records no model."""
    folder = tmp_path / "vectors"
    folder.mkdir()
    model = load_model(folders[0])
    save_vectors(["a", "b"], model.encode(TEXTS, kind="document"), folder, kind="document")
    return folder


def test_each_kind_of_text_is_encoded_by_its_model(folders):
    large, nano = (load_model(each) for each in folders)
    pair = load_model(folders[0], query_model=folders[1], same_space=True)
    for kind, model in (("document", large), ("query", nano)):
        np.testing.assert_array_equal(pair.encode(TEXTS, kind=kind), model.encode(TEXTS, kind=kind))
        np.testing.assert_array_equal(
            embed_timed(pair, ["a", "b"], TEXTS, kind=kind)[0], model.encode(TEXTS, kind=kind)
        )
    assert not np.array_equal(pair.encode_query(TEXTS), pair.encode_document(TEXTS))


def test_the_info_names_both_models_and_differs_from_both(folders):
    large, nano = (load_model(each).info for each in folders)
    info = load_model(folders[0], query_model=folders[1], same_space=True).info
    assert (info.name, info.query_model) == (large.name, nano)
    assert info.document_fingerprint == large.fingerprint
    assert len({info.fingerprint, large.fingerprint, nano.fingerprint}) == 3
    assert ModelInfo.from_json(json.loads(json.dumps(info.to_json()))) == info
    assert f"queries by {nano.name}" in info.identity


def test_each_prompt_belongs_to_its_model(folders):
    prompts = {"query": "find ", "document": "read "}
    pair = load_model(folders[0], query_model=folders[1], same_space=True, prompts=prompts)
    assert pair.info.prompts == prompts
    large = load_model(folders[0], prompts={"document": "read "})
    nano = load_model(folders[1], prompts={"query": "find "})
    np.testing.assert_array_equal(pair.encode_document(TEXTS), large.encode_document(TEXTS))
    np.testing.assert_array_equal(pair.encode_query(TEXTS), nano.encode_query(TEXTS))
    assert pair.info.query_model.fingerprint == nano.info.fingerprint


def test_models_that_are_not_known_to_share_a_space_are_refused(folders):
    with pytest.raises(ModelMismatch, match=r"not known to share a space.*--same-space") as raised:
        load_model(folders[0], query_model=folders[1])
    assert all(str(each) in str(raised.value) for each in folders)
    with pytest.raises(InvalidArgument, match="no effect without query_model"):
        load_model(folders[0], same_space=True)


@pytest.mark.parametrize(
    ("spaces", "allowed"),
    [(("family", "family"), True), (("family", "another"), False), (("", ""), False)],
)
def test_a_family_in_the_table_of_known_models_is_allowed(folders, spaces, allowed):
    rows = [
        KnownModel((f"makers/{folder.name}",), 32, trained_dims=(32, 16, 8), space=space)
        for folder, space in zip(folders, spaces, strict=True)
    ]
    if allowed:
        found = load_model(folders[0], query_model=folders[1], models=rows)
        assert found.info.query_model is not None
    else:
        with pytest.raises(ModelMismatch, match="not known to share"):
            load_model(folders[0], query_model=folders[1], models=rows)


def test_the_models_of_voyage_4_share_a_space():
    infos = [
        fake_info(name=name)
        for name in ("voyage:voyage-4-large", "models/voyage-4-nano", "voyage-3-large")
    ]
    assert sharing.share_space(infos[0], infos[1])
    proxied = fake_info(name="voyage:voyage-4-large@https://proxy.example.com/v1")
    assert sharing.share_space(proxied, infos[1])
    assert not sharing.share_space(infos[0], infos[2])


def test_the_same_model_twice_is_no_pair(folders):
    model = load_model(folders[0], query_model=folders[0])
    assert model.info == load_model(folders[0]).info


def test_equal_weights_with_other_prompts_share_a_space(folders):
    pair = load_model(folders[0], query_model=folders[0], prompts={"query": "find "})
    assert pair.info.prompts == {"query": "find ", "document": ""}


@pytest.mark.parametrize(
    ("queries", "error", "words"),
    [
        ({"full_dim": 32}, ModelMismatch, "64 dims, but the query model fake/nano has 32 dims"),
        ({"layer_norm": True, "weights": "x"}, ModelMismatch, "requires layer normalization"),
        ({"adapter": "a" * 64}, InvalidArgument, "fake/nano has an adapter"),
        ({"query_model": LARGE}, InvalidArgument, "fake/nano is a pair of models"),
    ],
)
def test_models_that_cannot_be_paired_are_refused(queries, error, words):
    with pytest.raises(error, match=words):
        pair_of(replace(LARGE, weights="w"), replace(NANO, **queries))


def test_stored_vectors_cannot_encode_queries(folders, vectors):
    with pytest.raises(InvalidArgument, match="contains vectors, so it cannot encode queries"):
        load_model(folders[0], query_model=vectors, same_space=True)


@pytest.mark.parametrize(
    ("documents", "queries", "dims", "trained", "min_dim"),
    [
        ({}, {}, (64, 32, 16), True, None),
        ({}, {"dims": (64, 32, 8)}, (64, 32), True, None),
        ({"min_dim": 16}, {"min_dim": 24, "dims": (64, 32)}, (64, 32), True, 24),
        ({"min_dim": 16}, {"dims": (64, 20)}, (64, 20), True, None),
        ({}, {"dims": (64, 32), "dims_trained": False}, (64, 32), False, None),
        ({"dims_source": "requested"}, {"dims": (64, 32)}, (64, 32, 16), False, None),
    ],
)
def test_a_pair_is_trained_for_the_dims_of_both_models(documents, queries, dims, trained, min_dim):
    info = pair_of(replace(LARGE, **documents), replace(NANO, **queries)).info
    assert (info.dims, info.dims_trained, info.min_dim) == (dims, trained, min_dim)


def test_differences_name_the_query_model():
    pair, other = (pair_of(queries=each).info for each in (NANO, replace(NANO, fingerprint="a")))
    assert "query model (fake/nano (eeeeeeeeeeee) in the plan, none with the model)" in differences(
        pair, LARGE, "plan"
    )
    assert not same_model(pair, other)
    assert "query model (fake/nano (eeeeeeeeeeee) in the plan, fake/nano (a)" in differences(
        pair, other, "plan"
    )


def test_an_adapter_of_a_pair_changes_both_fingerprints():
    info = pair_of().info
    head = Head(np.eye(64, dtype=np.float32))
    adapter = Adapter("linear", (16,), info.fingerprint, info.name, False, head, head, 0)
    adapted = adapted_info(info, adapter)
    alone = adapted_info(LARGE, replace(adapter, base=""))
    assert adapted.document_fingerprint == alone.fingerprint
    assert adapted.fingerprint not in (info.fingerprint, alone.fingerprint)
    with pytest.raises(ModelMismatch, match="with queries by fake/nano is not the model"):
        adapted_info(info, replace(adapter, base=LARGE.fingerprint))


def test_the_cache_is_removed_from_both_models():
    pair = uncached(pair_of())
    assert isinstance(pair, PairedEncoder)
    assert pair.info == pair_of().info


# Documents that are stored vectors


def test_stored_documents_are_looked_up_and_queries_are_encoded(vectors, folders):
    large, nano = (load_model(each) for each in folders)
    pair = load_model(vectors, query_model=folders[1], same_space=True)
    np.testing.assert_array_equal(
        embed(pair, ["b"], ["?"], kind="document"), large.encode(TEXTS[1:], kind="document")
    )
    np.testing.assert_array_equal(
        embed(pair, ["q"], TEXTS[:1], kind="query"), nano.encode(TEXTS[:1], kind="query")
    )
    assert encoded_kinds(pair) == ("query",)
    with pytest.raises(ModelError, match="cannot encode texts"):
        pair.encode(TEXTS, kind="document")


def test_the_fingerprint_of_stored_documents_does_not_change(vectors, folders):
    alone = load_model(vectors).info
    info = load_model(vectors, query_model=folders[1], same_space=True).info
    assert info.fingerprint == alone.fingerprint
    assert info.query_model == load_model(folders[1]).info
    assert (info.dims, info.dims_trained) == ((32, 16, 8), True)  # those of the query model
    other = load_model(vectors, query_model=folders[0], same_space=True).info
    assert not same_model(info, other)
    assert same_model(info, alone)


def test_an_unknown_model_of_stored_documents_is_reported(vectors, folders, caplog):
    load_model(vectors, query_model=folders[1])
    (message,) = caplog.messages
    assert "does not record the model of its vectors" in message
    caplog.clear()
    load_model(vectors, query_model=folders[1], same_space=True)
    assert caplog.messages == []


def test_the_recorded_model_of_stored_documents_is_compared(vectors, folders, caplog):
    (vectors / "vectors.json").write_text(json.dumps({"version": 1, "model": "makers/large"}))
    with pytest.raises(ModelMismatch, match=r"makers/large, the model of .*vectors,"):
        load_model(vectors, query_model=folders[1])
    load_model(vectors, query_model=folders[0])  # the same name
    load_model(vectors, query_model=folders[1], same_space=True)
    assert caplog.messages == []
    (vectors / "vectors.json").write_text("[]")
    with pytest.raises(DataError, match=r"vectors\.json"):
        load_model(vectors, query_model=folders[1])


def test_stored_queries_that_are_not_used_are_named(vectors, folders, caplog):
    found = load_model(folders[0]).encode(TEXTS, kind="query")
    save_vectors(["p", "q"], found, vectors, kind="query")
    load_model(vectors, query_model=folders[1], same_space=True)
    assert "the stored queries of" in caplog.text


def test_adapted_vectors_are_refused(vectors, folders):
    (vectors / "config.json").write_text(json.dumps({"nestvec": {"adapter": "a" * 64}}))
    with pytest.raises(ModelMismatch, match="is adapted already"):
        load_model(vectors, query_model=folders[1], same_space=True)


def test_an_adapter_at_load_time_is_refused_for_stored_documents(vectors, folders):
    pair = load_model(vectors, query_model=folders[1], same_space=True)
    head = Head(np.eye(32, dtype=np.float32))
    with pytest.raises(ModelMismatch, match="nestvec index adapt"):
        AdaptedEncoder(pair, Adapter("linear", (16,), "", "", False, head, head, 0))


def test_another_width_of_stored_documents_is_one_clear_error(vectors, tmp_path):
    narrow = save_model(tmp_path / "narrow", dims=(16, 8))
    with pytest.raises(ModelMismatch, match=r"has 32 dims, but the query model .* has 16 dims"):
        load_model(vectors, query_model=narrow, same_space=True)
