"""Details of a measurement as terms and descriptions: model, dataset, plan, machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from nestvec.curve.curve import Curve
from nestvec.curve.sample import sample_of
from nestvec.measure.machine import machine_text
from nestvec.planning.choose import Plan
from nestvec.planning.reasons import threshold_text
from nestvec.report.comparison import CurveComparison
from nestvec.wording import count_texts, metric_name


def list_facts(comparison: CurveComparison, plan: Plan | None) -> Iterator[tuple[str, str]]:
    """Yield (term, description) pairs."""
    curve = comparison.curve
    yield from _model_facts(curve)
    yield "Dataset", _dataset_text(curve.dataset)
    if issues := count_texts(curve.counts):
        yield "Data issues", "; ".join(issues)
    if plan is not None:
        yield (
            "Plan",
            f"target: {threshold_text(plan.goal)} of {metric_name(plan.goal.metric)} with "
            f"{plan.budget.confidence * 100:g} % confidence; "
            f"{plan.queries_ordering:,} queries ordered the candidates, "
            f"{plan.queries_tested:,} other queries tested them; seed {plan.seed}",
        )
    yield from _machine_facts(curve.machine)


def _model_facts(curve: Curve) -> Iterator[tuple[str, str]]:
    model = curve.model
    yield "Model", f"{model.name}, fingerprint {model.fingerprint[:12]}"
    if model.query_model is not None:
        yield "Queries encoded by", model.query_model.identity
    if model.adapter:
        yield "Adapter", f"applied to the vectors of the model, checksum {model.adapter[:12]}"
    trained = "trained dims" if model.dims_trained else "default dims, not trained"
    dims = ", ".join(f"{dim:,}" for dim in model.dims)
    yield "Dims", f"{dims} of {model.full_dim:,} ({trained}; source: {model.dims_source})"
    found = [f"{kind} “{prompt}”" for kind, prompt in model.prompts.items() if prompt]
    if found:
        yield "Prompts", ", ".join(found)
    if model.layer_norm:
        yield "Layer norm", "before truncation"
    if model.max_tokens is not None:
        yield "Maximum length", f"{model.max_tokens:,} tokens"


def _dataset_text(dataset: Mapping[str, Any]) -> str:
    parts = [str(dataset.get("name", "unnamed"))]
    if "split" in dataset:
        parts.append(f"split {dataset['split']}")
    for name, words in (("n_documents", "documents"), ("n_queries", "queries")):
        if isinstance(dataset.get(name), int):
            parts.append(f"{dataset[name]:,} {words}")
    sample = sample_of(dataset)
    if sample is not None:
        parts.append(f"{sample} with seed {sample.seed}")
    return ", ".join(parts)


def _machine_facts(machine: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    versions = machine.get("versions", {})
    if text := machine_text(machine):
        yield "Machine", text
    if isinstance(versions, Mapping) and versions:
        yield "Versions", ", ".join(f"{name} {version}" for name, version in versions.items())
