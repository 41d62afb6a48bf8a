"""Files of the quick demo, each usable by the next command."""

import json

import numpy as np
import pytest

from nestvec.curve.curve import Curve
from nestvec.data.retrieval import load_dataset
from nestvec.index.index import Index
from nestvec.models.load import load_model
from nestvec.planning.choose import Plan, plan
from nestvec.recipes.demo import DemoFolder


@pytest.fixture(scope="module")
def folder(demo_folder):
    return DemoFolder(demo_folder)


@pytest.fixture(scope="module")
def curve(folder):
    return Curve.load(folder.curve)


def test_the_folder_contains_exactly_the_expected_files(folder):
    assert {file.name for file in folder.out.iterdir()} == {
        *("data", "model", "twin", "index"),
        *("curve.json", "curve.scores.npz", "twin.json", "twin.scores.npz"),
        *("plan.json", "curve.svg", "report.html"),
    }


def test_the_three_splits_share_no_relevant_documents(folder):
    splits = {name: load_dataset(folder.data, split=name) for name in ("train", "dev", "test")}
    relevant = {
        name: {id_ for q in data.qrels.values() for id_ in q} for name, data in splits.items()
    }
    assert all(len(data.queries) >= 100 for data in splits.values())
    assert not relevant["train"] & (relevant["dev"] | relevant["test"])
    assert not relevant["dev"] & relevant["test"]


def test_every_document_has_its_file_and_line(folder):
    corpus = load_dataset(folder.data).corpus
    assert all(
        document.metadata["file"] and document.metadata["line"] >= 1 for document in corpus.values()
    )


def test_the_curve_is_of_the_model_on_the_held_out_queries(folder, curve):
    data = load_dataset(folder.data, split="test")
    assert curve.model.fingerprint == load_model(folder.model).info.fingerprint
    assert curve.dataset["split"] == "test"
    assert curve.scores.query_ids.tolist() == list(data.queries)
    assert curve.dataset["n_documents"] == len(data.corpus)
    assert curve.model.dims == (512, 256, 128, 64, 32)
    assert curve.model.dims_trained
    assert curve.full.metrics["ndcg@10"] > 0.2
    assert set(curve.baselines["bm25"][0].metrics) == {"ndcg@10", "recall@100", "overlap@10"}


def test_the_model_beats_the_baseline_at_64_dims_without_a_loss_at_full_width(folder, curve):
    twin = Curve.load(folder.twin_curve)
    config = json.loads((folder.twin / "config.json").read_text())
    assert config["matryoshka_dimensions"] == [512]
    assert [row.point for row in twin.points] == [
        row.point for row in curve.points if str(row.point).endswith("float32")
    ]
    matryoshka, baseline = (each["64:float32"].metrics["ndcg@10"] for each in (curve, twin))
    assert matryoshka > baseline + 0.01
    assert curve["64:float32"].retention["ndcg@10"] > twin["64:float32"].retention["ndcg@10"] + 0.03
    assert curve.full.metrics["ndcg@10"] > twin.full.metrics["ndcg@10"] - 0.02


def test_codes_for_all_positions_of_the_page_s_sliders_are_built(folder, curve):
    made = {file.name for file in (folder.index / "codes").rglob("*.codes")}
    slid = [f"{p.point.stages[0].dim}-{p.point.stages[0].precision}.codes" for p in curve.points]
    assert {name for name in slid if "float32" not in name} <= made


def test_the_plan_equals_planning_with_the_saved_curve(folder, curve):
    chosen = Plan.load(folder.plan)
    again = plan(curve, chosen.budget, seed=chosen.seed)
    assert (again.point, again.confirmed) == (chosen.point, chosen.confirmed)
    assert again.reasons == chosen.reasons


def test_the_report_shows_the_chosen_point_and_both_models(folder):
    chosen = Plan.load(folder.plan)
    page = folder.report.read_text("utf-8")
    assert str(chosen.point).replace(">", "&gt;") in page
    assert "twin" in page
    assert folder.chart.read_text("utf-8").lstrip().startswith(("<?xml", "<svg"))


def test_the_index_verifies_and_returns_the_measured_results(folder, curve):
    chosen = Plan.load(folder.plan)
    queries = load_dataset(folder.data, split="test").queries
    with Index.open(folder.index, verify=True) as index:
        assert index.point == chosen.point
        assert index.bytes.ram_per_vector == chosen.row.cost.ram_bytes_per_vector
        hits = index.search(list(queries.values()), k=10)
        first = index.get(hits.ids[0])
    measured = curve.scores.doc_ids[curve.scores.top[curve.row_number(chosen.point)]]
    same = np.mean([ids == line for ids, line in zip(hits.ids, measured.tolist(), strict=True)])
    assert same > 0.99  # scores may be equal up to float32 rounding
    assert list(first) == hits.ids[0]
    assert all(document.title for document in first.values())
