"""The SQL of a search in PostgreSQL: where ties are ordered by id, and in which order values go."""

import pytest

from nestvec.engines.pgvector.statements import VectorColumn, search_statement
from nestvec.types import OperatingPoint

COLUMN = VectorColumn('"embedding"', "float16", 512)


def statement(text, *, indexed, condition=None):
    stages = OperatingPoint.parse(text).stages
    return search_statement('"docs"', COLUMN, stages, 10, condition=condition, indexed=indexed)


@pytest.mark.parametrize(
    ("point", "indexed", "is_ordered"),
    [
        ("256:float16@200>512:float16", True, False),  # one more row would search the graph again
        ("256:float16@200>512:float16", False, True),
        ("512:sign@200>512:float16", True, True),
        ("512:float16", True, True),
    ],
)
def test_the_first_stage_orders_ties_by_id_where_it_must(point, indexed, is_ordered):
    first_stage = statement(point, indexed=indexed).text.partition("AS s0")[0]
    assert (", id DESC LIMIT" in first_stage) == is_ordered


def test_parameters_are_in_the_order_of_the_text():
    point = "512:sign@400>256:float16@100>384:float16"
    found = statement(point, indexed=True, condition=("metadata @> %s", ["a filter"]))
    assert [each.dim for each in found.queries] == [384, 512, 256]
    assert [each.kind for each in found.queries] == ["vector", "bit", "vector"]
    last, where, first, between = (
        found.text.index(part)
        for part in ("::vector(384) <#> %b", "metadata @> %s", "<~> %b", "::vector(256) <#> %b")
    )
    assert last < where < first < between
