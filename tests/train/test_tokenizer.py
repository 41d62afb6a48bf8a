"""The tokenizer: words of prose and code, and the same vocabulary on every run."""

import subprocess
import sys

import pytest
from tokenizers import Tokenizer, models

from nestvec.data.training import TrainingPairs
from nestvec.train.static import StaticConfig, tokenize
from nestvec.train.tokenizer import UNKNOWN, row_count, train_tokenizer

TEXTS = [
    "readCsvFile read_csv_file Read the CSV file",
    "Éclair café naïve resume",
    "parse2Json json2parse",
] * 3


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(TEXTS, vocab_size=300)


def words(tokenizer, text):
    """The words that a text is split into, before pieces are looked up."""
    normal = tokenizer.normalizer.normalize_str(text)
    return [word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(normal)]


@pytest.mark.parametrize(
    ("text", "split"),
    [
        ("readCsvFile", ["read", "csv", "file"]),
        ("read_csv_file", ["read", "_", "csv", "_", "file"]),
        ("CSV", ["csv"]),
        ("HTTPServer", ["httpserver"]),
        ("parse2Json", ["parse2", "json"]),
        ("os.path.join(a, b)", ["os", ".", "path", ".", "join", "(", "a", ",", "b", ")"]),
        ("Éclair café NAÏVE", ["eclair", "cafe", "naive"]),
        ("cafe\u0301Bar", ["cafe", "bar"]),
        ("ﬁle ２", ["file", "2"]),
        ("", []),
    ],
)
def test_texts_are_split_into_plain_words(tokenizer, text, split):
    assert words(tokenizer, text) == split


def test_identifiers_share_their_words_with_prose(tokenizer):
    ids = [tokenizer.encode(text).ids for text in ("readCsvFile", "read csv file", "READ Csv file")]
    assert ids[0] == ids[1] == ids[2]
    assert len(ids[0]) == 3  # words that stand often enough are one piece each


def test_unseen_text_is_unknown_and_no_error(tokenizer):
    assert tokenizer.encode("日 本").tokens == [UNKNOWN, UNKNOWN]
    assert tokenizer.encode("file 日").tokens == ["file", UNKNOWN]
    assert tokenizer.encode("").ids == []
    assert tokenizer.token_to_id(UNKNOWN) == 0


def test_no_piece_is_special_in_a_text(tokenizer):
    assert words(tokenizer, "a##b") == ["a", "#", "#", "b"]
    assert "##e" not in tokenizer.encode("##e").tokens
    assert not tokenizer.get_added_tokens_decoder()


@pytest.mark.parametrize("vocab_size", [1, 2, 3, 20, 60])
def test_the_vocabulary_is_not_larger_than_requested(vocab_size):
    tokenizer = train_tokenizer([*TEXTS, "日本語の漢字 한국어 ελληνικά"], vocab_size=vocab_size)
    assert tokenizer.get_vocab_size() <= vocab_size
    assert sorted(tokenizer.get_vocab().values()) == list(range(tokenizer.get_vocab_size()))


def test_the_most_frequent_characters_are_used_if_not_all_fit():
    tokenizer = train_tokenizer(["zzzy zzy", "zy a", "b"], vocab_size=6)
    assert {"y", "z"} <= set(tokenizer.get_vocab())
    assert not {"a", "b"} & set(tokenizer.get_vocab())


def test_without_texts_every_token_is_unknown():
    tokenizer = train_tokenizer([], vocab_size=100)
    assert tokenizer.get_vocab() == {UNKNOWN: 0}
    assert tokenizer.encode("file").tokens == [UNKNOWN]


PRINT_DIGEST = """
import hashlib, sys
import numpy as np
from nestvec.train.tokenizer import train_tokenizer

rng = np.random.default_rng(0)
texts = [" ".join("".join(rng.choice(list("abcdefgh"), 5)) for _ in range(20)) for _ in range(200)]
tokenizer = train_tokenizer(texts, vocab_size=800)
print(hashlib.sha256(tokenizer.to_str().encode()).hexdigest())
"""


def test_every_run_gives_the_same_vocabulary():
    """Words of random letters are equally frequent, so there are many ties.

    The WordPiece trainer by itself gives another vocabulary in each of five runs.
    """
    running = [
        subprocess.Popen([sys.executable, "-c", PRINT_DIGEST], stdout=subprocess.PIPE, text=True)
        for _ in range(5)
    ]
    digests = [process.communicate(timeout=60)[0] for process in running]
    assert all(process.returncode == 0 for process in running)
    assert len(set(digests)) == 1


def test_a_table_has_a_row_for_the_highest_id_even_if_ids_are_missing():
    tokenizer = Tokenizer(models.WordLevel({"a": 0, "b": 5}, unk_token="a"))
    assert (tokenizer.get_vocab_size(), row_count(tokenizer)) == (2, 6)
    pairs = TrainingPairs(["a"], ["b"], [[]])
    assert tokenize(pairs, StaticConfig(), tokenizer=tokenizer).positives.shape == (1, 6)
