"""What a model card says: what is kept at each precision and dim, and how that was measured."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from nestvec.curve.curve import Curve
from nestvec.files.atomic import replace_file
from nestvec.report.captions import axis_title, evidence_line
from nestvec.report.kept import Kept
from nestvec.report.tables import markdown_table
from nestvec.version import __version__
from nestvec.wording import metric_name, score_text


def write_card(path: Path | str, curve: Curve, metric: str | None = None) -> None:
    """Write the table of what a model keeps and a sentence of provenance, as Markdown.

    Args:
        path: The file to write; one that exists is replaced.
        curve: What was measured.
        metric: What to show. Not given: the first that was measured.

    Raises:
        InvalidArgument: If the metric was not measured, or full width scores 0.
        DataError: If the file cannot be written.
    """
    with replace_file(Path(path)) as temporary:
        temporary.write_text(card_text({"": curve}, metric), encoding="utf-8")


def card_text(curves: Mapping[str, Curve], metric: str | None = None) -> str:
    """Return the table of what a model keeps beside others, and a sentence of provenance.

    Args:
        curves: By the name to show, the model's own first.
        metric: What to show. Not given: the first that was measured.

    Raises:
        InvalidArgument: If the metric was not measured, or the model scores 0 at full width.
    """
    first = next(iter(curves.values()))
    kept = Kept(curves, metric or first.main_metric)
    return f"{markdown_table(kept)}\n{provenance(kept)}\n"


def provenance(kept: Kept) -> str:
    """Say in Markdown what the percentages are of, what they were measured on and with."""
    full = f"{metric_name(kept.metric)} {score_text(kept.full_score)}"
    kind, meaning = evidence_line(kept)
    return (
        f"{axis_title(kept)}, in one stage; 100 % is {kept.curve.model.full_dim:,} dims at "
        f"float32: {full}. Measured on {_measured_on(kept.curve.dataset)} with nestvec "
        f"{__version__}. {kind}: {meaning}"
    )


def _measured_on(dataset: Mapping[str, object]) -> str:
    """Name a data set; its name is a stranger's text, and must not become Markdown."""
    name = " ".join(str(dataset.get("name") or "unnamed texts").split()).replace("`", "'")
    split = f", split {dataset['split']}" if dataset.get("split") not in (None, "all") else ""
    documents, kind = dataset.get("n_documents"), "texts" if "task" in dataset else "documents"
    return f"`{name}`{split}" + (f", {documents:,} {kind}" if documents else "")
