"""Kill a process that embeds a corpus, again and again, and compare its files with others."""

import random
import signal
import subprocess
import sys
import time

import pytest

from nestvec.bulk.embedding import embed_corpus

KILLS = 6
# Slow batches, so that a process is killed within each kind of work.
EMBED = """
import sys, time
from nestvec.bulk.embedding import embed_corpus
from nestvec.data.corpus import open_corpus
from nestvec.models.static import StaticEncoder
encode = StaticEncoder.encode
def slowly(*arguments, **options):
    time.sleep(0.02)
    return encode(*arguments, **options)
StaticEncoder.encode = slowly
print("start", flush=True)
model, corpus, out, precision = sys.argv[1:]
embed_corpus(model, open_corpus(corpus), out, precision=precision, shard_rows=9)
"""


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_files_after_kills_equal_those_of_an_uninterrupted_run(
    word_model, corpus_file, documents, tmp_path, precision
):
    embed_corpus(str(word_model), documents, tmp_path / "whole", precision=precision, shard_rows=9)
    choose, killed = random.Random(7), tmp_path / "killed"
    command = [sys.executable, "-c", EMBED, *map(str, (word_model, corpus_file, killed, precision))]
    kills = 0
    for _ in range(2 * KILLS):
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        process.stdout.readline()  # imports have ended
        if kills < KILLS:
            time.sleep(choose.uniform(0, 0.3))
            process.kill()
        process.stdout.close()
        if process.wait() == 0:
            break
        kills += process.returncode == -signal.SIGKILL
    assert process.returncode == 0
    assert kills >= 3, "the process ended before it was killed"
    assert contents(killed / "corpus") == contents(tmp_path / "whole" / "corpus")
