"""Rows of known models, and the TOML files that contain these rows.

A file has one ``[[model]]`` table for each model. Every key is checked, so that a spelling mistake
is an error and not a value that is missing later. ``known`` looks models up by name.
"""

from __future__ import annotations

import datetime
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from nestvec.errors import DataError
from nestvec.types import Kind

_TABLE = "model"  # name of the TOML tables
_DTYPES = ("float16", "bfloat16", "float32")


@dataclass(frozen=True)
class KnownModel:
    """Published information about a model. A key of the TOML file has the name of its attribute.

    Attributes:
        names: Hub ids or API names, the canonical name first.
        full_dim: Number of dimensions of its embeddings.
        trained_dims: Dims that it was trained or published for, largest first.
        min_dim: Smallest dim of a model that was trained for every dim up to ``full_dim``.
        matryoshka: Whether it was trained for truncation. True if one of the two above is set; set
            it alone if the dims are not published.
        not_prefixes: Why its embeddings must not be truncated, as a clause; "" if they may be.
        query_prompt: Prefix of each query.
        document_prompt: Prefix of each document.
        query_prompt_name: Name of the query prompt in the model's configuration.
        document_prompt_name: Name of the document prompt in the model's configuration.
        prompts_refused: Why the model must be used without prompts, as a clause; "" otherwise.
        query_task: Value of the ``task`` argument of the model for queries.
        document_task: Value of the ``task`` argument of the model for documents.
        pooling: How token vectors become one vector, as in ``ModelInfo.pooling``; "" if unknown.
        layer_norm: Whether its card applies layer normalization before truncation.
        refused_dtypes: Data types in which the model must not compute.
        remote_code: Whether the model needs Python code from its folder.
        license: SPDX identifier, or the name of the terms of an API.
        space: Name of the embedding space that the model shares with other models; "" if none.
        api: Whether the model is available through an API only.
        multi_vector: Whether the model returns a vector for each token, which is refused.
        note: Further facts for users, in full sentences.
        source: URL of the publication.
        checked: Date on which the row was compared with its source.
    """

    names: tuple[str, ...]
    full_dim: int
    trained_dims: tuple[int, ...] = ()
    min_dim: int | None = None
    matryoshka: bool = False
    not_prefixes: str = ""
    query_prompt: str = ""
    document_prompt: str = ""
    query_prompt_name: str = ""
    document_prompt_name: str = ""
    prompts_refused: str = ""
    query_task: str = ""
    document_task: str = ""
    pooling: str = ""
    layer_norm: bool = False
    refused_dtypes: tuple[str, ...] = ()
    remote_code: bool = False
    license: str = ""
    space: str = ""
    api: bool = False
    multi_vector: bool = False
    note: str = ""
    source: str = ""
    checked: datetime.date | None = None

    def __post_init__(self) -> None:
        """Derive ``matryoshka`` from the dims."""
        if self.trained_dims or self.min_dim is not None:
            object.__setattr__(self, "matryoshka", True)

    @property
    def name(self) -> str:
        """The canonical name."""
        return self.names[0]

    @property
    def origin(self) -> str:
        """The source of the row for messages: its URL, or "known model"."""
        return f"known model: {self.source}" if self.source else "known model"

    @property
    def tasks(self) -> dict[Kind, str]:
        """The ``task`` argument of the model for each kind of text; "" without one."""
        return {"query": self.query_task, "document": self.document_task}

    @property
    def text_prompts(self) -> bool:
        """Whether the row states the texts of prompts."""
        return bool(self.query_prompt or self.document_prompt)

    def truncated_to(self, width: int) -> KnownModel | None:
        """Return the row for stored vectors of a smaller width; None if such vectors do not fit.

        APIs return prefixes of the full width on request. Layer normalization would need the
        full width, so vectors of a model with layer normalization do not fit.
        """
        if width == self.full_dim:
            return self
        in_range = self.min_dim is not None and self.min_dim <= width < self.full_dim
        if self.layer_norm or not (width in self.trained_dims or in_range):
            return None
        dims = tuple(dim for dim in self.trained_dims if dim <= width)
        return replace(self, full_dim=width, trained_dims=dims)


def read_rows(path: Path) -> tuple[KnownModel, ...]:
    """Read and check a TOML file of known models.

    Raises:
        DataError: If the file cannot be read, or a row is not valid. The message names the row.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(path, f"cannot be read ({error})") from error
    except tomllib.TOMLDecodeError as error:
        raise DataError(path, f"is not TOML ({error})") from error
    tables = values.get(_TABLE)
    others = [name for name in values if name != _TABLE]
    if others or not isinstance(tables, list) or not all(isinstance(each, dict) for each in tables):
        problem = f"has the key {others[0]!r}" if others else "contains no table [[model]]"
        raise DataError(path, f"{problem}. Write one [[model]] table for each model.")
    rows = tuple(_row(path, number, table) for number, table in enumerate(tables, start=1))
    _check_unique(path, rows)
    return rows


def last_part(name: str) -> str:
    """Return the last part of a path or hub id, in lower case and with hyphens.

    >>> last_part("models/BGE_small-en-v1.5/")
    'bge-small-en-v1.5'
    """
    last = name.replace("\\", "/").rstrip("/").rpartition("/")[2]
    return last.lower().replace("_", "-")


def _row(path: Path, number: int, table: Mapping[str, Any]) -> KnownModel:
    names = table.get("names")
    named = names[0] if isinstance(names, list) and names else ""
    where = f"model {number} ({named})" if named else f"model {number}"
    values = {key: _value(path, where, key, value) for key, value in table.items()}
    for field in fields(KnownModel):
        if field.default is MISSING and not values.get(field.name):
            raise DataError(path, f"{where}: {field.name} is missing.")
    row = KnownModel(**values)
    if problem := _problem(row, values):
        raise DataError(path, f"{where}: {problem}")
    return row


# Annotation of a field -> description of its values in TOML.
_KINDS = {
    "str": "a string",
    "bool": "true or false",
    "int": "a whole number above 0",
    "int | None": "a whole number above 0",
    "tuple[str, ...]": "a list of strings",
    "tuple[int, ...]": "a list of whole numbers above 0",
    "datetime.date | None": "a date such as 2026-11-30",
}


def _value(path: Path, where: str, key: str, value: object) -> Any:
    """Return a value of the type of its field."""
    kinds = {field.name: str(field.type) for field in fields(KnownModel)}
    if key not in kinds:
        close = get_close_matches(key, kinds, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else f" Known keys: {', '.join(kinds)}."
        raise DataError(path, f"{where}: the key {key!r} is unknown.{hint}")
    if not _fits(value, kinds[key]):
        raise DataError(path, f"{where}: {key} = {value!r} is not {_KINDS[kinds[key]]}.")
    return tuple(value) if isinstance(value, list) else value


def _fits(value: object, kind: str) -> bool:
    if kind.startswith("tuple"):
        item = "str" if "str" in kind else "int"
        return isinstance(value, list) and all(_fits(each, item) for each in value)
    if kind.startswith("int"):
        return type(value) is int and value > 0
    if kind.startswith("datetime"):
        return type(value) is datetime.date
    return type(value).__name__ == kind


def _problem(row: KnownModel, stated: Mapping[str, Any]) -> str:
    """Return the first contradiction of a row; "" if the row is consistent."""
    return _dims_problem(row, stated) or _prompts_problem(row) or _texts_problem(row)


def _dims_problem(row: KnownModel, stated: Mapping[str, Any]) -> str:
    dims = row.trained_dims
    too_wide = next((dim for dim in dims if dim > row.full_dim), None)
    if too_wide is not None:
        return f"trained dim {too_wide} is larger than full_dim = {row.full_dim}."
    if list(dims) != sorted(set(dims), reverse=True) or (dims and dims[0] != row.full_dim):
        return f"trained_dims must begin with full_dim = {row.full_dim} and decrease."
    if row.min_dim is not None and row.min_dim >= row.full_dim:
        return f"min_dim = {row.min_dim} must be less than full_dim = {row.full_dim}."
    if dims and row.min_dim is not None:
        return "states both trained_dims and min_dim. State a list or a range."
    if stated.get("matryoshka") is False and row.matryoshka:
        return "matryoshka = false contradicts trained_dims or min_dim."
    if row.not_prefixes and row.matryoshka:
        return "not_prefixes contradicts trained_dims, min_dim or matryoshka = true."
    return ""


def _prompts_problem(row: KnownModel) -> str:
    for kind in ("query", "document"):
        text, name = getattr(row, f"{kind}_prompt"), getattr(row, f"{kind}_prompt_name")
        if text and name:
            return f"states both {kind}_prompt and {kind}_prompt_name. State one of them."
        if row.prompts_refused and (text or name):
            return f"prompts_refused contradicts the {kind} prompt."
    if bool(row.query_task) != bool(row.document_task):
        return "query_task and document_task must be stated together."
    return ""


def _texts_problem(row: KnownModel) -> str:
    if any(not name.strip() for name in row.names):
        return "a name is empty."
    unknown = [dtype for dtype in row.refused_dtypes if dtype not in _DTYPES]
    if unknown:
        return f"refused dtype {unknown[0]!r} is not one of {', '.join(_DTYPES)}."
    if row.source and not row.source.startswith(("https://", "http://")):
        return f"source = {row.source!r} is not a URL."
    return ""


def _check_unique(path: Path, rows: tuple[KnownModel, ...]) -> None:
    """Check that no two rows are found by the same name."""
    seen: dict[str, str] = {}
    for row in rows:
        for name in row.names:
            before = seen.setdefault(last_part(name), name)
            if before is not name:
                problem = f"{name!r} and {before!r} are found by the same name {last_part(name)!r}"
                raise DataError(path, f"{problem}. Remove one of them.")
