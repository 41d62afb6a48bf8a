"""A measurement records the instruction sets of its machine, and what limits them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from nestvec.measure import machine
from nestvec.measure.machine import (
    INSTRUCTION_SETS,
    SWITCHES,
    describe_machine,
    instruction_set_of,
    machine_text,
    name_instruction_sets,
)


@pytest.fixture(autouse=True)
def without_switches(monkeypatch):
    for name in SWITCHES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        ("sse2 avx avx2 fma", "AVX2"),
        ("avx2 avx_vnni", "AVX2, AVX-VNNI"),
        ("avx2 avx512f avx512bw", "AVX-512"),
        (
            "avx2 avx512f avx512_bf16 avx512_vnni amx_tile amx_bf16",
            "AVX-512, AVX512-BF16, AVX512-VNNI, AMX",
        ),
        ("fp asimd sve", "NEON, SVE"),
        ("avx2 avx512f avx512bf16", "AVX-512, AVX512-BF16"),  # NumPy's names
        ("sse2", f"none of {', '.join(INSTRUCTION_SETS)}"),
    ],
)
def test_instruction_sets_are_named_from_the_features(flags, text):
    assert name_instruction_sets(set(flags.split())) == text


def test_linux_and_numpy_agree_on_this_machine(monkeypatch):
    if not Path("/proc/cpuinfo").exists():
        pytest.skip("not Linux")
    linux = describe_machine()["instruction_set"]
    monkeypatch.setattr(machine, "_cpuinfo", lambda key: [])
    numpy = describe_machine()["instruction_set"]
    only_linux = {"AVX-VNNI", "AMX"}
    assert set(numpy.split(", ")) == set(linux.split(", ")) - only_linux


def test_forced_levels_are_recorded_only_if_set(monkeypatch):
    assert "forced" not in describe_machine()
    monkeypatch.setenv("FAISS_SIMD_LEVEL", "AVX2")
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "")
    found = describe_machine()
    assert found["forced"] == {"FAISS_SIMD_LEVEL": "AVX2", "OPENBLAS_CORETYPE": "Haswell"}
    assert instruction_set_of(found).endswith(" (FAISS_SIMD_LEVEL=AVX2, OPENBLAS_CORETYPE=Haswell)")


def test_faiss_obeys_the_switch_that_is_recorded(monkeypatch):
    monkeypatch.setenv("FAISS_SIMD_LEVEL", "NONE")
    code = "import faiss; print(faiss.SIMDConfig.get_level_name())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "NONE", done.stderr


def test_machines_of_older_files_are_read():
    old = {"processor": "Test", "cores": 2, "versions": {"numpy": "2"}}
    assert instruction_set_of(old) == "not recorded"
    assert machine_text(old) == "processor Test, cores 2"
    assert machine_text({}) == ""


def test_a_machine_is_one_line():
    new = {"processor": "Test", "instruction_set": "AVX2", "forced": {"A": "b"}, "versions": {}}
    assert machine_text(new) == "processor Test, instruction set AVX2 (A=b)"
