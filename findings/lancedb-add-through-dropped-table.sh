#!/usr/bin/env bash
# LanceDB 0.40.0: a table is dropped and created again under the same name while another handle to
# the dropped table is open, here of a second connection. add() through this handle returns
# without an error. It commits a new version to the new table, and this version lists the files of
# the dropped table, which do not exist any more. The newest version of the new table is unreadable.
# One would expect add() to fail, as it does after create_table(mode="overwrite").
#
# Seen: add() returns version 2; count_rows() returns 4, the 3 dropped rows and the added one;
# reading the table fails. checkout(1) and restore() make the row of the new table readable again;
# the added row is lost. After checkout_latest() on the old handle, add() writes to the new table.
# To replace a table that others may have open, use mode="overwrite".
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet lancedb==0.40.0 pyarrow==26.0.1
venv/bin/python - <<'PYTHON'
import lancedb
import pyarrow as pa

db, other = lancedb.connect("db"), lancedb.connect("db")


def rows(ids):
    return pa.table({"id": pa.array(ids, pa.int64())})


def read(table):
    return sorted(table.to_arrow()["id"].to_pylist())


def error(call):
    """Return the error of a call, without the path of the file that the error names."""
    try:
        call()
    except Exception as failure:
        known = ("Incompatible transaction", "Not found")
        return next((text for text in known if text in str(failure)), type(failure).__name__)
    return None


db.create_table("dropped", rows([1, 2, 3]))
old = other.open_table("dropped")
db.drop_table("dropped")
new = db.create_table("dropped", rows([100]))
before = read(new)
added = old.add(rows([7])).version
table = db.open_table("dropped")
count, failure = table.count_rows(), error(lambda: read(table))
print(f"drop_table: rows {before}, then add(): version {added}", end=", ")
print(f"count_rows(): {count}, read: {failure}")
table.checkout(1)
table.restore()
restored = read(db.open_table("dropped"))
print(f"drop_table: rows after restore(): {restored}")

db.create_table("renewed", rows([1, 2, 3]))
old = other.open_table("renewed")
db.drop_table("renewed")
db.create_table("renewed", rows([100]))
old.checkout_latest()
old.add(rows([7]))
renewed = read(db.open_table("renewed"))
print(f"drop_table: rows after checkout_latest() and add(): {renewed}")

db.create_table("replaced", rows([1, 2, 3]))
old = other.open_table("replaced")
db.create_table("replaced", rows([100]), mode="overwrite")
refused = error(lambda: old.add(rows([7])))
kept = read(db.open_table("replaced"))
print(f"mode='overwrite': add(): {refused}, rows: {kept}")

assert (before, added, count, failure) == ([100], 2, 4, "Not found")
assert restored == [100]
assert renewed == [7, 100]
assert (refused, kept) == ("Incompatible transaction", [100])
print("as described")
PYTHON
