"""A program of a user that writes and searches a Lance table: lance_shrink_writer.py FOLDER SEED.

It prints "ready" after its first change, and works until its standard input ends. Then it prints as
JSON the number from which the vector of each of its rows is generated, and what it counted.
"""

import json
import os
import sys
import threading
import time

import numpy as np
from lance_shrink_table import connect, rows, vectors

PAUSE_S = 0.15


def vector(number):
    return vectors(1, seed=number)


class Writer:
    """Adds, replaces and deletes rows with keys of its own, and searches the old column."""

    def __init__(self, folder, seed):
        options = {}
        if folder.startswith("s3://"):
            endpoint = os.environ["AWS_ENDPOINT_URL"]
            options = {"aws_endpoint": endpoint, "allow_http": "true", "aws_region": "us-east-1"}
        self.table = connect(folder, options).open_table("docs")
        self.choose = np.random.default_rng(seed)
        self.first = 1_000_000 * seed
        self.rows, self.counts = {}, {"changes": 0, "searches": 0, "conflicts": 0}

    def change(self):
        kind = self.choose.integers(4) if len(self.rows) > 20 else 0
        keys = self.choose.permutation(sorted(self.rows))[:4].tolist()
        numbers = [int(self.choose.integers(1 << 30)) for _ in range(4)]
        if kind <= 1:
            keys = [self.first + self.counts["changes"] * 4 + n for n in range(4)]
            self.commit(lambda: self.table.add(self.made(keys, numbers)))
        elif kind == 2:
            merge = self.table.merge_insert("key").when_matched_update_all()
            self.commit(lambda: merge.execute(self.made(keys, numbers)))
        else:
            self.commit(lambda: self.table.delete(f"key IN ({', '.join(map(str, keys))})"))
            numbers = []
        for key in keys:
            self.rows.pop(key, None)
        self.rows |= zip(keys, numbers, strict=False)
        self.counts["changes"] += 1

    def commit(self, work):
        """Run a change, and repeat it as a program does that LanceDB asks to retry."""
        while True:
            try:
                return work()
            except (OSError, RuntimeError, ValueError) as error:
                if "retry" not in str(error).lower():
                    raise
                self.counts["conflicts"] += 1

    def made(self, keys, numbers):
        return rows(keys, np.concatenate([vector(number) for number in numbers]))

    def search(self):
        """Search the old column for a row of the table: it must be the first result."""
        key = int(self.choose.permutation(sorted(self.rows))[0])
        query = self.table.search(vector(self.rows[key])[0], vector_column_name="vec")
        found = query.distance_type("cosine").nprobes(1_000).limit(1).select(["key", "_distance"])
        assert found.to_arrow()["key"].to_pylist() == [key]
        self.counts["searches"] += 1


def main():
    folder, seed = sys.argv[1:]
    writer, ended = Writer(folder, int(seed)), threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    while not ended.is_set():
        writer.change()
        writer.search()
        if writer.counts["changes"] == 1:
            sys.stdout.write("ready\n")
            sys.stdout.flush()
        time.sleep(PAUSE_S)
    sys.stdout.write(json.dumps({"rows": writer.rows, **writer.counts}))


if __name__ == "__main__":
    main()
