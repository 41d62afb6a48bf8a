"""Read a folder of shards as one stream of vectors; decode the codes of ``nestvec embed``."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nestvec.data.parquet_rows import open_parquet
from nestvec.errors import DataError
from nestvec.sources.arrow_columns import read_id_column
from nestvec.sources.arrow_files import BATCH, open_arrow, open_parquet_vectors
from nestvec.sources.folders import list_shards
from nestvec.sources.manifest import MANIFEST, EmbeddingsManifest, Shard, read_manifest
from nestvec.sources.stream import REMEDY, Block, Columns, VectorStream

if TYPE_CHECKING:
    import pyarrow as pa

    from nestvec.codec.codec import Codec

_CONTINUE = "Run the same 'nestvec embed' command again."


def open_folder(folder: Path, columns: Columns) -> VectorStream:
    """Open the shards of a folder.

    Args:
        folder: A folder that ``nestvec embed`` or ``datasets`` wrote, or one with Parquet or Arrow
            files.
        columns: The names of the columns.

    Raises:
        DataError: If a shard is missing, incomplete or unreadable, or the run is unfinished. A
            shard that differs from its checksum is an error when it is read.
        MissingExtra: If ``pyarrow`` is not installed.
    """
    manifest = read_manifest(folder)
    if manifest is not None:
        return _open_embedded(folder, manifest, columns)
    shards = list_shards(folder)
    if not shards:
        raise DataError(folder, "contains no vectors: neither corpus.* nor shards (.parquet)")
    is_parquet = shards[0].suffix == ".parquet"
    streams = [
        open_parquet_vectors(shard, columns) if is_parquet else open_arrow(shard, columns)
        for shard in shards
    ]
    return joined(folder, streams)


def joined(folder: Path | str, streams: list[VectorStream], model: str = "") -> VectorStream:
    """Return the vectors of several files as one stream, in the order of the files."""

    def read() -> Iterator[Block]:
        for stream in streams:
            yield from stream.read()

    half = all(stream.dtype == np.float16 for stream in streams)
    counts = [stream.rows for stream in streams]
    return VectorStream(
        folder,
        np.dtype(np.float16 if half else np.float32),
        read,
        None if None in counts else sum(count or 0 for count in counts),
        model=model,
        numbered=streams[0].numbered,
    )


def _open_embedded(folder: Path, manifest: EmbeddingsManifest, columns: Columns) -> VectorStream:
    """Open the shards of ``nestvec embed``, which the manifest lists."""
    if not manifest.complete:
        done = f"{len(manifest.shards)} shards with {manifest.rows:,} vectors are complete"
        raise DataError(folder / MANIFEST, f"is of an unfinished run ({done}). {_CONTINUE}")
    if not manifest.shards:
        raise DataError(folder / MANIFEST, "lists no shards. Embed a corpus with texts.")
    streams = []
    for shard in manifest.shards:
        path = folder / shard.file
        if Path(shard.file).name != shard.file or not path.is_file():
            raise DataError(path, f"is missing, but {MANIFEST} lists it. {_CONTINUE}")
        if manifest.codec is None:
            stream = open_parquet_vectors(path, columns)
        else:
            stream = _open_codes(path, manifest.codec)
        _check_rows(path, shard, stream)
        streams.append(_verified(path, shard, stream))
    return replace(joined(folder, streams, manifest.model.name), zeros_allowed=True)


def _check_rows(path: Path, shard: Shard, stream: VectorStream) -> None:
    if stream.rows != shard.rows:
        problem = f"has {stream.rows} vectors, but {MANIFEST} states {shard.rows}"
        raise DataError(path, f"{problem}. {_CONTINUE}")


def _verified(path: Path, shard: Shard, stream: VectorStream) -> VectorStream:
    """Compare the checksum of a shard each time before its vectors are read."""

    def read() -> Iterator[Block]:
        try:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise DataError(path, f"cannot be read ({error.strerror})") from error
        if found != shard.sha256:
            raise DataError(path, f"differs from its checksum in {MANIFEST}. {_CONTINUE}")
        yield from stream.read()

    return replace(stream, read=read)


def _open_codes(path: Path, codec: Codec) -> VectorStream:
    """Open a shard of codes, which are decoded to float32."""
    with open_parquet(path) as file:
        rows = file.metadata.num_rows

    def read() -> Iterator[Block]:
        start = 0
        with open_parquet(path) as file:
            for batch in file.iter_batches(batch_size=BATCH, columns=["id", "vector"]):
                ids = read_id_column(batch.column("id"), start, path)
                codes = _codes(batch.column("vector"), codec.bytes_per_vector, path)
                yield Block(path, start, ids, codec.decode(codes))
                start += len(ids)

    return VectorStream(path, np.dtype(np.float32), read, rows)


def _codes(column: pa.Array, n_bytes: int, path: Path) -> NDArray[np.uint8]:
    """Return the codes of a batch, [n, n_bytes], from binary values or lists of bytes."""
    flatten: Callable[[], Any] | None = getattr(column, "flatten", None)
    is_list = hasattr(column, "values") and flatten is not None
    if column.null_count:
        raise DataError(path, f"has a missing vector. {REMEDY}")
    if is_list and flatten is not None:
        content = np.asarray(flatten().to_numpy(zero_copy_only=False)).astype(np.uint8)
    else:
        content = np.frombuffer(b"".join(column.to_pylist()), np.uint8)
    if content.size != len(column) * n_bytes:
        raise DataError(path, f"has codes that do not have {n_bytes} bytes. {_CONTINUE}")
    return content.reshape(len(column), n_bytes)
