"""Verify a certificate: compute its statement again, and compare its inputs with given ones.

The verification shows that the numbers follow from the scores in the certificate, and whether the
inputs are the same. It does not show that the scores were measured honestly. If scores, numbers and
checksums were all invented consistently, only the curve, or a new measurement with the same data
and model, differs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from nestvec.curve.curve import Curve
from nestvec.data.content_hashes import content_hashes
from nestvec.data.retrieval import RetrievalSet
from nestvec.errors import InvalidArgument
from nestvec.operate.certificate import Certificate, hash_ids
from nestvec.operate.statement import PlanStatement, TestRecord, statement_of
from nestvec.planning.choose import plan as choose
from nestvec.planning.confirm import split
from nestvec.types import ModelInfo, OperatingPoint
from nestvec.wording import count_text, percent

_CLOSE = 1e-9  # differences of rounding between processors
_SHARES = ("kept", "at_least", "bound", "retention")
_NAMES = {
    "kept": "ratio of the goal",
    "at_least": "lower bound",
    "bound": "lower bound of this point alone",
    "mean": "mean score on the test queries",
    "full_mean": "mean score of full precision on the test queries",
    "queries_ordering": "number of ordering queries",
    "queries_tested": "number of test queries",
    "covers": "text about what the statement covers",
    "text": "text of the statement",
}


@dataclass(frozen=True)
class CertificateCheck:
    """The result of a verification.

    Attributes:
        valid: Whether no difference was found.
        differences: One line for each difference.
        checked: What was compared.
        not_checked: Inputs that were not given, so that they were not compared.
    """

    valid: bool
    differences: tuple[str, ...]
    checked: tuple[str, ...]
    not_checked: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain values for JSON output."""
        return asdict(self)


def verify_certificate(
    certificate: Certificate | Path | str,
    *,
    curve: Curve | None = None,
    data: RetrievalSet | None = None,
    model: ModelInfo | None = None,
) -> CertificateCheck:
    """Compute the statement of a certificate again from its scores, and compare its inputs.

    Args:
        certificate: The certificate, or its file.
        curve: The curve, to compare its scores and to choose again among all its points.
        data: The data set, to compare its hashes.
        model: Information about the model, to compare its fingerprint: ``load_model(...).info``.

    Raises:
        InvalidArgument: If ``data`` is given, and the certificate has no hashes of the data.
        DataError: If the file is not a certificate.

    Example:
        >>> verify_certificate("certificate.json").valid  # doctest: +SKIP
    """
    if not isinstance(certificate, Certificate):
        certificate = Certificate.load(certificate)
    found = list(_inner(certificate))
    checked = ["checksums, split, means, retention, bound and verdict"]
    given = {"curve": curve, "data": data, "model": model}
    if curve is not None:
        found += _against_curve(certificate, curve)
    if data is not None:
        found += _against_data(certificate, data)
    if model is not None:
        found += _against_model(certificate.model, model)
    checked += [name for name, each in given.items() if each is not None]
    missing = tuple(name for name, each in given.items() if each is None)
    return CertificateCheck(not found, tuple(found), tuple(checked), missing)


def recorded_hashes(certificate: Certificate) -> Mapping[str, str]:
    """Return the sha256 of the corpus, the queries and the labels.

    Raises:
        InvalidArgument: If the certificate has none.
    """
    hashes: Mapping[str, str] = certificate.dataset.get("sha256") or {}
    if not hashes:
        raise InvalidArgument(
            "The certificate has no hashes of the data: its curve is of an older version or of a "
            "similarity task. Evaluate again, or omit the data."
        )
    return hashes


def _inner(certificate: Certificate) -> Iterator[str]:
    """Yield differences between the parts of a certificate."""
    record, stated = certificate.record, certificate.statement
    for name in certificate.altered:
        yield f"{name}: the section does not match its checksum, so it was edited"
    try:
        found = statement_of(record, certificate.dataset)
        _, testing = split(record.full_scores, seed=record.seed)
    except (KeyError, TypeError, ValueError) as error:  # edited scores, seed or data set
        yield f"statement: cannot be computed from the certificate: {error}"
        return
    if not np.array_equal(np.flatnonzero(record.in_test), np.sort(testing)):
        yield f"split: the test queries are not those that seed {record.seed} selects"
    reference = OperatingPoint.single(certificate.model.full_dim, "float32")
    if record.full.point != reference:
        yield f"full: the point is {record.full.point} and not full precision, {reference}"
    differences = [*_rows(record), *_statements(stated, found)]
    yield from differences
    if differences:
        yield from _other_numpy(certificate)


def _statements(stated: PlanStatement, found: PlanStatement) -> Iterator[str]:
    for field in fields(PlanStatement):
        one, other = getattr(stated, field.name), getattr(found, field.name)
        if _same(one, other):
            continue
        name = _NAMES.get(field.name, field.name)
        if field.name in ("text", "covers"):
            yield f"{name}: the certificate's text is not the text that follows from the scores"
            continue
        one, other = _shown(one, other, share=field.name in _SHARES)
        yield f"{name}: the certificate states {one}, the scores give {other}"


def _same(one: object, other: object) -> bool:
    if isinstance(one, int | float) and isinstance(other, int | float):
        return math.isclose(one, other, rel_tol=_CLOSE, abs_tol=_CLOSE)
    return one == other


def _shown(one: object, other: object, *, share: bool = False) -> tuple[str, str]:
    """Format two values with enough digits to differ."""
    if not isinstance(one, float) or not isinstance(other, float):
        return str(one), str(other)
    for texts in (percent(one), percent(other)), (f"{one:.4f}", f"{other:.4f}"):
        if texts[0] != texts[1] and (share or "%" not in texts[0]):
            return texts
    return repr(one), repr(other)


def _rows(record: TestRecord) -> Iterator[str]:
    """Yield differences between the rows of the tested points, their scores and the budget."""
    metric, full_mean = record.goal.metric, record.full_scores.mean()
    for row, scores in record.scored_rows:
        means = (row.metrics.get(metric), float(scores.mean()))
        shares = (row.retention.get(metric), float(scores.mean() / full_mean))
        for name, (stated, found) in {metric: means, "retention": shares}.items():
            if not _same(stated, found):
                one, other = _shown(stated, found, share=name == "retention")
                yield (
                    f"{name} of {row.point} on all queries: the certificate states {one}, the "
                    f"scores give {other}"
                )
    costs = [record.budget.cost(row)[0] for row in record.tested]
    if any(later >= earlier for earlier, later in pairwise(costs)):
        yield "tested: the points are not in the order of their cost"
    for row in record.tested:
        if not record.budget.allows(row):
            yield f"{row.point}: the point is not within the limits of the budget"


def _other_numpy(certificate: Certificate) -> Iterator[str]:
    used, own = certificate.versions.get("numpy"), np.__version__
    if used != own:
        yield (
            f"numpy: the certificate was written with version {used}, and this is {own}. Another "
            "version can draw other random numbers, which changes the split and the bounds"
        )


def _against_curve(certificate: Certificate, curve: Curve) -> Iterator[str]:
    record, metric = certificate.record, certificate.record.goal.metric
    yield from _against_model(certificate.model, curve.model)
    yield from _hashes(certificate.dataset.get("sha256"), curve.dataset.get("sha256"))
    if hash_ids(curve.scores.query_ids.tolist()) != record.query_hashes:
        yield _queries_changed(record, curve.scores.query_ids.tolist())
        return
    for row, scores in record.scored_rows:
        try:
            different = int((curve.per_query(metric, row.point) != scores).sum())
        except InvalidArgument as error:
            yield f"curve: {error}"
            return
        if different:
            yield (
                f"scores of {row.point}: {different:,} of {count_text(len(scores), 'query')} "
                "differ from the curve"
            )
    yield from _again(certificate, curve)


def _again(certificate: Certificate, curve: Curve) -> Iterator[str]:
    """Yield differences from a new choice among all points of the curve."""
    record, stated = certificate.record, certificate.statement
    try:
        found = choose(curve, record.budget, seed=record.seed)
    except InvalidArgument as error:
        yield f"curve: {error}"
        return
    if (found.point, found.verdict) != (stated.point, stated.verdict):
        yield (
            f"choice: the certificate states {stated.point} {stated.verdict}, the curve gives "
            f"{found.point} {found.verdict}"
        )


def _against_data(certificate: Certificate, data: RetrievalSet) -> Iterator[str]:
    found = list(_hashes(recorded_hashes(certificate), content_hashes(data)))
    yield from found
    ids = list(data.queries)
    if found and {*hash_ids(ids)} != {*certificate.record.query_hashes}:
        yield _queries_changed(certificate.record, ids)
    for noun, key, count in (
        ("documents", "n_documents", len(data.corpus)),
        ("queries", "n_queries", len(data.queries)),
    ):
        stated = certificate.dataset.get(key)
        if found and stated != count:
            yield f"{noun}: the certificate states {stated:,}, the data set has {count:,}"


def _hashes(recorded: object, found: object) -> Iterator[str]:
    one = recorded if isinstance(recorded, dict) else {}
    other = found if isinstance(found, dict) else {}
    for name in sorted(one.keys() | other.keys()):
        if one.get(name) != other.get(name):
            short = [str(each.get(name, "none"))[:12] for each in (one, other)]
            yield f"{name} changed: sha256 {short[0]} in the certificate, {short[1]} now"


def _queries_changed(record: TestRecord, ids: list[str]) -> str:
    before, now = {*record.query_hashes}, {*hash_ids(ids)}
    added, removed = len(now - before), len(before - now)
    if not added and not removed:
        return "queries changed: the same queries in another order"
    return f"queries changed: {added:,} added, {removed:,} removed"


def _against_model(recorded: ModelInfo, found: ModelInfo) -> Iterator[str]:
    if recorded.fingerprint == found.fingerprint and recorded.adapter == found.adapter:
        return
    if recorded.adapter != found.adapter:
        one, other = (each.adapter[:12] or "none" for each in (recorded, found))
        yield f"adapter changed: sha256 {one} in the certificate, {other} now"
    if recorded.fingerprint == found.fingerprint:
        return
    yield (
        f"model changed: sha256 {recorded.fingerprint[:12]} ({recorded.name}) in the certificate, "
        f"{found.fingerprint[:12]} ({found.name}) now"
    )
    if recorded.weights and recorded.weights == found.weights:
        prompts = [
            f"{kind} prompt {prompt!r} in the certificate, {found.prompts[kind]!r} now"
            for kind, prompt in recorded.prompts.items()
            if prompt != found.prompts[kind]
        ]
        yield f"model: the files are the same. {'; '.join(prompts) or 'The tasks differ'}"
