"""``nestvec embed``: what it prints, its JSON, and an interrupt."""

import json
import signal
import subprocess
import sys

import pyarrow.parquet as pq
import pytest

from ended_commands import write_jsonl


def test_a_corpus_is_embedded_and_the_same_command_continues(nestvec, place):
    first = nestvec("embed", "model", "data", "--out", "vectors", "--dim", 16, "--json")
    values = json.loads(first.out)
    assert first.code == 0
    assert (values["vectors"], values["encoded"], values["dim"], values["kind"]) == (
        *(60, 60),
        *(16, "document"),
    )
    assert pq.read_table(place / "vectors" / "corpus" / "00000.parquet").num_rows == 60
    again = nestvec("embed", "model", "data", "--out", "vectors", "--dim", 16)
    assert again.code == 0
    assert "60 vectors of 16 dims as float16, 60 of them by an earlier run: 1 file" in again.out


def test_queries_are_embedded_from_the_same_folder(nestvec, place):
    done = nestvec("embed", "model", "data", "--out", "vectors", "--kind", "query")
    assert done.code == 0, done.err
    assert pq.read_table(place / "vectors" / "queries" / "00000.parquet").num_rows == 120


def test_queries_need_no_corpus_file(nestvec, place):
    (place / "data/corpus.jsonl").unlink()
    done = nestvec("embed", "model", "data", "--out", "vectors", "--kind", "query")
    assert done.code == 0, done.err
    assert pq.read_table(place / "vectors" / "queries" / "00000.parquet").num_rows == 120
    (place / "data/queries.jsonl").unlink()
    done = nestvec("embed", "model", "data", "--out", "others", "--kind", "query")
    assert done.code == 2
    assert "data: has no queries.jsonl" in done.err


def test_warnings_about_queries_do_not_name_documents(nestvec, place):
    rows = [{"_id": "a", "text": "one"}, {"_id": "b", "text": "one"}, {"_id": "b", "text": "one"}]
    write_jsonl(place / "data/queries.jsonl", rows)
    done = nestvec("embed", "model", "data", "--out", "vectors", "--kind", "query")
    assert "repeated queries, skipped: 1, such as 'b'" in done.err
    assert "queries with the same text as an earlier query: 1, such as 'b'" in done.err
    assert "document" not in done.err
    write_jsonl(place / "data/queries.jsonl", [*rows, {"_id": "b", "text": "two"}])
    done = nestvec("embed", "model", "data", "--out", "vectors", "--kind", "query")
    assert "id 'b' appears twice, with different queries" in done.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--kind", "text"], "--kind 'text' is unknown. Choose document or query."),
        (["--precision", "int9"], "precision 'int9' is not one of float32, float16"),
        (["--dim", "999"], "dim=999 is not from 1 to full_dim=32"),
        (["--passage-words", "9"], "passage_words applies to documents in a folder of text files"),
    ],
)
def test_bad_options_are_one_line(nestvec, options, message):
    done = nestvec("embed", "model", "data", "--out", "vectors", *options)
    assert done.code == 2
    assert message in done.err
    assert done.err.count("\n") == 1


def test_ray_that_is_not_installed_is_one_line(nestvec, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    done = nestvec("embed", "model", "data", "--out", "vectors", "--ray", "auto")
    assert done.code == 2
    assert "pip install 'nestvec[ray]'" in done.err


INTERRUPTED = """
import os, signal, sys
from nestvec.bulk import embedding
write = embedding.write_shard
def interrupt(store, texts, *arguments, **options):
    if texts.number == 2:
        os.kill(os.getpid(), signal.SIGINT)
    return write(store, texts, *arguments, **options)
embedding.write_shard = interrupt
from nestvec.cli.main import run
run()
"""


@pytest.mark.parametrize(("kind", "nouns"), [("document", "documents"), ("query", "queries")])
def test_an_interrupt_names_what_is_stored(place, kind, nouns):
    command = [sys.executable, "-c", INTERRUPTED, "embed", "model", "data", "--out", "vectors"]
    done = subprocess.run(
        [*command, "--shard-rows", "20", "--kind", kind],
        cwd=place,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 128 + signal.SIGINT
    assert f"interrupted. 40 {nouns} are stored." in done.stderr
    assert "Run the same command again to continue." in done.stderr
    folder = "corpus" if kind == "document" else "queries"
    assert not (place / "vectors" / folder / "00002.parquet").exists()
