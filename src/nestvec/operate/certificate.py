"""Certificates: a plan, its evidence and hashes of its inputs, in a file without texts.

A certificate contains the score of each query, so that others can compute its statement again.
``verification`` does this.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from nestvec.curve.curve import Curve
from nestvec.curve.point import CurvePoint
from nestvec.errors import DataError, InvalidArgument
from nestvec.files.atomic import replace_file
from nestvec.files.versioned import read_versioned
from nestvec.measure.machine import describe_machine
from nestvec.operate.statement import PlanStatement, TestRecord, statement_of
from nestvec.planning.budget import Budget
from nestvec.planning.choose import Plan, run_sequence, select
from nestvec.types import ModelInfo

CERTIFICATE_VERSION = 1


@dataclass(frozen=True)
class Certificate:
    """A plan with the scores and the hashes that its verification needs.

    Attributes:
        statement: What is certified.
        record: The scores and the settings of the test, from which the statement follows.
        model: The model that was measured. Its fingerprint is a sha256.
        dataset: The data set that was measured, as in the curve, with "sha256" of its corpus,
            queries and relevance labels.
        machine: Processor and library versions of the measurement.
        versions: Library versions that computed the statement.
        altered: Names of the sections whose content does not match their recorded checksum. Only
            a loaded certificate can have any.
    """

    statement: PlanStatement
    record: TestRecord
    model: ModelInfo
    dataset: Mapping[str, Any]
    machine: Mapping[str, Any]
    versions: Mapping[str, str]
    altered: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the sections of the file as plain values."""
        record = self.record
        sections: dict[str, Any] = {
            "statement": self.statement.to_json(),
            "budget": asdict(record.budget),
            "seed": record.seed,
            "model": self.model.to_json(),
            "dataset": dict(self.dataset),
            "machine": dict(self.machine),
            "versions": dict(self.versions),
            "full": record.full.to_json(),
            "tested": [row.to_json() for row in record.tested],
            "scores": {
                "query_sha256": list(record.query_hashes),
                "in_test": [int(each) for each in record.in_test.tolist()],
                "full": record.full_scores.tolist(),
                "tested": record.tested_scores.tolist(),
                "slices": {name: values.tolist() for name, values in record.slices.items()},
            },
        }
        checksums = {name: _checksum(section) for name, section in sections.items()}
        return {"version": CERTIFICATE_VERSION, **sections, "checksums": checksums}

    def save(self, path: Path | str) -> None:
        """Write the certificate as JSON; scores are written without line breaks.

        Raises:
            DataError: If the file cannot be written. An existing file is unchanged.
        """
        sections = (
            f"{json.dumps(name)}: {json.dumps(values, indent=None if name == 'scores' else 1)}"
            for name, values in self.to_json().items()
        )
        text = "{\n" + ",\n".join(sections) + "\n}\n"
        with replace_file(Path(path)) as temporary:
            temporary.write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, path: Path | str) -> Certificate:
        """Read a certificate; ``verify_certificate`` checks its content.

        Raises:
            DataError: If the file cannot be read, is not a certificate or has another version.
        """
        path = Path(path)
        values = read_versioned(
            path,
            kind="certificate",
            version=CERTIFICATE_VERSION,
            remedy="Write it again with 'nestvec plan --certificate'.",
        )
        try:
            return cls._parse(values)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(path, f"is not a certificate of nestvec: {error!r}") from error

    @classmethod
    def _parse(cls, values: Mapping[str, Any]) -> Certificate:
        scores = values["scores"]
        record = TestRecord(
            budget=Budget.from_json(values["budget"]),
            seed=int(values["seed"]),
            full=CurvePoint.from_json(values["full"]),
            tested=tuple(CurvePoint.from_json(row) for row in values["tested"]),
            query_hashes=tuple(map(str, scores["query_sha256"])),
            in_test=np.array(scores["in_test"], dtype=np.int64) == 1,
            full_scores=np.array(scores["full"], dtype=np.float64),
            tested_scores=np.array(scores["tested"], dtype=np.float64),
            slices={name: np.array(each, np.str_) for name, each in scores["slices"].items()},
        )
        return cls(
            statement=PlanStatement.from_json(values["statement"]),
            record=record,
            model=ModelInfo.from_json(values["model"]),
            dataset=dict(values["dataset"]),
            machine=dict(values["machine"]),
            versions=dict(values["versions"]),
            altered=_altered(values),
        )


def certify(curve: Curve, plan: Plan) -> Certificate:
    """Certify a plan, whether it is confirmed or not.

    The certificate contains no texts. Query ids are hashed, which does not hide ids that can be
    guessed. Values of slices are included if the budget has a slice target.

    Args:
        curve: The curve that the plan was made from.
        plan: The plan.

    Returns:
        The certificate; write it with ``save``.

    Raises:
        InvalidArgument: If the plan was not made from this curve.

    Example:
        >>> certify(curve, plan(curve)).save("certificate.json")  # doctest: +SKIP
    """
    metric = plan.goal.metric
    test = run_sequence(curve, plan.budget, seed=plan.seed)
    chosen, _, _ = select(test.results, plan.goal.threshold)
    used = test.order[: test.results.index(chosen) + 1]
    in_test = np.zeros(len(test.scores.full), dtype=bool)
    in_test[test.testing] = True
    record = TestRecord(
        budget=plan.budget,
        seed=plan.seed,
        full=_only(curve.full, metric),
        tested=tuple(_only(test.scores.rows[number], metric) for number in used),
        query_hashes=hash_ids(curve.scores.query_ids.tolist()),
        in_test=in_test,
        full_scores=test.scores.full,
        tested_scores=test.scores.cheap[list(used)],
        slices={} if plan.budget.min_slice_retention is None else dict(curve.scores.slices),
    )
    statement = statement_of(record, curve.dataset)
    same = (statement.point, statement.confirmed) == (plan.point, plan.confirmed)
    # Sums over a part of the rows can differ in the last bit.
    if not (same and math.isclose(statement.kept, plan.kept) and plan.model == curve.model):
        raise InvalidArgument("The plan was not made from this curve. Plan again.")
    found_versions = describe_machine()
    versions = {"python": found_versions["python"], **found_versions["versions"]}
    return Certificate(statement, record, curve.model, curve.dataset, curve.machine, versions)


def hash_ids(ids: Iterable[str]) -> tuple[str, ...]:
    """Return the first 16 hexadecimal digits of the sha256 of each query id."""
    return tuple(hashlib.sha256(id_.encode()).hexdigest()[:16] for id_ in ids)


def _only(row: CurvePoint, metric: str) -> CurvePoint:
    """Return a row with one metric, and without what no statement is about."""
    return replace(
        row,
        metrics={metric: row.metrics[metric]},
        retention={metric: row.retention[metric]},
        interval={},
        by_size={},
        k_for_full_recall=None,
        filtered_p50_ms={},
    )


def _checksum(section: object) -> str:
    text = json.dumps(section, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _altered(values: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the sections that do not match their checksum, and sections without a checksum."""
    recorded = values["checksums"]
    sections = {name: each for name, each in values.items() if name not in _UNCHECKED}
    names = [name for name, each in sections.items() if _checksum(each) != recorded.get(name)]
    return (*names, *(name for name in recorded if name not in sections))


_UNCHECKED = ("version", "checksums")
