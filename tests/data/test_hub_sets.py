"""Retrieval sets in the layouts of the Hugging Face hub, read by ``datasets`` from folders."""

import json
import os
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from nestvec.data.retrieval import load_dataset
from nestvec.errors import DataError, InvalidArgument, MissingExtra

datasets = pytest.importorskip("datasets")

CORPUS = {"_id": ["d1", "d2", "d3"], "title": ["", "T", ""], "text": ["one", "two", "three"]}
QUERIES = {"_id": ["q1", "q2"], "text": ["one?", "two?"]}
QRELS = {"query-id": ["q1", "q2", "q2"], "corpus-id": ["d1", "d2", "d3"]}
SCORED = {**QRELS, "score": [1, 2, 0]}


@pytest.fixture(autouse=True)
def own_dataset_cache(tmp_path_factory, monkeypatch):
    """``datasets`` converts each table to Arrow files; keep them out of the user's cache."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("datasets"))


def repository(folder, tables):
    """Write Parquet files and the README.md that lists them: {(config, split): columns}."""
    folder.mkdir(parents=True)
    lines = ["---", "configs:"]
    for config in dict.fromkeys(config for config, _ in tables):
        lines += [f"- config_name: {config}", "  data_files:"]
        for split in (split for each, split in tables if each == config):
            name = f"{config}/{split}-00000-of-00001.parquet"
            (folder / config).mkdir(exist_ok=True)
            parquet.write_table(pa.table(tables[config, split]), folder / name)
            lines += [f"  - split: {split}", f"    path: {config}/{split}-*"]
    (folder / "README.md").write_text("\n".join([*lines, "---", "# A data set"]))
    return folder


def nano(folder, **changes):
    """Write the layout of NanoBEIR and of HAKARI-Bench: each set is a split of each table."""
    tables = {"corpus": CORPUS, "queries": QUERIES, "qrels": QRELS, **changes}
    found = {(config, "NanoSciFact"): table for config, table in tables.items()}
    for config, table in tables.items():
        found[config, "NanoNQ"] = {name: values[:1] for name, values in table.items()}
    return repository(folder, found)


def test_a_nano_set_is_a_subset(tmp_path, caplog):
    bm25 = {"query-id": ["q1"], "corpus-ids": [["d1", "d2"]]}
    data = load_dataset(nano(tmp_path / "NanoBEIR-en", bm25=bm25), subset="NanoSciFact")
    assert (data.name, data.split, data.labels) == (
        "NanoSciFact",
        "NanoSciFact",
        "NanoBEIR-en, qrels",
    )
    assert {id_: each.content for id_, each in data.corpus.items()} == {
        "d1": "one", "d2": "T two", "d3": "three",
    }  # fmt: skip
    assert data.queries == {"q1": "one?", "q2": "two?"}
    assert data.qrels == {"q1": {"d1": 1}, "q2": {"d2": 1, "d3": 1}}
    assert "configurations that are not read: bm25" in caplog.text
    assert "labels without grades, read as 1: 3, such as 'd1'" in caplog.text


def test_labels_may_have_one_row_for_a_query(tmp_path):
    qrels = {"query-id": ["q1", "q2"], "corpus-id": [["d1"], ["d3", "d2"]]}
    data = load_dataset(nano(tmp_path / "set", qrels=qrels), subset="NanoSciFact")
    assert data.qrels == {"q1": {"d1": 1}, "q2": {"d3": 1, "d2": 1}}


def test_several_sets_need_a_subset(tmp_path):
    folder = nano(tmp_path / "sets")
    for arguments, problem in (
        ({}, r"several sets\. Choose one of them as subset \(--subset\): NanoSciFact, NanoNQ"),
        ({"subset": "NanoFEVER"}, r"no subset 'NanoFEVER'\. Choose one of NanoSciFact, NanoNQ"),
        ({"subset": "NanoNQ", "split": "test"}, "so it has no split 'test'"),
    ):
        with pytest.raises(DataError, match=problem):
            load_dataset(folder, **arguments)
    assert load_dataset(folder, split="NanoNQ").qrels == {"q1": {"d1": 1}}


def test_the_layout_of_mteb(tmp_path):
    tables = {
        ("default", "train"): {"query-id": ["q1"], "corpus-id": ["d2"], "score": [1]},
        ("default", "test"): SCORED,
        ("corpus", "corpus"): CORPUS,
        ("queries", "queries"): QUERIES,
    }
    folder = repository(tmp_path / "scifact", tables)
    for arguments in ({}, {"subset": None, "split": "test"}):
        assert load_dataset(folder, **arguments).qrels == {
            "q1": {"d1": 1},
            "q2": {"d2": 2, "d3": 0},
        }
    data = load_dataset(folder, split="train")
    assert (data.split, data.qrels, data.name) == ("train", {"q1": {"d2": 1}}, "scifact")
    with pytest.raises(DataError, match=r"no subset 'test'\. Omit the subset"):
        load_dataset(folder, subset="test")


@pytest.mark.parametrize(
    "names",
    [("de-corpus", "de-queries", "de-qrels"), ("corpus-de", "queries-de", "de")],
    ids=["new", "old"],
)
def test_the_languages_of_a_set_of_mteb(tmp_path, names):
    other = {"_id": ["x"], "text": ["other"]}
    tables = {(name.replace("de", "fr"), "test"): other for name in names}
    for name, table in zip(names, (CORPUS, QUERIES, SCORED), strict=True):
        tables[name, "test"] = table
    folder = repository(tmp_path / "multilingual", tables)
    data = load_dataset(folder, subset="de")
    assert (data.name, data.split) == ("de", "test")
    assert data.qrels == {"q1": {"d1": 1}, "q2": {"d2": 2, "d3": 0}}
    with pytest.raises(DataError, match=r"several sets.*--subset\): (de|fr), (de|fr)"):
        load_dataset(folder)


def test_one_set_in_a_split_of_its_own(tmp_path):
    """zeta-alpha-ai/NanoSciFact: one repository for each set, with the only split train."""
    tables = {("corpus", "train"): CORPUS, ("queries", "train"): QUERIES, ("qrels", "train"): QRELS}
    data = load_dataset(repository(tmp_path / "NanoSciFact", tables))
    assert (data.split, set(data.qrels)) == ("train", {"q1", "q2"})


def test_tables_of_the_hub_are_read_as_files_are(tmp_path, caplog):
    when = np.array(["2024-01-02", "2024-01-03", "NaT"], dtype="datetime64[D]")
    corpus = {
        **CORPUS,
        "_id": [1, 2, 3],
        "when": when,
        "emb": [[0.5] * 64] * 3,
        "image": [b"x", b"y", b"z"],
        "point": [[0.5, 0.5]] * 3,
    }
    qrels = {"query-id": ["q1"], "corpus-id": [1], "rel": [1.0], "note": ["x"]}
    data = load_dataset(nano(tmp_path / "set", corpus=corpus, qrels=qrels), subset="NanoSciFact")
    assert data.qrels == {"q1": {"1": 1}}
    assert data.corpus["1"].metadata == {"when": "2024-01-02", "point": [0.5, 0.5]}
    assert "columns 'emb', 'image' are not read" in caplog.text
    assert "columns that are not used: 1, such as 'note'" in caplog.text


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"qrels": {**QRELS, "rel": [1.5, 1, 1]}}, "qrels/NanoSciFact:1: rel 1.5 is not an int"),
        ({"qrels": {**QRELS, "gain": [1, 2, 3]}}, "missing column 'score' .*gain"),
        ({"queries": {"_id": ["q1"], "words": ["a"]}}, "NanoSciFact:1: has no column 'text'"),
        ({"corpus": {"_id": ["d1", None], "text": ["a", "b"]}}, "NanoSciFact:2: '_id' must be a"),
    ],
    ids=["a fraction", "unknown grades", "no text", "no id"],
)
def test_an_error_names_the_table_and_the_row(tmp_path, change, problem):
    with pytest.raises(DataError, match=problem):
        load_dataset(nano(tmp_path / "set", **change), subset="NanoSciFact")


def test_a_repository_that_is_no_retrieval_set_is_refused(monkeypatch):
    monkeypatch.setattr(datasets, "get_dataset_config_names", lambda *_, **__: ["pair"])
    with pytest.raises(DataError, match=r"no configurations corpus, queries.*\(has: pair\)"):
        load_dataset("owner/pairs")


def test_a_folder_of_files_has_no_subset_or_revision(tmp_path):
    (tmp_path / "corpus.jsonl").write_text(json.dumps({"_id": "d", "text": "x"}))
    with pytest.raises(InvalidArgument, match="so it has no subset 'a'"):
        load_dataset(tmp_path, subset="a")
    with pytest.raises(InvalidArgument, match="revision='main' has no effect"):
        load_dataset(tmp_path, revision="main")


def test_a_path_that_exists_takes_precedence_over_an_id(tmp_path, monkeypatch):
    folder = tmp_path / "mteb" / "scifact"
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text(json.dumps({"_id": "d", "text": "x"}))
    (folder / "queries.jsonl").write_text(json.dumps({"_id": "q", "text": "x?"}))
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\td\t1\n")
    monkeypatch.chdir(tmp_path)
    assert load_dataset("mteb/scifact").labels == "qrels/test.tsv"


def test_an_id_that_the_hub_does_not_answer_is_one_line(tmp_path):
    code = "from nestvec.cli.main import run; run()"
    command = [sys.executable, "-c", code, "evaluate", "model", "mteb/scifact"]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hub")},
    )
    assert done.returncode == 2
    assert done.stderr.startswith("nestvec: mteb/scifact: is not a folder, and cannot be read from")
    assert done.stderr.count("\n") == 1


def test_a_name_that_cannot_be_an_id_does_not_reach_for_the_hub(tmp_path, monkeypatch):
    def refuse(*_arguments, **_options):
        pytest.fail("the hub was used")

    monkeypatch.setattr(datasets, "get_dataset_config_names", refuse)
    for name in ("nowhere", str(tmp_path / "no" / "folder"), "./owner/name", "a/b/c"):
        with pytest.raises(DataError, match="does not exist"):
            load_dataset(name)


def test_the_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtra, match=r"pip install 'nestvec\[train\]'"):
        load_dataset("owner/name")


def test_code_of_a_repository_is_not_run(tmp_path, monkeypatch):
    def raise_as_library(*_arguments, **_options):
        raise RuntimeError("Dataset scripts are no longer supported, but found set.py")

    monkeypatch.setattr(datasets, "get_dataset_config_names", raise_as_library)
    with pytest.raises(DataError, match="its own loading script, which is not run"):
        load_dataset("owner/name")


def test_a_repository_without_labels_is_a_query_log_as_before(tmp_path):
    """BeIR/scifact has its labels in another repository."""
    folder = repository(
        tmp_path / "scifact", {("corpus", "corpus"): CORPUS, ("queries", "queries"): QUERIES}
    )
    assert load_dataset(folder).evidence == "agreement"
