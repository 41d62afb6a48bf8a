#!/usr/bin/env bash
# Milvus Lite 3.2.2 (pymilvus 3.0.2): filters that mean the same return different rows of a nullable
# field. "n != 1" and "not (n == 1)" leave out the rows whose n is null. "n not in [1]" and
# "not (n in [1])" return these rows, and so does "not array_contains(a, 1)" for a null array.
# One would expect all of them to leave null out, as in SQL, where "null not in (1)" is unknown.
#
# Seen: of the rows n=1, n=2 and n=null: "!=" returns n=2 only; "not in" returns n=2 and null. Add
# "and n is not null" to leave null out of every filter.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet pymilvus==3.0.2 milvus-lite==3.2.2
venv/bin/python - <<'PYTHON'
from pymilvus import DataType, MilvusClient

client = MilvusClient("lite.db")
schema = client.create_schema(auto_id=False)
schema.add_field("id", DataType.INT64, is_primary=True)
schema.add_field("v", DataType.FLOAT_VECTOR, dim=2)
schema.add_field("n", DataType.INT64, nullable=True)
schema.add_field("s", DataType.VARCHAR, max_length=8, nullable=True)
schema.add_field("a", DataType.ARRAY, element_type=DataType.INT64, max_capacity=4, nullable=True)
index = client.prepare_index_params()
index.add_index("v", index_type="FLAT", metric_type="IP")
client.create_collection("t", schema=schema, index_params=index)
values = [(1, "a", [1]), (2, "b", [2]), (None, None, None)]
client.insert(
    "t",
    [{"id": row, "v": [1.0, 0.0], "n": n, "s": s, "a": a} for row, (n, s, a) in enumerate(values)],
)

without_null = [
    "n != 1", "not (n == 1)", 's != "a"', 'not (s like "a%")', "n not in [1] and n is not null",
]
with_null = ["n not in [1]", "not (n in [1])", 's not in ["a"]', "not array_contains(a, 1)"]
for text in without_null + with_null:
    rows = sorted(row["id"] for row in client.query("t", filter=text, output_fields=["id"]))
    found = client.search("t", [[1.0, 0.0]], limit=3, filter=text)[0]
    print(f"{text}: {[values[row][0] for row in rows]}")
    assert rows == ([1] if text in without_null else [1, 2])
    assert sorted(each["id"] for each in found) == rows
client.close()
print("as described")
PYTHON
