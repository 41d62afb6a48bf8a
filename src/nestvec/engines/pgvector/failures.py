"""Errors of PostgreSQL: which of them end by themselves, and one line for all others.

The codes are those of the appendix "PostgreSQL Error Codes" of its manual.
"""

from __future__ import annotations

from typing import Any

from nestvec.errors import DataError, first_line

_TEMPORARY = (
    "08",  # the connection was lost
    "40",  # a deadlock, or a conflict of a replica with changes that it receives
    "57P0",  # the server stops, restarts or starts
    "53300",  # too many connections
    "23505",  # another transaction added the same id; the next attempt finds the id
)
_READ_ONLY, _LOCKED, _CANCELED, _MISSING_TABLE = "25006", "55P03", "57014", "42P01"
_EXTENSION = (
    "Install pgvector 0.8 or later on the server, and run CREATE EXTENSION vector as an "
    "administrator of the database."
)


def is_temporary(error: Any, psycopg: Any) -> bool:
    """Return whether a call can succeed if it is repeated."""
    code = getattr(error, "sqlstate", None)
    if code is None:  # the client lost the connection, or could not connect
        return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return str(code).startswith(_TEMPORARY)


def is_missing_table(error: Exception) -> bool:
    """Return whether a statement failed because a table, or its schema, does not exist."""
    return getattr(error, "sqlstate", None) == _MISSING_TABLE


def unreachable(shown: str, seconds: float, error: Exception) -> DataError:
    """Return the error of a call that was repeated for a number of seconds."""
    problem = f"the server cannot be reached for {seconds:g} s ({_reason(error)})."
    return DataError(shown, f"{problem} Check that it runs, then repeat the call.")


def missing_extension(shown: str, error: Exception) -> DataError:
    """Return the error of a database without pgvector."""
    problem = f"the database has no extension vector, and creating it failed ({_reason(error)})."
    return DataError(shown, f"{problem} {_EXTENSION}")


def failure(shown: str, error: Any, lock_timeout: str) -> DataError:
    """Return the error of a statement, in one line.

    Args:
        shown: The URL without credentials.
        error: The error of psycopg.
        lock_timeout: The longest wait for a lock.
    """
    code = getattr(error, "sqlstate", None)
    if code == _READ_ONLY:
        problem = "the server is a read-only replica, or is set to read-only."
        return DataError(shown, f"{problem} Change the index on the primary server.")
    if code == _LOCKED:
        problem = f"another transaction has locked the table for more than {lock_timeout}."
        return DataError(shown, f"{problem} End that transaction, then repeat the call.")
    if code == _CANCELED:
        remedy = "Raise the limit (statement_timeout), or use an operating point with an index."
        return DataError(shown, f"{_reason(error)}. {remedy}")
    return DataError(shown, f"{_reason(error)}.")


def _reason(error: Exception) -> str:
    return first_line(error).rstrip(".")
