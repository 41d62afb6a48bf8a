"""Build an index with the command line, serve it in another process, and call the server."""

import json
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

from word_model import WORDS

COMMAND = [sys.executable, "-m", "nestvec.cli.main"]
ADDED = {"id": "new", "text": "w3 w3 w4", "metadata": {"number": 99}}
POINT = "16:float32@50>32:float32"
_OPENER = build_opener(ProxyHandler({}))


def build(url, model, folder):
    """Index one document for each word, with its number as metadata."""
    corpus = folder / "corpus.jsonl"
    rows = [
        {"_id": f"d{number}", "text": f"{word} {word} {WORDS[1]}", "metadata": {"number": number}}
        for number, word in enumerate(WORDS[2:], start=2)
    ]
    corpus.write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = [*COMMAND, "index", "build", str(model), str(corpus), "--point", POINT, "--out", url]
    subprocess.run(command, check=True)


@contextmanager
def serving(url, *options):
    """Run ``nestvec serve``; yields its address. The server must end by SIGTERM without an error.

    Afterwards, the log of the server must contain no warning and no error.
    """
    command = [*COMMAND, "serve", url, "--port", "0", *options]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            line = process.stdout.readline()
            address = re.search(r"http://\S+", line)
            assert address, line + process.stderr.read()
            yield address[0].rstrip("/")
            process.send_signal(signal.SIGTERM)
            _, log = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 0, log
    levels = [json.loads(line)["level"] for line in log.splitlines()]
    assert {*levels} == {"info"}, log


def call(address, **body):
    """Send a body to a path of the server; return the status and the answer."""
    path = body.pop("path", "/v1/search")
    content = json.dumps(body).encode() if body else None
    request = Request(address + path, content, {"content-type": "application/json"})
    try:
        with _OPENER.open(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()


def check_served_index(url, model, folder):
    """Assert what a user of an index in a database expects of its server."""
    build(url, model, folder)
    with serving(url) as address:
        assert _ids(address, query="w9", k=1) == ["d10"]
        assert {*_ids(address, query="w9", k=50, where="number >= 36")} == {
            f"d{number}" for number in range(36, len(WORDS))
        }
        status, answer = call(address, query="w9", where="nunber >= 36")
        assert (status, "no document has the field nunber" in answer) == (400, True)
        status, answer = call(address, query="w9", point="8:float32@50>32:float32")
        assert (status, "nestvec index use" in answer) == (400, True)
        assert call(address, path="/v1/documents", documents=[ADDED])[0] == 403
        _check_page(address)
    with serving(url, "--writable") as address:
        assert call(address, path="/v1/documents", documents=[ADDED])[0] == 200
        assert _ids(address, query="w3 w3 w4", k=1) == ["new"]
        assert _ids(address, query="w9", where="number = 99") == ["new"]


def _check_page(address):
    """Open the page: it offers no points that the index would refuse."""
    assert call(address, path="/")[0] == 200
    status, models = call(address, path="/v1/models")
    assert status == 200
    assert json.loads(models)["data"][0]["index"]["any_point"] is False


def _ids(address, **body):
    status, answer = call(address, **body)
    assert status == 200, answer
    return [hit["id"] for hit in json.loads(answer)["hits"]]
