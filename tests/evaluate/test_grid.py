"""Grids list each point once, with shortlists that suit the corpus."""

import pytest

from nestvec.errors import InvalidArgument
from nestvec.evaluate.grid import DEFAULT_GRID, Grid, default_keeps
from nestvec.types import OperatingPoint

MODEL = {"full_dim": 512, "model_dims": (512, 256, 64), "n_documents": 50_000}


def texts(grid, **changes):
    return [str(point) for point in grid.points(**{**MODEL, **changes})]


@pytest.mark.parametrize(
    ("n", "keeps"),
    [
        (1, (10,)),
        (999, (10,)),
        (1_000, (10,)),
        (2_500, (10, 25)),
        (5_000, (25, 50)),
        (46_254, (200, 400)),
        (99_999, (200, 400)),
        (100_000, (400, 1000)),
        (10_000_000, (400, 1000)),
    ],
)
def test_shortlists_are_at_most_one_percent_and_a_thousand(n, keeps):
    assert default_keeps(n) == keeps
    if n >= 1_000:
        assert all(keep <= min(n / 100, 1000) for keep in keeps)


@pytest.mark.parametrize("n", [1, 500, 50_000])
def test_full_width_comes_first_and_no_point_twice(n):
    listed = texts(DEFAULT_GRID, n_documents=n)
    assert listed[0] == "512:float32"
    assert len(set(listed)) == len(listed)


def test_the_default_grid_is_counted_by_hand():
    listed = texts(DEFAULT_GRID)
    singles = [text for text in listed if ">" not in text]
    assert len(singles) == 3 * 6
    # 3 dims x 4 precisions x 2 keeps x 2 rescorers, less 512:int8 rescored by 512:int8.
    assert len(listed) - len(singles) == 3 * 4 * 2 * 2 - 2
    assert "64:binary@400>512:int8" in listed
    assert not any(text.startswith("512:int8@") and text.endswith(">512:int8") for text in listed)


def test_dims_of_the_grid_go_before_the_models():
    listed = texts(Grid(dims=(8, 128), precisions=("int8",), shortlisted=("binary",), keeps=(30,)))
    assert listed == [
        "512:float32",
        *("128:int8", "8:int8"),
        *("128:binary@30>512:float16", "128:binary@30>512:int8"),
        *("8:binary@30>512:float16", "8:binary@30>512:int8"),
    ]


def test_extra_points_come_last_and_not_twice():
    extra = ("64:binary@200>256:int8@50>512:float16", "256:int4")
    grid = Grid(precisions=("int4",), shortlisted=(), extra=tuple(map(OperatingPoint.parse, extra)))
    assert texts(grid) == ["512:float32", "512:int4", "256:int4", "64:int4", extra[0]]


@pytest.mark.parametrize(
    ("grid", "said"),
    [
        (Grid(dims=(1024,)), "dim 1024 > full_dim 512"),
        (Grid(dims=(0,)), "dim 0 < 1"),
        (Grid(keeps=(0,)), "keep 0 < 1"),
        (
            Grid(extra=(OperatingPoint.parse("64:int8@10>600:int8"),)),
            "64:int8@10>600:int8: dim 600 > full_dim 512",
        ),
    ],
)
def test_a_point_that_cannot_be_is_refused(grid, said):
    with pytest.raises(InvalidArgument, match=said):
        texts(grid)


def test_metrics_are_checked_when_the_grid_is_made():
    with pytest.raises(InvalidArgument, match="no metric given"):
        Grid(metrics=())
    with pytest.raises(InvalidArgument, match="precision@10"):
        Grid(metrics=("ndcg@10", "precision@10"))
    assert Grid(metrics=("ndcg@10", "recall@50", "mrr@3")).depth == 50
