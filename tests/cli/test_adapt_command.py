"""``nestvec adapt``, ``apply`` and ``index adapt``: what is printed, written and refused."""

import json
from pathlib import Path

import numpy as np
import pytest

from ended_commands import refused, well
from nestvec.adapt import fitting
from nestvec.index.index import Index
from nestvec.models.adapter import Adapter, Head
from nestvec.models.adapter_file import load_adapter, save_adapter
from nestvec.models.load import load_model
from nestvec.models.precomputed import save_vectors

WIDTH, N = 16, 300


@pytest.fixture
def vectors(place):
    """A folder of vectors whose order is spread over all dims, texts and labels beside it."""
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.standard_normal((WIDTH, WIDTH)))[0]
    spread = 0.7 ** np.arange(WIDTH)
    documents = rng.standard_normal((N, WIDTH)) * spread @ turn
    queries = documents[:120] + 0.2 * rng.standard_normal((120, WIDTH)) * spread @ turn
    folder = place / "vectors"
    folder.mkdir()
    for kind, values in (("document", documents), ("query", queries)):
        ids = [f"{kind[0]}{row}" for row in range(len(values))]
        save_vectors(ids, values.astype(np.float32), folder, kind=kind)
    set_ = place / "judged"
    (set_ / "qrels").mkdir(parents=True)
    for name, n, letter in (("corpus", N, "d"), ("queries", 120, "q")):
        rows = (json.dumps({"_id": f"{letter}{row}", "text": f"t{row}"}) for row in range(n))
        (set_ / f"{name}.jsonl").write_text("".join(row + "\n" for row in rows))
    lines = "".join(f"q{row}\td{row}\t1\n" for row in range(120))
    (set_ / "qrels/train.tsv").write_text("query-id\tcorpus-id\tscore\n" + lines)
    return folder


def test_vectors_are_adapted_applied_and_measured(nestvec, place, vectors):
    said = well(nestvec("adapt", "vectors", "--dims", "8,4", "--method", "svd", "--out", "a.st"))
    assert "nearest@10 16 8 4 dims truncated 1.000" in said
    assert "measured on held-out data: 60 queries, 60 documents" in said
    assert "chosen: svd, fitted on 240 documents in" in said
    assert "nestvec apply a.st vectors --out adapted" in said
    said = well(nestvec("apply", "a.st", "vectors", "--out", "adapted"))
    assert said.startswith(
        "420 vectors transformed by svd, written to adapted Next nestvec evaluate"
    )
    adapter, before, after = load_adapter(place / "a.st"), load_model(vectors), load_model(
        place / "adapted"
    )  # fmt: skip
    turned = adapter.apply(before.take(["d7"], kind="document"), "document")
    np.testing.assert_allclose(after.take(["d7"], kind="document"), turned, atol=1e-6)
    ended = nestvec("evaluate", "adapted", "judged", "--split", "train",
                    "--precisions", "float32", "--keeps", "10", "--out", "new.json")  # fmt: skip
    assert ended.code == 0, ended.err


def test_a_model_is_turned(nestvec, place):
    info = load_model(place / "model").info
    head = Head(np.eye(info.full_dim, dtype=np.float32))
    adapter = Adapter("svd", info.dims, info.fingerprint, info.name, False, head, head, 0)
    save_adapter(adapter, place / "a.st")
    said = well(nestvec("apply", "a.st", "model", "--out", "turned"))
    assert said.startswith(
        "model transformed by svd, written to turned Next nestvec evaluate turned"
    )


def test_labels_are_measured_by(nestvec, vectors):
    ended = nestvec("adapt", "vectors", "--qrels", "judged", "--dims", "4", "--method", "whiten")
    assert ended.code == 0
    assert "ndcg@10" in ended.out
    assert "nearest" not in ended.out
    assert (
        ended.err
        == "nestvec: whiten is not significantly better than truncation on held-out vectors\n"
    )


def test_nothing_is_changed_where_nothing_helps(nestvec, place, vectors):
    noise = np.random.default_rng(1).standard_normal((N, WIDTH)).astype(np.float32)
    save_vectors([f"d{row}" for row in range(N)], noise, vectors, kind="document")
    (vectors / "queries.npy").unlink()
    (vectors / "queries.ids.txt").unlink()
    said = well(nestvec("adapt", "vectors", "--dims", "8", "--steps", "2"))
    assert "no method is significantly better than truncation (95 %): the adapter changes" in said
    assert load_adapter(place / "adapter.safetensors").method == "none"


def test_the_matrix_alone(nestvec, place, vectors):
    well(nestvec("adapt", "vectors", "--dims", "4", "--method", "svd"))
    well(nestvec("apply", "adapter.safetensors", "--out", "matrix.npy"))
    assert np.load(place / "matrix.npy").shape == (WIDTH, WIDTH)
    refused(nestvec("apply", "adapter.safetensors"), "no source is given. Name a source, or")


def test_an_index_is_adapted_and_put_back(nestvec, place, vectors):
    ended = nestvec("index", "build", "vectors", "judged", "--point", "16:int8", "--out", "own")
    assert ended.code == 0, ended.err
    well(nestvec("adapt", "vectors", "--dims", "4", "--method", "svd"))
    said = well(nestvec("index", "adapt", "own", "adapter.safetensors",
                        "--point", "4:int8@20>16:int8"))  # fmt: skip
    assert "300 documents at 4:int8@20>16:int8" in said
    assert "previous index: own.unadapted (restore it with: nestvec index adapt own --undo)" in said
    assert said.endswith('Next nestvec search own "your question"')
    queries = load_model(vectors).take(["d7", "d9"], kind="document")
    with Index.open(place / "own") as index:
        assert [ids[0] for ids in index.search(queries, 1).ids] == ["d7", "d9"]
    assert "300 documents at 16:int8" in well(nestvec("index", "adapt", "own", "--undo"))


def rewrite(file, change):
    """Put changed vectors in the place of those of a file."""
    np.save(file, change(np.load(file)))


def spoilt(vectors):
    vectors[7, 3] = np.nan
    return vectors


@pytest.mark.parametrize(
    ("stem", "change", "message"),
    [
        (
            "queries",
            lambda all_: all_[:, :8],
            "different dims (corpus 16, queries 8)",
        ),
        (
            "corpus",
            spoilt,
            "the vector of id 'd7' (row 7) has NaN or infinite values. Encode the text",
        ),
        (
            "queries",
            spoilt,
            "the vector of id 'q7' (row 7) has NaN or infinite values. Encode the text",
        ),
        (
            "corpus",
            lambda all_: all_[np.arange(N) % 100],
            "200 of 300 vectors are duplicates",
        ),
        (
            "corpus",
            lambda all_: all_ * 0,
            "is all zeros, so it has no direction. Encode the text again",
        ),
    ],
    ids=["mixed widths", "NaN", "NaN in a query", "duplicates", "zeros"],
)
def test_vectors_that_cannot_be_fitted_on_are_one_line(nestvec, vectors, stem, change, message):
    rewrite(vectors / f"{stem}.npy", change)
    refused(nestvec("adapt", "vectors"), message)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("q1\tno-such\t1\n", "train.tsv:122: names the unknown document 'no-such'. Correct or"),
        ("no-such\td1\t1\n", "train.tsv:122: names the unknown query 'no-such'. Correct or"),
    ],
)
def test_labels_of_unknown_ids_are_one_line(nestvec, place, vectors, line, message):
    with (place / "judged/qrels/train.tsv").open("a") as file:
        file.write(line)
    refused(nestvec("adapt", "vectors", "--qrels", "judged"), message)


def stop(*_, **__):
    raise KeyboardInterrupt


def half(path, content):
    with path.open("wb") as file:
        file.write(content[: len(content) // 2])
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("owner", "name", "instead"),
    [(fitting, "train_heads", stop), (Path, "write_bytes", half)],
    ids=["in training", "in writing"],
)
def test_an_interrupted_fit_leaves_nothing(
    nestvec, place, vectors, monkeypatch, owner, name, instead
):
    (place / "before.st").write_text("an older adapter")
    before = sorted(place.iterdir())
    monkeypatch.setattr(owner, name, instead)
    for out in ("before.st", "new.st"):
        ended = nestvec("adapt", "vectors", "--method", "linear", "--steps", "1", "--out", out)
        assert ended.code == 130
        assert ended.err.endswith("nestvec: interrupted. Existing files are unchanged.\n")
    assert sorted(place.iterdir()) == before
    assert (place / "before.st").read_text() == "an older adapter"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["adapt", "vectors", "--dims", "17"], "dim 17 is not within 1 and full_dim 16"),
        (
            ["adapt", "vectors", "--sample", "63"],
            "sample=63 is less than 64, the minimum for 16 dims",
        ),
        (["adapt", "vectors", "--seed", "-1"], "greater than or equal to 0"),
        (["adapt", "vectors", "--method", "magic"], "method='magic' is not one of svd, whiten"),
        (
            ["adapt", "vectors", "judged", "--qrels", "judged"],
            "CORPUS, --pairs and --qrels exclude",
        ),
        (["adapt", "model"], "needs texts to encode. Pass a corpus"),
        (["adapt", "model", "data"], "60 nonzero vectors: an adapter for 32 dims needs"),
        (["adapt", "vectors", "--qrels", "data"], "have no vector, the first is"),
        (["apply", "vectors/corpus.npy", "vectors"], "cannot be read as an adapter"),
        (["index", "adapt", "index"], "no adapter is given. Name an"),
        (["index", "adapt", "x", "--undo", "--point", "8:int8"], "Leave --point 8:int8 out."),
        (["index", "adapt", "index", "--undo"], "its backup index.unadapted does not exist"),
    ],
)
def test_bad_input_is_one_line(nestvec, place, vectors, arguments, message):
    before = sorted(path.name for path in place.iterdir())
    refused(nestvec(*arguments), message)
    assert sorted(path.name for path in place.iterdir()) == before
