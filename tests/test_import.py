"""`import nestvec` is light, typed, and offers few names."""

from __future__ import annotations

import ast
import json
import pkgutil
import statistics
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest

import nestvec

HEAVY = {
    "torch", "transformers", "sentence_transformers", "scipy", "faiss", "matplotlib", "jinja2",
    "typer", "fastapi", "uvicorn", "orjson", "prometheus_client",
}  # fmt: skip
MAX_TIMES_NUMPY = 5.0  # 2.2 where nothing else runs; PyTorch alone takes ten times as long as NumPy
MAX_NAMES = 70

CHILD = """
import json, sys, time
start = time.process_time()
import numpy
numpy_s = time.process_time() - start
import nestvec
all_s = time.process_time() - start
print(json.dumps({"ratio": all_s / numpy_s, "modules": sorted(sys.modules)}))
"""


def import_in_a_new_process() -> tuple[float, set[str]]:
    """Return how many times as long as NumPy nestvec takes with it, and the packages loaded."""
    command = [sys.executable, "-c", CHILD]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    seen = json.loads(done.stdout)
    return seen["ratio"], {name.partition(".")[0] for name in seen["modules"]}


def test_import_loads_nothing_heavy() -> None:
    _, packages = import_in_a_new_process()
    assert "nestvec" in packages
    assert packages & HEAVY == set()


def test_import_is_fast() -> None:
    # A ratio within one process, not seconds: machines differ, and are busy with other things.
    ratios = [import_in_a_new_process()[0] for _ in range(5)]
    assert statistics.median(ratios) < MAX_TIMES_NUMPY, f"import nestvec took {ratios} NumPys"


def test_the_types_are_shipped() -> None:
    assert (resources.files("nestvec") / "py.typed").is_file()


def test_the_public_names_are_few_sorted_and_there() -> None:
    names = list(nestvec.__all__)
    assert 0 < len(names) <= MAX_NAMES
    assert names == sorted(set(names))
    assert [name for name in names if not hasattr(nestvec, name)] == []


def test_type_checkers_and_the_running_program_find_each_name_in_one_module() -> None:
    tree = ast.parse(Path(nestvec.__file__).read_text("utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    declared = {
        alias.name: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert declared == nestvec._MODULES
    assert {*declared, "__version__"} == {*nestvec.__all__}


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'nestvec' has no attribute 'evalute'"):
        nestvec.evalute  # noqa: B018


MODULES = sorted(
    module.name for module in pkgutil.walk_packages(nestvec.__path__, prefix="nestvec.")
)


@pytest.mark.parametrize("module", MODULES)
def test_every_module_can_be_imported_in_both_forms(module: str) -> None:
    for name in nestvec.__all__:  # a public name must not hide a package of the same name
        getattr(nestvec, name)
    parent, _, last = module.rpartition(".")
    forms: dict[str, object] = {}
    exec(f"import {module} as plainly\nfrom {parent} import {last} as taken_from", forms)
    assert forms["plainly"] is forms["taken_from"] is sys.modules[module]
