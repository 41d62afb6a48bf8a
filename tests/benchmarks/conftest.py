"""Make the modules of benchmarks/ importable, and build a small repository of one page."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from claim_repository import CLAIMS, README, document, write_result

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))


@pytest.fixture
def small(tmp_path):
    """A repository with a README, two claims and their results."""
    results = tmp_path / "benchmarks" / "results"
    results.mkdir(parents=True)
    (tmp_path / "README.md").write_text(README, encoding="utf-8")
    for name in ("speed", "size"):
        (tmp_path / "benchmarks" / f"{name}.py").write_text("", encoding="utf-8")
    write = SimpleNamespace(root=tmp_path, results=results, claims=tmp_path / "claims.json")
    write.claims.write_text(json.dumps(CLAIMS), encoding="utf-8")
    write_result(write, "speed", document({"ms": [0.24, 0.25, 0.9]}, n=100))
    write_result(write, "size", document({"bytes": 16}))
    return write
