"""Choose the prompts of a model: the prefixes of queries and documents, and their source.

The first of these sources that states prompts is used:

1. The caller, for each kind that the caller names.
2. The folder's ``config_sentence_transformers.json``, if its ``prompts`` name a query prompt or a
   document prompt: by the prompt names in the table of known models, then by the usual names. An
   empty prompt counts: Sentence Transformers 5 and later saves ``{"query": "", "document": ""}``
   for a model without prompts. If several names of a kind are present, the first prompt that is
   not empty is used, because Sentence Transformers adds an empty ``document`` to a folder with
   ``passage`` when the folder is saved again.
3. The texts in the table of known models, by the name of the folder or the hub id. The texts are
   only used if the folder names no prompt, as in the published folders of older models.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from nestvec.models.folder_config import LIBRARY_CONFIG, library_config, read_config
from nestvec.models.known import Rows, find_known
from nestvec.models.known_row import KnownModel
from nestvec.types import Kind, ModelInfo

REQUESTED = "requested"  # the source of prompts and dims that the caller passed
# Names of prompts in lower case, without dots, hyphens and underscores; the first ones win.
_NAMES: Mapping[Kind, tuple[str, ...]] = {
    "query": ("query", "retrievalquery", "searchquery", "websearchquery", "s2pquery"),
    "document": (
        *("document", "passage", "corpus", "retrievaldocument", "retrievalpassage"),
        *("searchdocument", "searchpassage", "s2pdocument", "s2ppassage"),
    ),
}
_E5 = re.compile(r"(^|[-_/])e5([-_/]|$)")
_SET_PROMPTS = (
    "Set prompts with --query-prompt and --document-prompt, or in Python with "
    "load_model(prompts=...). Set empty prompts to confirm that the model requires none."
)
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
    stated = _configured(folder, known)
    if stated is not None:
        found, source = stated, LIBRARY_CONFIG
    elif known is not None and known.text_prompts:
        found = {"query": known.query_prompt, "document": known.document_prompt}
        source = known.origin
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
    passed by the caller. Prompts of other kinds remain.
    """
    kept = {name: prompt for name, prompt in others.items() if _kind_of(name) is None}
    return {str(kind): prompt for kind, prompt in info.prompts.items()} | kept


def prompts_text(info: ModelInfo) -> str:
    """Describe the prompts of a model, their source and the tasks on one line."""
    tasks = f"; tasks: query {info.query_task!r}, document {info.document_task!r}"
    tasks = tasks if info.query_task else ""
    if not any(info.prompts.values()):
        return f"prompts: none{tasks}"
    source = f" ({info.prompts_source})" if info.prompts_source else ""
    prompts = f"query {info.query_prompt!r}, document {info.document_prompt!r}{source}"
    return f"prompts: {prompts}{tasks}"


def query_model_text(info: ModelInfo) -> str:
    """Name the models of documents and of queries on one line."""
    queries = "the same model" if info.query_model is None else info.query_model.name
    return f"documents: {info.name}; queries: encoded by {queries}"


def warn_without_prompts(
    folder: Path, info: ModelInfo, requested: Mapping[Kind, str], models: Rows | None = None
) -> None:
    """Log a warning if a model has no prompts, but its folder, name or base model has some.

    Args:
        folder: The model folder.
        info: The description of the loaded model.
        requested: Prompts that the caller passed, by kind.
        models: Rows that take precedence over the table of known models.
    """
    if requested or any(info.prompts.values()):
        return
    base = str(read_config(folder / "config.json").get("_name_or_path") or "")
    named = [find_known(name, models) for name in (info.name, folder.name, base)]
    if any(known is not None and known.prompts_refused for known in named):
        return
    unused = [name for name, prompt in _named_prompts(folder).items() if prompt]
    if unused:
        _logger.warning(
            "%s has prompts (%s), but none has a name that nestvec knows as a prompt of queries or "
            "documents. Texts are encoded without prompts, which can lower the quality. %s",
            *(info.name, ", ".join(map(repr, unused)), _SET_PROMPTS),
        )
        return
    for name, known in zip((info.name, folder.name, base), named, strict=True):
        query, document = (known.query_prompt, known.document_prompt) if known else ("", "")
        if known is None and _E5.search(name.lower()):
            query, document = "query: ", "passage: "
        if query or document:
            _logger.warning(
                "%s is used without prompts, but its name suggests a model that requires them "
                "(query %r, document %r). %s",
                *(info.name, query, document, _SET_PROMPTS),
            )
            return


def _source(source: str, requested: Mapping[Kind, str]) -> str:
    if not requested:
        return source
    others = [kind for kind in _NAMES if kind not in requested]
    return f"{REQUESTED}; {others[0]}: {source}" if others and source else REQUESTED


def _configured(folder: Path, known: KnownModel | None = None) -> dict[Kind, str] | None:
    """Return the prompts in the configuration of a folder; None if it names none."""
    named = _named_prompts(folder)
    default = named.get(library_config(folder).get("default_prompt_name") or "")
    of_kind: dict[Kind, list[str]] = {kind: _of_kind(named, kind, known) for kind in _NAMES}
    if default is None and not any(of_kind.values()):
        return None
    return {kind: _first(prompts, default or "") for kind, prompts in of_kind.items()}


def _named_prompts(folder: Path) -> dict[str, str]:
    prompts: dict[str, Any] = library_config(folder).get("prompts") or {}
    return {name: str(prompt or "") for name, prompt in prompts.items()}


def _of_kind(named: Mapping[str, str], kind: Kind, known: KnownModel | None) -> list[str]:
    """Return the prompts of a kind; the prompt that the known model names comes first."""
    stated = getattr(known, f"{kind}_prompt_name", "")
    first = [named[stated]] if stated in named else []
    usual = [named[name] for each in _NAMES[kind] for name in named if _plain(name) == each]
    return first + usual


def _kind_of(name: str) -> Kind | None:
    return next((kind for kind, names in _NAMES.items() if _plain(name) in names), None)


def _plain(name: str) -> str:
    """Return the name of a prompt in lower case, without separators."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _first(prompts: list[str], default: str) -> str:
    """Return the first prompt that is not empty; the default only if no name is present."""
    return next(filter(None, prompts), "") if prompts else default
