"""Embed a corpus on a real Ray cluster of two nodes, and kill a worker and a node meanwhile."""

import os
import secrets
import signal
import socket
import subprocess
import time
from functools import partial
from pathlib import Path

import pytest

from conftest import program, started, wait_until
from nestvec.bulk.embedding import embed_corpus
from nestvec.bulk.job import EmbedSettings
from nestvec.bulk.ray import embed_on_ray
from nestvec.bulk.texts import TextSource
from nestvec.data.corpus import open_corpus
from nestvec.errors import DataError, ModelError
from nestvec.models.load import load_model
from nestvec.models.static import StaticEncoder

PORT = 26_391
ADDRESS = f"127.0.0.1:{PORT}"
ROWS = 20
WORKER = "MapWorker"


class SlowEncoder(StaticEncoder):
    """Encodes a shard in a second, so that a test can end its process meanwhile."""

    def encode(self, texts, **options):
        time.sleep(1)
        return super().encode(texts, **options)


def load_slowly(folder):
    model = load_model(folder)
    model.__class__ = SlowEncoder
    return model


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Start the head and a second node; return the process of the second node."""
    folder = tmp_path_factory.mktemp("ray")
    token, log = folder / "token", folder / "ray.log"
    token.write_text(secrets.token_hex(32))
    tests = f"{Path(__file__).parent}{os.pathsep}{Path(__file__).parents[1]}"
    settings = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "PYTHONPATH": f"{tests}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
    }
    common = ["--num-cpus=1", "--object-store-memory=100000000", "--block"]
    common += ["--disable-usage-stats", "--node-ip-address=127.0.0.1"]
    head = [program("ray"), "start", "--head", f"--port={PORT}", "--include-dashboard=false"]
    node = [program("ray"), "start", f"--address={ADDRESS}"]
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        with started([*head, *common], log):
            wait_until(lambda: nodes() >= 1, 60, log)
            with started([*node, *common], folder / "node.log") as second:
                wait_until(lambda: nodes() >= 2, 60, log)
                yield second


def nodes():
    """Count the nodes of the cluster that are alive."""
    code = f"import ray; ray.init(address={ADDRESS!r}, logging_level='ERROR'); "
    code += "print(sum(node['Alive'] for node in ray.nodes()))"
    command = [program("python"), "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return int(done.stdout.split()[-1]) if done.returncode == 0 else 0


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def expected(word_model, corpus_file, tmp_path_factory):
    """The files of a run without Ray, by precision."""

    def files(precision):
        out = tmp_path_factory.mktemp("local")
        embed_corpus(
            str(word_model), open_corpus(corpus_file), out, precision=precision, shard_rows=ROWS
        )
        return contents(out / "corpus")

    return files


def embed(load, corpus, out, precision="float16", **options):
    settings = EmbedSettings(precision=precision, shard_rows=ROWS)
    return embed_on_ray(load, TextSource(str(corpus)), out, settings, address=ADDRESS, **options)


def test_shards_equal_those_without_ray(cluster, word_model, corpus_file, expected, tmp_path):
    done = embed(partial(load_model, str(word_model)), corpus_file, tmp_path, "int8")
    assert (done.encoded, done.manifest.complete) == (400, True)
    assert contents(tmp_path / "corpus") == expected("int8")
    assert embed(partial(load_model, str(word_model)), corpus_file, tmp_path, "int8").encoded == 0


def test_another_corpus_is_refused(cluster, word_model, corpus_file, tmp_path):
    load = partial(load_model, str(word_model))
    embed(load, corpus_file, tmp_path)
    changed = tmp_path / "changed.jsonl"
    changed.write_text(corpus_file.read_text().replace("w1 ", "w2 "))
    with pytest.raises(DataError, match="was embedded from other texts") as raised:
        embed(load, changed, tmp_path)
    assert "\n" not in str(raised.value)


def test_a_killed_worker_and_a_killed_node_change_no_shard(
    cluster, word_model, corpus_file, expected, tmp_path
):
    def kill(done, _total):
        if done >= 4 * ROWS and "worker" not in killed:
            killed["worker"] = kill_a_worker()
        if done >= 8 * ROWS and "node" not in killed:
            killed["node"] = cluster.pid
            os.killpg(cluster.pid, signal.SIGKILL)

    killed = {}
    done = embed(partial(load_slowly, str(word_model)), corpus_file, tmp_path, on_progress=kill)
    assert killed.keys() == {"worker", "node"} and killed["worker"]
    assert done.manifest.complete
    assert contents(tmp_path / "corpus") == expected("float16")


def kill_a_worker():
    """Kill one process of an actor that encodes; return its process id."""
    token = os.environ["RAY_AUTH_TOKEN_PATH"].encode()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            title = (process / "cmdline").read_bytes()
            ours = token in (process / "environ").read_bytes()
        except OSError:  # the process has ended
            continue
        if ours and WORKER.encode() in title:
            os.kill(int(process.name), signal.SIGKILL)
            return int(process.name)
    return None


def test_a_cluster_that_does_not_run_is_one_line(word_model, corpus_file, tmp_path):
    load = partial(load_model, str(word_model))
    with pytest.raises(ModelError, match="cannot be used") as raised:
        embed_on_ray(
            load, TextSource(str(corpus_file)), tmp_path, EmbedSettings(), address="127.0.0.1:1"
        )
    assert "\n" not in str(raised.value)


def test_no_other_address_can_be_reached():
    with pytest.raises(OSError, match="unreachable"):
        socket.create_connection(("192.0.2.1", 80), timeout=5)
