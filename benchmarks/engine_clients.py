"""Searches and loads of the engines' own clients, written by hand, to compare nestvec with.

Each search takes a query vector and returns ids, with the same stages and widths as nestvec.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nestvec.codec.prefix import prefix
from nestvec.types import Embeddings, OperatingPoint

Native = Callable[[Embeddings], list[str]]
BATCH = 2_000
EDGE_FOLDER = "shard"


class Wanted(NamedTuple):
    """What a native search runs.

    Attributes:
        point: The operating point.
        k: Number of results.
        settings: What nestvec fitted for the index, such as ``ef_search``.
    """

    point: OperatingPoint
    k: int
    settings: dict[str, Any]

    @property
    def dim(self) -> int:
        """The width of the first stage."""
        return self.point.stages[0].dim

    @property
    def keep(self) -> int:
        """The number of candidates of the first stage."""
        return self.point.stages[0].keep or self.k


def batches(vectors: Embeddings) -> Iterator[tuple[range, Embeddings]]:
    """Yield row numbers and vectors of each commit."""
    for first in range(0, len(vectors), BATCH):
        block = np.array(vectors[first : first + BATCH])
        yield range(first, first + len(block)), block


def metadata_of(row: int) -> dict[str, int]:
    """Return the metadata of a document."""
    return {"tenth": row % 10, "hundredth": row % 100}


def best_ids(query: Embeddings, ids: list[str], vectors: Embeddings, k: int) -> list[str]:
    """Return the ids of the best k candidates by their full vectors."""
    scores = vectors @ query[0]
    return [ids[row] for row in np.argsort(-scores, kind="stable")[:k]]


def postgres(url: str) -> Any:
    """Return a connection to PostgreSQL."""
    import psycopg
    from pgvector.psycopg import register_vector

    connection = psycopg.connect(url, autocommit=True)
    connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
    register_vector(connection)
    return connection


def search_postgres(connection: Any, wanted: Wanted) -> Native:
    """Return a search by one statement with the expressions of the index written out."""
    from pgvector import Bit, HalfVector, Vector

    width = max(int(wanted.settings["ef_search"]), wanted.keep)
    connection.execute("SET hnsw.iterative_scan = relaxed_order")
    connection.execute(f"SET hnsw.ef_search = {width}")
    first, last = wanted.point.stages[0], wanted.point.stages[-1]
    is_sign = first.precision == "sign"
    code = "embedding <#> %b"
    if is_sign:
        code = f"binary_quantize(subvector(embedding, 1, {first.dim}))::bit({first.dim}) <~> %b"
    elif first.dim < last.dim:
        code = f"(l2_normalize(subvector(embedding, 1, {first.dim}))::halfvec({first.dim})) <#> %b"
    text = f"SELECT id FROM docs ORDER BY {code} LIMIT {wanted.k}"
    if len(wanted.point.stages) > 1:
        text = (
            f"SELECT id FROM (SELECT id, embedding FROM docs ORDER BY {code} LIMIT {wanted.keep}) "
            f"AS s ORDER BY embedding <#> %b LIMIT {wanted.k}"
        )

    def search(query: Embeddings) -> list[str]:
        short = prefix(query, first.dim)[0]
        values: list[object] = [Bit(short > 0) if is_sign else HalfVector(short)]
        if len(wanted.point.stages) > 1:
            values.append(Vector(query[0]))
        return [id_ for (id_,) in connection.execute(text, values).fetchall()]

    return search


def load_postgres(connection: Any, vectors: Embeddings) -> float:
    """Return the seconds of binary COPY into a table with equal columns, one commit per batch."""
    from pgvector import HalfVector
    from psycopg.types.json import Jsonb

    connection.execute(
        'CREATE TABLE bare (id text COLLATE "C" PRIMARY KEY, title text NOT NULL, '
        "text text NOT NULL, metadata jsonb NOT NULL, original text, "
        f"embedding halfvec({vectors.shape[1]}) NOT NULL)"
    )
    connection.execute("ALTER TABLE bare ALTER COLUMN embedding SET STORAGE PLAIN")
    connection.execute("CREATE INDEX ON bare USING gin (metadata)")
    start = time.perf_counter()
    for rows, block in batches(vectors):
        statement = "COPY bare FROM STDIN (FORMAT BINARY)"
        with connection.cursor() as cursor, cursor.copy(statement) as copy:
            copy.set_types(["text", "text", "text", "jsonb", "text", "halfvec"])
            for row, vector in zip(rows, block.astype(np.float16), strict=True):
                metadata = Jsonb(metadata_of(row))
                copy.write_row((str(row), "", "", metadata, None, HalfVector(vector)))
    seconds = time.perf_counter() - start
    connection.execute("DROP TABLE bare")
    return seconds


def search_lance(place: str, wanted: Wanted) -> Native:
    """Return a search of the table of an index, and a rescoring of its candidates by NumPy."""
    database = _lance(place)
    (name,) = [each for each in database.list_tables().tables if each.startswith("documents")]
    table = database.open_table(name)
    column, nprobes = str(wanted.settings["column"]), int(wanted.settings["nprobes"])

    def search(query: Embeddings) -> list[str]:
        found = (
            table.search(prefix(query, wanted.dim)[0], vector_column_name=column)
            .distance_type("dot")
            .minimum_nprobes(nprobes)
            .maximum_nprobes(nprobes)
            .select(["id", "vector", "_distance"])
            .limit(wanted.keep)
            .to_arrow()
        )
        flat = found["vector"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        vectors = flat.reshape(-1, query.shape[1]).astype(np.float32)
        return best_ids(query, found["id"].to_pylist(), vectors, wanted.k)

    return search


def load_lance(place: str, vectors: Embeddings) -> float:
    """Return the seconds to add all batches to a table with the columns of a document."""
    import pyarrow as pa

    dim = vectors.shape[1]
    names = ["id", "title", "text", "metadata", "vector", "prefix"]
    texts = [pa.string()] * 4
    kinds = [*texts, pa.list_(pa.float16(), dim), pa.list_(pa.float16(), dim // 2)]
    columns = pa.schema(list(zip(names, kinds, strict=True)))
    table = _lance(place).create_table("bare", schema=columns)
    start = time.perf_counter()
    for rows, block in batches(vectors):
        empty = [""] * len(rows)
        metadata = [json.dumps(metadata_of(row)) for row in rows]
        arrays = [pa.array(each) for each in ([str(row) for row in rows], empty, empty, metadata)]
        for width in (dim, dim // 2):
            halves = prefix(block, width).astype(np.float16)
            arrays.append(pa.FixedSizeListArray.from_arrays(pa.array(halves.ravel()), width))
        table.add(pa.table(arrays, names=names))
    return time.perf_counter() - start


def _lance(place: str) -> Any:
    """Connect to a folder, or to a bucket with the options that nestvec uses."""
    import lancedb

    from nestvec.engines.lancedb.place import LancePlace

    is_s3 = place.startswith("s3://")
    options = LancePlace.parse(place).storage_options() if is_s3 else None
    return lancedb.connect(place, storage_options=options)


def search_edge(folder: Path, wanted: Wanted) -> Native:
    """Return a search of a copy of the shard: a process can open a shard once."""
    import qdrant_edge as edge

    shard = edge.EdgeShard.load(str(folder), None)
    first, last = wanted.point.stages[0], wanted.point.stages[-1]
    names = ["full" if s.dim == last.dim else f"p{s.dim}_{s.precision}" for s in (first, last)]
    width = max(int(wanted.settings["hnsw_ef"]), wanted.keep)
    params = edge.SearchParams(hnsw_ef=width, exact=False)

    def search(query: Embeddings) -> list[str]:
        short = edge.Query.Nearest(prefix(query, first.dim)[0].tolist(), using=names[0])
        request: dict[str, Any] = {"query": short, "params": params}
        if len(wanted.point.stages) > 1:
            prefetch = edge.Prefetch(limit=wanted.keep, **request)
            whole = edge.Query.Nearest(query[0].tolist(), using=names[1])
            exact = edge.SearchParams(exact=True)
            request = {"query": whole, "prefetches": [prefetch], "params": exact}
        request |= {"limit": wanted.k, "with_payload": ["id"]}
        return [point.payload["id"] for point in shard.query(edge.QueryRequest(**request))]

    return search


def load_edge(folder: Path, vectors: Embeddings) -> float:
    """Return the seconds to upsert all batches, each flushed to disk."""
    import uuid

    import qdrant_edge as edge

    dims = {"full": vectors.shape[1], "prefix": vectors.shape[1] // 2}
    float16 = edge.VectorStorageDatatype.Float16
    config = edge.EdgeConfig(
        vectors={
            name: edge.EdgeVectorParams(size=dim, distance=edge.Distance.Dot, datatype=float16)
            for name, dim in dims.items()
        },
        payload_memory=edge.Memory.Cold,
        optimizers=edge.EdgeOptimizersConfig(indexing_threshold=1_000_000_000),
    )
    folder.mkdir(parents=True)
    shard = edge.EdgeShard.create(str(folder), config)
    start = time.perf_counter()
    for rows, block in batches(vectors):
        short = prefix(block, dims["prefix"])
        points = [
            edge.Point(
                str(uuid.UUID(int=row)),
                {"full": vector.tolist(), "prefix": head.tolist()},
                {"id": str(row), "title": "", "text": "", "metadata": metadata_of(row)},
            )
            for row, vector, head in zip(rows, block, short, strict=True)
        ]
        shard.update(edge.UpdateOperation.upsert_points(points))
        shard.flush()
    return time.perf_counter() - start


def search_milvus(url: str, wanted: Wanted) -> Native:
    """Return a search of the prefixes, a query for their full vectors, and a rescoring by NumPy."""
    from pymilvus import MilvusClient

    client = MilvusClient(url)
    names = [name for name in client.list_collections() if name.startswith("documents")]
    documents = min(names, key=len)
    heads = [name for name in names if f"_p{wanted.dim}_" in name]
    width = max(int(wanted.settings.get("ef_search", 64)), wanted.keep)
    params = {"metric_type": "IP", "params": {"ef": width}}

    def search(query: Embeddings) -> list[str]:
        (found,) = client.search(
            heads[0] if heads else documents,
            [prefix(query, wanted.dim)[0]],
            limit=wanted.keep,
            output_fields=["id"],
            anns_field="embedding",
            search_params=params,
        )
        ids = [hit["id"] for hit in found]
        if len(wanted.point.stages) > 1:
            rows = client.get(documents, ids, output_fields=["embedding"])
            vectors = np.asarray([row["embedding"] for row in rows], dtype=np.float32)
            ids = best_ids(query, [row["id"] for row in rows], vectors, wanted.k)
        return [str(id_) for id_ in ids]

    return search


def load_milvus(url: str, vectors: Embeddings) -> float:
    """Return the seconds to insert all batches into a collection, and prefixes into another."""
    from pymilvus import DataType, MilvusClient

    client, dims = MilvusClient(url), (vectors.shape[1], vectors.shape[1] // 2)
    for dim in dims:
        schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=100)
        schema.add_field("embedding", DataType.FLOAT_VECTOR, dim=dim)
        schema.add_field("metadata", DataType.JSON)
        client.create_collection(f"bare{dim}", schema=schema)
    start = time.perf_counter()
    for rows, block in batches(vectors):
        for dim in dims:
            heads = prefix(block, dim)
            client.insert(
                f"bare{dim}",
                [
                    {"id": str(row), "embedding": head, "metadata": metadata_of(row)}
                    for row, head in zip(rows, heads, strict=True)
                ],
            )
    for dim in dims:
        client.flush(f"bare{dim}")
    seconds = time.perf_counter() - start
    for dim in dims:
        client.drop_collection(f"bare{dim}")
    return seconds
