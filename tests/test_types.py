"""The text form of operating points, and errors of invalid texts."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestvec.errors import InvalidArgument, NestvecError
from nestvec.types import PRECISIONS, Document, ModelInfo, OperatingPoint, Stage

DIMS = st.integers(1, 4096)


@st.composite
def points(draw):
    keeps = sorted(draw(st.lists(st.integers(1, 10_000), max_size=3)), reverse=True)
    return OperatingPoint(
        tuple(Stage(draw(DIMS), draw(st.sampled_from(PRECISIONS)), keep) for keep in [*keeps, None])
    )


@given(points())
def test_the_text_form_round_trips(point):
    assert OperatingPoint.parse(str(point)) == point


def test_the_text_form_is_the_documented_one():
    point = OperatingPoint(
        (Stage(64, "binary", 1000), Stage(256, "int8", 100), Stage(1024, "float16"))
    )
    assert str(point) == "64:binary@1000>256:int8@100>1024:float16"
    assert OperatingPoint.single(256, "int4") == OperatingPoint.parse("256:int4")


def test_blanks_around_stages_are_allowed():
    assert str(OperatingPoint.parse(" 64:binary@200 > 512:int8\n")) == "64:binary@200>512:int8"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'' is not an operating point. Examples: 256:int4, 64:binary@200>512:int8."),
        ("256", "'256' is not an operating point"),
        ("256:int4@", "'256:int4@' is not an operating point"),
        ("256:INT4", "'256:INT4' is not an operating point"),
        ("-1:int4", "'-1:int4' is not an operating point"),
        ("2.5:int4", "'2.5:int4' is not an operating point"),
        ("٣:int4", "is not an operating point"),
        ("9" * 5000 + ":int4", "is not an operating point"),
        ("64:binary@200>", "is not an operating point"),
        ("64:binary@200>>512:int8", "is not an operating point"),
        ("256:int3", "precision 'int3' is not one of float32, float16, int8, int4, int2, binary"),
        ("0:int4", "dim=0 is below 1 in stage 0:int4"),
        ("64:binary@0>512:int8", "keep=0 is below 1 in stage 64:binary@0"),
        ("64:binary>512:int8", "stage 64:binary is not the last. Add @keep to it."),
        ("512:int8@10", "the last stage returns k documents. Remove its @keep."),
        (
            "64:binary@10>256:int8@20>512:int8",
            "keep increases. A stage cannot keep more than the one before.",
        ),
    ],
)
def test_an_invalid_text_raises_one_line(text, message):
    with pytest.raises(InvalidArgument) as caught:
        OperatingPoint.parse(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.text())
def test_any_text_is_a_point_or_raises_a_nestvec_error(text):
    try:
        point = OperatingPoint.parse(text)
    except NestvecError:
        return
    assert OperatingPoint.parse(str(point)) == point


def test_a_point_needs_a_stage():
    with pytest.raises(InvalidArgument, match="at least one stage"):
        OperatingPoint(())


def test_the_content_of_a_document_is_title_and_text_as_in_beir():
    assert Document("text", title="title").content == "title text"
    assert Document("text").content == "text"
    assert Document("", title="title").content == "title"


def test_model_info_survives_json():
    info = ModelInfo("name", "f" * 64, 512, (512, 64), "config.json", True, True, "q: ", "d: ", 256)
    assert ModelInfo.from_json(json.loads(json.dumps(info.to_json()))) == info


@pytest.mark.parametrize(
    ("min_dim", "dims_trained", "trained"),
    [
        (None, True, {64, 256, 1024}),
        (None, False, {1024}),
        (32, True, {32, 64, 100, 256, 1023, 1024}),
        (128, False, {256, 1023, 1024}),
    ],
)
def test_a_model_is_trained_for_its_dims_or_for_every_dim_of_a_range(
    min_dim, dims_trained, trained
):
    info = ModelInfo("m", "f", 1024, (1024, 256, 64), "", dims_trained, min_dim=min_dim)
    asked = {31, 32, 64, 100, 256, 1023, 1024, 1025}
    assert {dim for dim in asked if info.is_trained_for(dim)} == trained
