"""What a curve's numbers rest on, in words: judgements, made queries, or agreement alone.

Agreement with full precision says nothing about right or wrong, so that it never goes by the words
of quality here.
"""

from __future__ import annotations

from nestvec.report.kept import Kept
from nestvec.wording import metric_name

_AGREEMENT = ("overlap@", "rbo@")


def is_agreement(kept: Kept) -> bool:
    """Tell whether what is kept is likeness to full precision, and not quality."""
    return kept.curve.evidence == "agreement" or kept.metric.startswith(_AGREEMENT)


def measure_name(kept: Kept) -> str:
    """Name what is kept, so that agreement cannot be taken for quality."""
    name = metric_name(kept.metric)
    return f"agreement with full precision ({name})" if is_agreement(kept) else name


def axis_title(kept: Kept) -> str:
    """Write what a percentage of the pictures and tables means."""
    if is_agreement(kept):
        return f"% agreement ({metric_name(kept.metric)})"
    return f"% of {metric_name(kept.metric)} kept"


def picture_name(kept: Kept) -> str:
    """Name what the first picture shows against memory."""
    return "Agreement" if is_agreement(kept) else "Quality kept"


def evidence_line(kept: Kept) -> tuple[str, str]:
    """Return what the numbers rest on: two or three words, and a sentence."""
    counted, task = (kept.curve.dataset.get(name) for name in ("n_queries", "task"))
    if isinstance(task, str):
        return f"Evidence: {task}", f"{counted:,} of them, as people have judged them."
    queries = f"{counted:,} queries" if isinstance(counted, int) else "queries"
    match kept.curve.evidence:
        case "agreement":
            return (
                "Evidence: agreement only",
                f"{queries} without judgements: every percentage says how far a point finds what "
                f"full precision finds. Whether that is right, nobody has judged.",
            )
        case "made queries":
            return (
                "Evidence: made queries",
                f"{queries} made from the corpus, each with the text that it was taken from as the "
                f"one right answer. What people ask is less like the texts, and may lose more.",
            )
        case _:
            return (
                "Evidence: judged queries",
                f"{queries}, each with documents that are known to be relevant.",
            )
