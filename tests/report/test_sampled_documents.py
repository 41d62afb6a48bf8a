"""The report states that a curve was measured on a sample of the documents."""

from dataclasses import replace

from nestvec.report.captions import evidence_line
from nestvec.report.comparison import CurveComparison
from nestvec.report.facts import list_facts
from nestvec.report.page import write_report
from nestvec.report.verdict import write_verdict

SAMPLE = {"rows": 100_000, "total": 1_000_000, "seed": 4, "fraction": 0.1}
SIZE = "a sample of 100,000 of 1,000,000 documents (10 %)"


def sampled(curve, **others):
    return replace(curve, dataset={**curve.dataset, "sample": SAMPLE, **others})


def comparison_of(curve):
    return CurveComparison({"model": curve}, curve.main_metric)


def test_the_sample_is_stated_with_its_meaning(make_curve, tmp_path):
    curve = sampled(make_curve())
    comparison = comparison_of(curve)
    assert f"Measured on {SIZE}." in evidence_line(comparison)[1]
    assert f"{SIZE} with seed 4" in dict(list_facts(comparison, None))["Dataset"]
    unmeasured = " ".join(write_verdict(comparison, None).unmeasured)
    assert "In the full corpus of 1,000,000 documents, more documents compete" in unmeasured
    assert "retention can be lower than in the sample" in unmeasured
    write_report({"model": curve}, tmp_path / "report.html")
    assert SIZE in " ".join((tmp_path / "report.html").read_text().replace("\u00a0", " ").split())


def test_documents_as_queries_are_stated(make_curve):
    curve = sampled(make_curve(), split="sampled documents", n_queries=1_000)
    assert "The 1,000 queries are sampled documents" in evidence_line(comparison_of(curve))[1]


def test_a_whole_corpus_is_no_sample(make_curve):
    comparison = comparison_of(make_curve())
    assert "sample" not in evidence_line(comparison)[1]
    assert "sample" not in " ".join(write_verdict(comparison, None).unmeasured)
