#!/usr/bin/env bash
# Milvus Lite 3.2.2 (pymilvus 3.0.2): describe_collection() always returns an empty list of aliases,
# although the collection has one. The alias works: a query through it returns the rows, and
# list_aliases() lists it. One would expect the same aliases from both. A program that reads the
# description to learn which collection an alias names finds none. Use list_aliases() or
# describe_alias() instead.
#
# Seen: list_aliases("t"): ["current"]; describe_collection("t")["aliases"]: [].
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet pymilvus==3.0.2 milvus-lite==3.2.2
venv/bin/python - <<'PYTHON'
from pymilvus import MilvusClient

client = MilvusClient("lite.db")
client.create_collection("t", dimension=2)
client.insert("t", [{"id": 1, "vector": [1.0, 0.0]}])
client.create_alias("t", "current")
rows = [row["id"] for row in client.query("current", filter="id > 0", output_fields=["id"])]
listed = list(client.list_aliases("t")["aliases"])
target = client.describe_alias("current")["collection_name"]
described = {name: list(client.describe_collection(name)["aliases"]) for name in ("t", "current")}
client.close()
print(f"query through the alias: {rows}, list_aliases: {listed}, describe_alias: {target}")
print(f"aliases of describe_collection: {described}")
assert (rows, listed, target) == ([1], ["current"], "t")
assert described == {"t": [], "current": []}
print("as described")
PYTHON
