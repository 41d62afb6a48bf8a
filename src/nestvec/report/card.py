"""Write the section of a model card: retention at each precision and dim, and its source."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from nestvec.curve.curve import Curve
from nestvec.files.atomic import replace_file
from nestvec.report.captions import RETRIEVAL, axis_title, evidence_line
from nestvec.report.comparison import CurveComparison
from nestvec.report.tables import markdown_table
from nestvec.types import ModelInfo
from nestvec.version import __version__
from nestvec.wording import metric_name, score_text


def write_card(curve: Curve, path: Path | str, metric: str | None = None) -> None:
    """Write a Markdown table of retention, with a paragraph on how it was measured.

    Args:
        curve: The measured curve.
        path: The file to write; an existing file is replaced.
        metric: The metric to show; None for the first measured metric.

    Raises:
        InvalidArgument: If the metric was not measured, or full precision scores 0.
        DataError: If the file cannot be written.
    """
    with replace_file(Path(path)) as temporary:
        temporary.write_text(card_text({"": curve}, metric), encoding="utf-8")


def card_text(curves: Mapping[str, Curve], metric: str | None = None) -> str:
    """Return a Markdown table of retention, with a paragraph on how it was measured.

    Args:
        curves: Curves by display name, the curve of the model first.
        metric: The metric to show; None for the first measured metric.

    Raises:
        InvalidArgument: If the metric was not measured, or full precision scores 0.
    """
    first = next(iter(curves.values()))
    comparison = CurveComparison(curves, metric or first.main_metric)
    return f"{markdown_table(comparison)}\n{provenance(comparison)}\n"


def provenance(comparison: CurveComparison) -> str:
    """Return a Markdown paragraph on what the percentages are and how they were measured."""
    full = f"{metric_name(comparison.metric)} {score_text(comparison.full_score)}"
    kind, meaning = evidence_line(comparison)
    return (
        f"{axis_title(comparison)}, without rescoring; 100 % is "
        f"{comparison.curve.model.full_dim:,} dims at float32: {full}. Measured on "
        f"{_measured_on(comparison.curve.dataset)} with nestvec {__version__}. {kind}. {meaning}"
        f"{_query_model(comparison.curve.model)}{_prompts(comparison.curve.model)}"
    )


def _query_model(model: ModelInfo) -> str:
    found = model.query_model
    return "" if found is None else f" Queries are encoded by `{_plain(found.name)}`."


def _prompts(model: ModelInfo) -> str:
    """Describe the prompts in use, as code: prompts of a model are untrusted text."""
    given = {"queries": model.query_prompt, "documents": model.document_prompt}
    named = [f"{kind} begin with `{_plain(prompt)}`" for kind, prompt in given.items() if prompt]
    if not named:
        return ""
    source = f" (source: {_plain(model.prompts_source)})" if model.prompts_source else ""
    sentence = " and ".join(named)
    return f" {sentence[0].upper()}{sentence[1:]}{source}."


def _measured_on(dataset: Mapping[str, object]) -> str:
    """Describe a dataset. Its name is untrusted text and must not become Markdown."""
    name = _plain(str(dataset.get("name") or "unnamed texts")).strip()
    split = f", split {dataset['split']}" if dataset.get("split") not in (None, "all") else ""
    documents, kind = (
        dataset.get("n_documents"),
        "documents" if dataset.get("task") in (None, RETRIEVAL) else "texts",
    )
    return f"`{name}`{split}" + (f", {documents:,} {kind}" if documents else "")


def _plain(text: str) -> str:
    """Return an untrusted text for use between backticks: on one line, without backticks."""
    return re.sub(r"\s+", " ", text).replace("`", "'")
