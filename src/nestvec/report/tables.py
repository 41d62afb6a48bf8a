"""The table of what is kept, rows by precision and columns by dims: as text and as Markdown.

Both forms, and the HTML of the report, write the same rows; nothing here is measured or chosen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from nestvec.curve.curve import Curve
from nestvec.report.captions import axis_title
from nestvec.report.kept import Kept
from nestvec.types import Precision
from nestvec.wording import score_text

_WIDTH = 80
_NAME_WIDTH = 30
_COLUMN_WIDTHS = range(8, 5, -1)  # "100.0" and at least one space
_ABSENT = "–"


@dataclass(frozen=True)
class KeptRow:
    """One line of the table.

    Attributes:
        name: What was measured, for example ``Matryoshka float32``.
        shares: What it keeps at each of the table's dims; None where not measured.
    """

    name: str
    shares: tuple[float | None, ...]

    @property
    def cells(self) -> tuple[str, ...]:
        """The shares in percent, one decimal."""
        return tuple(_ABSENT if share is None else f"{share * 100:.1f}" for share in self.shares)


def kept_rows(kept: Kept, precisions: Sequence[Precision] = ()) -> tuple[KeptRow, ...]:
    """List each curve at float32, the first at other precisions, and other ways to cut it.

    Args:
        kept: The curves; its dims are the columns.
        precisions: Of the first curve, beside float32.
    """
    asked: list[tuple[str, Precision]] = [(name, "float32") for name in kept.curves]
    asked += [(kept.name, each) for each in precisions if each != "float32"]
    baselines = (
        KeptRow(f"{name} float32", tuple(shares.get(dim) for dim in kept.dims))
        for name, shares in kept.baselines_by_dim().items()
    )
    return (*(_row(kept, name, precision) for name, precision in asked), *baselines)


def retention_table(
    curves: Mapping[str, Curve], metric: str = "ndcg@10", *, precisions: Sequence[Precision] = ()
) -> tuple[str, ...]:
    """Write what is kept as lines for a terminal, at most 80 characters wide.

    Percent is of the first curve's full width at float32, so that a twin which is weaker there
    shows less than 100.

    Args:
        curves: By the name to show, the main one first.
        metric: Which metric.
        precisions: Of the first curve, to be shown below the float32 rows.

    Raises:
        InvalidArgument: If there is no curve, the metric was not measured, or full width scores 0.
    """
    kept = Kept(curves, metric)
    rows = kept_rows(kept, precisions)
    title = axis_title(kept)
    longest = min(_NAME_WIDTH, max(len(title), *(len(row.name) for row in rows)))
    lines = []
    for columns in _blocks(len(kept.dims), _WIDTH - longest - len(" dims")):
        dims = [str(dim) for dim in kept.dims[columns]]
        width = _column_width(len(dims), longest)
        lines.append(_line(title, dims, longest, width) + " dims")
        lines += [_line(row.name, row.cells[columns], longest, width) for row in rows]
    return (*lines, *_notes(kept))


def markdown_table(kept: Kept) -> str:
    """Write what is kept as Markdown: each curve at float32, the first at each precision."""
    header = [axis_title(kept), *(f"{dim:,} dims" for dim in kept.dims)]
    lines = [header, [":--", *("--:" for _ in kept.dims)]]
    lines += [[row.name, *row.cells] for row in kept_rows(kept, kept.precisions)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _row(kept: Kept, name: str, precision: Precision) -> KeptRow:
    rows = kept.singles(name, precision)
    shares = (kept.share(rows[dim]) if dim in rows else None for dim in kept.dims)
    return KeptRow(f"{name} {precision}".strip(), tuple(shares))


def _blocks(columns: int, room: int) -> Iterator[slice]:
    """Cut columns into blocks that fit into the room."""
    fitting = max(1, room // _COLUMN_WIDTHS[-1])
    return (slice(start, start + fitting) for start in range(0, columns, fitting))


def _column_width(columns: int, name_width: int) -> int:
    room = _WIDTH - name_width - len(" dims")
    return next((width for width in _COLUMN_WIDTHS if width * columns <= room), _COLUMN_WIDTHS[-1])


def _line(name: str, cells: Sequence[str], name_width: int, column_width: int) -> str:
    # Of a long path the end says more, and the precision stands there.
    short = name if len(name) <= name_width else "…" + name[1 - name_width :]
    return short.ljust(name_width) + "".join(cell.rjust(column_width) for cell in cells)


def _notes(kept: Kept) -> Iterator[str]:
    if len(kept.curves) > 1:
        yield f"100 % is {kept.name} at {kept.curve.model.full_dim:,} dims, float32"
    for name, score in kept.baselines().items():
        yield f"{name} scores {score_text(score)}, the model {score_text(kept.full_score)}"
