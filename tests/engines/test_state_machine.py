"""After any sequence of changes, an index finds the same as a dict and NumPy."""

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from kills import FULL_DIM, MODEL, new_index
from nestvec.codec.prefix import as_stored
from nestvec.engines.embedded.engine import EmbeddedEngine
from nestvec.engines.embedded.place import create_folder
from nestvec.engines.filters.condition import Comparison, Exists, Has, In, Not
from nestvec.engines.manifest import Manifest
from nestvec.errors import InvalidArgument
from nestvec.types import Document, OperatingPoint

pytestmark = pytest.mark.usefixtures("small_calibration")

IDS = st.sampled_from(["", "a", "b", "ä", "ä", "日本", "👋", "aa", "B", "z'\"\\", "0"]) | st.text(
    st.characters(exclude_categories=["Cs"]), max_size=3
)
VECTORS = st.integers(-1, 5)  # few, so that many are equal; -1 is the zero vector
FIELD_VALUES = st.sampled_from([1, 2, 2.5, True, "de"]) | st.just(["de", 2])
METADATA = st.dictionaries(st.sampled_from(["year", "lang"]), FIELD_VALUES)
DOCUMENTS = st.dictionaries(IDS, st.tuples(VECTORS, st.text(max_size=3), METADATA), max_size=12)
# Shortlists as long as the corpus; later stages and float stages rank as the stored vectors do.
LONG = "100000"
POINTS = [
    f"16:binary@{LONG}>32:float16",
    f"8:int8@{LONG}>32:float16",
    "32:float16",
    f"16:int4@{LONG}>32:binary@{LONG}>32:float16",
]
# Conditions, the documents that match, and the types that some value must have. An item may be in
# a list.
CONDITIONS = [
    (None, lambda _: True, ()),
    (Comparison("year", ">=", 2), lambda each: each.get("year", "") in (2, 2.5), ("number",)),
    (
        In("lang", ("de", 1), negated=False),
        lambda each: each.get("lang") in ("de", 1),
        ("text", "number"),
    ),
    (Has("lang", "de"), lambda each: each.get("lang") in ("de", ["de", 2]), ("text item",)),
    (Not(Exists("year")), lambda each: "year" not in each, ()),
]


def types_of(value):
    """Return the types that a filter may compare a value with."""
    if isinstance(value, list):
        return {"text item", "number item"}
    return {"text", "text item"} if isinstance(value, str) else {"number", "number item"}


def is_refused(condition, types, documents):
    """Return whether no document has a field of a condition, or a value of a compared type."""
    if condition is None or not documents:
        return False
    (field,) = condition.fields
    values = [each.metadata[field] for each in documents if field in each.metadata]
    known = set().union(*map(types_of, values))
    return not values or not known.issuperset(types)


def vector(number):
    if number < 0:
        return np.zeros(FULL_DIM, np.float32)
    return np.random.default_rng(number).standard_normal(FULL_DIM).astype(np.float32)


class Changes(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp()) / "index"
        self.documents = {}
        self.vectors = {}

    @initialize(point=st.sampled_from(POINTS))
    def create(self, point):
        create_folder(self.folder, Manifest(MODEL, "float16", OperatingPoint.parse(point)))
        self.index = EmbeddedEngine(self.folder)

    def teardown(self):
        self.index.close()
        shutil.rmtree(self.folder.parent)

    @rule(made=DOCUMENTS, code=st.booleans())
    def upsert(self, made, code):
        self._add(made, replace=True)
        if code:  # often, so that equal vectors are in several parts and in the tail
            self.build_codes()

    @rule(made=DOCUMENTS)
    def add(self, made):
        self._add({id_: each for id_, each in made.items() if id_ not in self.documents})

    def _add(self, made, **options):
        added = {id_: Document(text, "", metadata) for id_, (_, text, metadata) in made.items()}
        embeddings = np.array([vector(number) for number, _, _ in made.values()], np.float32)
        self.index.add(added, embeddings.reshape(-1, FULL_DIM), **options)
        self.documents |= added
        self.vectors |= {id_: number for id_, (number, _, _) in made.items()}

    @rule(ids=st.lists(IDS, max_size=6))
    def delete(self, ids):
        there = {id_ for id_ in ids if id_ in self.documents}
        assert self.index.delete(ids) == len(there)
        for id_ in there:
            del self.documents[id_], self.vectors[id_]

    @rule()
    def compact(self):
        self.index.compact()
        assert self.index.stats().deleted == 0

    @rule(point=st.sampled_from(POINTS))
    def use(self, point):
        self.index.use(OperatingPoint.parse(point))

    @rule()
    def build_codes(self):
        self.index.build_codes()
        assert self.index.stats().uncoded == 0

    @rule(verify=st.booleans())
    def reopen(self, verify):
        self.index.close()
        self.index = EmbeddedEngine(self.folder, verify=verify)

    @rule()
    def verify(self):
        self.index.verify()

    @rule(
        number=VECTORS,
        k=st.integers(1, 30),
        where=st.sampled_from(CONDITIONS),
        how=st.sampled_from([None, *POINTS]),
    )
    def search(self, number, k, where, how):
        condition, holds, types = where
        queries = np.stack([vector(number), vector(number + 20)])
        chosen = [id_ for id_, each in self.documents.items() if holds(each.metadata)]
        point = OperatingPoint.parse(how) if how else None
        refused = is_refused(condition, types, self.documents.values())
        for options in ({"exact": True}, {"point": point}):
            if refused:
                with pytest.raises(InvalidArgument, match="filter: "):
                    self.index.search(queries, k, where=condition, **options)
                continue
            hits = self.index.search(queries, k, where=condition, **options)
            self._check(hits, queries, k, chosen)

    def _check(self, hits, queries, k, chosen):
        for query, ids, scores in zip(queries, hits.ids, hits.scores, strict=True):
            expected = self._expected(query, chosen)
            assert len(ids) == min(k, len(chosen))
            assert len(set(ids)) == len(ids)
            np.testing.assert_allclose(scores, [expected[id_] for id_ in ids], atol=2e-6)
            # Scores that are nearly equal in float64 may be in any order; equal vectors may not.
            ranked = sorted(sorted(expected, reverse=True), key=lambda id_: -expected[id_])
            np.testing.assert_allclose(scores, [expected[id_] for id_ in ranked[:k]], atol=2e-6)
            twins = list(zip(ids, ids[1:], scores, scores[1:], strict=False))
            assert all(a > b for a, b, one, other in twins if one == other)
            for number in {self.vectors[id_] for id_ in ids}:  # equal vectors are equally good
                among = [id_ for id_ in ids if self.vectors[id_] == number]
                equal = [id_ for id_ in chosen if self.vectors[id_] == number]
                assert among == sorted(equal, reverse=True)[: len(among)]

    def _expected(self, query, ids):
        [query] = as_stored(query[None], layer_norm=False).astype(np.float64)
        made = np.array([vector(self.vectors[id_]) for id_ in ids]).reshape(-1, FULL_DIM)
        stored = as_stored(made, layer_norm=False).astype(np.float16).astype(np.float64)
        return dict(zip(ids, (stored @ query).tolist(), strict=True))

    @precondition(lambda self: hasattr(self, "index"))
    @invariant()
    def holds_what_was_put_in(self):
        assert len(self.index) == len(self.documents)
        assert sorted(self.index.ids()) == sorted(self.documents)
        assert self.index.get([*self.documents, "never was"]) == self.documents


TestChanges = Changes.TestCase
TestChanges.settings = settings(
    max_examples=30,
    stateful_step_count=15,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def test_equal_vectors_in_two_parts_and_the_tail_are_in_descending_order_of_id(tmp_path):
    index = EmbeddedEngine(new_index(tmp_path / "index"))
    for ids, coded in ((["c", "f", "a", "j"], True), (["g"], True), (["z", "b"], False)):
        index.add(dict.fromkeys(ids, Document("")), np.stack([vector(1)] * len(ids)))
        if coded:
            index.build_codes()
    assert index.stats().parts == 2
    for exact in (True, False):
        for k in (1, 4, 7):
            [ids] = index.search(vector(1)[None], k, exact=exact).ids
            assert ids == ["z", "j", "g", "f", "c", "b", "a"][:k]
    index.close()
