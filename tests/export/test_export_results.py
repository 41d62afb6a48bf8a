"""Exported results: each operating point once, in the shape that MTEB and HAKARI-Bench read."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fakes import NestedHashEncoder, fake_info, made_set
from nestvec.curve.point import BaselinePoint
from nestvec.errors import DataError, InvalidArgument
from nestvec.export.result_names import ResultNames
from nestvec.export.results import export_results
from nestvec.measure.grid import Grid
from nestvec.measure.run import evaluate

METRICS = ("ndcg@10", "recall@100", "mrr@10", "map@100", "overlap@10")
FUNNEL = "16:binary@90>32:int4@60>64:float16"
GRID = Grid(
    precisions=("float32", "int8"),
    shortlisted=("binary",),
    keeps=(60,),
    extra=(FUNNEL,),
    metrics=METRICS,
)
NAMES = ResultNames(task="SciFact", dataset="owner/Nano", languages=("eng-Latn",))


@pytest.fixture(scope="module")
def curve():
    return evaluate(NestedHashEncoder(), made_set(), GRID)


def read(path):
    return json.loads(Path(path).read_text("utf-8"))


def test_mteb_results_have_each_point_once_with_its_scores(curve, tmp_path):
    export_results(curve, tmp_path, format="mteb", names=NAMES)
    results = [read(path) for path in tmp_path.rglob("SciFact.json")]
    assert len(results) == len(curve.points)
    for result in results:
        row = curve[result["nestvec"]["point"]]
        ((split, (scores,)),) = result["scores"].items()
        assert (split, result["task_name"]) == ("test", "SciFact")
        assert scores == {
            "ndcg_at_10": row.metrics["ndcg@10"],
            "recall_at_100": row.metrics["recall@100"],
            "mrr_at_10": row.metrics["mrr@10"],
            "map_at_100": row.metrics["map@100"],
            "main_score": row.metrics["ndcg@10"],
            "hf_subset": "default",
            "languages": ["eng-Latn"],
        }
        assert result["nestvec"]["ram_bytes_per_vector"] == row.cost.ram_bytes_per_vector
    assert {each["nestvec"]["point"] for each in results} == {str(r.point) for r in curve.points}


def test_mteb_results_are_experiments_that_name_the_point(curve, tmp_path):
    first, *_ = export_results(curve, tmp_path, format="mteb", names=NAMES).files
    base = tmp_path / "results" / "fake__nested" / "nestvec-ffffffffffff"
    assert first == base / "SciFact.json"
    assert read(first)["nestvec"]["point"] == "64:float32"
    assert read(base / "model_meta.json")["experiment_kwargs"] is None
    for folder, point, arguments in (
        ("embed_dim_32", "32:float32", {"embed_dim": 32}),
        ("operating_point_32_int8", "32:int8", {"operating_point": "32:int8"}),
        (
            "operating_point_16_binary@90_32_int4@60_64_float16",
            FUNNEL,
            {"operating_point": FUNNEL},
        ),
    ):
        assert read(base / "experiments" / folder / "SciFact.json")["nestvec"]["point"] == point
        meta = read(base / "experiments" / folder / "model_meta.json")
        assert meta["experiment_kwargs"] == arguments
        assert (meta["name"], meta["revision"]) == ("fake/nested", base.name)


@pytest.mark.parametrize("languages", [(), ("eng-Latn",)])
def test_mteb_loads_its_results(curve, tmp_path, languages):
    mteb = pytest.importorskip("mteb", reason="needs mteb, which nestvec does not install")
    export_results(curve, tmp_path, format="mteb", names=replace(NAMES, languages=languages))
    cache = mteb.ResultCache(cache_path=tmp_path)
    for arguments, point in (
        ({}, "64:float32"),
        ({"embed_dim": 32}, "32:float32"),
        ({"operating_point": FUNNEL}, FUNNEL),
    ):
        found = cache.load_results(include_remote=False, experiment_kwargs=arguments or None)
        (model,) = found.model_results
        (result,) = model.task_results
        assert model.model_name == "fake/nested"
        assert result.get_score() == pytest.approx(curve[point].metrics["ndcg@10"])


def test_hakari_results_are_one_file_with_a_variant_for_each_point(curve, tmp_path):
    (path,) = export_results(curve, tmp_path, format="hakari", names=NAMES).files
    assert path == tmp_path / "fake__nested" / "owner__Nano" / "SciFact.json"
    result = read(path)
    evaluations = result["evaluation"]["embedding_evaluations"]
    values = {each["nestvec"]["point"]: each["aggregate_metric_value"] for each in evaluations}
    assert values == {str(row.point): row.metrics["ndcg@10"] for row in curve.points}
    assert len({each["name"] for each in evaluations}) == len(evaluations)
    assert result["evaluation"]["aggregate_metric_value"] == curve.full.metrics["ndcg@10"]
    assert result["target"]["dataset_id"] == "owner/Nano"
    assert result["model"]["id"] == "fake/nested"


def test_hakari_variants_name_the_codec_and_each_step(curve, tmp_path):
    (path,) = export_results(curve, tmp_path, format="hakari", names=NAMES).files
    by_point = {
        each["nestvec"]["point"]: each for each in read(path)["evaluation"]["embedding_evaluations"]
    }
    names = {point: each["name"] for point, each in by_point.items()}
    assert names["64:float32"] == "base"
    assert names["32:float32"] == "truncate_dim_32"
    assert names["64:int8"] == "nestvec_int8"
    rescored = "keep_60_rescore_64_int8"
    assert names["16:binary@60>64:int8"] == f"truncate_dim_16_nestvec_binary_{rescored}"
    steps = by_point[FUNNEL]["transform"]["steps"]
    assert [each["type"] for each in steps] == [
        *("truncate", "normalize", "quantize", "rescore", "rescore"),
    ]
    assert steps[0]["parameters"] == {"dim": 16}
    assert steps[2]["algorithm"] == "nestvec"
    assert steps[3]["parameters"] == {"dim": 32, "precision": "int4", "shortlist": 90}
    assert by_point[FUNNEL]["embedding_dimensions"] == {"dim": 16}


def test_hakari_metrics_are_those_with_the_same_definition(curve, tmp_path):
    (path,) = export_results(curve, tmp_path, format="hakari", names=NAMES).files
    found = curve.per_query("recall@100", "64:float32") > 0
    expected = {
        "ndcg@10": curve.full.metrics["ndcg@10"],
        "recall@100": curve.full.metrics["recall@100"],
        "mrr@10": curve.full.metrics["mrr@10"],
        "acc@100": float(np.count_nonzero(found) / len(found)),
    }
    assert 0 < expected["acc@100"] < 1
    prefix = "Nano_SciFact_cosine_"
    assert read(path)["metrics"] == {prefix + name: value for name, value in expected.items()}


def notes(curve, folder, format, names=NAMES):
    return " ".join(export_results(curve, folder, format=format, names=names).notes)


@pytest.mark.parametrize("format", ["mteb", "hakari"])
def test_what_the_format_cannot_express_is_named(curve, tmp_path, format):
    changed = replace(
        curve,
        baselines={"bm25": (BaselinePoint(None, {"ndcg@10": 0.5}),)},
        counts={"self_matches": 1, "queries_without_relevant": 2},
        dataset={**curve.dataset, "group_by": "parent"},
    )
    plain, named = notes(curve, tmp_path, format), notes(changed, tmp_path, format)
    for text in (
        "Baselines are left out: bm25.",
        "1 query ignored",
        "2 queries without",
        "(group_by)",
    ):
        assert text in named
        assert text not in plain


def test_names_that_are_unknown_are_named(curve, tmp_path):
    local = replace(curve, model=fake_info(name="/home/person/models/mine"))
    text = notes(local, tmp_path, "mteb", ResultNames())
    assert "model 'mine', task 'made'" in text
    assert "'local/mine'" in text
    assert "languages are unknown" in text
    (path,) = tmp_path.rglob("results/*/*/made.json")
    assert path.parts[-3] == "local__mine"
    assert "/home/person" not in "".join(f.read_text() for f in tmp_path.rglob("*.json"))


@pytest.mark.parametrize(
    ("name", "public"),
    [
        ("openai:text-embedding-3-small", "text-embedding-3-small"),
        ("openai:mine@http://127.0.0.1:8000/v1", "mine"),
        ("nestvec:owner/mine@https://example.org/v1", "owner/mine"),
        ("owner/mine", "owner/mine"),
    ],
)
def test_the_name_of_an_api_model_is_its_name_at_the_api(curve, name, public):
    assert ResultNames().complete(replace(curve, model=fake_info(name=name))).model == public


def test_a_relative_path_is_no_hub_id(curve, tmp_path, monkeypatch):
    (tmp_path / "models" / "mine").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    local = replace(curve, model=fake_info(name="models/mine"))
    assert ResultNames().complete(local).model == "mine"


def test_graded_labels_are_named_where_the_other_program_ignores_grades(curve, tmp_path):
    assert curve.dataset["grades"] == [1, 2]
    assert "grades of the labels" in notes(curve, tmp_path, "hakari")
    binary = replace(curve, dataset={**curve.dataset, "grades": [1]})
    assert "grades of the labels" not in notes(binary, tmp_path, "hakari")


def test_results_of_several_models_share_a_folder(curve, tmp_path):
    for name in ("a/one", "a/two"):
        changed = replace(curve, model=fake_info(name=name))
        export_results(changed, tmp_path, format="hakari", names=NAMES)
    assert len(list(tmp_path.rglob("SciFact.json"))) == 2


def test_a_curve_without_labels_or_of_another_task_is_refused(curve, tmp_path):
    for change, problem in (
        ({"evidence": "agreement"}, "evidence of this curve is 'agreement'"),
        ({"evidence": "made queries"}, "'made queries'"),
        ({"task": "sts"}, "task 'sts'"),
    ):
        changed = replace(curve, dataset={**curve.dataset, **change})
        with pytest.raises(InvalidArgument, match=problem):
            export_results(changed, tmp_path, format="mteb")
    with pytest.raises(InvalidArgument, match="Choose one of mteb, hakari"):
        export_results(curve, tmp_path, format="beir")
    with pytest.raises(InvalidArgument, match="languages is one string"):
        ResultNames(languages="eng-Latn")
    assert not list(tmp_path.iterdir())


def test_no_file_is_changed_if_one_cannot_be_written(curve, tmp_path):
    export_results(curve, tmp_path, format="mteb", names=NAMES)
    before = {path: path.read_text() for path in tmp_path.rglob("*.json")}
    blocked = tmp_path / "blocked"
    blocked.write_text("a file")
    with pytest.raises(DataError, match="could not be written"):
        export_results(curve, blocked, format="mteb", names=NAMES)
    assert {path: path.read_text() for path in tmp_path.rglob("*.json")} == before
