"""What a curve was measured on, term by term: model, texts, choice, machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from nestvec.curve.curve import Curve
from nestvec.planning.choose import Plan
from nestvec.planning.reasons import threshold_text
from nestvec.report.kept import Kept
from nestvec.wording import metric_name

_COUNTS = {
    "unknown_documents": "relevance labels that name an unknown document, left out",
    "unknown_queries": "relevance labels that name an unknown query, left out",
    "queries_without_relevant": "queries without a relevant document, left out",
    "zero_documents": "documents encoded as zero vectors; they score 0",
    "zero_queries": "queries encoded as zero vectors; they score 0",
    "cut_documents": "documents cut at the model's maximum length",
    "cut_queries": "queries cut at the model's maximum length",
}


def facts(kept: Kept, plan: Plan | None) -> Iterator[tuple[str, str]]:
    """Say what was measured on, in (term, description)."""
    curve = kept.curve
    yield from _model_facts(curve)
    yield "Texts", _dataset_text(curve.dataset)
    untidy = [
        f"{count:,} {_COUNTS.get(name, name.replace('_', ' '))}"
        for name, count in curve.counts.items()
        if count
    ]
    if untidy:
        yield "Untidy", "; ".join(untidy)
    if plan is not None:
        yield (
            "Choice",
            f"{threshold_text(plan.goal)} of {metric_name(plan.goal.metric)} asked, "
            f"with {plan.budget.confidence * 100:g} % confidence; "
            f"{plan.queries_ordering:,} queries put the candidates in order, "
            f"{plan.queries_tested:,} others tested them; seed {plan.seed}",
        )
    yield from _machine_facts(curve.machine)


def _model_facts(curve: Curve) -> Iterator[tuple[str, str]]:
    model = curve.model
    yield "Model", f"{model.name}, fingerprint {model.fingerprint[:12]}"
    if model.adapter:
        yield "Adapter", f"behind the model, checksum {model.adapter[:12]}"
    trained = "trained for" if model.dims_trained else "untrained guesses"
    dims = ", ".join(f"{dim:,}" for dim in model.dims)
    yield "Dims", f"{dims} of {model.full_dim:,} ({trained}; from {model.dims_source})"
    prompts = {"query": model.query_prompt, "document": model.document_prompt}
    found = [f"{kind} “{prompt}”" for kind, prompt in prompts.items() if prompt]
    if found:
        yield "Prompts", ", ".join(found)
    if model.layer_norm:
        yield "Layer norm", "before truncation"
    if model.max_tokens is not None:
        yield "Longest text", f"{model.max_tokens:,} tokens"


def _dataset_text(dataset: Mapping[str, Any]) -> str:
    parts = [str(dataset.get("name", "unnamed"))]
    if "split" in dataset:
        parts.append(f"split {dataset['split']}")
    for name, words in (("n_documents", "documents"), ("n_queries", "queries")):
        if isinstance(dataset.get(name), int):
            parts.append(f"{dataset[name]:,} {words}")
    return ", ".join(parts)


def _machine_facts(machine: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    values = dict(machine)
    versions = values.pop("versions", {})
    if values:
        yield "Machine", ", ".join(f"{name} {value}" for name, value in values.items())
    if isinstance(versions, Mapping) and versions:
        yield "Versions", ", ".join(f"{name} {version}" for name, version in versions.items())
