import re
import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest

from nestvec.errors import InvalidArgument
from nestvec.report.canvas import spread
from nestvec.report.chart import quality_chart, save_chart
from nestvec.report.line_charts import dims_chart
from nestvec.report.svg import inline_svg


def texts(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def note(figure):
    return next(text for text in texts(figure) if text.startswith("100 % is"))


def test_quality_chart_names_every_line_full_precision_the_plan_and_the_target(curves, confirmed):
    shown = texts(quality_chart(curves, confirmed))
    assert {
        "float32", "float16", "int8", "int4", "int2", "binary", "no Matryoshka float32",
        "shortlist", "full precision", "512:float32", "2,048 B", str(confirmed.point),
        "target 98 %",
    } <= {*shown}  # fmt: skip
    assert any(re.fullmatch(r"BM25 \d\d\.\d %", text) for text in shown)
    assert any("retains at least" in text for text in shown)


def test_chart_of_an_unconfirmed_plan_claims_no_bound(curves, unconfirmed):
    shown = texts(quality_chart(curves, unconfirmed))
    assert not any("at least" in text for text in shown)
    assert any("not confirmed" in text for text in shown)


def test_chart_without_a_plan_marks_only_full_precision(curves):
    shown = texts(quality_chart({"only": curves["Matryoshka"]}))
    assert "full precision" in shown
    assert not any("target" in text for text in shown)


def test_note_tells_where_the_axis_starts_and_how_many_points_are_below(curves, make_curve):
    figure = quality_chart(curves)
    floor = figure.axes[0].get_ylim()[0]
    assert f"The axis starts at {floor:g} %" in note(figure)
    drawn = [line.get_ydata() for line in figure.axes[0].lines]
    assert "points are below" not in note(figure) or min(map(min, drawn)) < floor

    # float32 retains 100 % everywhere, binary 90 %: the note must count hidden points
    figure = quality_chart({"flat": make_curve(loss=0)})
    assert figure.axes[0].get_ylim()[0] == 90
    marked = next(each for each in figure.axes[0].lines if each.get_marker() == "P")
    assert min(marked.get_ydata()) >= 90 - 1e-9 or "below" in note(figure)


def test_memory_axis_has_plain_bytes(curves):
    axes = quality_chart(curves).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == [
        "4", "8", "16", "32", "64", "128", "256", "512", "1,024", "2,048 B",
    ]  # fmt: skip


def test_percent_is_of_the_first_curve_so_that_a_weaker_twin_starts_lower(curves):
    axes = quality_chart(curves).axes[0]
    dashed = next(line for line in axes.lines if line.get_linestyle() == "--")
    assert max(dashed.get_ydata()) < 100


def test_dims_chart_joins_the_names_of_lines_that_end_as_one(curves):
    assert "float32, float16, int8, int4" in texts(dims_chart(curves))


def test_labels_move_apart_by_the_gap_and_keep_their_order():
    heights = [51.0, 50.9, 50.8, 48.0, 20.0]
    moved = spread(heights, 3)
    assert moved == sorted(moved, reverse=True)
    assert all(a - b >= 3 - 1e-9 for a, b in pairwise(moved))
    assert moved[-1] == 20


def test_names_with_dollar_signs_and_tags_are_shown_as_they_are(curves, tmp_path):
    name = "$x^{2$ <b>&"
    save_chart(
        quality_chart({"a": curves["Matryoshka"], name: curves["no Matryoshka"]}),
        tmp_path / "c.svg",
    )
    shown = ["".join(each.itertext()) for each in ET.parse(tmp_path / "c.svg").iter()]
    assert f"{name} float32" in shown


@pytest.mark.parametrize("suffix", [".svg", ".png"])
def test_saving_twice_gives_the_same_bytes(curves, confirmed, tmp_path, suffix):
    for name in ("one", "two"):
        save_chart(quality_chart(curves, confirmed), tmp_path / f"{name}{suffix}")
    first, second = ((tmp_path / f"{name}{suffix}").read_bytes() for name in ("one", "two"))
    assert first == second
    if suffix == ".svg":
        assert b"<text" in first and b"system-ui" in first and b"<dc:date>" not in first


def test_other_file_types_are_rejected_and_nothing_is_written(curves, tmp_path):
    with pytest.raises(InvalidArgument, match=r"\.svg or \.png"):
        save_chart(quality_chart(curves), tmp_path / "chart.pdf")
    assert list(tmp_path.iterdir()) == []


def test_inline_picture_has_no_color_of_its_own_and_ids_of_its_name(curves, confirmed):
    svg = inline_svg(quality_chart(curves, confirmed), name="quality")
    ET.fromstring(svg)
    assert re.findall(r"#[0-9a-f]{6}\b", svg) == []
    ids = re.findall(r' id="([^"]+)"', svg)
    used = set(re.findall(r'(?:href="|url\()#([^")]+)', svg))
    assert set(ids) == used and len(ids) == len(set(ids))
    assert all(each.startswith("quality-") for each in ids)
    assert "<style" not in svg and 'role="img"' in svg


def test_drawing_leaves_the_settings_of_matplotlib_alone(curves):
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    dims_chart(curves, dark=True)
    assert dict(mpl.rcParams) == before
