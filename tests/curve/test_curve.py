"""Save and load curves; other files raise."""

import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from nestvec.curve.curve import Curve
from nestvec.curve.point import Cost, CurvePoint, Interval, SizeRetention
from nestvec.curve.query_scores import QueryScores
from nestvec.errors import DamagedFile, DataError, InvalidArgument
from nestvec.types import ModelInfo, OperatingPoint

# (point, bytes of memory, ndcg@10)
ROWS = [
    ("64:float32", 256, 1.0),
    ("64:int8", 64, 0.99),
    ("32:float16", 64, 0.80),
    ("64:int4", 32, 0.995),
    ("64:binary@50>64:int8", 8, 0.95),
    ("32:binary", 4, 0.60),
    ("16:int2", 4, 0.60),
]


@pytest.fixture
def curve():
    points = tuple(
        CurvePoint(
            OperatingPoint.parse(text),
            {"ndcg@10": quality, "recall@100": 0.5},
            {"ndcg@10": quality, "recall@100": 1.0},
            Cost(ram, 64.0, 3200.0, 0.25, 0.1, 0.2, 0.3, 900.0, 0.7),
            interval={"ndcg@10": Interval(quality - 0.01, quality + 0.01)},
            by_size={"ndcg@10": (SizeRetention(9, quality + 0.02, quality + 0.01, 0.98),)},
            k_for_full_recall=12,
        )
        for text, ram, quality in ROWS
    )
    rng = np.random.default_rng(0)
    scores = QueryScores(
        query_ids=np.array(["q1", "ζ2", "q 3"]),
        metrics={name: rng.random((len(ROWS), 3)) for name in ("ndcg@10", "recall@100")},
        doc_ids=np.array(["a", "日本"]),
        top=rng.integers(-1, 2, (len(ROWS), 3, 2)).astype(np.int32),
        top_scores=rng.random((len(ROWS), 3, 2), dtype=np.float32),
        top_relevant=rng.random((len(ROWS), 3, 2)) < 0.5,
        query_texts=np.array(["how?", "ζ", ""]),
        doc_titles=np.array(["A", "日本"]),
        slices={"language": np.array(["en", "el", "en"])},
    )
    return Curve(
        model=ModelInfo("m", "f" * 64, 64, (64, 32), "guess", False),
        dataset={"name": "docs", "split": "test"},
        machine={"processor": "p", "cores": 2},
        points=points,
        scores=scores,
        encode_ms=0.5,
        counts={"zero_documents": 1},
    ).with_baseline("bm25", {"ndcg@10": 0.4})


def test_a_loaded_curve_equals_the_saved_one(tmp_path, curve):
    curve.save(tmp_path / "curve.json")
    loaded = Curve.load(str(tmp_path / "curve.json"))
    for name in ("model", "dataset", "machine", "points", "encode_ms", "baselines", "counts"):
        assert getattr(loaded, name) == getattr(curve, name), name
    assert loaded.scores.metrics.keys() == curve.scores.metrics.keys()
    for metric, values in curve.scores.metrics.items():
        np.testing.assert_array_equal(loaded.scores.metrics[metric], values)
    arrays = {field.name for field in fields(QueryScores)} - {"metrics", "slices"}
    for name in arrays:
        np.testing.assert_array_equal(getattr(loaded.scores, name), getattr(curve.scores, name))
    assert loaded.scores.slices["language"].tolist() == ["en", "el", "en"]
    assert {file.name for file in tmp_path.iterdir()} == {"curve.json", "curve.scores.npz"}


def test_the_json_has_the_documented_keys(tmp_path, curve):
    curve.save(tmp_path / "curve.json")
    values = json.loads((tmp_path / "curve.json").read_text())
    assert values["version"] == 3
    assert values["points"][4] == {
        "point": "64:binary@50>64:int8",
        "metrics": {"ndcg@10": 0.95, "recall@100": 0.5},
        "retention": {"ndcg@10": 0.95, "recall@100": 1.0},
        "interval": {"ndcg@10": [0.94, 0.96]},
        "by_size": {"ndcg@10": [{"n_documents": 9, "retention": 0.97, "low": 0.96, "high": 0.98}]},
        "k_for_full_recall": 12,
        "ram_bytes_per_vector": 8,
        "disk_bytes_per_vector": 64.0,
        "read_bytes_per_query": 3200.0,
        "build_s": 0.25,
        "p50_ms": 0.1,
        "p95_ms": 0.2,
        "p99_ms": 0.3,
        "batch_qps": 900.0,
        "cold_p50_ms": 0.7,
        "text_bytes_per_vector": None,
        "lookup_ms": 0.0,
    }


def test_times_of_filtered_queries_are_saved_and_may_be_absent(tmp_path, curve):
    first, *others = curve.points
    timed = replace(first, filtered_p50_ms={"below 1 %": 1.5})
    replace(curve, points=(timed, *others)).save(tmp_path / "curve.json")
    rows = json.loads((tmp_path / "curve.json").read_text())["points"]
    assert rows[0]["filtered_p50_ms"] == {"below 1 %": 1.5}
    assert "filtered_p50_ms" not in rows[1]  # as in files of earlier versions
    assert Curve.load(tmp_path / "curve.json").points == (timed, *others)


def test_a_curve_of_version_2_is_loaded_with_its_version(tmp_path, curve):
    curve.save(tmp_path / "curve.json")
    values = json.loads((tmp_path / "curve.json").read_text())
    values["version"] = 2
    for row in values["points"]:  # version 2 did not have these keys
        del row["text_bytes_per_vector"], row["lookup_ms"]
    (tmp_path / "curve.json").write_text(json.dumps(values))
    loaded = Curve.load(tmp_path / "curve.json")
    assert loaded.version == 2
    assert loaded.points == curve.points
    loaded.save(tmp_path / "again.json")  # its costs are still those of version 2
    assert Curve.load(tmp_path / "again.json").version == 2


def test_curves_with_dots_in_their_names_have_separate_scores(tmp_path, curve):
    curve.save(tmp_path / "model-v1.5")
    curve.with_baseline("other", {"ndcg@10": 0.1}).save(tmp_path / "model-v1.6")
    assert "other" not in Curve.load(tmp_path / "model-v1.5").baselines
    assert (tmp_path / "model-v1.5.scores.npz").is_file()


def test_a_failed_save_does_not_change_the_files(tmp_path, curve):
    curve.save(tmp_path / "curve.json")
    bad = curve.with_baseline("bad", {"ndcg@10": object()})
    with pytest.raises(TypeError):  # after the scores, while the JSON is written
        bad.save(tmp_path / "curve.json")
    Curve.load(tmp_path / "curve.json")
    assert {file.name for file in tmp_path.iterdir()} == {"curve.json", "curve.scores.npz"}


def test_the_curve_is_renamed_after_its_scores(tmp_path, curve, monkeypatch):
    named = []
    replace = Path.replace
    monkeypatch.setattr(
        Path, "replace", lambda path, to: (named.append(to.name), replace(path, to))
    )
    curve.save(tmp_path / "curve.json")
    assert named == ["curve.scores.npz", "curve.json"]


def test_missing_scores_raise(tmp_path, curve):
    curve.save(tmp_path / "curve.json")
    (tmp_path / "curve.scores.npz").unlink()
    with pytest.raises(DataError, match=r"curve\.scores\.npz: is missing"):
        Curve.load(tmp_path / "curve.json")


@pytest.mark.parametrize("damage", ["flipped", "truncated", "another's", "empty"])
def test_damaged_scores_raise(tmp_path, curve, damage):
    curve.save(tmp_path / "curve.json")
    file = tmp_path / "curve.scores.npz"
    data = bytearray(file.read_bytes())
    if damage == "flipped":
        data[len(data) // 2] ^= 1
    elif damage == "truncated":
        del data[-1:]
    elif damage == "empty":
        data.clear()
    else:
        curve.scores.metrics["ndcg@10"][0, 0] += 1
        curve.save(tmp_path / "other.json")
        data = bytearray((tmp_path / "other.scores.npz").read_bytes())
    file.write_bytes(data)
    with pytest.raises(DamagedFile, match="does not belong to this curve"):
        Curve.load(tmp_path / "curve.json")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not JSON"),
        ("{", "is not JSON"),
        ("\xff", "is not JSON"),
        ("[]", "is not a curve of version 3"),
        ("{}", "is not a curve of version 3"),
        ('{"version": 9}', "is not a curve of version 3. Evaluate again"),
        ('{"version": 1}', "is not a curve of version 3. Evaluate again"),
        ('{"version": true}', "is not a curve of version 3. Evaluate again"),
        ('{"version": 2}', "is not a nestvec curve"),
        ('{"version": 2, "points": [{}]}', "is not a nestvec curve"),
        ('{"version": 2, "points": [7]}', "is not a nestvec curve"),
        ('{"version": 2, "points": 7}', "is not a nestvec curve"),
    ],
)
def test_files_that_are_not_curves_raise(tmp_path, text, message):
    path = tmp_path / "curve.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(DataError) as caught:
        Curve.load(path)
    assert str(caught.value).startswith(f"{path}: {message}")


@pytest.mark.parametrize(
    "change",
    [
        {"point": 7},
        {"point": "64"},
        {"p50_ms": None},
        {"p50_ms": "x"},
    ],
)
def test_an_invalid_row_raises(tmp_path, curve, change):
    curve.save(tmp_path / "curve.json")
    values = json.loads((tmp_path / "curve.json").read_text())
    values["points"][0] |= change
    (tmp_path / "curve.json").write_text(json.dumps(values))
    with pytest.raises(DataError, match="is not a nestvec curve"):
        Curve.load(tmp_path / "curve.json")


def test_a_missing_curve_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match=r"cannot be read \(No such file or directory\)"):
        Curve.load(tmp_path / "curve.json")


def test_rows_are_found_by_point_and_by_text(curve):
    assert curve["64:int8"].cost.ram_bytes_per_vector == 64
    assert curve[OperatingPoint.parse("64:int8")] is curve.points[1]
    assert curve.full is curve.points[0]
    np.testing.assert_array_equal(
        curve.per_query("ndcg@10", "64:int4"), curve.scores.metrics["ndcg@10"][3]
    )


def test_points_and_metrics_that_were_not_measured_raise(curve):
    with pytest.raises(InvalidArgument, match=r"64:int2 was not measured"):
        curve["64:int2"]
    with pytest.raises(InvalidArgument, match=r"64:int2 was not measured"):
        curve.per_query("ndcg@10", "64:int2")
    with pytest.raises(InvalidArgument, match=r"'map' .*Measured: ndcg@10, recall@100\."):
        curve.per_query("map", "64:int8")
    with pytest.raises(InvalidArgument, match="is not an operating point"):
        curve["64"]


def test_the_pareto_front_by_hand(curve):
    # 64:int8 costs more than 64:int4 and retains less. 32:float16 retains less than both.
    # 16:int2 equals 32:binary, which comes first.
    front = [str(row.point) for row in curve.pareto_front("ndcg@10")]
    assert front == ["32:binary", "64:binary@50>64:int8", "64:int4", "64:float32"]


def test_the_pareto_front_of_equals_is_the_cheapest(curve):
    assert [str(row.point) for row in curve.pareto_front("recall@100")] == ["32:binary"]
