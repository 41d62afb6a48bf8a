"""Describe a curve as results of MTEB (``TaskResult`` of mteb 2, read with mteb 2.26).

    results/MODEL/REVISION/TASK.json                             full precision
    results/MODEL/REVISION/experiments/NAME/TASK.json            each other operating point
    .../model_meta.json                                          next to each of them

MTEB calls a variant of a model an experiment and names it by its arguments. A truncated float32
vector is ``embed_dim``, as in MTEB. Every other operating point is ``operating_point``, because the
codecs of nestvec differ from the ``output_dtypes`` of MTEB.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nestvec.curve.curve import Curve
from nestvec.curve.point import CurvePoint
from nestvec.export import result_names
from nestvec.export.result_names import ResultFiles, ResultNames
from nestvec.types import OperatingPoint

_MAIN = "ndcg@10"
_UNKNOWN_REVISION = "no_revision_available"  # as in MTEB
_UNKNOWN_LANGUAGE = "und"  # ISO 639-3; without a language, MTEB's mean score is NaN
_UNSAFE = str.maketrans({character: "_" for character in '<>:"|?*\\/\0'})
# Fields that a model_meta.json must have, and that a curve does not contain.
_UNKNOWN_FIELDS = (
    *("loader", "release_date", "languages", "n_parameters", "memory_usage_mb", "license"),
    *("open_weights", "public_training_code", "public_training_data", "training_datasets"),
)


def mteb_files(curve: Curve, given: ResultNames) -> ResultFiles:
    """Return the files of all operating points."""
    names = given.complete(curve)
    revision = f"nestvec-{curve.model.fingerprint[:12]}"
    model = names.model if "/" in names.model else f"local/{names.model}"
    base = f"results/{model.replace('/', '__').replace(' ', '_')}/{revision}"
    files: dict[str, dict[str, Any]] = {}
    for row in (curve.full, *(row for row in curve.points if row.point != curve.full.point)):
        arguments = _arguments(row.point) if row.point != curve.full.point else {}
        folder = f"{base}/experiments/{_experiment(arguments)}" if arguments else base
        files[f"{folder}/{names.task.translate(_UNSAFE)}.json"] = _task_result(curve, row, names)
        files[f"{folder}/model_meta.json"] = _model_meta(curve, model, revision, arguments)
    return ResultFiles(files, tuple(_notes(curve, given, model)))


def _arguments(point: OperatingPoint) -> dict[str, int | str]:
    first, *others = point.stages
    if not others and first.precision == "float32":
        return {"embed_dim": first.dim}
    return {"operating_point": str(point)}


def _experiment(arguments: dict[str, int | str]) -> str:
    """Return the name of the folder, in the form that MTEB computes from the arguments."""
    return "__".join(f"{key}_{str(value).translate(_UNSAFE)}" for key, value in arguments.items())


def _task_result(curve: Curve, row: CurvePoint, names: ResultNames) -> dict[str, Any]:
    metrics = result_names.label_metrics(row.metrics)
    main = metrics.get(_MAIN, next(iter(metrics.values())))
    scores = {name.replace("@", "_at_"): value for name, value in metrics.items()}
    # Without an MTEB version, MTEB does not compare the versions of results.
    return {
        "dataset_revision": _UNKNOWN_REVISION,
        "task_name": names.task,
        "mteb_version": None,
        "scores": {
            result_names.split_of(curve): [
                {
                    **scores,
                    "main_score": main,
                    "hf_subset": "default",
                    "languages": list(names.languages) or [_UNKNOWN_LANGUAGE],
                }
            ]
        },
        "evaluation_time": None,
        "kg_co2_emissions": None,
        "date": None,
        **result_names.extra_values(curve, row.to_json()),
    }


def _model_meta(
    curve: Curve, model: str, revision: str, arguments: dict[str, int | str]
) -> dict[str, Any]:
    info = curve.model
    return {
        "name": model,
        "revision": revision,
        "max_tokens": info.max_tokens,
        "embed_dim": arguments.get("embed_dim", info.full_dim),
        "framework": [],
        "similarity_fn_name": "cosine",
        "use_instructions": bool(info.query_prompt or info.document_prompt),
        "modalities": ["text"],
        "model_type": ["dense"],
        "experiment_kwargs": arguments or None,
        **dict.fromkeys(_UNKNOWN_FIELDS),
    }


def _notes(curve: Curve, given: ResultNames, model: str) -> Iterator[str]:
    names = given.complete(curve)
    yield from names.note(given, "model", "task")
    if not given.languages:
        yield "The languages are unknown, so MTEB cannot select this result by language. Pass them."
    if model != names.model:
        yield f"MTEB names a model owner/name, so this model is named {model!r}. Pass its name."
    yield "The revision of the data set is unknown and is left out."
    metrics = result_names.label_metrics(curve.full.metrics)
    if _MAIN not in metrics:
        yield f"{_MAIN} was not measured, so main_score is {next(iter(metrics))}."
    yield from result_names.common_notes(curve, "MTEB")
