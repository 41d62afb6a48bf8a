"""Drift: a model that changed slightly, strongly or silently, and documents unlike earlier ones."""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import api_server
from api_server import running_api
from ended_commands import refused, run_in, well
from made_index import build
from nestvec.engines.registry import open_engine
from nestvec.errors import InvalidArgument
from nestvec.index.building import build_index
from nestvec.index.index import Index
from nestvec.models.load import load_model
from nestvec.models.precomputed import save_vectors
from nestvec.operate.check import CheckOptions, check_search
from nestvec.operate.check_report import CheckReport
from nestvec.operate.drift import MIN_COSINE, DriftOptions, check_calibration
from nestvec.operate.history import PastCheck
from nestvec.types import Document, ModelInfo, OperatingPoint
from word_model import WORDS, save_word_model

RNG = np.random.default_rng(7)
POINT = "16:binary@20>32:float16"
CORPUS = {f"d{n:02}": Document(" ".join(RNG.choice(WORDS[1:], 5))) for n in range(60)}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drift")
    save_word_model(folder / "model")
    build_index(load_model(folder / "model"), CORPUS, POINT, folder / "index").close()
    return folder


@pytest.fixture
def folder(built, tmp_path):
    """An index and its model, both moved together."""
    shutil.copytree(built, tmp_path / "place")
    shutil.rmtree(built / "model", ignore_errors=True)  # the index finds the moved model
    yield tmp_path / "place"
    shutil.copytree(tmp_path / "kept", built / "model")


@pytest.fixture(autouse=True)
def kept(built, tmp_path):
    shutil.copytree(built / "model", tmp_path / "kept")


def change_weights(model, noise):
    """Add noise to the weights: that of a fine-tuned model, or of another model."""
    (file,) = model.rglob("*.safetensors")
    tensors = load_file(file)
    (name,) = tensors
    table = tensors[name]
    rng = np.random.default_rng(3)
    changed = table + noise * table.std() * rng.standard_normal(table.shape)
    save_file({name: changed.astype(table.dtype)}, file)


def drift(folder, **options):
    options = CheckOptions(sampled=20, drift=DriftOptions(**options))
    return check_search(folder / "index", None, options)


def test_an_unchanged_model_returns_the_vectors_of_its_canaries(folder):
    report = drift(folder)
    found = report.canaries
    assert (found.texts, found.skipped, found.noted) == (32, "", "")
    assert found.lowest == pytest.approx(1, abs=1e-6)
    assert found.mean >= found.lowest
    assert report.passed


def test_a_slight_change_of_the_weights_passes_and_is_named(folder):
    change_weights(folder / "model", 0.01)
    report = drift(folder)
    assert MIN_COSINE < report.canaries.lowest < 1 - 1e-6
    assert report.passed
    assert "files have changed" in report.canaries.noted
    assert not drift(folder, min_cosine=1 - 1e-6).passed


def test_a_strong_change_of_the_weights_fails_with_the_cosine_of_numpy(folder):
    change_weights(folder / "model", 0.5)
    report = drift(folder)
    with Index.open(folder / "index") as index:
        canaries = index._engine.manifest.canaries
    now = load_model(folder / "model").encode(canaries.texts, kind="document")
    pairs = zip(now, canaries.vectors, strict=True)
    cosines = [one @ two / np.linalg.norm(one) / np.linalg.norm(two) for one, two in pairs]
    assert report.canaries.lowest == pytest.approx(min(cosines), abs=1e-6)
    assert report.canaries.mean == pytest.approx(np.mean(cosines), abs=1e-6)
    assert not report.passed
    assert "no longer returns the vectors" in report.failures[0]
    assert CheckReport.from_json(json.loads(json.dumps(report.to_json()))) == report
    sample = [line for line in report.to_prometheus().splitlines() if "canary_cosine{" in line]
    assert float(sample[0].split()[-1]) == report.canaries.lowest


def test_a_model_that_is_missing_or_not_wanted_passes_with_a_reason(folder):
    assert drift(folder, canaries=False).canaries.skipped == "not compared: --no-canaries"
    shutil.rmtree(folder / "model")
    found = drift(folder).canaries
    assert found.lowest is None
    assert found.passed
    assert "does not exist" in found.skipped
    ended = run_in(folder, "check", "index", "--canaries")
    assert ended.code == 2
    assert "does not exist" in ended.err


def test_a_limit_outside_its_range_is_refused():
    with pytest.raises(InvalidArgument, match=r"min_cosine=1\.2"):
        DriftOptions(min_cosine=1.2)


def test_the_command_prints_canaries_and_ends_with_1_after_a_change(folder):
    text = well(run_in(folder, "check", "index", "--sample", "20"))
    assert "canaries 32 texts of" in text
    assert "lowest cosine 1.0000, mean 1.0000 (limit 0.999)" in text
    text = well(run_in(folder, "index", "stats", "index"))
    assert "canaries 32 texts, encoded on 20" in text
    change_weights(folder / "model", 0.5)
    ended = run_in(folder, "check", "index", "--sample", "20", "--history", "past.jsonl")
    assert ended.code == 1
    assert "FAILED the lowest cosine of the canaries is" in " ".join(ended.out.split())
    again = run_in(folder, "check", "index", "--sample", "20", "--history", "past.jsonl")
    assert "canary cosine +0.0000" in again.out
    refused(run_in(folder, "index", "canaries", "index"), "contains vectors of")


def test_an_index_without_canaries_gets_some(folder):
    name = str(folder / "index")
    engine = open_engine(name)
    engine._record(canaries=None)  # as an earlier version wrote it
    engine.close()
    text = well(run_in(folder, "check", "index", "--sample", "20"))
    assert "canaries none are stored. Store some: nestvec index canaries index" in text
    (folder / "own.txt").write_text("w1 w2\nw3 w4\n")
    text = well(run_in(folder, "index", "canaries", "index", "--texts", "own.txt"))
    assert text.startswith("stored 2 canaries Next")
    ended = run_in(folder, "index", "canaries", "index", "--json")
    assert json.loads(ended.out)["texts"] == 32
    text = well(run_in(folder, "index", "canaries", "index"))
    assert "they replace those of 20" in text
    assert drift(folder).canaries.lowest == pytest.approx(1, abs=1e-6)


def test_a_history_of_an_earlier_version_is_read():
    values = {name: "" for name in ("checked_at", "place", "point", "width")}
    numbers = dict.fromkeys(("documents", "queries", "k", "overlap", "p50_ms"), 1)
    assert PastCheck(**values, **numbers, retention=None, passed=True).canary_cosine is None


def test_a_changed_model_of_documents_in_a_pair_is_found(folder):
    save_word_model(folder / "queries")
    pair = load_model(folder / "model", query_model=str(folder / "queries"), same_space=True)
    build_index(pair, CORPUS, POINT, folder / "index").close()
    assert drift(folder).canaries.lowest == pytest.approx(1, abs=1e-6)
    change_weights(folder / "model", 0.5)
    found = drift(folder).canaries
    assert found.lowest < 0.99
    assert "files have changed" in found.noted


def test_an_index_of_vectors_is_compared_when_its_model_is_recorded(folder):
    model = load_model(folder / "model")
    texts = [document.content for document in CORPUS.values()]
    made = model.encode(texts, kind="document")
    save_vectors(list(CORPUS), made, folder / "vectors", kind="document")
    build_index(load_model(folder / "vectors"), CORPUS, POINT, folder / "index").close()
    found = drift(folder).canaries
    assert (found.texts, found.lowest) == (32, None)
    assert "Record the model" in found.skipped
    with Index.open(folder / "index") as index:
        index.record_model(model)
    assert drift(folder).canaries.lowest == pytest.approx(1, abs=1e-6)


# API models


@pytest.fixture
def api(tmp_path, monkeypatch):
    monkeypatch.setenv("NESTVEC_CACHE", str(tmp_path / "cache"))
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "NESTVEC_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    with running_api() as server:
        model = load_model("openai:tiny", base_url=server.url, cache=True)
        build_index(model, CORPUS, "16:int8@20>64:float16", tmp_path / "index").close()
        server.received.clear()
        yield server


def change_api(monkeypatch, noise):
    before, rng = api_server.vector_of, np.random.default_rng(2)

    def vector_of(text, width=api_server.WIDTH):
        return (before(text, width) + noise * rng.standard_normal(width)).astype(np.float32)

    monkeypatch.setattr(api_server, "vector_of", vector_of)


def test_no_text_is_sent_to_an_api_without_the_option(api, tmp_path):
    found = drift(tmp_path).canaries
    assert api.received == []
    assert (found.lowest, found.passed) == (None, True)
    expected = "not compared. To send 32 texts to openai:tiny, add --canaries"
    assert found.skipped == expected


def test_an_api_model_that_changes_silently_is_found(api, tmp_path, monkeypatch):
    assert drift(tmp_path, canaries=True).canaries.lowest == pytest.approx(1, abs=1e-6)
    sent = [text for each in api.received for text in each.body["input"]]
    assert len(sent) == 32  # a cache would have answered
    change_api(monkeypatch, 1e-3)  # rounding of a server
    assert drift(tmp_path, canaries=True).passed
    change_api(monkeypatch, 0.3)
    report = drift(tmp_path, canaries=True)
    assert not report.passed
    assert report.canaries.lowest < 0.99
    ended = run_in(tmp_path, "index", "canaries", "index")
    assert ended.code == 2
    assert "did not make the vectors" in ended.err


def test_texts_go_to_no_other_server_than_the_recorded_one(api, tmp_path):
    from nestvec.index.model import IndexModel
    from nestvec.operate.drift import check_canaries

    engine = open_engine(str(tmp_path / "index"))
    with running_api() as other:
        model = IndexModel(engine, None)
        model._model = load_model("openai:tiny", base_url=other.url, cache=False)
        other.received.clear()
        found = check_canaries(engine, model, DriftOptions(canaries=None))
        assert found.lowest is None
        with pytest.raises(Exception, match="texts would be sent to"):
            check_canaries(engine, model, DriftOptions(canaries=True))
        assert other.received == []
    engine.close()


# The calibration

DIM = 32
MODEL = ModelInfo("models/any", "e" * 64, DIM, (DIM, 16), "config.json", True)


def coded(place, point):
    near = 0.05 * RNG.standard_normal((2_000, DIM)).astype(np.float32)
    near[:, 0] += 1  # nearly one direction
    corpus = {f"a{n:04}": Document(f"text {n}") for n in range(len(near))}
    build(place, model=MODEL, corpus=corpus, embeddings=near, point=OperatingPoint.parse(point))


def add_unlike(place, n):
    far = RNG.standard_normal((n, DIM)).astype(np.float32)  # all directions
    with Index.open(place) as index:
        index.add([f"z{number}" for number in range(n)], embeddings=far)


@pytest.mark.parametrize("point", ["32:int8", "32:int4@20>32:float16", "32:binary@50>32:float16"])
def test_documents_outside_of_the_calibration_are_counted_until_a_compaction(tmp_path, point):
    coded(tmp_path / "index", point)
    (before,) = calibration(tmp_path / "index").codecs
    add_unlike(tmp_path / "index", 150)  # fewer than 10 %: not calibrated again by itself
    after = calibration(tmp_path / "index")
    assert after.documents == 2_000
    assert after.added > 0.2
    assert after.codecs[0].outside > before.outside
    assert after.is_due
    with Index.open(tmp_path / "index") as index:
        index.compact()
    later = calibration(tmp_path / "index")
    assert later.added is None
    assert later.codecs[0].outside < after.codecs[0].outside


def calibration(place):
    engine = open_engine(str(place))
    try:
        return check_calibration(engine, engine.manifest.point, DriftOptions())
    finally:
        engine.close()


def test_the_share_outside_is_counted_by_hand(tmp_path):
    coded(tmp_path / "index", "32:int8")
    add_unlike(tmp_path / "index", 150)
    engine = open_engine(str(tmp_path / "index"))
    (codec,) = engine.manifest.codecs.values()
    low, high = codec.ranges
    ids = sorted(engine.ids())
    rows = np.sort(np.random.default_rng(0).permutation(len(ids))[:2_000])
    values = engine.vectors([ids[row] for row in rows])
    values = values / np.linalg.norm(values, axis=1, keepdims=True)
    engine.close()
    expected = ((values < low) | (values > high)).mean()
    assert calibration(tmp_path / "index").codecs[0].outside == pytest.approx(expected, rel=0.01)


def test_a_point_without_calibration_has_none(tmp_path):
    coded(tmp_path / "index", "16:float16@20>32:float16")
    assert calibration(tmp_path / "index") is None


def test_the_command_advises_a_compaction(tmp_path):
    coded(tmp_path / "index", "32:int8")
    add_unlike(tmp_path / "index", 150)
    text = well(run_in(tmp_path, "check", "index", "--sample", "20"))
    assert "codes values outside their calibration: 32:int8" in text
    assert "% of values added later" in text
    assert "try nestvec index compact index: more than 2" in text


# A score threshold by the command


def test_the_command_fits_a_threshold_to_labels(folder):
    texts = [document.content for document in CORPUS.values()][:30]
    rows = [{"id": f"q{n}", "text": text} for n, text in enumerate(texts)]
    (folder / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    lines = "".join(f"q{n}\td{n:02}\t1\n" for n in range(30))
    (folder / "qrels.tsv").write_text(f"query-id\tcorpus-id\tscore\n{lines}")
    command = ("check", "index", "--queries", "log.jsonl", "--qrels", "qrels.tsv", "--threshold")
    text = well(run_in(folder, *command))
    assert "precision 1.000" in text
    assert "Fitted on 300 results of 30 queries (k = 10), 30 of them relevant" in text
    ended = run_in(folder, *command, "--json")
    found = json.loads(ended.out)["threshold"]
    assert (found["precision"], found["recall"]) == (1, 1)
    with Index.open(folder / "index") as index:
        hits = index.search(texts, 10)
    others = max(score for scores in hits.scores for score in scores[1:])
    own = min(scores[0] for scores in hits.scores)  # a query is the text of its document
    assert found["threshold"] == pytest.approx((own + others) / 2, abs=1e-4)
    refused(run_in(folder, "check", "index", "--threshold"), "needs relevance labels")
