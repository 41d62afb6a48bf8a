"""Describe the machine of a measurement, which its times depend on.

The instruction sets are those of the processor. A library may use fewer: if its build lacks them,
or if an environment variable limits it. Such variables are recorded as ``forced``.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Set
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_PACKAGES = ("nestvec", "numpy", "scipy", "faiss-cpu", "torch", "sentence-transformers", "bm25s")

INSTRUCTION_SETS: Mapping[str, tuple[str, ...]] = {
    "AVX2": ("avx2",),
    "AVX-512": ("avx512f",),
    "AVX512-BF16": ("avx512_bf16", "avx512bf16"),
    "AVX512-VNNI": ("avx512_vnni", "avx512vnni"),
    "AVX512-VPOPCNTDQ": ("avx512_vpopcntdq", "avx512vpopcntdq"),
    "AVX-VNNI": ("avx_vnni",),
    "AMX": ("amx_tile",),
    "NEON": ("asimd", "neon"),
    "SVE": ("sve",),
}
"""The instruction sets that FAISS, OpenBLAS, NumPy and oneDNN choose their code by, with the names
of Linux (``/proc/cpuinfo``) and of NumPy, in lower case."""

SWITCHES = (
    "FAISS_SIMD_LEVEL",  # faiss/utils/simd_levels.cpp
    "FAISS_OPT_LEVEL",  # faiss/loader.py: chooses one of several builds
    "FAISS_DISABLE_CPU_FEATURES",  # faiss/loader.py
    "NPY_DISABLE_CPU_FEATURES",
    "NPY_ENABLE_CPU_FEATURES",
    "OPENBLAS_CORETYPE",
    "ATEN_CPU_CAPABILITY",  # PyTorch's own kernels
    "ONEDNN_MAX_CPU_ISA",  # PyTorch's products of bfloat16 matrices
    "DNNL_MAX_CPU_ISA",  # its former name, which oneDNN still reads
    "MKL_ENABLE_INSTRUCTIONS",
    "MKL_CBWR",
)
"""Environment variables that make a library use other instructions than it would choose."""

UNKNOWN = "not recorded"


def describe_machine() -> dict[str, Any]:
    """Return processor, instruction set, cores, platform and versions of installed packages.

    ``forced`` is present only if a variable of `SWITCHES` is set.
    """
    forced = {name: os.environ[name] for name in SWITCHES if os.environ.get(name)}
    return {
        "processor": _processor(),
        "instruction_set": name_instruction_sets(_features()),
        **({"forced": forced} if forced else {}),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: found for name in _PACKAGES if (found := _version(name))},
    }


def instruction_set_of(machine: Mapping[str, Any]) -> str:
    """Return the instruction set of a recorded machine, with the variables that changed it.

    Machines that were recorded before nestvec recorded instruction sets have ``UNKNOWN``.
    """
    text = str(machine.get("instruction_set") or UNKNOWN)
    forced = machine.get("forced") or {}
    limits = ", ".join(f"{name}={value}" for name, value in sorted(forced.items()))
    return f"{text} ({limits})" if limits else text


def machine_text(machine: Mapping[str, Any]) -> str:
    """Return a recorded machine as one line, without the versions of packages."""
    values = {name: value for name, value in machine.items() if name not in ("versions", "forced")}
    if "instruction_set" in values:
        values["instruction_set"] = instruction_set_of(machine)
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in values.items())


def name_instruction_sets(features: Set[str]) -> str:
    """Return the instruction sets among the features of a processor, such as ``AVX-512, AMX``.

    AVX2 is left out if AVX-512 is there, which includes AVX2.
    """
    found = [name for name, words in INSTRUCTION_SETS.items() if not features.isdisjoint(words)]
    if "AVX-512" in found:
        found.remove("AVX2")
    return ", ".join(found) or f"none of {', '.join(INSTRUCTION_SETS)}"


def _processor() -> str:
    names = _cpuinfo("model name")
    return names[0] if names else platform.processor() or platform.machine()


def _features() -> Set[str]:
    """Return the features of the processor, in lower case."""
    lines = _cpuinfo("flags") or _cpuinfo("Features")  # x86, ARM
    if lines:
        return set(lines[0].lower().split())
    try:  # not Linux. NumPy leaves AMX and AVX-VNNI out.
        found = import_module("numpy._core._multiarray_umath").__cpu_features__
    except (ImportError, AttributeError):
        return set()
    return {str(name).lower() for name, present in found.items() if present}


def _cpuinfo(key: str) -> list[str]:
    """Return the values of a key in Linux's description of the processors, or none."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    pairs = (line.partition(":") for line in lines)
    return [value.strip() for name, _, value in pairs if name.strip() == key]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
