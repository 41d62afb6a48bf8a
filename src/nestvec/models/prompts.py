"""Choose the prompts of a model: the prefixes of queries and documents, and their source.

The first of these sources that states prompts is used:

1. The caller, for each kind that the caller names.
2. The folder's ``config_sentence_transformers.json``, if its ``prompts`` name a query prompt or a
   document prompt. An empty prompt counts: Sentence Transformers 5 and later saves ``{"query": "",
   "document": ""}`` for a model without prompts. If several names of document prompts are present,
   the first prompt that is not empty is used, because Sentence Transformers adds an empty
   ``document`` to a folder with ``passage`` when the folder is saved again.
3. The table of known models, by the name of the folder or the hub id. The table is only used if
   the folder names no prompt, as in the published folders of older models.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from nestvec.models.folder_config import LIBRARY_CONFIG, library_config, read_config
from nestvec.models.known import KnownModel, find_known
from nestvec.types import Kind, ModelInfo

REQUESTED = "requested"  # the source of prompts and dims that the caller passed
_NAMES: Mapping[Kind, tuple[str, ...]] = {
    "query": ("query",),
    "document": ("document", "passage", "corpus"),
}
_E5 = re.compile(r"(^|[-_/])e5([-_/]|$)")
_logger = logging.getLogger(__name__)


class Prompts(NamedTuple):
    """The prefix of each query and of each document, and their source; "" without prompts."""

    query: str
    document: str
    source: str


def choose_prompts(
    folder: Path, requested: Mapping[Kind, str], known: KnownModel | None
) -> Prompts:
    """Choose the prompts of a model folder by the rule of this module.

    Args:
        folder: The model folder.
        requested: Prompts that the caller passed, by kind.
        known: The model's row in the table of known models.

    Raises:
        ModelError: If the configuration of the folder cannot be read.
    """
    stated = _configured(folder)
    if stated is not None:
        found, source = stated, LIBRARY_CONFIG
    elif known is not None and (known.query_prompt or known.document_prompt):
        found = {"query": known.query_prompt, "document": known.document_prompt}
        source = f"known model: {known.source}"
    else:
        found, source = {"query": "", "document": ""}, ""
    both = {**found, **requested}
    return Prompts(both["query"], both["document"], _source(source, requested))


def states_prompts(folder: Path) -> bool:
    """Return whether the configuration of a folder names a prompt, even an empty one."""
    return _configured(folder) is not None


def stated_prompts(info: ModelInfo, others: Mapping[str, str]) -> dict[str, str]:
    """Return the prompts to save in the folder of a model that is derived from another model.

    The prompts in use are stated, because some are found by the name of the first model or were
    passed by the caller. Prompts with other names remain.
    """
    names = [name for each in _NAMES.values() for name in each]
    kept = {name: prompt for name, prompt in others.items() if name not in names}
    return {str(kind): prompt for kind, prompt in info.prompts.items()} | kept


def prompts_text(info: ModelInfo) -> str:
    """Describe the prompts of a model and their source on one line."""
    if not any(info.prompts.values()):
        return "prompts: none"
    source = f" ({info.prompts_source})" if info.prompts_source else ""
    return f"prompts: query {info.query_prompt!r}, document {info.document_prompt!r}{source}"


def warn_without_prompts(folder: Path, info: ModelInfo, requested: Mapping[Kind, str]) -> None:
    """Log a warning if a model has no prompts and its name or its base model requires them."""
    if requested or any(info.prompts.values()):
        return
    base = str(read_config(folder / "config.json").get("_name_or_path") or "")
    for name in (info.name, folder.name, base):
        known = find_known(name)
        query, document = (known.query_prompt, known.document_prompt) if known else ("", "")
        if known is None and _E5.search(name.lower()):
            query, document = "query: ", "passage: "
        if query or document:
            _logger.warning(
                "%s is used without prompts, but its name suggests a model that requires them "
                "(query %r, document %r). Set prompts with --query-prompt and --document-prompt, "
                "or in Python with load_model(prompts=...). Set empty prompts to confirm that the "
                "model requires none.",
                *(info.name, query, document),
            )
            return


def _source(source: str, requested: Mapping[Kind, str]) -> str:
    if not requested:
        return source
    others = [kind for kind in _NAMES if kind not in requested]
    return f"{REQUESTED}; {others[0]}: {source}" if others and source else REQUESTED


def _configured(folder: Path) -> dict[Kind, str] | None:
    """Return the prompts in the configuration of a folder; None if it names none."""
    own = library_config(folder)
    named: dict[str, Any] = own.get("prompts") or {}
    default = named.get(own.get("default_prompt_name") or "")
    if default is None and not any(name in named for names in _NAMES.values() for name in names):
        return None
    return {kind: _first(named, names, default or "") for kind, names in _NAMES.items()}


def _first(named: Mapping[str, Any], names: tuple[str, ...], default: str) -> str:
    """Return the first prompt that is not empty; the default only if no name is present."""
    present = [str(named[name] or "") for name in names if name in named]
    return next(filter(None, present), "") if present else default
