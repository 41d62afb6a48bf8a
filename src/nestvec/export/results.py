"""Export a measured curve as result files of MTEB or HAKARI-Bench.

Both have one file for each task and model, with mean scores. ``mteb_results`` and
``hakari_results`` describe the files. What the formats have no place for is stored under the key
``nestvec`` of each file, which the other programs ignore, or is named in the notes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from nestvec.curve.curve import Curve
from nestvec.errors import InvalidArgument
from nestvec.export.hakari_results import hakari_files
from nestvec.export.mteb_results import mteb_files
from nestvec.export.result_names import ResultNames
from nestvec.files.atomic import replace_files

ResultFormat = Literal["mteb", "hakari"]
RESULT_FORMATS: tuple[ResultFormat, ...] = get_args(ResultFormat)
_CURVE_NAMES = ResultNames()


class ExportedResults(NamedTuple):
    """The files of an export, and what they do not contain.

    Attributes:
        files: The written files; the file of full precision is first.
        notes: What the format has no place for, and names that nestvec does not know; one sentence
            each.
    """

    files: tuple[Path, ...]
    notes: tuple[str, ...]


def export_results(
    curve: Curve,
    folder: Path | str,
    *,
    format: ResultFormat,
    names: ResultNames = _CURVE_NAMES,
) -> ExportedResults:
    """Write all operating points of a curve as result files of MTEB or HAKARI-Bench.

    Existing files of the same model and task are replaced. Other files of the folder stay, so the
    results of several curves can be collected in one folder.

    Args:
        curve: A curve of a retrieval set with relevance labels.
        folder: The folder for the files; created if it does not exist. For "mteb" it is the folder
            of a ``mteb.ResultCache``, for "hakari" the folder of results of its database script.
        format: "mteb" or "hakari".
        names: Names of the model, the task and the data set in the other program.

    Returns:
        The files, and the notes.

    Raises:
        InvalidArgument: If the format is unknown, or the curve has no relevance labels.
        DataError: If a file cannot be written. Then none is changed.

    Example:
        >>> names = ResultNames(task="SciFact", languages=("eng-Latn",))
        >>> export_results(curve, "results", format="mteb", names=names)  # doctest: +SKIP
    """
    if format not in RESULT_FORMATS:
        known = ", ".join(RESULT_FORMATS)
        raise InvalidArgument(f"Unknown format {format!r}. Choose one of {known}.")
    _check(curve)
    described = (mteb_files if format == "mteb" else hakari_files)(curve, names)
    paths = tuple(Path(folder) / name for name in described.files)
    with replace_files(*paths) as temporaries:
        for temporary, content in zip(temporaries, described.files.values(), strict=True):
            text = json.dumps(content, indent=2, ensure_ascii=False)
            temporary.write_text(text + "\n", encoding="utf-8")
    return ExportedResults(paths, described.notes)


def _check(curve: Curve) -> None:
    task = curve.dataset.get("task") or "retrieval"
    if task != "retrieval":
        problem = f"This curve was measured on the task {task!r}."
        raise InvalidArgument(f"{problem} Export the curve of a retrieval set.")
    if curve.evidence != "labels":
        problem = f"The evidence of this curve is {curve.evidence!r}, which is not comparable."
        raise InvalidArgument(f"{problem} Export a curve with relevance labels (qrels).")
