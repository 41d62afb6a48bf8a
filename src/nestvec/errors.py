"""All errors that nestvec raises on purpose. The command line prints only their message.

NestvecError
├── InvalidArgument      an invalid value (also a ValueError)
├── DataError            an unusable file; the message names the file and the line
│   ├── DamagedFile      a nestvec file whose content has changed since it was written
│   └── IndexLocked      an index that another process is changing
├── ModelError           a model that cannot be loaded or does not support an operation
├── ModelMismatch        vectors of one model used with an index or curve of another
├── MissingExtra         an optional dependency that is not installed (also an ImportError)
└── UnsupportedLibrary   an installed library in a version or build that does not work
"""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType


class NestvecError(Exception):
    """Base class of all nestvec errors; the message is one line."""


class InvalidArgument(NestvecError, ValueError):
    """An invalid value; the message has the value and the limit."""


class DataError(NestvecError):
    """An unusable file or folder."""

    def __init__(self, path: Path | str, problem: str, *, line: int | None = None) -> None:
        """Prefix the problem with ``path:line``.

        Args:
            path: The file or folder.
            problem: What is wrong, with value and limit, and what to do.
            line: Line number, from 1, if one line is wrong.
        """
        where = f"{path}:{line}" if line is not None else f"{path}"
        super().__init__(f"{where}: {problem}")


class ModelError(NestvecError):
    """A model that cannot be loaded or does not support an operation."""


class ModelMismatch(NestvecError):
    """Vectors of one model used with an index or a curve of another model."""


class DamagedFile(DataError):
    """A nestvec file whose content has changed since it was written."""


class IndexLocked(DataError):
    """An index that another process is changing."""


class MissingExtra(NestvecError, ImportError):
    """An optional dependency that is not installed."""


class UnsupportedLibrary(NestvecError):
    """An installed library in a version or build that does not work with nestvec."""


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its type if it has no message."""
    return str(error).strip().partition("\n")[0] or repr(error)


def refuse_string(values: object, name: str) -> None:
    """Check that ``values`` is not a string, which would be read as a list of characters.

    Raises:
        InvalidArgument: If ``values`` is a string.
    """
    if isinstance(values, str | bytes):
        raise InvalidArgument(f"{name} is one string. Pass a list or tuple.")


def check_least(settings: object, **least: float) -> None:
    """Check that each named attribute of ``settings`` has at least the given value.

    Raises:
        InvalidArgument: If a value is smaller, or NaN.
    """
    for name, limit in least.items():
        value = getattr(settings, name)
        if not value >= limit:
            raise InvalidArgument(f"{name}={value} is less than {limit}. Choose {limit} or more.")


def require(module: str, *, extra: str) -> ModuleType:
    """Import an optional dependency.

    Args:
        module: Dotted module name, for example ``"sentence_transformers"``.
        extra: The extra of nestvec that installs it, for example ``"models"``.

    Raises:
        MissingExtra: If the module is not installed; the message has the install command.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise
        message = f"{module} is not installed. Run: pip install 'nestvec[{extra}]'"
        raise MissingExtra(message) from error
