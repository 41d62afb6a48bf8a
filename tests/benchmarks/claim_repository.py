"""A small repository of one page with two claims, and their results."""

import json

MACHINE = {"processor": "Test", "instruction_set": "AVX-512, AMX", "cores": 2}
README = """# Title

One search takes .25 ms (AVX-512). Another paragraph
of 40 words.

- The index needs 16 bytes
  per vector.
"""
CLAIMS = {
    "benchmarks": {
        "speed": {
            "measures": "Time of a search.",
            "command": ["benchmarks/speed.py", "2.5"],
            "length": "quick",
            "settings": ["n"],
        },
        "size": {
            "measures": "Bytes of a vector.",
            "command": ["benchmarks/size.py", "{demo}"],
            "length": "full",
        },
    },
    "claims": [
        {
            "name": "time",
            "file": "README.md",
            "text": "search takes .25 ms",
            "value": 0.25,
            "kind": "speed",
            "benchmark": "speed",
            "measured": {"path": ["results", "ms"], "take": "median"},
            "within": 0.01,
            "better": "lower",
        },
        {
            "name": "bytes",
            "file": "README.md",
            "text": "needs 16 bytes per vector",
            "value": 16,
            "kind": "size",
            "benchmark": "size",
            "measured": {"path": ["results", "bytes"]},
        },
    ],
}


def document(results, *, machine=MACHINE, **settings):
    return {"machine": machine, "settings": settings, "results": results}


def write_result(small, name, values):
    (small.results / f"{name}.json").write_text(json.dumps(values), encoding="utf-8")
