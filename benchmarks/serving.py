"""Measure how fast embeddings are served, next to infinity-emb and a plain FastAPI server.

    python -m venv infinity
    infinity/bin/pip install torch==2.13.0 'infinity-emb[server,torch]' 'click<8.2'
    python benchmarks/serving.py --demo nestvec-demo --infinity infinity/bin/infinity_emb

All servers run on the same machine, one after the other. all-MiniLM-L6-v2 encodes short real texts
(the demo's queries), one per request and none repeated. The servers named "AVX2 only" run with the
switches of oneDNN, PyTorch and MKL that simulate a processor without AVX-512, and with float32. A
static model with 256 dims encodes 256 texts per request, returned as base64. The clients run in
their own process on the same processors.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from nestvec.models.load import load_model
from nestvec.models.static import StaticEncoder, save_static_model
from nestvec.types import Embeddings
from record import record
from serving_load import ask, post_request
from subjects import minilm_folder

CLIENTS = (1, 8, 32)
_AVX2_ONLY = {
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
}
NAME = "served"
_BATCH = 256


def main() -> None:
    """Measure all servers, and write ``results/serving.json``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--demo", type=Path, default=Path("nestvec-demo"))
    parser.add_argument("--infinity", type=Path, help="The command infinity_emb, if installed.")
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--clients", type=int, nargs="+", default=CLIENTS)
    parser.add_argument("--only", nargs="+", help="Measure only these servers.")
    settings = parser.parse_args()
    texts = short_texts(settings.demo)
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="nestvec-serving-") as folder:
        for name, command in _servers(settings, Path(folder)).items():
            if not settings.only or name in settings.only:
                with _environment(_AVX2_ONLY if "AVX2 only" in name else {}):
                    results[name] = _measure(command, name, texts, settings)
    chosen = {name: str(value) for name, value in vars(settings).items()}
    print(json.dumps(results, indent=1), record("serving", settings=chosen, results=results))


def _servers(settings: argparse.Namespace, folder: Path) -> dict[str, list[str]]:
    model = str(minilm_folder())
    here = Path(__file__).parent
    serve = [sys.executable, "-m", "nestvec.cli.main", "serve"]
    nestvec = [*serve, model, "--name", NAME]
    float32 = [*nestvec, "--dtype", "float32", "--port"]
    servers = {"nestvec": [*nestvec, "--port"], "nestvec, float32": float32}
    servers["nestvec, AVX2 only"] = float32
    if settings.infinity:
        command = [str(settings.infinity), "v2", "--model-id", model, "--served-model-name", NAME]
        command += ["--engine", "torch", "--device", "cpu", "--no-bettertransformer"]
        command += ["--url-prefix", "/v1", "--port"]
        servers |= {"infinity-emb": command, "infinity-emb, AVX2 only": command}
    servers["plain"] = [sys.executable, str(here / "plain_server.py"), model]
    static = _static(settings.demo, folder / "static")
    servers["nestvec, static"] = [*serve, str(static), "--name", NAME, "--port"]
    return servers


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Set environment variables for the servers that the block starts."""
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in variables:
            del os.environ[name]


def _static(demo: Path, folder: Path) -> Path:
    """Truncate the demo's model to 256 dims."""
    model = load_model(demo / "model")
    assert isinstance(model, StaticEncoder)
    save_static_model(
        np.ascontiguousarray(model.table[:, :256]),
        model.tokenizer,
        folder,
        matryoshka_dims=(256, 128, 64),
        extra={},
    )
    return folder


def short_texts(demo: Path) -> list[str]:
    """Return the distinct queries of the demo."""
    lines = (demo / "data" / "queries.jsonl").read_text(encoding="utf-8").splitlines()
    return list(dict.fromkeys(json.loads(line)["text"] for line in lines))


def _measure(
    command: Sequence[str], name: str, texts: Sequence[str], settings: argparse.Namespace
) -> dict[str, Any]:
    static = "static" in name
    with running(command) as (url, process):
        endpoint = f"{url}/v1/embeddings"
        measured: dict[str, Any] = {"cosine_to_float32": None if static else _cosine(endpoint)}
        position = 0
        for clients in (2,) if static else settings.clients:
            runs = []
            for _ in range(settings.repetitions):
                # No text is repeated, so that no server can use a cache.
                own = texts if static else [f"{text} {position}" for text in texts]
                position += 1
                requests = _requests(endpoint, own, static=static)
                before = cpu_seconds(process.pid)
                load = asyncio.run(ask(url, requests, clients=clients, seconds=settings.seconds))
                cpu_ms = (cpu_seconds(process.pid) - before) * 1000 / len(load.milliseconds)
                runs.append({**load.summary(), "cpu_ms_per_request": round(cpu_ms, 2)})
            measured[f"{clients} clients"] = runs
        measured["rss_mb"] = round(resident_bytes(process.pid) / 2**20)
    if static:
        for run in measured["2 clients"]:
            run["texts_per_s"] = round(run["requests_per_s"] * _BATCH)
    return measured


def _requests(url: str, texts: Sequence[str], *, static: bool) -> list[bytes]:
    body = {"model": NAME, "encoding_format": "base64" if static else "float"}
    if not static:
        return [post_request(url, {**body, "input": [text]}) for text in texts]
    starts = range(0, len(texts) - _BATCH, _BATCH)
    return [
        post_request(url, {**body, "input": list(texts[start : start + _BATCH])})
        for start in starts
    ]


def _cosine(url: str) -> dict[str, float]:
    """Return the cosine of a server's vectors with those of Sentence Transformers at float32."""
    texts = ["read a csv file into a table", "x", "how do I parse a date from a string? " * 12]
    body = json.dumps({"model": NAME, "input": texts}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        lines = json.load(answer)["data"]
    served = np.array([line["embedding"] for line in lines], dtype=np.float32)
    expected = load_model(minilm_folder()).encode(texts, kind="document")
    cosines = _cosines(served, expected)
    return {"least": round(float(cosines.min()), 6), "mean": round(float(cosines.mean()), 6)}


def _cosines(left: Embeddings, right: Embeddings) -> Embeddings:
    lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return np.einsum("nd,nd->n", left, right) / lengths


@contextmanager
def running(command: Sequence[str]) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Start a server, wait until it responds, and yield its URL; the port ends its command."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1"}
    process = subprocess.Popen(
        [*command, str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
    )
    try:
        _wait(port, process)
        yield f"http://127.0.0.1:{port}", process
    finally:
        process.terminate()
        process.wait(60)


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    url = f"http://127.0.0.1:{port}/v1/embeddings"
    body = json.dumps({"model": NAME, "input": ["warm"]}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    for _ in range(600):
        if process.poll() is not None:
            raise SystemExit(f"{process.args} ended with exit code {process.returncode}")
        try:
            urllib.request.urlopen(request).read()
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise SystemExit(f"{process.args} does not respond")


def cpu_seconds(process: int) -> float:
    """Return the processor time of a process, in seconds."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_bytes(process: int) -> int:
    """Return the resident memory of a process."""
    status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    (kilobytes,) = (line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))
    return int(kilobytes) * 1024


if __name__ == "__main__":
    main()
