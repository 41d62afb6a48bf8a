"""Read and write what the configuration files of a model folder state: dims, pooling, tasks."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args

from nestvec.errors import ModelError
from nestvec.types import Kind, ModelInfo

CONFIG, OWN_KEY = "config.json", "nestvec"
"""File of the model's configuration, and the key of the values that nestvec adds."""
MODULES = "modules.json"
LIBRARY_CONFIG = "config_sentence_transformers.json"
_DIMS_KEY = "matryoshka_dimensions"  # vLLM reads the dims there
_TASKS_KEY = "tasks"
_MEAN = "mean"  # Sentence Transformers pools a transformer without modules.json in this way
# Names of the pooling modes in configurations of Sentence Transformers before version 5.
_EARLIER_MODES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": _MEAN,
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}


def read_config(file: Path) -> dict[str, Any]:
    """Read a JSON object; for a missing file return an empty dict.

    Raises:
        ModelError: If the file exists and is not a JSON object.
    """
    values = _read(file)
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ModelError(f"{file}: is not a JSON object")
    return values


def write_config(file: Path, values: object) -> None:
    """Write a configuration file as JSON."""
    file.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def add_to_config(
    folder: Path, *, dims: Iterable[int], own: Mapping[str, object], model: ModelInfo
) -> None:
    """Write the Matryoshka dims and the values of nestvec to ``config.json``; others remain.

    Args:
        folder: The model folder.
        dims: The Matryoshka dims.
        own: The values of nestvec.
        model: The model that the folder was derived from. Its tasks are written, because they may
            be known by the name of that model only.

    Raises:
        ModelError: If the file is not a JSON object.
    """
    file = folder / CONFIG
    values = read_config(file)
    values[_DIMS_KEY] = sorted(dims, reverse=True)
    tasks = {"query": model.query_task, "document": model.document_task}
    values[OWN_KEY] = {**own, _TASKS_KEY: tasks} if any(tasks.values()) else own
    write_config(file, values)


def library_config(folder: Path) -> dict[str, Any]:
    """Return the configuration that Sentence Transformers saved for the whole model.

    Raises:
        ModelError: If the file is not a JSON object.
    """
    return read_config(folder / LIBRARY_CONFIG)


def configured_dims(folder: Path) -> tuple[int, ...] | None:
    """Return the Matryoshka dims in a folder's ``config.json``, or None.

    Raises:
        ModelError: If the dims are not whole numbers, or the file is not JSON.
    """
    file = folder / CONFIG
    dims = read_config(file).get(_DIMS_KEY)
    if dims is None:
        return None
    if not isinstance(dims, list) or any(type(dim) is not int for dim in dims):
        raise ModelError(f"{file}: {_DIMS_KEY} is not a list of whole numbers: {dims!r}")
    return tuple(dims)


def configured_tasks(folder: Path) -> dict[Kind, str] | None:
    """Return the tasks that nestvec wrote to a folder's ``config.json``, by kind; None without any.

    Raises:
        ModelError: If the tasks are not text, or the file is not JSON.
    """
    file = folder / CONFIG
    own = read_config(file).get(OWN_KEY)
    tasks = own.get(_TASKS_KEY) if isinstance(own, dict) else None
    if tasks is None:
        return None
    kinds: tuple[Kind, ...] = get_args(Kind)
    values = {kind: tasks.get(kind, "") for kind in kinds} if isinstance(tasks, dict) else {}
    if not values or not all(isinstance(value, str) for value in values.values()):
        expected = '{"query": "...", "document": "..."}'
        raise ModelError(f"{file}: tasks of {OWN_KEY} are {tasks!r:.80}, not {expected}")
    return values


def pooling_of(folder: Path) -> str:
    """Return how the vectors of all tokens become one vector, such as "mean" or "cls".

    Several modes are joined by "+". The result is "" if the folder does not state it, as for
    models with their own code.

    Raises:
        ModelError: If a configuration file cannot be read.
    """
    modules = _read(folder / MODULES)
    if modules is None:
        return _MEAN if (folder / CONFIG).is_file() else ""
    for module in modules if isinstance(modules, list) else ():
        kind = str(module.get("type", "")).rpartition(".")[2] if isinstance(module, dict) else ""
        if kind == "StaticEmbedding":
            return _MEAN
        if kind == "Pooling":
            return _modes(read_config(folder / str(module.get("path", "")) / CONFIG))
    return ""


def accepts_task(folder: Path) -> bool:
    """Return whether a module of a folder accepts a ``task`` argument, as ``modules.json`` states.

    Raises:
        ModelError: If the file is not JSON.
    """
    modules = _read(folder / MODULES)
    return any(
        "task" in (module.get("kwargs") or ())
        for module in (modules if isinstance(modules, list) else ())
        if isinstance(module, dict)
    )


def _modes(config: dict[str, Any]) -> str:
    named = config.get("pooling_mode")
    if named is None:
        named = [mode for key, mode in _EARLIER_MODES.items() if config.get(key)]
    modes = named if isinstance(named, list) else [named]
    return "+".join(map(str, modes)) or _MEAN


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):  # vectors can be a single file
        return None
    except (OSError, ValueError) as error:
        raise ModelError(f"{file}: is not JSON ({error})") from error
