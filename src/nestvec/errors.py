"""Every error that nestvec raises on purpose. The command line prints their text, nothing more.

NestvecError
├── InvalidArgument      a value outside its limit (also a ValueError)
├── DataError            a file that cannot be used as it is; names the file and the line
│   ├── DamagedFile      a file of ours whose content is not what was written
│   └── IndexLocked      an index that another process is changing
├── ModelError           a model that cannot be loaded or cannot do what is asked
├── ModelMismatch        vectors of one model against an index or a curve of another
├── MissingExtra         an optional dependency that is not installed (also an ImportError)
└── UnsupportedLibrary   an installed library that does not work as nestvec needs it
"""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType


class NestvecError(Exception):
    """Base of all errors below: one line for a person, no traceback needed."""


class InvalidArgument(NestvecError, ValueError):
    """A value outside its limit; the message holds both."""


class DataError(NestvecError):
    """A file that cannot be used as it is."""

    def __init__(self, path: Path | str, problem: str, *, line: int | None = None) -> None:
        """Prefix the problem with ``path:line``.

        Args:
            path: The file or folder at fault.
            problem: What is wrong, with the value, the limit and the way out.
            line: Line number, counted from 1, where one line is at fault.
        """
        where = f"{path}:{line}" if line is not None else f"{path}"
        super().__init__(f"{where}: {problem}")


class ModelError(NestvecError):
    """A model that cannot be loaded or cannot do what is asked."""


class ModelMismatch(NestvecError):
    """Vectors of one model or width used with an index or a curve of another."""


class DamagedFile(DataError):
    """A file of ours whose content is not what was written."""


class IndexLocked(DataError):
    """An index that another process is changing."""


class MissingExtra(NestvecError, ImportError):
    """An optional dependency that is not installed."""


class UnsupportedLibrary(NestvecError):
    """An installed library that does not work as nestvec needs it, by its version or its build."""


def refuse_string(values: object, name: str) -> None:
    """Refuse one string where a list is needed: it would be read letter by letter.

    Raises:
        InvalidArgument: If ``values`` is a string.
    """
    if isinstance(values, str | bytes):
        raise InvalidArgument(f"{name} is one string. Pass a list or tuple.")


def require(module: str, *, extra: str) -> ModuleType:
    """Import an optional dependency, or say how to install it.

    Args:
        module: Dotted module name, for example ``"sentence_transformers"``.
        extra: The extra of nestvec that brings it, for example ``"models"``.

    Raises:
        MissingExtra: If the module is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise
        message = f"this needs {module}: pip install 'nestvec[{extra}]'"
        raise MissingExtra(message) from error
