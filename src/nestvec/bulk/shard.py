"""One shard: encode its texts, and write and recognize its Parquet file.

The bytes of a shard depend only on its texts, the model and the settings. Each file records in its
metadata what it was made from, so that a later run recognizes a complete shard.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestvec.bulk.store import ShardStore
from nestvec.bulk.texts import ShardTexts
from nestvec.codec.codec import Codec
from nestvec.errors import DataError, require
from nestvec.models.adapted import encode_counted
from nestvec.models.encoding import check_encoded, zero_rows
from nestvec.models.precomputed import PrecomputedVectors
from nestvec.sources.manifest import Shard
from nestvec.types import Embeddings, Encoder, Kind, OnProgress, Precision

_METADATA = b"nestvec"
_GROUP_ROWS = 4_096  # rows of a row group: readers need no more in memory
_TYPES: dict[Precision, Any] = {"float32": np.float32, "float16": np.float16}

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class ShardFormat:
    """How the vectors of all shards of a run are computed and stored.

    Attributes:
        kind: Whether the texts are documents or queries.
        codec: Truncates, renormalizes and quantizes the vectors.
        run: Checksum of the model and all settings.
    """

    kind: Kind
    codec: Codec
    run: str


def write_shard(
    store: ShardStore,
    texts: ShardTexts,
    embeddings: Embeddings,
    form: ShardFormat,
    *,
    truncated: int = 0,
) -> Shard:
    """Write the shard of some texts.

    Args:
        store: Where to write the shard.
        texts: The texts.
        embeddings: Raw model output, [n, full_dim].
        form: How to store the vectors.
        truncated: Number of texts that the model truncates.

    Raises:
        DataError: If the shard cannot be written.
    """
    zero = zero_rows(texts.ids, embeddings)
    record = {
        "run": form.run,
        "texts": texts.digest,
        "zero_vectors": len(zero),
        "zero_id": zero[0] if zero else "",
        "truncated": truncated,
    }
    content = _to_parquet(texts, _stored(form.codec, embeddings), record)
    store.write(texts.file, content)
    return _shard(texts, content, record)


def embed_shard(
    model: Encoder,
    texts: ShardTexts,
    kind: Kind,
    *,
    on_progress: OnProgress | None = None,
) -> tuple[Embeddings, int]:
    """Return the embeddings of texts, [n, full_dim], and the number of texts that are truncated.

    Raises:
        ModelError: If the model cannot encode the texts.
    """
    if isinstance(model, PrecomputedVectors):
        return model.take(texts.ids, kind=kind), 0
    found, truncated = encode_counted(model, texts.texts, kind=kind, on_progress=on_progress)
    return check_encoded(model, texts.ids, found), truncated


def finished_shard(
    store: ShardStore, texts: ShardTexts, run: str, *, sha256: str | None = None
) -> Shard | None:
    """Return the shard of some texts if it is complete, else None.

    Args:
        store: Where shards are stored.
        texts: The texts.
        run: As in ``ShardFormat``.
        sha256: The checksum that the manifest records for the file; None if it has no entry.

    Raises:
        DataError: If the shard was made from other texts.
    """
    content = store.read(texts.file)
    if content is None:
        return None
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        place = f"{store.place}/{texts.file}"
        _logger.warning("%s: differs from its checksum, so its texts are embedded again", place)
        return None
    record = _read_record(content)
    if record is None or record.get("run") != run:
        return None
    if record["texts"] != texts.digest:
        problem = f"was embedded from other texts than those from id {texts.ids[0]!r} on"
        remedy = "The corpus has changed: choose another folder"
        raise DataError(f"{store.place}/{texts.file}", f"{problem}. {remedy}.")
    return _shard(texts, content, record)


def _shard(texts: ShardTexts, content: bytes, record: dict[str, Any]) -> Shard:
    return Shard(
        file=texts.file,
        rows=len(texts.ids),
        sha256=hashlib.sha256(content).hexdigest(),
        texts=record["texts"],
        zero_vectors=record["zero_vectors"],
        zero_id=record["zero_id"],
        truncated=record["truncated"],
    )


def _stored(codec: Codec, embeddings: Embeddings) -> NDArray[Any]:
    """Return vectors as the file stores them: numbers, or the bytes of codes."""
    return codec.encode(embeddings).view(_TYPES.get(codec.precision, np.uint8))


def _to_parquet(texts: ShardTexts, vectors: NDArray[Any], record: dict[str, Any]) -> bytes:
    arrow = require("pyarrow", extra="parquet")
    parquet = require("pyarrow.parquet", extra="parquet")
    width = vectors.shape[1]
    lists = arrow.FixedSizeListArray.from_arrays(arrow.array(vectors.reshape(-1)), width)
    table = arrow.table({"id": arrow.array(texts.ids, arrow.string()), "vector": lists})
    table = table.replace_schema_metadata({_METADATA: json.dumps(record, sort_keys=True)})
    sink = arrow.BufferOutputStream()
    split = ["vector.list.element"] if vectors.dtype == np.float32 else False
    # A dictionary would enlarge vectors by an eighth.
    parquet.write_table(
        table,
        sink,
        row_group_size=_GROUP_ROWS,
        use_dictionary=False,
        use_byte_stream_split=split,
        compression="zstd",
    )
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _read_record(content: bytes) -> dict[str, Any] | None:
    """Return the metadata of a shard; None if the content is no shard."""
    arrow = require("pyarrow", extra="parquet")
    parquet = require("pyarrow.parquet", extra="parquet")
    try:
        metadata = parquet.read_schema(arrow.BufferReader(content)).metadata or {}
        record: dict[str, Any] = json.loads(metadata[_METADATA])
    except (arrow.ArrowException, KeyError, ValueError):
        return None
    return record
