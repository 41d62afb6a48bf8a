"""`nestvec serve` as a process: it says where it listens, ends cleanly, and refuses in one line."""

import json
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

import httpx
import pytest

COMMAND = [sys.executable, "-m", "nestvec.cli.main", "serve"]


@contextmanager
def serving(place, *arguments):
    """Serve in a folder; yields the process and its address."""
    process = subprocess.Popen(
        [*COMMAND, *arguments, "--port", "0"],
        cwd=place,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        said = process.stdout.readline()
        found = re.search(r"http://\S+", said)
        assert found, said + process.stderr.read()
        yield process, found[0].rstrip("/")
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_answers_until_it_is_told_to_end_and_ends_well(place, number):
    with serving(place, "index", "--tier", "fast=16:int8", "--curve", "curve.json") as (
        process,
        at,
    ):
        with httpx.Client(base_url=at) as client:
            models = client.get("/v1/models").json()["data"]
            names = ["index", "index:query", "index:document", "index:fast"]
            assert [model["id"] for model in models] == names
            found = client.post("/v1/search", json={"query": "about", "model": "index:fast"})
            assert len(found.json()["hits"]) == 10
            assert client.get("/v1/curve").json()["model"]["name"] == "index"
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (0, "")
    lines = [json.loads(line) for line in err.splitlines()]
    assert [line["route"] for line in lines] == ["/v1/models", "/v1/search", "/v1/curve"]


def test_a_port_that_is_taken_is_one_line(nestvec):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = nestvec("serve", "index", "--port", str(port))
    assert ended.code == 2
    assert ended.err == (
        f"nestvec: port {port} of 127.0.0.1 is in use. Choose another port with --port.\n"
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("index --host 0.0.0.0", "can be reached from other machines, and there is no API key"),
        ("index --port 70000", "--port 70000 is out of range. Choose a value from 0 to 65535."),
        ("index --host no.such.host.invalid --insecure", "cannot listen on no.such.host.invalid"),
        ("index --tier fast", "--tier 'fast' is not NAME=POINT. Example: fast=64:int4"),
        ("index --tier a=8:int8 --tier a=8:int4", "--tier a is given twice"),
        ("index --tier a=900:int8", "larger than full_dim=32. Choose dims from 1 to 32."),
        ("index --api-key-file nowhere", "nowhere: cannot be read (No such file or directory)"),
        ("nowhere", "nowhere"),
        ("model model", "model and model are two models. Serve only one."),
        ("index index", "index and index are two indexes. Serve only one."),
        ("data", "data"),
        ("model --curve nowhere.json", "nowhere.json"),
        ("model --adapter nowhere", "nowhere: cannot be read as an adapter"),
        ("model --writable", "--writable requires an index."),
        ("index --tier query=8:int8", "tier query=8:int8: the name selects how texts are encoded"),
        ("model --decode-token-ids cl1", "--decode-token-ids cl1 is unknown. Choose one of"),
        ("model --accept-token-ids --decode-token-ids cl100k_base", "exclude each other"),
        ("index --shadow-texts", "need a second index. Pass --shadow INDEX."),
        ("index --shadow index --shadow-share 2", "shadow share 2 is not above 0 and at most 1."),
        ("index --shadow nowhere", "nowhere"),
        ("model --shadow index", "--shadow requires an index. Serve an index."),
    ],
)
def test_what_cannot_be_served_is_one_line(nestvec, arguments, words):
    ended = nestvec("serve", "--port", "0", *arguments.split())
    assert ended.code == 2, ended
    assert words in ended.err
    assert ended.err.count("\n") == 1
    assert ended.out == ""


def test_token_ids_are_accepted_with_the_option_alone(place):
    body = {"model": "model", "input": [[1, 2], [3]]}
    for options, status in (((), 400), (("--accept-token-ids",), 200)):
        with serving(place, "model", *options) as (_, at):
            assert httpx.post(f"{at}/v1/embeddings", json=body).status_code == status


def test_a_share_of_the_searches_is_sent_to_a_second_index(place):
    options = ("--shadow", "index", "--shadow-share", "1", "--shadow-point", "8:int4")
    with serving(place, "index", *options) as (process, at):
        line = process.stdout.readline()
        assert line == "100.0 % of the searches are also sent to index at 8:int4\n"
        with httpx.Client(base_url=at) as client:
            client.post("/v1/search", json={"query": "about"}).raise_for_status()
            end = time.monotonic() + 20
            figures = client.get("/v1/shadow").json()
            while figures["shadowed"] == 0 and time.monotonic() < end:
                figures = client.get("/v1/shadow").json()
        assert (figures["requests"], figures["shadowed"], figures["failed"]) == (1, 1, 0)
        assert 0 <= figures["overlap"] <= 1
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    assert process.returncode == 0


def test_a_model_and_its_index_are_served_together_and_others_are_refused(place, nestvec):
    with serving(place, "model", "index", "--name", "ours") as (_, at):
        assert httpx.get(f"{at}/v1/models").json()["data"][0]["id"] == "ours"
        answer = httpx.post(f"{at}/v1/embeddings", json={"model": "ours", "input": "a"})
        assert answer.status_code == 200
    nestvec(
        "train", "--static", "--pairs", "data", "--dims", "32", "--epochs", "1", "--out", "other"
    )
    ended = nestvec("serve", "other", "index", "--port", "0")
    assert (ended.code, "re-embed the index" in ended.err) == (2, True)


def test_prompts_are_printed_and_compared_with_those_of_the_index(place, nestvec):
    with serving(place, "model", "--query-prompt", "how ") as (process, _):
        assert (
            process.stdout.readline() == "prompts: query 'how ', document '' (requested; "
            "document: config_sentence_transformers.json)\n"
        )
    ended = nestvec("serve", "index", "--port", "0", "--document-prompt", "x ")
    assert ended.code == 2
    assert "document prompt ('' in the index, 'x ' in the model)" in ended.err
