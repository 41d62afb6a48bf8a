"""Write the curve of a model to its folder: the numbers, the chart, and a section of its README."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from nestvec.curve.curve import Curve
from nestvec.data.retrieval import RetrievalSet
from nestvec.data.similarity import SimilaritySet
from nestvec.measure.grid import Grid
from nestvec.measure.run import evaluate
from nestvec.measure.similarity import evaluate_similarity
from nestvec.report.card import card_text
from nestvec.report.chart import quality_chart, save_chart
from nestvec.types import Encoder, Precision

_PRECISIONS: tuple[Precision, ...] = ("float32", "int8", "binary")
_HEADING = "## Quality at each width"


def measure_widths(
    model: Encoder,
    data: RetrievalSet | SimilaritySet,
    dims: Sequence[int],
    *,
    precisions: tuple[Precision, ...] = _PRECISIONS,
) -> Curve:
    """Measure a model at the given dims and at full width, in one stage.

    Raises:
        ModelError: If the model returns NaN, infinite values or vectors of another width.
    """
    full_dim = model.info.full_dim
    widths = sorted({full_dim, *(dim for dim in dims if dim < full_dim)}, reverse=True)
    grid = Grid(dims=tuple(widths), precisions=precisions, shortlisted=())
    if isinstance(data, RetrievalSet):
        return evaluate(model, data, grid)
    return evaluate_similarity(model, data, grid)


def write_curves(curves: Mapping[str, Curve], folder: Path) -> None:
    """Write ``curve.json``, ``curve.svg`` and a section of ``README.md`` to a model folder.

    Args:
        curves: Curves by the name to show; the first is the model's own.
        folder: The model folder.

    Raises:
        InvalidArgument: If the model scores 0 at full width.
        MissingExtra: If matplotlib is not installed.
    """
    curve = next(iter(curves.values()))
    curve.save(folder / "curve.json")
    save_chart(quality_chart(curves, metric=curve.main_metric), folder / "curve.svg")
    readme = folder / "README.md"
    before = readme.read_text(encoding="utf-8").rstrip() if readme.is_file() else ""
    picture = "![Retained quality at each width against memory](curve.svg)"
    section = f"{_HEADING}\n\n{picture}\n\n{card_text(curves)}"
    readme.write_text(f"{before}\n\n{section}".lstrip(), encoding="utf-8")
