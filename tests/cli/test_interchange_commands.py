"""Commands that exchange data with other programs: hub sets, runs of other systems, results."""

import json

import pyarrow as pa
import pytest
from pyarrow import parquet

from nestvec.data.retrieval import load_dataset

datasets = pytest.importorskip("datasets")

ONE = ("--precisions", "float32", "--out", "new.json")


def printed(ended):
    assert ended.code == 0, ended.err
    return " ".join(ended.out.split())


def write_hub_folder(place, name):
    """Write the data set of the folder as two Nano sets of a repository."""
    data = load_dataset(place / "data")
    tables = {
        "corpus": {"_id": [*data.corpus], "text": [each.content for each in data.corpus.values()]},
        "queries": {"_id": [*data.queries], "text": [*data.queries.values()]},
        "qrels": {
            "query-id": [id_ for id_, found in data.qrels.items() for _ in found],
            "corpus-id": [id_ for found in data.qrels.values() for id_ in found],
        },
    }
    lines = ["---", "configs:"]
    for config, columns in tables.items():
        lines += [f"- config_name: {config}", "  data_files:"]
        (place / name / config).mkdir(parents=True)
        for split in ("NanoOne", "NanoTwo"):
            parquet.write_table(pa.table(columns), place / name / config / f"{split}-0.parquet")
            lines += [f"  - split: {split}", f"    path: {config}/{split}-*"]
    (place / name / "README.md").write_text("\n".join([*lines, "---"]))
    return len(data.queries)


def test_a_subset_of_a_hub_folder_is_measured(nestvec, place, tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    n_queries = write_hub_folder(place, "Nano")
    ended = nestvec("evaluate", "model", "Nano", *ONE)
    assert ended.code == 2
    assert "several sets. Choose one of them as subset (--subset): NanoOne, NanoTwo" in ended.err
    text = printed(nestvec("evaluate", "model", "Nano", "--subset", "NanoOne", *ONE))
    assert "labels: Nano, qrels" in text
    measured = json.loads((place / "new.json").read_text())
    expected = json.loads((place / "curve.json").read_text())
    assert measured["dataset"]["name"] == "NanoOne"
    assert measured["dataset"]["n_queries"] == n_queries
    assert measured["points"][0]["metrics"] == expected["points"][0]["metrics"]


def test_options_of_the_hub_are_refused_for_files(nestvec):
    ended = nestvec("evaluate", "model", "data", "--subset", "NanoOne", *ONE)
    assert (ended.code, "so it has no subset 'NanoOne'" in ended.err) == (2, True)
    ended = nestvec("evaluate", "model", "data", "--dataset-revision", "v1", *ONE)
    assert (ended.code, "revision='v1' has no effect" in ended.err) == (2, True)
    log = ("--make-queries", "title", "--dataset-revision", "v1")
    ended = nestvec("evaluate", "model", "data", *log, *ONE)
    assert "--dataset-revision requires a folder with relevance labels" in ended.err


def test_a_run_is_a_baseline_of_the_curve(nestvec, place):
    labels = load_dataset(place / "data").qrels
    first, *others = labels
    lines = [f"{query} Q0 d{n} {n + 1} {-n} lucene\n" for query in others for n in range(60)]
    (place / "lucene.trec").write_text("".join(lines))
    text = printed(nestvec("evaluate", "model", "data", "--run", "lucene.trec", *ONE))
    assert "lucene (run)" in text
    assert "1 query missing in lucene (run)" in text
    (point,) = json.loads((place / "new.json").read_text())["baselines"]["lucene (run)"]
    relevant = [int(next(iter(labels[query])).removeprefix("d")) for query in others]
    found = [query for query in relevant if query < 60]
    assert point["metrics"]["recall@100"] == pytest.approx(len(found) / len(labels))
    assert first not in others


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("data", "--run", "no.trec"), "no.trec: does not exist"),
        (("data", "--run", "data/qrels/test.tsv"), "test.tsv:1: has 3 fields, so it is not"),
        (("data", "--make-queries", "title", "--run", "other.trec"), "No query of the run"),
        (("data", "--run", "other.trec", "--run", "other.trec"), "Two runs have the same tag"),
        (("data", "--queries", "data/queries.jsonl", "--run", "other.trec"), "--run requires"),
    ],
)
def test_a_run_that_cannot_be_compared_is_one_line(nestvec, place, arguments, problem):
    (place / "other.trec").write_text("x Q0 d1 1 2 x\n")
    ended = nestvec("evaluate", "model", *arguments, *ONE)
    assert ended.code == 2
    assert problem in ended.err
    assert not (place / "new.json").exists()


def test_a_curve_is_exported_as_results_of_other_programs(nestvec, place):
    n_points = len(json.loads((place / "curve.json").read_text())["points"])
    names = ("--task", "SciFact", "--model", "me/mine", "--languages", "eng-Latn,deu-Latn")
    text = printed(
        nestvec("export", "results", "curve.json", "--format", "mteb", "--out", "out", *names)
    )
    assert f"{2 * n_points} files in out" in text
    assert "Baselines are left out: bm25." in text
    assert "Names from the curve" not in text
    results = list((place / "out").rglob("SciFact.json"))
    assert len(results) == n_points
    (scores,) = json.loads(results[0].read_text())["scores"]["test"]
    assert scores["languages"] == ["eng-Latn", "deu-Latn"]
    names = ("--task", "T", "--dataset", "owner/set")
    text = printed(
        nestvec("export", "results", "curve.json", "--format", "hakari", "--out", "out", *names)
    )
    assert "1 file in out" in text
    assert "model 'model'" in text
    (path,) = (place / "out").rglob("T.json")
    assert json.loads(path.read_text())["target"]["dataset_id"] == "owner/set"


def test_an_export_that_is_not_possible_is_one_line(nestvec):
    for arguments, problem in (
        (("curve.json", "--format", "beir"), "Unknown format 'beir'. Choose one of mteb, hakari."),
        (("no.json", "--format", "mteb"), "no.json"),
    ):
        ended = nestvec("export", "results", *arguments, "--out", "out")
        assert ended.code == 2
        assert problem in ended.err
        assert ended.err.count("\n") == 1
