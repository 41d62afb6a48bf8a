"""A collection of Milvus that another program wrote, and what is read of it."""

import numpy as np
from pymilvus import DataType, MilvusClient

import nestvec as nv

DIM = 8


def vectors_of(n):
    return np.random.default_rng(0).standard_normal((n, DIM)).astype(np.float32) * 3


def create(client, name, *, key="pk", vectors="floats", kind=DataType.INT64, load=True):
    schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
    options = {"max_length": 100} if kind == DataType.VARCHAR else {}
    schema.add_field(key, kind, is_primary=True, **options)
    schema.add_field(vectors, DataType.FLOAT_VECTOR, dim=DIM)
    schema.add_field("name", DataType.VARCHAR, max_length=100)
    client.create_collection(name, schema=schema, consistency_level="Strong")
    index = client.prepare_index_params()
    index.add_index(vectors, index_type="FLAT", metric_type="IP")
    client.create_index(name, index)
    if load:
        client.load_collection(name)
    else:
        client.release_collection(name)


def fill(client, name, numbers, *, key="pk", vectors="floats", id_of=int, step=1_000):
    """Insert rows of ``vectors_of`` in a shuffled order."""
    values = vectors_of(max(numbers) + 1)
    numbers = np.random.default_rng(1).permutation(list(numbers)).tolist()
    for start in range(0, len(numbers), step):
        rows = [
            {key: id_of(n), vectors: values[n].tolist(), "name": f"name {n}"}
            for n in numbers[start : start + step]
        ]
        client.insert(name, rows)


def check_all_rows(uri, place, n, deleted):
    """Every row of a collection of more rows than one query returns is read once, in order."""
    client = MilvusClient(uri)
    create(client, "large")
    fill(client, "large", range(n))
    client.delete("large", filter=f"pk in {list(deleted)}")
    client.close()
    found = nv.load_embeddings(f"{place}?collection=large")
    left = sorted(set(range(n)) - set(deleted))
    assert list(found.ids) == list(map(str, left))
    assert found.values.dtype == np.float32
    np.testing.assert_array_equal(found.values, vectors_of(n)[left])  # not normalized
