"""Describe a curve as a result of HAKARI-Bench (its result files, read on 2026-08-12).

A task of a model is one file, ``MODEL/DATASET/TASK.json``. Full precision is the entry ``base`` of
``embedding_evaluations``; each other operating point is a variant with the steps of its transform.
Names of variants with codes contain ``nestvec``, because HAKARI-Bench quantizes with Sentence
Transformers, and also quantizes the queries.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from nestvec.curve.curve import Curve
from nestvec.curve.point import CurvePoint
from nestvec.export import result_names
from nestvec.export.result_names import ResultFiles, ResultNames
from nestvec.metrics.relevance import parse_metric
from nestvec.types import ModelInfo, OperatingPoint, Stage

_DISTANCE = "cosine"
_MAIN = "ndcg@10"


def hakari_files(curve: Curve, given: ResultNames) -> ResultFiles:
    """Return the file of the task."""
    names = given.complete(curve)
    parts = (_safe(names.model), _safe(names.dataset), f"{_safe(names.task)}.json")
    return ResultFiles({"/".join(parts): _result(curve, names)}, tuple(_notes(curve, given)))


def _result(curve: Curve, names: ResultNames) -> dict[str, Any]:
    now = datetime.now(UTC).isoformat()
    main, value = _main(curve, curve.full)
    prompts = _prompts(curve.model)
    others = (row for row in curve.points if row.point != curve.full.point)
    evaluations = [_evaluation(curve, row) for row in (curve.full, *others)]
    prefix = f"{_safe(names.dataset.rpartition('/')[2])}_{names.task}_{_DISTANCE}"
    return {
        "generated_at_utc": now,
        "model": _model(curve.model, names.model),
        "environment": {"package_versions": dict(curve.machine.get("versions") or {})},
        "target": {
            "dataset_name": names.dataset.rpartition("/")[2],
            "dataset_id": names.dataset,
            "dataset_revision": {"requested": None, "resolved": None},
            "split_name": result_names.split_of(curve),
            "task_name": names.task,
        },
        "config": {"primary_metric": main, "truncate_dim": None, **prompts},
        "evaluation": {
            "aggregate_metric": main,
            "aggregate_metric_value": value,
            "cache_hit": False,
            "timing": {},
            "embedding_evaluations": evaluations,
            "reranking_evaluations": [],
        },
        "metrics": {f"{prefix}_{name}": each for name, each in _metrics(curve).items()},
        "rerank_metrics": {},
    }


def _evaluation(curve: Curve, row: CurvePoint) -> dict[str, Any]:
    name = _variant_name(row.point, curve.model.full_dim)
    main, value = _main(curve, row)
    score_name = _DISTANCE if name == "base" else f"{_DISTANCE}_{name}"
    return {
        "name": name,
        "transform": {"type": "pipeline", "steps": _steps(row.point, curve.model.full_dim)},
        "embedding_dimensions": {"dim": row.point.stages[0].dim},
        "aggregate_metric": main,
        "aggregate_metric_value": value,
        "best_score": value,
        "best_distance": _DISTANCE,
        "best_score_name": score_name,
        "distance_evaluations": [
            {
                "distance": _DISTANCE,
                "score_name": score_name,
                "aggregate_metric": main,
                "aggregate_metric_value": value,
            }
        ],
        "timing": {},
        **result_names.extra_values(curve, row.to_json()),
    }


def _main(curve: Curve, row: CurvePoint) -> tuple[str, float]:
    metrics = result_names.label_metrics(row.metrics)
    name = _MAIN if _MAIN in metrics else next(iter(metrics))
    return name, metrics[name]


def _metrics(curve: Curve) -> dict[str, float]:
    """Return the metrics at full precision that have the same definition for binary labels."""
    metrics = result_names.label_metrics(curve.full.metrics)
    shared = {name: value for name, value in metrics.items() if not name.startswith("map@")}
    for name, values in curve.scores.metrics.items():
        if name.startswith("recall@"):
            found = values[curve.row_number(curve.full.point)] > 0
            shared[f"acc@{parse_metric(name).k}"] = float(found.mean())
    return shared


def _variant_name(point: OperatingPoint, full_dim: int) -> str:
    first, *later = point.stages
    parts = [f"truncate_dim_{first.dim}"] if first.dim != full_dim else []
    if first.precision != "float32" or later:
        parts.append(f"nestvec_{first.precision}")
    for before, stage in zip(point.stages, later, strict=False):
        parts.append(f"keep_{before.keep}_rescore_{stage.dim}_{stage.precision}")
    return "_".join(parts) or "base"


def _steps(point: OperatingPoint, full_dim: int) -> list[dict[str, Any]]:
    first, *later = point.stages
    steps = _representation_steps(first, full_dim)
    for before, stage in zip(point.stages, later, strict=False):
        values = {"dim": stage.dim, "precision": stage.precision, "shortlist": before.keep}
        steps.append({"type": "rescore", "algorithm": "nestvec", "parameters": values})
    return steps


def _representation_steps(stage: Stage, full_dim: int) -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = []
    if stage.dim != full_dim:
        parameters = {"dim": stage.dim}
        steps.append({"type": "truncate", "algorithm": "dimension_slice", "parameters": parameters})
    steps.append({"type": "normalize", "algorithm": "l2", "parameters": {}})
    if stage.precision != "float32":
        values = {"precision": stage.precision, "target": "corpus", "calibration": "corpus"}
        steps.append({"type": "quantize", "algorithm": "nestvec", "parameters": values})
    return steps


def _prompts(info: ModelInfo) -> dict[str, str | None]:
    return {
        "query_prompt": info.query_prompt or None,
        "document_prompt": info.document_prompt or None,
    }


def _model(info: ModelInfo, name: str) -> dict[str, Any]:
    return {
        "method": "dense",
        "id": name,
        "source": {"type": "huggingface" if "/" in name else "local", "name": name},
        "dtype": info.dtype or None,
        "backend_library": "nestvec",
        "max_seq_length": info.max_tokens,
        "similarity_fn_name": _DISTANCE,
        "backend_metadata": {**_prompts(info), "fingerprint": info.fingerprint},
    }


def _safe(name: str) -> str:
    """Return a name as part of a path: ``owner/name`` becomes ``owner__name``."""
    joined = name.strip().strip("/").replace("/", "__")
    return re.sub(r"[^A-Za-z0-9._-]+", "_", joined).strip("._") or "value"


def _notes(curve: Curve, given: ResultNames) -> Iterator[str]:
    yield from given.complete(curve).note(given, "model", "task", "dataset")
    if not given.dataset:
        yield "HAKARI-Bench groups tasks by the hub id of the data set."
    yield "The revision of the data set is unknown and is left out."
    main, _ = _main(curve, curve.full)
    if main != _MAIN:
        yield f"{_MAIN} was not measured, so the aggregate metric is {main}."
    if curve.dataset.get("grades") != [1]:
        graded = "This curve's nDCG uses the grades of the labels as gain."
        yield f"{graded} HAKARI-Bench counts each labeled document as 1, also with grade 0."
    maps = [
        name for name in result_names.label_metrics(curve.full.metrics) if name.startswith("map@")
    ]
    if maps:
        yield f"{', '.join(maps)} is left out: HAKARI-Bench divides by at most k documents."
    yield "Codes are those of nestvec: queries stay float32, and names of variants contain nestvec."
    yield from result_names.common_notes(curve, "HAKARI-Bench")
