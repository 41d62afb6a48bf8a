"""Train a WordPiece tokenizer on texts: lower case, camelCase split, punctuation apart."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from nestvec.errors import require

UNKNOWN = "[UNK]"
_CAMEL_CASE = r"(?<=[a-z0-9])(?=[A-Z])"


def train_tokenizer(texts: Iterable[str], *, vocab_size: int) -> Any:
    """Learn a vocabulary of at most ``vocab_size`` word pieces.

    Args:
        texts: What to learn from.
        vocab_size: Upper limit, the unknown token included.

    Returns:
        A ``tokenizers.Tokenizer`` without special tokens around a text.

    Raises:
        MissingExtra: If tokenizers is not installed.
    """
    tokenizers = require("tokenizers", extra="train")
    from tokenizers import models, normalizers, pre_tokenizers, trainers

    tokenizer = tokenizers.Tokenizer(models.WordPiece(unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.NFKC(),
            # Identifiers are words run together; this must come before case is folded.
            normalizers.Replace(tokenizers.Regex(_CAMEL_CASE), " "),
            normalizers.Lowercase(),
            normalizers.StripAccents(),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size, min_frequency=2, special_tokens=[UNKNOWN], show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer
