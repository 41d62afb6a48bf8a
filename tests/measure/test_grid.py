"""Grids list each point once, with shortlists that fit the corpus."""

import pytest

from nestvec.errors import InvalidArgument
from nestvec.measure.grid import DEFAULT_GRID, Grid, default_keeps, mrl_funnel
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
def test_full_width_is_first_and_points_are_distinct(n):
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


def test_dims_of_the_grid_override_those_of_the_model():
    listed = texts(Grid(dims=(8, 128), precisions=("int8",), shortlisted=("binary",), keeps=(30,)))
    assert listed == [
        "512:float32",
        *("128:int8", "8:int8"),
        *("128:binary@30>512:float16", "128:binary@30>512:int8"),
        *("8:binary@30>512:float16", "8:binary@30>512:int8"),
    ]


def test_product_codes_are_measured_on_request_and_at_even_dims(caplog):
    assert not any("pq4" in text for text in texts(DEFAULT_GRID))
    grid = Grid(
        dims=(64, 33), precisions=("pq4",), shortlisted=("pq4",), rescored=("int8",), keeps=(30,)
    )
    assert "odd" not in caplog.text
    assert texts(grid) == ["512:float32", "64:pq4", "64:pq4@30>512:int8"]
    assert "pq4 is not measured at odd numbers of dims: 33" in caplog.text


def test_extra_points_are_last_and_distinct():
    extra = ("64:binary@200>256:int8@50>512:float16", "256:int4")
    grid = Grid(
        precisions=("int4",), shortlisted=(), extra=(OperatingPoint.parse(extra[0]), extra[1])
    )
    assert texts(grid) == ["512:float32", "512:int4", "256:int4", "64:int4", extra[0]]


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        (Grid(dims=(1024,)), "dim 1024 is larger than full_dim=512"),
        (Grid(dims=(0,)), "dim=0 is below 1"),
        (Grid(keeps=(0,)), "keep=0 is below 1"),
        (Grid(extra=("1024:int8",)), "dim 1024 is larger than full_dim=512"),
        (
            Grid(extra=(OperatingPoint.parse("64:int8@10>600:int8"),)),
            "64:int8@10>600:int8: dim 600 is larger than full_dim=512",
        ),
    ],
)
def test_invalid_points_are_rejected(grid, message):
    with pytest.raises(InvalidArgument, match=message):
        texts(grid)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"metrics": ()}, "metrics is empty"),
        ({"metrics": ("ndcg@10", "precision@10")}, "precision@10"),
        ({"depth": 0}, "depth=0 is less than 1"),
        ({"baselines": ("lsa",)}, "'lsa' is not one of bm25, svd, pca, random"),
        ({"extra": ("mrl-tunnel",)}, "'mrl-tunnel' is not an operating point"),
    ],
)
def test_invalid_settings_are_rejected(values, message):
    with pytest.raises(InvalidArgument, match=message):
        Grid(**values)


def test_metrics_follow_the_evidence_and_the_depth():
    assert Grid().metrics_for("labels") == ("ndcg@10", "recall@100", "overlap@10")
    assert Grid().metrics_for("made queries") == Grid().metrics_for("labels")
    assert Grid(depth=50).metrics_for("labels") == ("recall@50", "ndcg@50", "overlap@50")
    assert Grid(depth=50).metrics_for("agreement") == ("overlap@50", "rbo@50")
    chosen = Grid(depth=50, metrics=("overlap@5",))
    assert chosen.metrics_for("labels") == chosen.metrics_for("agreement") == ("overlap@5",)
    with pytest.raises(
        InvalidArgument, match=r"ndcg@5 needs relevance labels.*Use overlap@10 or rbo"
    ):
        Grid(metrics=("ndcg@5",)).metrics_for("agreement")


@pytest.mark.parametrize(
    ("n", "depth", "keeps"),
    [(50_000, 100, (200, 400)), (5_000, 100, (100,)), (100, 30, (50,)), (10**6, 1500, (1500,))],
)
def test_shortlists_are_at_least_as_long_as_the_depth(n, depth, keeps):
    assert default_keeps(n, depth=depth) == keeps


@pytest.mark.parametrize(
    "grid",
    [Grid(keeps=(50, 200), depth=100), Grid(extra=("mrl-funnel",), depth=11)],
    ids=["keeps", "funnel"],
)
def test_shortlists_shorter_than_the_depth_are_rejected(grid):
    with pytest.raises(InvalidArgument, match=r"keep (50|10) is less than depth"):
        texts(grid)


@pytest.mark.parametrize(
    ("full_dim", "funnel"),
    [
        (2048, "8@200 16@100 32@50 64@25 128@10 2048"),  # as printed in the paper
        (128, "8@200 16@100 32@50 64@25 128"),
        (100, "8@200 16@100 32@50 64@25 100"),
        (9, "8@200 9"),
    ],
)
def test_the_papers_funnel_adapts_to_the_width(full_dim, funnel):
    expected = funnel.replace("@", ":float32@").replace(" ", ">") + ":float32"
    assert str(mrl_funnel(full_dim)) == expected
    assert texts(Grid(extra=("mrl-funnel",)), full_dim=full_dim, model_dims=(8,))[-1] == expected


def test_a_funnel_needs_more_than_8_dims():
    with pytest.raises(InvalidArgument, match="full_dim=8"):
        mrl_funnel(8)


def test_float32_rescoring_is_measured_on_request():
    assert not any("@" in text and text.endswith("float32") for text in texts(Grid()))
    assert "64:binary@400>512:float32" in texts(Grid(rescored=("float32",)))
