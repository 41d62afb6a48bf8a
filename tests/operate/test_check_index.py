"""Check the search of an index: what is lost, by what, and the exit code."""

import json

import numpy as np
import pytest

from ended_commands import run_in
from made_index import build
from nestvec.errors import DataError, InvalidArgument
from nestvec.operate.check import CheckOptions, check_search
from nestvec.operate.check_report import CheckReport
from nestvec.operate.history import MOST, PastCheck, add_to_history
from nestvec.operate.live.database import TableSearch
from nestvec.operate.relevance_check import Labels
from nestvec.sources.logged_queries import LoggedQueries
from nestvec.types import Document, ModelInfo, OperatingPoint

N, DIM = 600, 32
MODEL = ModelInfo("models/any", "e" * 64, DIM, (DIM, 16), "config.json", True)
RNG = np.random.default_rng(1)
VECTORS = (RNG.standard_normal((N, DIM)) * (1 + np.arange(DIM)) ** -0.3).astype(np.float32)
QUERIES = (RNG.standard_normal((80, DIM)) * (1 + np.arange(DIM)) ** -0.3).astype(np.float32)
CORPUS = {f"d{n:03}": Document(f"text {n}", metadata={"lang": "de" if n % 5 == 0 else "en"})
          for n in range(N)}  # fmt: skip


def log(filters=None):
    n = len(QUERIES)
    names = [f"q{number}" for number in range(n)]
    return LoggedQueries("log", names, [""] * n, QUERIES, filters or [""] * n, {})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("indexes")
    for name, point in {
        "exact": "32:float32",
        "dims": "8:float32@12>32:float32",
        "bits": "32:sign@12>32:float32",
    }.items():
        build(
            folder / name,
            model=MODEL,
            corpus=CORPUS,
            embeddings=VECTORS,
            point=OperatingPoint.parse(point),
        )
    return folder


def true_overlap(found, k=10):
    unit = VECTORS / np.linalg.norm(VECTORS, axis=1, keepdims=True)
    exact = np.argsort(-(QUERIES @ unit.T), axis=1)[:, :k]
    names = np.array(list(CORPUS))
    shares = [len({*names[rows]} & {*ids}) / k for rows, ids in zip(exact, found, strict=True)]
    return float(np.mean(shares))


def test_an_exhaustive_index_loses_nothing(folder):
    report = check_search(folder / "exact", log())
    assert report.overlap == 1
    assert (report.documents, report.queries, report.dim) == (N, 80, DIM)
    assert (report.losses.dims, report.losses.bits, report.losses.index) == (0, 0, 0)
    assert not report.remedies


def test_fewer_dims_are_told_apart_from_fewer_bits(folder):
    """The index is exhaustive, so one cause explains the loss."""
    dims, bits = (check_search(folder / name, log()) for name in ("dims", "bits"))
    assert dims.overlap < 0.9
    assert dims.losses.dims == pytest.approx(1 - dims.overlap)
    assert dims.losses.bits == pytest.approx(0)
    assert bits.overlap < 0.9
    assert bits.losses.bits == pytest.approx(1 - bits.overlap, abs=0.02)
    assert abs(bits.losses.dims) < 0.02  # by the shortlist
    assert abs(dims.losses.index) < 1e-6
    assert abs(bits.losses.index) < 0.03  # equal scores of 32 bits come in another order


def test_the_overlap_is_that_of_numpy(folder):
    import nestvec as nv

    with nv.Index.open(folder / "dims") as index:
        found = index.search(QUERIES, k=10).ids
    assert check_search(folder / "dims", log()).overlap == pytest.approx(true_overlap(found))


def test_a_longer_shortlist_is_offered_with_its_overlap(folder):
    import nestvec as nv

    remedies = {each.setting: each for each in check_search(folder / "dims", log()).remedies}
    with nv.Index.open(folder / "dims") as index:
        found = index.search(QUERIES, k=10, point="8:float32@48>32:float32").ids
    assert remedies["a shortlist of 48"].overlap == pytest.approx(true_overlap(found))


def test_filters_have_rows_of_their_own(folder):
    filters = ["lang = 'de'"] * 30 + [""] * 50
    report = check_search(folder / "exact", log(filters))
    assert [(each.filter, each.queries, each.overlap) for each in report.filters] == [
        ("", 50, 1),
        ("lang = 'de'", 30, 1),
    ]


def test_sampled_documents_do_not_find_themselves(folder):
    """With itself, each document would have at least one of two exact results."""
    report = check_search(folder / "dims", None, CheckOptions(ks=(1,), sampled=100))
    assert report.source == "sampled documents"
    assert report.overlap < 0.95


def test_another_point_is_checked_without_a_change(folder):
    search = TableSearch(point=OperatingPoint.parse("32:float16"))
    report = check_search(folder / "dims", log(), CheckOptions(search=search))
    assert report.point == "32:float16"
    assert report.overlap > 0.99


def test_retention_by_labels(folder):
    """The best exact document of each query is relevant: exact answers score 1 by mrr@10."""
    unit = VECTORS / np.linalg.norm(VECTORS, axis=1, keepdims=True)
    best = np.argmax(QUERIES @ unit.T, axis=1)
    names = list(CORPUS)
    qrels = {f"q{number}": {names[row]: 1} for number, row in enumerate(best)}
    options = CheckOptions(min_retention=0.9, labels=Labels(qrels, "mrr@10"))
    report = check_search(folder / "dims", log(), options)
    assert report.retention.exact == 1
    assert report.retention.found == report.retention.share < 0.9
    assert report.retention.at_least < report.retention.share
    assert report.failures == (f"retention of mrr@10 is {report.retention.share:.3f}, below 0.9",)


def test_a_report_returns_from_json(folder):
    report = check_search(folder / "dims", log(["lang = 'de'"] * 3 + [""] * 77))
    assert CheckReport.from_json(json.loads(json.dumps(report.to_json()))) == report


def test_prometheus_reads_the_numbers(folder):
    parser = pytest.importorskip("prometheus_client.parser")
    report = check_search(folder / "dims", log(), CheckOptions(ks=(1, 10)))
    samples = [
        sample
        for family in parser.text_string_to_metric_families(report.to_prometheus())
        for sample in family.samples
    ]
    values = {(each.name, each.labels.get("k")): each.value for each in samples}
    assert values["nestvec_check_overlap", "10"] == report.overlap
    causes = {each.labels["cause"]: each.value for each in samples if "loss" in each.name}
    assert causes["dims"] == report.losses.dims


def test_a_history_reports_changes_and_stays_short(folder, tmp_path):
    file = tmp_path / "history.jsonl"
    one, two = check_search(folder / "dims", log()), check_search(folder / "exact", log())
    assert add_to_history(file, one) is None
    assert add_to_history(file, two) is None  # another place
    assert add_to_history(file, one) == PastCheck.of(one)
    changes = PastCheck.of(two).changes(PastCheck.of(one))
    assert f"overlap {1 - one.overlap:+.3f}" in changes
    assert "point 8:float32@12>32:float32 before, 32:float32 now" in changes
    for _ in range(MOST):
        add_to_history(file, two)
    assert len(file.read_text().splitlines()) == MOST


def test_another_file_is_not_replaced_by_a_history(folder, tmp_path):
    (tmp_path / "data.jsonl").write_text('{"text": "mine"}\n')
    with pytest.raises(DataError, match=r":1: is not a history of checks"):
        add_to_history(tmp_path / "data.jsonl", check_search(folder / "exact", log()))
    assert (tmp_path / "data.jsonl").read_text() == '{"text": "mine"}\n'


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"ks": (10, 1)}, r"ks=\(10, 1\) are not ascending"),
        ({"min_overlap": 95}, r"min_overlap=95 is not above 0 and at most 1"),
        ({"min_retention": 0.9}, r"min_retention needs relevance labels"),
        ({"sampled": 0}, r"sampled=0 is below 1"),
    ],
)
def test_wrong_options(options, problem):
    with pytest.raises(InvalidArgument, match=problem):
        CheckOptions(**options)


def test_the_exit_code_tells_passed_from_failed(folder, tmp_path):
    np.save(tmp_path / "log.npy", QUERIES)
    typed = ["check", str(folder / "dims"), "--queries", str(tmp_path / "log.npy")]
    passed = run_in(tmp_path, *typed, "--min-overlap", ".2", "--prometheus", "p.prom")
    failed = run_in(tmp_path, *typed, "--min-overlap", ".99")
    wrong = run_in(tmp_path, *typed, "--min-overlap", "2")
    assert (passed.code, failed.code, wrong.code) == (0, 1, 2)
    assert "FAILED  overlap@10 is" in failed.out
    assert "try       a shortlist of" in failed.out
    assert "nestvec_check_passed" in (tmp_path / "p.prom").read_text()
    assert max(map(len, passed.out.splitlines())) <= 80


def test_an_index_has_no_statement(folder):
    options = CheckOptions(search=TableSearch("SELECT $1"))
    with pytest.raises(InvalidArgument, match="is an index of nestvec, whose search has no"):
        check_search(folder / "dims", log(), options)
