"""What tests serve: an index of few documents, its model, two tiers and example queries."""

from __future__ import annotations

from pathlib import Path

from nestvec.serve.examples import ExampleQuery
from nestvec.serve.served import Served
from nestvec.types import Encoder, OperatingPoint
from nestvec.workflows.index_building import build_index
from ten_documents import CORPUS

POINT = "16:binary@8>64:int8"
TIERS = {
    "fast": OperatingPoint.parse("16:int8"),
    "best": OperatingPoint.parse("32:int8@9>64:float16"),
}
NAME = "tiny"


def demo_like(model: Encoder, index: Path) -> Served:
    """Build an index and serve it with its model."""
    examples = (ExampleQuery("q1", "read a csv file", ("d1",)),)
    opened = build_index(model, CORPUS, POINT, index)
    return Served(NAME, model, opened, tiers=TIERS, examples=examples)
