"""Apply an adapter to a folder of vectors or a model on disk, or export its matrix.

A linear adapter with one head becomes part of the model. A Sentence Transformers folder gets a
``Dense`` layer without bias and a ``Normalize`` layer; the table of a static model is multiplied by
the matrix. Any tool can load the new folder. ``nestvec.index.adapting`` applies an adapter to an
index.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from nestvec.errors import InvalidArgument, ModelError, ModelMismatch, require
from nestvec.files.atomic import replace_file, replace_folder
from nestvec.models.adapter import BLOCK, Adapter
from nestvec.models.adapter_file import ADAPTER, check_unadapted, save_adapter
from nestvec.models.folder_config import (
    LIBRARY_CONFIG,
    add_to_config,
    read_config,
    write_config,
)
from nestvec.models.known import Rows
from nestvec.models.load import load_model, local_path
from nestvec.models.precomputed import PrecomputedVectors
from nestvec.models.prompts import stated_prompts
from nestvec.models.sentence_transformer import SentenceTransformerEncoder, quiet, writing
from nestvec.models.static import MARKER, StaticEncoder, replace_table
from nestvec.sources.ids import check_ids, write_ids
from nestvec.sources.schemes import is_vectors_url
from nestvec.types import Embeddings, Encoder, Kind, OnProgress

_STEMS: tuple[tuple[Kind, str], ...] = (("document", "corpus"), ("query", "queries"))
MATRIX_SUFFIXES = (".npy", ".safetensors")


def apply_adapter(  # noqa: PLR0913 - later arguments are keyword-only
    adapter: Adapter,
    source: str | Path,
    out: Path,
    *,
    prompts: Mapping[Kind, str] | None = None,
    trust_remote_code: bool = False,
    models: Rows | None = None,
    on_progress: OnProgress | None = None,
) -> int:
    """Apply an adapter to a folder of vectors or to a model, and write the result to a new folder.

    Args:
        adapter: Adapter for this model, or for vectors of this width.
        source: A file or folder of vectors, the URL of a database with vectors, a model folder, or
            a hub id. A database is only read.
        out: The folder to write. A folder of the same kind is replaced.
        prompts: As in ``load_model``: the prompts with which the adapter was fitted.
        trust_remote_code: As in ``load_model``.
        models: As in ``load_model``.
        on_progress: Called with the number of transformed vectors and their total.

    Returns:
        The number of transformed vectors; 0 for a model.

    Raises:
        ModelMismatch: If the adapter is for another model or width, or the source is adapted
            already.
        ModelError: If the model cannot be loaded, or no layer can be appended to it.
        InvalidArgument: If the adapter has no effect, the source is a model and the adapter is not
            a single matrix, an id of the vectors contains a line break, or one of ``source`` and
            ``out`` contains the other.
        DataError: If the vectors cannot be used or the folder cannot be written. Existing files
            are not changed.
    """
    if adapter.method == "none":
        raise InvalidArgument(
            "The adapter has method 'none' and no effect. Use the vectors without an adapter."
        )
    folder = Path() if is_vectors_url(str(source)) else local_path(str(source), models)
    if not is_vectors_url(str(source)):
        check_unadapted(folder)
        _check_apart(folder, out)
    model = load_model(source, prompts=prompts, trust_remote_code=trust_remote_code, models=models)
    if isinstance(model, PrecomputedVectors):
        _check_width(adapter, model)
        return _write_vectors(adapter, model, out, on_progress)
    _check_layer(adapter, model)
    if isinstance(model, StaticEncoder):
        _write_static(adapter, folder, model, out)
    elif isinstance(model, SentenceTransformerEncoder):
        _write_model(adapter, model, out)
    else:
        raise ModelError(
            f"{model.info.name} is not a model folder, so no layer can be appended. "
            f"Apply the adapter at load time (--adapter)."
        )
    return 0


def save_matrix(adapter: Adapter, path: Path) -> None:
    """Write the adapter's matrix, float32 [full_dim, full_dim], to multiply unit row vectors by.

    Args:
        adapter: Adapter that is a single matrix for queries and documents.
        path: A ``.npy`` file, or a ``.safetensors`` file in which the tensor is named ``matrix``.

    Raises:
        InvalidArgument: If the adapter is not a single matrix, or the file has another suffix.
        DataError: If the file cannot be written.
    """
    matrix = np.ascontiguousarray(adapter.matrix(), dtype=np.float32)
    if path.suffix not in MATRIX_SUFFIXES:
        suffixes = " or ".join(MATRIX_SUFFIXES)
        raise InvalidArgument(f"{path} is not a matrix file. Choose a name ending in {suffixes}.")
    with replace_file(path) as temporary:
        if path.suffix == ".npy":
            with temporary.open("wb") as file:
                np.save(file, matrix, allow_pickle=False)
        else:
            to_bytes = require("safetensors.numpy", extra="models").save
            temporary.write_bytes(to_bytes({"matrix": matrix}))


def _check_apart(source: Path, out: Path) -> None:
    """Refuse to overwrite the source, which is needed to apply another adapter."""
    before, after = source.resolve(), out.resolve()
    if before.is_relative_to(after) or after.is_relative_to(before):
        problem = f"{out} and {source} are the same folder, or one contains the other."
        raise InvalidArgument(f"{problem} Choose another folder to write.")


def _check_width(adapter: Adapter, vectors: PrecomputedVectors) -> None:
    """Compare widths only: a folder of vectors does not record the model of its vectors."""
    width = vectors.info.full_dim
    if width != adapter.full_dim:
        problem = f"has {width} dims, but the adapter is for {adapter.full_dim} dims."
        raise ModelMismatch(f"{vectors.info.name} {problem} Fit an adapter on these vectors.")


def _check_layer(adapter: Adapter, model: Encoder) -> None:
    """Check that the adapter is for the model and can be appended to it as a linear layer."""
    adapter.check_base(model.info)
    if model.info.layer_norm:
        name = model.info.name
        raise ModelError(
            f"{name} layer-normalizes vectors before truncation, so no linear layer can be "
            f"appended. Apply the adapter at load time (--adapter)."
        )
    adapter.matrix()  # raises before a file is written if the adapter is not one matrix


def _write_vectors(
    adapter: Adapter, vectors: PrecomputedVectors, out: Path, on_progress: OnProgress | None
) -> int:
    ids_of = {kind: vectors.ids(kind) for kind, _ in _STEMS}
    for ids in ids_of.values():
        check_ids(ids)  # ids in Parquet can contain line breaks, which the id file cannot store
    total = sum(map(len, ids_of.values()))
    done = 0
    with replace_folder(out, marker=ADAPTER) as folder:
        for kind, stem in _STEMS:
            ids = ids_of[kind]
            if not ids:
                continue
            shape = len(ids), adapter.full_dim
            transformed = np.lib.format.open_memmap(
                folder / f"{stem}.npy", mode="w+", dtype=np.float32, shape=shape
            )
            for start in range(0, len(ids), BLOCK):
                block = ids[start : start + BLOCK]
                transformed[start : start + len(block)] = adapter.apply(
                    vectors.take(block, kind=kind), kind
                )
                done += len(block)
                if on_progress is not None:
                    on_progress(done, total)
            transformed.flush()
            write_ids(folder / f"{stem}.ids.txt", ids)
        save_adapter(adapter, folder / ADAPTER)
        _describe(adapter, folder, vectors)
    return total


def _write_static(adapter: Adapter, source: Path, model: StaticEncoder, out: Path) -> None:
    table: Embeddings = (model.table @ adapter.matrix()).astype(np.float32)
    with replace_folder(out, marker=MARKER) as folder:
        shutil.copytree(source, folder, dirs_exist_ok=True)
        replace_table(folder, table)
        file = folder / LIBRARY_CONFIG
        config = read_config(file)
        config["prompts"] = stated_prompts(model.info, config.get("prompts") or {})
        write_config(file, config)
        _describe(adapter, folder, model)


def _write_model(adapter: Adapter, model: SentenceTransformerEncoder, out: Path) -> None:
    import torch
    from sentence_transformers.base.modules import Dense, Normalize

    library_model = model.library_model
    weight = torch.from_numpy(np.ascontiguousarray(adapter.matrix().T))
    full_dim = adapter.full_dim
    dense = Dense(full_dim, full_dim, bias=False, activation_function=None, init_weight=weight)
    for module in (dense, Normalize()):
        library_model.add_module(str(len(library_model)), module)
    library_model.prompts = stated_prompts(model.info, library_model.prompts)
    with replace_folder(out, marker=MARKER) as folder, quiet():
        with writing(out):
            library_model.save(str(folder))
        _describe(adapter, folder, model)


def _describe(adapter: Adapter, folder: Path, model: Encoder) -> None:
    """Write the dims of the adapter, its method and its digest to the configuration."""
    own = {"adapter": {"method": adapter.method, "digest": adapter.digest()}}
    add_to_config(folder, dims=adapter.dims, own=own, model=model.info)
