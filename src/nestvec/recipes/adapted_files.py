"""Apply an adapter to what lies on disk: a folder of vectors, a model, or nothing but a matrix.

Linear adapters with one head become part of the model: a Sentence Transformers folder gets a
``Dense`` layer without bias and a ``Normalize``, a static table is multiplied. Both are plain
folders again, which any tool loads. An index is adapted in ``index_adapting``.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np

from nestvec.errors import InvalidArgument, ModelError, ModelMismatch, require
from nestvec.files.atomic import replace_file, replace_folder
from nestvec.models.adapter import BLOCK, Adapter
from nestvec.models.adapter_file import (
    ADAPTER,
    CONFIG,
    CONFIG_KEY,
    check_unadapted,
    save_adapter,
)
from nestvec.models.info import read_config
from nestvec.models.load import load_model, local_folder
from nestvec.models.precomputed import PrecomputedVectors, check_ids, write_ids
from nestvec.models.sentence_transformer import SentenceTransformerEncoder, quiet, writing
from nestvec.models.static import MARKER, StaticEncoder, replace_table
from nestvec.types import Embeddings, Kind, OnProgress

_STEMS: tuple[tuple[Kind, str], ...] = (("document", "corpus"), ("query", "queries"))
MATRIX_SUFFIXES = (".npy", ".safetensors")


def apply_adapter(
    adapter: Adapter,
    source: str | Path,
    out: Path,
    *,
    trust_remote_code: bool = False,
    on_progress: OnProgress | None = None,
) -> int:
    """Write what a folder of vectors, or a model, becomes behind an adapter.

    Args:
        adapter: Fitted for that model, or for vectors of that width.
        source: A folder of vectors, a model folder, or a hub id.
        out: The folder to write; one of the same kind in its place is replaced.
        trust_remote_code: As ``load_model`` takes it.
        on_progress: Called with vectors done and in all.

    Returns:
        How many vectors were turned; none where it is a model that gives others now.

    Raises:
        ModelMismatch: If the adapter is for another model or width, or that one is adapted already.
        ModelError: If the model cannot be loaded, or no layer can be appended to it.
        InvalidArgument: If a model is to hold what is not one matrix, the adapter changes nothing,
            an id of the vectors cannot stand on a line, or ``out`` is the source, or one of the
            two lies within the other.
        DataError: If the vectors cannot be used or the folder cannot be written; what was there
            before is untouched.
    """
    if adapter.method == "none":
        raise InvalidArgument("the adapter changes nothing, so there is nothing to do")
    folder = local_folder(str(source))
    check_unadapted(folder)
    _check_apart(folder, out)
    model = load_model(source, trust_remote_code=trust_remote_code)
    if isinstance(model, PrecomputedVectors):
        _check_width(adapter, model)
        return _write_vectors(adapter, model, out, on_progress)
    adapter.check_base(model.info)
    if model.info.layer_norm:
        name = model.info.name
        raise ModelError(f"{name} is layer-normalized before it is cut: no plain layer comes after")
    matrix = adapter.matrix()
    if isinstance(model, StaticEncoder):
        _write_static(adapter, folder, model.table @ matrix, out)
    elif isinstance(model, SentenceTransformerEncoder):
        _write_model(adapter, model, out)
    else:
        raise ModelError(f"{model.info.name}: a layer can be appended to model folders only")
    return 0


def save_matrix(adapter: Adapter, path: Path) -> None:
    """Write the matrix alone, float32 [full_dim, full_dim]: row vectors of unit length @ matrix.

    Args:
        adapter: One matrix for queries and documents.
        path: A ``.npy`` file, or ``.safetensors`` with the name ``matrix``.

    Raises:
        InvalidArgument: If it is not one matrix, or the file has another suffix.
        DataError: If it cannot be written.
    """
    matrix = np.ascontiguousarray(adapter.matrix(), dtype=np.float32)
    if path.suffix not in MATRIX_SUFFIXES:
        raise InvalidArgument(f"{path}: a matrix is written as {' or '.join(MATRIX_SUFFIXES)}")
    with replace_file(path) as temporary:
        if path.suffix == ".npy":
            with temporary.open("wb") as file:
                np.save(file, matrix, allow_pickle=False)
        else:
            to_bytes = require("safetensors.numpy", extra="models").save
            temporary.write_bytes(to_bytes({"matrix": matrix}))


def _check_apart(source: Path, out: Path) -> None:
    """Refuse to write over the source, which could not be adapted again."""
    before, after = source.resolve(), out.resolve()
    if before.is_relative_to(after) or after.is_relative_to(before):
        raise InvalidArgument(f"{out} and {source} share a folder: name another to write")


def _check_width(adapter: Adapter, vectors: PrecomputedVectors) -> None:
    """Vectors do not say of which model they are, so all that can be told is their width."""
    width = vectors.info.full_dim
    if width != adapter.full_dim:
        said = f"{width} dims, the adapter is for {adapter.full_dim}"
        raise ModelMismatch(f"{vectors.info.name} has {said}: fit one on its vectors")


def _write_vectors(
    adapter: Adapter, vectors: PrecomputedVectors, out: Path, on_progress: OnProgress | None
) -> int:
    ids_of = {kind: vectors.ids(kind) for kind, _ in _STEMS}
    for ids in ids_of.values():
        check_ids(ids)  # Parquet holds any
    total = sum(map(len, ids_of.values()))
    done = 0
    with replace_folder(out, marker=ADAPTER) as folder:
        for kind, stem in _STEMS:
            ids = ids_of[kind]
            if not ids:
                continue
            shape = len(ids), adapter.full_dim
            turned = np.lib.format.open_memmap(
                folder / f"{stem}.npy", mode="w+", dtype=np.float32, shape=shape
            )
            for start in range(0, len(ids), BLOCK):
                block = ids[start : start + BLOCK]
                turned[start : start + len(block)] = adapter.apply(
                    vectors.take(block, kind=kind), kind
                )
                done += len(block)
                if on_progress is not None:
                    on_progress(done, total)
            turned.flush()
            write_ids(folder / f"{stem}.ids.txt", ids)
        save_adapter(adapter, folder / ADAPTER)
        _describe(adapter, folder)
    return total


def _write_static(adapter: Adapter, source: Path, table: Embeddings, out: Path) -> None:
    with replace_folder(out, marker=MARKER) as folder:
        shutil.copytree(source, folder, dirs_exist_ok=True)
        replace_table(folder, table.astype(np.float32))
        _describe(adapter, folder)


def _write_model(adapter: Adapter, model: SentenceTransformerEncoder, out: Path) -> None:
    import torch
    from sentence_transformers.base.modules import Dense, Normalize

    library_model = model.library_model
    weight = torch.from_numpy(np.ascontiguousarray(adapter.matrix().T))
    full_dim = adapter.full_dim
    dense = Dense(full_dim, full_dim, bias=False, activation_function=None, init_weight=weight)
    for module in (dense, Normalize()):
        library_model.add_module(str(len(library_model)), module)
    if model.info.query_prompt or model.info.document_prompt:  # known by a name that it loses now
        library_model.prompts |= {
            "query": model.info.query_prompt,
            "document": model.info.document_prompt,
        }
    with replace_folder(out, marker=MARKER) as folder, quiet():
        with writing(out):
            library_model.save(str(folder))
        _describe(adapter, folder)


def _describe(adapter: Adapter, folder: Path) -> None:
    """Write the widths where vLLM reads them, and which adapter it was."""
    file = folder / CONFIG
    values = read_config(file)
    values["matryoshka_dimensions"] = list(adapter.dims)
    values[CONFIG_KEY] = {"adapter": {"method": adapter.method, "digest": adapter.digest()}}
    file.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
