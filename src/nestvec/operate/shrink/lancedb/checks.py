"""What is checked before anything is changed. Each refusal is one line."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nestvec.engines.lancedb.engine import PRECISIONS
from nestvec.engines.lancedb.rows import vectors_of
from nestvec.errors import InvalidArgument, require
from nestvec.operate.shrink.lancedb.session import LanceSession, quoted_column
from nestvec.operate.shrink.request import ShrinkRequest
from nestvec.types import Embeddings, OperatingPoint

_BYTES = {"float16": 2, "float32": 4}


class LanceFacts(NamedTuple):
    """The counts of rows, and of rows without a vector."""

    rows: int
    without_vector: int


def check_columns(session: LanceSession) -> None:
    """Check that a table has vectors of one width and is not an index of nestvec.

    Raises:
        DataError: If it is not suitable.
    """
    if session.has_index_record():
        remedy = "Run nestvec index use to change its operating point."
        raise session.refuse(f"{session.name} is an index of nestvec. {remedy}")
    if not session.dim:
        problem = f"column {session.vector} has lists of any length, which LanceDB cannot search"
        raise session.refuse(f"{problem}. Store a column of lists of a fixed size.")
    if "`" in session.vector:
        problem = f"column {session.vector} has a backtick in its name"
        raise session.refuse(f"{problem}, and LanceDB computes no column from it. Rename it.")
    path = session.local_path
    if path is not None and not os.access(path, os.W_OK):
        raise session.refuse("cannot be written. Run the command as a user who may write it.")


def check_request(request: ShrinkRequest, session: LanceSession) -> None:
    """Check that a table of LanceDB can be searched as requested.

    Raises:
        InvalidArgument: If it cannot.
    """
    if request.function is not None:
        problem = "LanceDB has no functions, so --function has no meaning."
        raise InvalidArgument(f"{problem} Remove the option; search with search_table.")
    if request.adapter is not None:
        problem = "a column of a LanceDB table cannot compute an adapter."
        raise InvalidArgument(f"{problem} Remove --adapter, and pass a plan without one.")
    if request.full_dim not in (None, session.dim):
        problem = f"the plan is for vectors of {request.full_dim} dims"
        found = f"column {session.vector} of {session.name} has {session.dim}"
        raise InvalidArgument(f"{problem}, but {found}. Measure the vectors of this column.")
    if request.column is not None and ("`" in request.column or "." in request.column):
        raise InvalidArgument(f"the column {request.column!r} has a backtick or a dot in its name.")
    problem_text = _point_problem(request.point, session)
    if problem_text is not None:
        raise InvalidArgument(f"{request.point}: {problem_text}")


def count_rows(session: LanceSession, *, skip_nulls: bool) -> LanceFacts:
    """Count the rows, and those without a vector.

    Raises:
        DataError: If rows have no vector, or the table is empty.
    """
    condition = f"{quoted_column(session.vector)} IS NULL"
    rows, without = session.read(
        lambda table: (int(table.count_rows()), int(table.count_rows(condition)))
    )
    if rows == without:
        raise session.refuse(f"{session.name} has no vectors. Fill the table first.")
    if without and not skip_nulls:
        problem = f"{without:,} of {rows:,} rows have no vector (NULL)."
        raise session.refuse(f"{problem} No search finds them; pass --skip-nulls to accept this.")
    return LanceFacts(rows, without)


def check_ids(session: LanceSession) -> None:
    """Check that each row has an id of its own.

    Raises:
        DataError: If ids are missing or repeated.
    """
    pa: Any = require("pyarrow", extra="lancedb")
    compute: Any = require("pyarrow.compute", extra="lancedb")
    batches = session.read(lambda table: list(table.search().select([session.id]).to_batches()))
    ids = pa.chunked_array([batch.column(session.id) for batch in batches])
    if ids.null_count:
        problem = f"{ids.null_count:,} rows have no id (NULL in column {session.id})"
        raise session.refuse(f"{problem}. Search returns ids, so fill the column first.")
    counts = compute.value_counts(ids)
    values, numbers = counts.field("values"), counts.field("counts").to_numpy()
    repeated = np.flatnonzero(numbers > 1)
    if len(repeated):
        example = values[int(repeated[0])].as_py()
        problem = f"{len(repeated):,} ids appear in several rows, for example {example!r:.80}"
        raise session.refuse(f"{problem} in column {session.id}. Each row needs an id of its own.")


def sample_vectors(session: LanceSession, count: int) -> Embeddings:
    """Return vectors of rows that are spread over the table, [n, dim], without missing ones."""

    def work(table: Any) -> Any:
        step = max(1, int(table.count_rows()) // count)
        rows = list(range(0, int(table.count_rows()), step))[:count]
        return table.take_offsets(rows).select([session.vector]).to_arrow()

    found = session.read(work)[session.vector].drop_null()
    return np.asarray(vectors_of(found), dtype=np.float32)


def check_disk(session: LanceSession, request: ShrinkRequest, facts: LanceFacts) -> int:
    """Check the free disk space, and return the needed bytes. Object storage has no limit.

    Raises:
        DataError: If the space is too small.
    """
    stage = request.point.stages[0]
    needed = 2 * facts.rows * stage.dim * _BYTES[stage.precision]  # the column, and its index
    free, path = request.free_disk, session.local_path
    if free is None and path is not None:
        free = shutil.disk_usage(Path(path)).free
    if free is not None and free < needed:
        problem = f"the disk has {free / 1e6:,.0f} MB free, and the shrink needs about"
        raise session.refuse(f"{problem} {needed / 1e6:,.0f} MB. Free some space.")
    return needed


def _point_problem(point: OperatingPoint, session: LanceSession) -> str | None:
    first, last = point.stages[0], point.stages[-1]
    stored = f"{session.dim}:{session.precision}"
    others = [stage for stage in point.stages if stage.precision not in PRECISIONS]
    if others:
        known = " and ".join(sorted(PRECISIONS))
        return f"LanceDB searches only {known}, not {others[0].precision}. Choose one of them."
    wide = [stage for stage in point.stages if stage.dim > session.dim]
    if wide:
        return f"stage {wide[0]} is wider than the vectors, which have {session.dim} dims."
    if first.dim == session.dim and first.precision in (session.precision, "float32"):
        return f"its first stage is the stored vector ({stored}), so nothing shrinks."
    if len(point.stages) > 1 and last.dim < session.dim:
        return f"the last of several stages scores the stored vector. Write it as {stored}."
    return None
