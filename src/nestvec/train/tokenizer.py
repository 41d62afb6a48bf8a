"""Train a WordPiece tokenizer: lower case, no accents, camelCase and punctuation split.

Training is deterministic: the same texts give the same vocabulary in the same order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

from nestvec.errors import require

UNKNOWN = "[UNK]"
_CONTINUES = "##"  # prefix of a piece that does not start a word
_CAMEL_CASE = r"(?<=[a-z0-9])(?=[A-Z])"


def train_tokenizer(texts: Sequence[str], *, vocab_size: int) -> Any:
    """Train a tokenizer with a vocabulary of at most ``vocab_size`` word pieces.

    Args:
        texts: Training texts.
        vocab_size: Maximum vocabulary size, including the unknown token.

    Returns:
        A ``tokenizers.Tokenizer`` that adds no special tokens to a text.

    Raises:
        MissingExtra: If tokenizers is not installed.
    """
    require("tokenizers", extra="train")
    from tokenizers import models, trainers

    learner = _new_tokenizer(models.WordPiece(unk_token=UNKNOWN))
    # A character needs two entries: at the start of a word and within a word.
    alphabet = _alphabet(texts, learner.normalizer, size=(vocab_size - 1) // 2)
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        # Otherwise the trainer numbers these in the order of a hash map, and breaks ties by number:
        # https://github.com/huggingface/tokenizers/issues/1794
        special_tokens=[UNKNOWN, *(_CONTINUES + character for character in alphabet)],
        continuing_subword_prefix=_CONTINUES,
        show_progress=False,
    )
    learner.train_from_iterator(texts, trainer)
    # A new tokenizer, because these entries would remain special tokens in the trained one.
    return _new_tokenizer(models.WordPiece(learner.get_vocab(), unk_token=UNKNOWN))


def row_count(tokenizer: Any) -> int:
    """Count the rows that a table needs for all ids of a ``tokenizers.Tokenizer``."""
    ids: Iterable[int] = tokenizer.get_vocab(with_added_tokens=True).values()
    return max(ids, default=-1) + 1


def _new_tokenizer(model: Any) -> Any:
    from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers

    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.NFKD(),  # separates accents, which the next step removes
            normalizers.StripAccents(),
            # Splits identifiers in camelCase, so it must come before lower-casing.
            normalizers.Replace(Regex(_CAMEL_CASE), " "),
            normalizers.Lowercase(),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


def _alphabet(texts: Sequence[str], normalizer: Any, *, size: int) -> list[str]:
    """Return the most frequent characters of normalized texts, at most ``size``, in order."""
    counts: Counter[str] = Counter()
    for character, count in Counter(chain.from_iterable(texts)).items():
        for each in normalizer.normalize_str(character):
            if not each.isspace():
                counts[each] += count
    kept = sorted(counts, key=lambda character: (-counts[character], character))[:size]
    return sorted(kept)
