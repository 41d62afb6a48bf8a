"""Settings of a training run from a TOML file, for any dataclass of settings."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from types import NoneType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from nestvec.errors import DataError

Config = TypeVar("Config")


def config_from_file(
    kind: type[Config], path: Path, *, usual: Mapping[str, Any], given: Mapping[str, Any]
) -> Config:
    """Read a TOML file whose names are the fields of a dataclass.

    Args:
        kind: The dataclass, which checks its values itself.
        path: The file.
        usual: What stands below the file.
        given: What stands above it.

    Raises:
        DataError: If the file cannot be read, or holds a name that is none of the fields or a
            value of another type.
        InvalidArgument: If a value is out of range.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(path, f"cannot be read ({error})") from error
    types = get_type_hints(kind)
    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    for name, value in values.items():
        if name not in known:
            raise DataError(path, f"{name} is not one of {', '.join(known)}")
        if not _is(value, types[name]):
            raise DataError(path, f"{name} = {value!r} is not {_named(types[name])}")
    lists = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
    return kind(**{**usual, **values, **lists, **given})


def _is(value: object, expected: Any) -> bool:
    """Tell whether a value of TOML is of a field's type: a number, text, or a list of one type."""
    options = get_args(expected)
    if get_origin(expected) is tuple:
        return isinstance(value, list) and all(_is(each, options[0]) for each in value)
    if get_origin(expected) is Literal:
        return value in options
    if options:
        return any(_is(value, option) for option in options)
    if expected is float:
        return type(value) in (float, int)
    return type(value) is expected


def _named(expected: Any) -> str:
    """Return how an error calls a type."""
    options = [option for option in get_args(expected) if option is not NoneType]
    if get_origin(expected) is tuple:
        return f"a list, each of which is {_named(options[0])}"
    if get_origin(expected) is Literal:
        return f"one of {', '.join(map(str, options))}"
    if options:
        return " or ".join(map(_named, options))
    return {float: "a number", int: "a whole number", bool: "true or false"}.get(expected, "text")
