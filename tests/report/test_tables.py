from dataclasses import replace

import pytest

from nestvec.errors import InvalidArgument
from nestvec.report.comparison import CurveComparison
from nestvec.report.tables import markdown_table, retention_table


def cells(line):
    return [cell.strip() for cell in line.strip("|\n ").split("|")]


def test_text_table_shows_each_curve_then_the_requested_precisions_of_the_first(curves):
    lines = retention_table(curves, "ndcg@10", precisions=("int4", "float32"))
    assert " ".join(lines[0].split()) == "% of nDCG@10 retained 512 256 128 64 32 dims"
    names = [" ".join(line.split()[:-5]) for line in lines[1:4]]
    assert names == ["Matryoshka float32", "no Matryoshka float32", "Matryoshka int4"]
    # 2 % for each squared halving of the dims, from the fixture
    assert lines[1].split()[-5:] == ["100.0", "98.0", "92.0", "82.0", "68.0"]


def test_twin_weaker_at_full_width_shows_less_than_100_there_and_the_base_is_named(curves):
    lines = retention_table(curves)
    assert float(lines[2].split()[-5]) < 100
    assert lines[3] == "100 % is Matryoshka at 512 dims, float32"


def test_baselines_by_dim_are_rows_of_the_tables(rich):
    lines = retention_table(rich)
    # 1.5 % for each halving to the power of 1.8, from the fixture
    assert lines[3].split() == ["SVD", "float32", "100.0", "98.5", "94.8", "89.2", "81.8"]
    assert "| random dims float32 | 100.0 | 94.0 |" in markdown_table(
        CurveComparison({"": rich["Matryoshka"]}, "ndcg@10")
    )


def test_baseline_is_below_the_table_with_both_scores(curves):
    assert retention_table(curves)[-1] == (
        f"BM25 scores .500, the model {curves['Matryoshka'].full.metrics['ndcg@10']:.3f}".replace(
            " 0.", " ."
        )
    )


@pytest.mark.parametrize("n_dims", [1, 5, 9, 14])
def test_no_line_is_wider_than_a_terminal_and_no_dim_is_lost(curves, n_dims, make_curve):
    curve = make_curve(dims=tuple(8192 // 2**i for i in range(n_dims)))
    lines = retention_table({"a name that is much longer than there is room for it": curve})
    assert max(map(len, lines)) <= 80
    headers = [line for line in lines if line.endswith(" dims")]
    assert [int(dim) for line in headers for dim in line.split()[4:-1]] == list(curve.model.dims)


def test_dims_that_a_curve_lacks_are_shown_as_absent(curves):
    twin = curves["no Matryoshka"]
    cut = replace(twin, points=tuple(row for row in twin.points if row.point.stages[0].dim > 32))
    lines = retention_table({"Matryoshka": curves["Matryoshka"], "twin": cut})
    assert lines[2].split()[-1] == "–"


def test_markdown_table_is_dims_by_precisions(curves):
    header, rule, *rows = markdown_table(
        CurveComparison({"": curves["Matryoshka"]}, "ndcg@10")
    ).splitlines()
    assert cells(header)[1:] == ["512 dims", "256 dims", "128 dims", "64 dims", "32 dims"]
    assert len(cells(rule)) == 6
    assert [cells(row)[0] for row in rows] == [
        "float32", "float16", "int8", "int4", "int2", "binary",
    ]  # fmt: skip
    assert cells(rows[-1])[1:] == ["90.0", "88.0", "82.0", "72.0", "58.0"]


def test_metric_that_was_not_measured_is_rejected(curves):
    with pytest.raises(InvalidArgument, match=r"'mrr@10' was not measured .*ndcg@10"):
        retention_table(curves, "mrr@10")


def test_no_curve_is_rejected():
    with pytest.raises(InvalidArgument, match="no curve"):
        retention_table({})


def test_model_that_scores_zero_is_rejected(make_curve):
    with pytest.raises(InvalidArgument, match="scores 0"):
        retention_table({"nothing": make_curve(level=0)})
