"""The names of model, task and data set in exported results, and the notes about a curve."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from nestvec.curve.curve import Curve
from nestvec.errors import refuse_string
from nestvec.metrics.relevance import is_relevance
from nestvec.models.api.address import model_part
from nestvec.wording import count_text

_HUB_ID = re.compile(r"[\w][\w.-]*(/[\w][\w.-]*)?")
_EXTRA_KEY = "nestvec"


class ResultFiles(NamedTuple):
    """The content of result files.

    Attributes:
        files: Content by path below the folder; full precision is first.
        notes: As in ``ExportedResults``.
    """

    files: Mapping[str, Mapping[str, Any]]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class ResultNames:
    """Names in the result files of another program; "" uses the name in the curve.

    Attributes:
        model: Name of the model, such as "owner/name"; by default a hub id, the name of an API
            model at its API, or the last part of a path.
        task: Name of the task, such as "SciFact"; by default, the name of the data set.
        dataset: Hub id of the data set; by default, the name of the data set.
        languages: Languages of the texts as MTEB writes them, such as "eng-Latn".
    """

    model: str = ""
    task: str = ""
    dataset: str = ""
    languages: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check that the languages are not one string."""
        refuse_string(self.languages, "languages")

    def complete(self, curve: Curve) -> ResultNames:
        """Return these names, and the names in the curve where they are empty."""
        name = str(curve.dataset.get("name") or "dataset")
        return replace(
            self,
            model=self.model or _public_name(curve.model.name),
            task=self.task or name.rpartition("/")[2],
            dataset=self.dataset or name,
        )

    def note(self, given: ResultNames, *used: str) -> Iterator[str]:
        """Yield a note of the names that were completed.

        Args:
            given: The names before ``complete``.
            used: Names that the other program uses.
        """
        assumed = [f"{name} {getattr(self, name)!r}" for name in used if not getattr(given, name)]
        if assumed:
            problem = f"Names from the curve: {', '.join(assumed)}."
            yield f"{problem} Pass the names that the other program uses."


def split_of(curve: Curve) -> str:
    """Return the split of the relevance labels."""
    return str(curve.dataset.get("split") or "test")


def label_metrics(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the metrics of relevance labels; agreement is no metric of other programs."""
    return {name: value for name, value in metrics.items() if is_relevance(name)}


def extra_values(curve: Curve, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values without a place in other formats, under a key that others ignore."""
    return {_EXTRA_KEY: {"fingerprint": curve.model.fingerprint, **row}}


def common_notes(curve: Curve, program: str) -> Iterator[str]:
    """Yield what no format of results has a place for, and how the measurement differs.

    Args:
        curve: The curve.
        program: Name of the other program.
    """
    stored = "Bytes, times, retention and its intervals, and agreement"
    yield f"{stored} are stored under the key 'nestvec', which {program} ignores."
    if curve.baselines:
        yield f"Baselines are left out: {', '.join(curve.baselines)}."
    own = curve.counts.get("self_matches", 0)
    if own:
        ignored = f"{count_text(own, 'query')} ignored their own document."
        yield f"{ignored} {program} ranks this document in most tasks."
    missing = curve.counts.get("queries_without_relevant", 0)
    if missing:
        left_out = f"{count_text(missing, 'query')} without a relevant document"
        yield f"{left_out} are not in the means. {program} counts them as 0."
    if curve.dataset.get("group_by"):
        yield "Documents are groups of chunks (group_by), each ranked by its best chunk."


def _public_name(name: str) -> str:
    """Return a hub id, the name of an API model at its API, or the last part of a path."""
    name = model_part(name)
    if _HUB_ID.fullmatch(name) and not Path(name).is_dir():
        return name
    return re.split(r"[\\/]", name.rstrip("\\/"))[-1] or "model"
