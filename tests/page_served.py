"""Data of the page tests: an index with a curve and a plan, and a document with markup."""

from __future__ import annotations

from dataclasses import replace

from fakes import NestedHashEncoder, made_set
from nestvec.index.building import build_index
from nestvec.measure.grid import Grid
from nestvec.measure.run import evaluate
from nestvec.planning.choose import plan
from nestvec.serve.served import ExampleQuery, Served
from nestvec.types import Document, OperatingPoint

POINT = "16:binary@20>64:float16"
TIERS = {"fast": OperatingPoint.parse("16:int4"), "best": OperatingPoint.parse("64:int8")}
GRID = Grid(precisions=("float32", "int8", "int4", "binary"), shortlisted=("int4",), keeps=(30,))
ATTACK = "<script>alert(1)</script><img src=x onerror=alert(2)> attack \"quotes\" & 'ticks'"
ATTACKER = "<b onmouseover=alert(3)>"


def page_served(folder) -> Served:
    """Build 301 documents, a curve, a plan and examples."""
    data = made_set()
    corpus = {
        id_: replace(document, title=f"title of {id_}", metadata={"year": 2000 + number % 20})
        for number, (id_, document) in enumerate(data.corpus.items())
    }
    corpus[ATTACKER] = Document(ATTACK, title=ATTACK, metadata={"<i>": "<u>", "year": 1})
    model = NestedHashEncoder()
    curve = evaluate(model, data, GRID)
    examples = tuple(
        ExampleQuery(id_, text, tuple(data.qrels[id_]))
        for id_, text in list(data.queries.items())[:5]
    )
    return Served(
        "made",
        model,
        build_index(model, corpus, POINT, folder / "index"),
        curve=curve,
        plan=plan(curve),
        tiers=TIERS,
        examples=examples,
    )
