"""Check searches of Lance tables that other programs wrote, against NumPy and LanceDB itself."""

import lancedb
import numpy as np
import pyarrow as pa
import pytest
from lancedb.index import IvfFlat, IvfPq
from queried_vectors import DIM, QUERIES, cosines, log, vectors

from nestvec.engines.filters.where import Where
from nestvec.errors import DataError, InvalidArgument
from nestvec.operate.check import CheckOptions, check_search
from nestvec.operate.exact import LiveQueries
from nestvec.operate.live import lancedb as live
from nestvec.operate.live.database import TableSearch

N = 4_000
VECTORS = vectors(N)


def table_of(folder, config):
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(VECTORS.ravel()), DIM)
    columns = {
        "key": [f"d{row}" for row in range(N)],
        "lang": ["de" if row % 10 == 0 else "en" for row in range(N)],
        "n": [row % 7 for row in range(N)],
        "vec": vectors,
    }
    table = lancedb.connect(folder).create_table("docs", pa.table(columns))
    if config is not None:
        table.create_index("vec", config=config)
    return table


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("lance")
    table_of(root / "pq", IvfPq(distance_type="cosine", num_partitions=16, num_sub_vectors=8))
    table_of(root / "flat", IvfFlat(distance_type="cosine", num_partitions=32))
    table_of(root / "none", None)
    return root


def url(folder):
    return f"lance://{folder}?table=docs&id=key&vector=vec"


def test_the_exact_answers_are_those_of_numpy(folders, monkeypatch):
    monkeypatch.setattr(live, "_ROWS", 700)
    conditions = [Where.parse("lang = 'de' and n >= 3"), Where.parse("not n in (1, 2)")]
    groups = np.arange(len(QUERIES)) % 3 - 1
    with live.open_lance_table(url(folders / "flat"), TableSearch(), None) as table:
        found = table.exact(LiveQueries(QUERIES, conditions, groups), 10)
    rows = np.arange(N)
    german = (rows % 10 == 0) & (rows % 7 >= 3)
    masks = [np.ones(N, dtype=bool), german, ~np.isin(rows % 7, (1, 2))]
    for query, scores in enumerate(cosines(VECTORS)):
        scores[~masks[groups[query] + 1]] = -np.inf
        assert found.ids[query] == [f"d{row}" for row in np.argsort(-scores)[:10]]
    assert found.matching == [mask.sum() for mask in masks[1:]]


def test_the_loss_by_partitions(folders):
    """Two of 32 partitions are searched; NumPy knows how many answers LanceDB then returns."""
    search = TableSearch(settings={"nprobes": "2"})
    report = check_search(url(folders / "flat"), log(), CheckOptions(search=search))
    table = lancedb.connect(folders / "flat").open_table("docs")
    shares = []
    for query, scores in zip(QUERIES, cosines(VECTORS), strict=True):
        found = table.search(query, vector_column_name="vec").nprobes(2).limit(10).to_arrow()
        exact = {f"d{row}" for row in np.argsort(-scores)[:10]}
        shares.append(len({*found["key"].to_pylist()} & exact) / 10)
    assert report.overlap == pytest.approx(np.mean(shares))
    assert report.overlap < 0.9
    assert report.index == "vec_idx (IVF_FLAT)"
    assert report.width == "nprobes = 2"
    assert report.losses.index == 1 - report.overlap
    assert report.remedies[-1].setting in ("nprobes = 16", "nprobes = 32")  # k-means is random
    assert report.remedies[-1].overlap >= 0.99


def test_rescoring_mends_the_loss_by_product_codes(folders):
    report = check_search(url(folders / "pq"), log())
    assert (report.point, report.losses) == ("", None)  # the codes are LanceDB's own
    assert report.overlap < 0.8
    first = report.remedies[0]
    assert first.setting == "refine_factor = 10"
    assert first.overlap > report.overlap + 0.1


def test_a_table_without_an_index_is_exact(folders):
    search = TableSearch(metric="cosine")
    report = check_search(url(folders / "none"), log(), CheckOptions(search=search))
    assert (report.index, report.overlap) == ("", 1)


def test_a_table_that_changes_meanwhile(folders, monkeypatch):
    """All searches and the exact pass read one version."""
    table = lancedb.connect(folders / "none").open_table("docs")
    original = live.LiveLanceTable.exact

    def change_first(self, *arguments):
        table.delete("n = 3")
        return original(self, *arguments)

    monkeypatch.setattr(live.LiveLanceTable, "exact", change_first)
    report = check_search(url(folders / "none"), log())
    assert (report.documents, report.overlap) == (N, 1)
    assert table.count_rows() < N


def test_filters_and_sampled_documents(folders):
    report = check_search(url(folders / "flat"), log(["lang = 'de'"] * len(QUERIES)))
    (row,) = report.filters
    assert row.matching == N // 10
    sampled = [check_search(url(folders / "flat"), None, CheckOptions(sampled=30)) for _ in (1, 2)]
    assert sampled[0].queries == 30
    assert sampled[0].overlap == sampled[1].overlap


@pytest.mark.parametrize(
    ("search", "problem"),
    [
        (TableSearch("SELECT $1"), "which runs no statement"),
        (TableSearch(settings={"hnsw.ef_search": "9"}), "is not one of nprobes, refine_factor, ef"),
    ],
)
def test_what_lancedb_does_not_have(folders, search, problem):
    with pytest.raises(InvalidArgument, match=problem):
        check_search(url(folders / "flat"), log(), CheckOptions(search=search))


def test_a_folder_that_does_not_exist_is_not_created(tmp_path):
    for place in (f"lance://{tmp_path}/absent?table=docs", url(tmp_path / "absent")):
        with pytest.raises(DataError) as caught:
            check_search(place, log())
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "absent").exists()
