#!/usr/bin/env bash
# pyvespa 1.2.9: Field(ann=HNSW(...)) writes an hnsw block into the schema for any indexing. In
# Vespa, "index" in the indexing statement creates the HNSW index, and the block only sets its
# parameters. Vespa's code for tensor fields rejects a schema with the block and without "index"
# (read, not run here). pyvespa writes such a schema without an error or a warning, and the example
# in the documentation of Field uses indexing=["attribute"] with HNSW. One would expect pyvespa to
# add "index" or to raise an error. Write indexing=["attribute", "index"].
#
# Seen: indexing=["attribute"] and ["attribute", "index"] give the same hnsw block; the first
# schema has the line "indexing: attribute".
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet pyvespa==1.2.9
venv/bin/python - <<'PYTHON'
import warnings

from vespa.package import HNSW, ApplicationPackage, Field

warnings.simplefilter("error")


def schema(indexing):
    """Return the "indexing" line and the hnsw block of a tensor field."""
    package = ApplicationPackage(name="app")
    ann = HNSW(distance_metric="angular")
    package.schema.add_fields(Field("v", "tensor<float>(x[8])", indexing=indexing, ann=ann))
    lines = [line.strip() for line in package.schema.schema_to_text.splitlines()]
    (statement,) = (line for line in lines if line.startswith("indexing:"))
    start = lines.index("hnsw {")
    return statement, lines[start : lines.index("}", start)]


without, with_index = schema(["attribute"]), schema(["attribute", "index"])
for statement, block in (without, with_index):
    print(statement, "...", *block, "}")
assert (without[0], with_index[0]) == ("indexing: attribute", "indexing: attribute | index")
assert without[1] == with_index[1] and len(without[1]) == 3
print("as described")
PYTHON
