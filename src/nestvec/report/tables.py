"""The table of retention, with a row per precision and a column per dim: as text and Markdown.

The HTML report shows the same rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from nestvec.curve.curve import Curve
from nestvec.report.captions import axis_title
from nestvec.report.comparison import CurveComparison
from nestvec.types import Precision
from nestvec.wording import score_text

WIDTH = 80
"""Characters of a line in a terminal."""
_NAME_WIDTH = 30
_COLUMN_WIDTHS = range(8, 5, -1)  # "100.0" and at least one space
_ABSENT = "–"


@dataclass(frozen=True)
class RetentionRow:
    """One row of the table.

    Attributes:
        name: Curve and precision, for example ``Matryoshka float32``.
        shares: Retention at each of the dims of the table; None if not measured.
    """

    name: str
    shares: tuple[float | None, ...]

    @property
    def cells(self) -> tuple[str, ...]:
        """The shares in percent with one decimal."""
        return tuple(_ABSENT if share is None else f"{share * 100:.1f}" for share in self.shares)


def retention_rows(
    comparison: CurveComparison, precisions: Sequence[Precision] = ()
) -> tuple[RetentionRow, ...]:
    """Return the rows: each curve at float32, the first at other precisions, and the baselines.

    Args:
        comparison: The curves; the dims of the first curve are the columns.
        precisions: Precisions of the first curve to show in addition to float32.
    """
    lines: list[tuple[str, Precision]] = [(name, "float32") for name in comparison.curves]
    lines += [(comparison.name, each) for each in precisions if each != "float32"]
    baselines = (
        RetentionRow(f"{name} float32", tuple(shares.get(dim) for dim in comparison.dims))
        for name, shares in comparison.baselines_by_dim().items()
    )
    return (*(_row(comparison, name, precision) for name, precision in lines), *baselines)


def retention_table(
    curves: Mapping[str, Curve], metric: str = "ndcg@10", *, precisions: Sequence[Precision] = ()
) -> tuple[str, ...]:
    """Return the table as lines for a terminal, at most 80 characters wide.

    100 % is the score of the first curve at full precision, for all curves.

    Args:
        curves: Curves by display name, the main curve first.
        metric: The metric to show.
        precisions: Precisions of the first curve to show below the float32 rows.

    Raises:
        InvalidArgument: If there is no curve, the metric was not measured, or full precision
            scores 0.
    """
    comparison = CurveComparison(curves, metric)
    rows = retention_rows(comparison, precisions)
    title = axis_title(comparison)
    longest = min(_NAME_WIDTH, max(len(title), *(len(row.name) for row in rows)))
    lines = []
    for columns in _blocks(len(comparison.dims), WIDTH - longest - len(" dims")):
        dims = [str(dim) for dim in comparison.dims[columns]]
        width = _column_width(len(dims), longest)
        lines.append(table_line(title, dims, longest, width) + " dims")
        lines += [table_line(row.name, row.cells[columns], longest, width) for row in rows]
    return (*lines, *_notes(comparison))


def markdown_table(comparison: CurveComparison) -> str:
    """Return the table as Markdown: each curve at float32, the first at each precision."""
    header = [axis_title(comparison), *(f"{dim:,} dims" for dim in comparison.dims)]
    lines = [header, [":--", *("--:" for _ in comparison.dims)]]
    lines += [[row.name, *row.cells] for row in retention_rows(comparison, comparison.precisions)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _row(comparison: CurveComparison, name: str, precision: Precision) -> RetentionRow:
    rows = comparison.single_stage(name, precision)
    shares = (comparison.share(rows[dim]) if dim in rows else None for dim in comparison.dims)
    return RetentionRow(f"{name} {precision}".strip(), tuple(shares))


def _blocks(columns: int, room: int) -> Iterator[slice]:
    """Split the columns into blocks of at most ``room`` characters."""
    fitting = max(1, room // _COLUMN_WIDTHS[-1])
    return (slice(start, start + fitting) for start in range(0, columns, fitting))


def _column_width(columns: int, name_width: int) -> int:
    room = WIDTH - name_width - len(" dims")
    return next((width for width in _COLUMN_WIDTHS if width * columns <= room), _COLUMN_WIDTHS[-1])


def table_line(name: str, cells: Sequence[str], name_width: int, column_width: int) -> str:
    """Return a row of a table for a terminal: a name and cells aligned to the right."""
    # A long path is shortened at its start, because its end and the precision identify the row.
    short = name if len(name) <= name_width else "…" + name[1 - name_width :]
    return short.ljust(name_width) + "".join(cell.rjust(column_width) for cell in cells)


def _notes(comparison: CurveComparison) -> Iterator[str]:
    if len(comparison.curves) > 1:
        yield f"100 % is {comparison.name} at {comparison.curve.model.full_dim:,} dims, float32"
    for name, score in comparison.baselines().items():
        yield f"{name} scores {score_text(score)}, the model {score_text(comparison.full_score)}"
