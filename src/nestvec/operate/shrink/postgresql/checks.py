"""What is checked before anything is changed. Each refusal is one line."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import numpy as np

from nestvec.errors import DataError, InvalidArgument
from nestvec.operate.shrink.postgresql.points import STORED
from nestvec.operate.shrink.postgresql.session import ShrinkSession
from nestvec.operate.shrink.postgresql.target import ShrinkTable
from nestvec.operate.shrink.request import ShrinkRequest
from nestvec.sources.places import Place
from nestvec.sources.postgresql import quoted
from nestvec.types import Embeddings

LEAST_EXTENSION = (0, 8)
_KINDS = {
    "v": "a view",
    "m": "a materialized view",
    "p": "a partitioned table",
    "f": "a foreign table",
}
_LOCAL_HOSTS = (None, "", "localhost", "127.0.0.1", "::1")
_UNIT = 1e-2  # deviation from unit length that is not rounding


class TableFacts(NamedTuple):
    """What a scan of the table has shown: all rows, and rows without a vector."""

    rows: int
    without_vector: int


def check_server(session: ShrinkSession) -> str:
    """Check the server and the extension, and return the quoted schema of the extension.

    Raises:
        DataError: If the server is a replica, or pgvector is missing or too old.
    """
    if session.row("SELECT pg_is_in_recovery()")[0]:
        raise session.refuse("the server is a replica. Pass the URL of the primary server.")
    rows = session.rows(
        "SELECT e.extversion, n.nspname FROM pg_extension AS e "
        "JOIN pg_namespace AS n ON n.oid = e.extnamespace WHERE e.extname = 'vector'"
    )
    least = ".".join(map(str, LEAST_EXTENSION))
    if not rows:
        raise session.refuse(f"the database has no extension vector. Install pgvector {least}.")
    version, schema = rows[0]
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if numbers < LEAST_EXTENSION:
        remedy = "Run ALTER EXTENSION vector UPDATE."
        raise session.refuse(f"pgvector {version} is older than {least}. {remedy}")
    return quoted(schema)


def check_table(session: ShrinkSession, table: ShrinkTable) -> None:
    """Check that a relation is a table of vectors of one width, which this user may change.

    Raises:
        DataError: If it is not.
    """
    name = f"{table.schema}.{table.name}"
    if table.relkind != "r":
        kind = _KINDS.get(table.relkind, "not a table")
        remedy = "Pass each partition." if table.relkind == "p" else "Pass the table itself."
        raise session.refuse(f"{name} is {kind}, which has no index of its own. {remedy}")
    if table.kind not in STORED:
        problem = f"column {table.vector} has the type {table.kind}, not vector or halfvec."
        raise session.refuse(f"{problem} Name another column with ?vector=NAME.")
    if not table.dim:
        raise session.refuse(_untyped(session, table))
    if not table.key:
        remedy = f"Run ALTER TABLE {table.sql} ADD PRIMARY KEY (...)."
        raise session.refuse(f"{name} has no primary key, which identifies its rows. {remedy}")
    _check_permissions(session, table)
    if _is_nestvec_index(session, table):
        remedy = "Run nestvec index use to change its operating point."
        raise session.refuse(f"{name} is an index of nestvec. {remedy}")


def check_width(request: ShrinkRequest, table: ShrinkTable) -> None:
    """Check that a plan was made for vectors of the width of the table.

    Raises:
        InvalidArgument: If the widths differ.
    """
    if request.full_dim is not None and request.full_dim != table.dim:
        problem = f"the plan is for vectors of {request.full_dim} dims"
        found = f"column {table.vector} of {table.name} has {table.dim}"
        raise InvalidArgument(f"{problem}, but {found}. Measure the vectors of this column.")


def count_rows(session: ShrinkSession, table: ShrinkTable, *, skip_nulls: bool) -> TableFacts:
    """Count the rows, and those without a vector.

    Raises:
        DataError: If rows have no vector, or the table is empty.
    """
    query = f"SELECT count(*), count({table.column}) FROM {table.sql}"
    rows, with_vector = session.row(query)
    facts = TableFacts(rows, rows - with_vector)
    if with_vector == 0:
        raise session.refuse(f"{table.name} has no vectors. Fill the table first.")
    if facts.without_vector and not skip_nulls:
        problem = f"{facts.without_vector:,} of {rows:,} rows have no vector (NULL)."
        remedy = "No search finds them; pass --skip-nulls to accept this."
        raise session.refuse(f"{problem} {remedy}")
    return facts


def sample_vectors(session: ShrinkSession, table: ShrinkTable, count: int) -> Embeddings:
    """Return vectors of rows, in an order that does not depend on when they were written."""
    key = ", ".join(f"{quoted(each.name)}::text" for each in table.key)
    query = (
        f"SELECT {table.column} FROM {table.sql} WHERE {table.column} IS NOT NULL "
        f"ORDER BY hashtextextended(concat_ws(',', {key}), 0) LIMIT {count}"
    )
    vectors = [
        each.to_numpy() if hasattr(each, "to_numpy") else each for (each,) in session.rows(query)
    ]
    return np.asarray(vectors, dtype=np.float32)


def check_lengths(sample: Embeddings, table: str, metric: str) -> None:
    """Check that inner products and distances rank as cosines do, which the plan measured.

    Raises:
        InvalidArgument: If the metric is not the cosine and the vectors have other lengths than 1.
    """
    lengths = np.linalg.norm(sample.astype(np.float64), axis=1)
    others = int((np.abs(lengths - 1) > _UNIT).sum())
    if metric != "cosine" and others:
        problem = f"{others} of {len(sample)} sampled vectors do not have unit length"
        reason = f"and the metric {metric} then ranks differently from the cosine of a plan"
        raise InvalidArgument(f"{table}: {problem}, {reason}. Normalize the vectors first.")


def check_function(session: ShrinkSession, table: ShrinkTable, name: str, option: str) -> None:
    """Check that the schema of a table has no function of a name; an option changes the name.

    Raises:
        DataError: If it has.
    """
    query = """SELECT count(*) FROM pg_proc WHERE proname = %s AND pronamespace = (
        SELECT oid FROM pg_namespace WHERE nspname = %s)"""
    if session.row(query, [name, table.schema])[0]:
        problem = f"a function {name} exists, and nestvec shrink did not create it."
        raise session.refuse(f"{problem} Choose another name with {option}.")


def check_index_name(session: ShrinkSession, table: ShrinkTable, name: str) -> None:
    """Check that the schema of a table has no index or table of a name.

    Raises:
        DataError: If it has.
    """
    if session.row("SELECT to_regclass(%s)", [table.qualified(name)])[0] is not None:
        problem = f"an index or table {name} exists, and nestvec shrink did not create it."
        raise session.refuse(f"{problem} Rename or drop it.")


def check_column(session: ShrinkSession, table: ShrinkTable, column: str) -> None:
    """Check that a table has no column of a name.

    Raises:
        DataError: If it has.
    """
    if column in table.columns:
        problem = f"{table.name} has a column {column}, and nestvec shrink did not create it."
        raise session.refuse(f"{problem} Choose another name with --column.")


def free_bytes(session: ShrinkSession, place: Place) -> int | None:
    """Return the free bytes of the disk of the server; None if they cannot be read.

    They are read if the server is on this machine and its data directory is known to the user.
    """
    if urlsplit(place.url).hostname not in _LOCAL_HOSTS:
        return None
    rows = session.rows(
        "SELECT current_setting('data_directory') "
        "WHERE pg_has_role(current_user, 'pg_read_all_settings', 'USAGE')"
    )
    try:
        found = os.statvfs(Path(rows[0][0])) if rows else None
    except OSError:
        return None
    return None if found is None else found.f_bavail * found.f_frsize


def check_disk(session: ShrinkSession, needed: int, free: int | None) -> str | None:
    """Check the free disk space, and return a note if it is unknown.

    Raises:
        DataError: If the space is too small.
    """
    if free is None:
        return (
            f"The free disk space of the server is unknown. The shrink needs about "
            f"{needed / 1e6:,.0f} MB. Pass --free-disk BYTES to check this."
        )
    if free < needed:
        problem = f"the disk has {free / 1e6:,.0f} MB free, and the shrink needs about"
        raise session.refuse(f"{problem} {needed / 1e6:,.0f} MB. Free some space.")
    return None


def row_triggers(session: ShrinkSession, table: ShrinkTable) -> list[str]:
    """Return the names of the user's triggers that an update of a row fires."""
    query = """SELECT tgname FROM pg_trigger WHERE tgrelid = %s AND NOT tgisinternal
        AND tgenabled <> 'D' AND tgtype & 16 <> 0 AND tgattr = '' ORDER BY tgname"""
    return [name for (name,) in session.rows(query, [table.oid])]


def _untyped(session: ShrinkSession, table: ShrinkTable) -> str:
    query = f"SELECT min(vector_dims({table.column})), max(vector_dims({table.column}))"
    least, most = session.row(f"{query} FROM {table.sql}")
    column = f"column {table.vector} states no width"
    if least != most:
        remedy = "Store vectors of one width in a table."
        return f"{column}, and its vectors have {least} to {most} dims. {remedy}"
    change = f"ALTER TABLE {table.sql} ALTER COLUMN {table.column} TYPE {table.kind}({most})"
    return f"{column}, so an index cannot be built. Run {change}."


def _check_permissions(session: ShrinkSession, table: ShrinkTable) -> None:
    query = """SELECT current_user, pg_has_role(c.relowner, 'USAGE'),
        has_schema_privilege(c.relnamespace, 'CREATE'), to_regnamespace('nestvec') IS NOT NULL,
        has_database_privilege(current_database(), 'CREATE')
        FROM pg_class AS c WHERE c.oid = %s"""
    user, owns, creates, exists, may_create = session.row(query, [table.oid])
    problem = None
    if not owns:
        problem = f"{user} does not own table {table.schema}.{table.name}"
    elif not creates:
        problem = f"{user} may not create objects in schema {table.schema}"
    elif not exists and not may_create:
        problem = f"{user} may not create schema nestvec in this database"
    elif exists and not _may_record(session):
        problem = f"{user} may not write to schema nestvec"
    if problem is not None:
        raise DataError(session.shown, f"{problem}. Connect as the owner of the table.")


def _may_record(session: ShrinkSession) -> bool:
    """Return whether the user may create or write the table of records."""
    query = """SELECT CASE WHEN has_schema_privilege('nestvec', 'USAGE') THEN
        coalesce(has_table_privilege(to_regclass('nestvec.shrinks'), 'INSERT')
            AND has_table_privilege(to_regclass('nestvec.shrinks'), 'UPDATE'),
            has_schema_privilege('nestvec', 'CREATE')) ELSE false END"""
    return bool(session.row(query)[0])


def _is_nestvec_index(session: ShrinkSession, table: ShrinkTable) -> bool:
    if session.row("SELECT to_regclass('nestvec.indexes')")[0] is None:
        return False
    query = "SELECT EXISTS (SELECT FROM nestvec.indexes WHERE table_name = %s)"
    return bool(session.row(query, [table.name])[0])
