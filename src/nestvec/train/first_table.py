"""Token tables to start from: a static model's own, or one distilled from a teacher.

A teacher reads each token of its tokenizer by itself, between the marks it puts around a text;
the vectors are turned to their principal axes, so that the first dims hold the most, and frequent
tokens are weighed down, as they say little (SIF: Arora et al. 2017, "A Simple but Tough-to-Beat
Baseline for Sentence Embeddings"). model2vec works like that, too; it guesses frequencies from the
order of the vocabulary, here they are those of the pairs. Prompts are left out, and so is training
(``static``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from nestvec.adapt.projections import fit_pca
from nestvec.errors import InvalidArgument, ModelError
from nestvec.models.sentence_transformer import SentenceTransformerEncoder
from nestvec.models.static import StaticEncoder
from nestvec.train.tokenizer import row_count
from nestvec.types import Embeddings, Encoder, OnProgress

if TYPE_CHECKING:
    from nestvec.train.static import TokenizedPairs

Origin = Literal["table", "teacher"]
_CHUNK = 1024  # tokens that a teacher reads at a time
_SIF = 1e-3  # a token with this share of all tokens counts half as much as a rare one
# Those that the library must read: in bfloat16, or under names of model2vec.
_STATIC = (["StaticEmbedding"], ["StaticEmbedding", "Normalize"])
_UNUSED = re.compile(r"[\[<]unused_?\d+[\]>]")


@dataclass(frozen=True)
class Start:
    """What a static model starts from.

    Attributes:
        origin: A static model's own table, or one distilled from a teacher.
        tokenizer: A ``tokenizers.Tokenizer``.
        table: [vocab, full_dim].
    """

    origin: Origin
    tokenizer: Any
    table: Embeddings

    def table_for(self, pairs: TokenizedPairs) -> Embeddings:
        """Return the table to start from on these pairs, a teacher's weighed by their tokens."""
        return self.table if self.origin == "table" else weigh_by_frequency(self.table, pairs)


def start_from(model: Encoder, *, on_progress: OnProgress = lambda done, total: None) -> Start:
    """Take a static model's table, or distil one from a transformer.

    Args:
        model: What ``load_model`` gives.
        on_progress: Called with tokens that a teacher has read, and all of them.

    Raises:
        InvalidArgument: If it is neither.
        ModelError: If a transformer has no tokenizer of ``tokenizers``.
    """
    if isinstance(model, StaticEncoder):
        return Start("table", model.tokenizer, model.table[: row_count(model.tokenizer)])
    if not isinstance(model, SentenceTransformerEncoder):
        raise InvalidArgument(f"{model.info.name}: has no tokenizer to start from, name a model")
    if [type(module).__name__ for module in model.library_model] in _STATIC:
        static = model.library_model[0]
        table = static.embedding.weight.detach().float().cpu().numpy()
        return Start("table", static.tokenizer, table[: row_count(static.tokenizer)])
    tokenizer = _fast_tokenizer(model)
    # Around their mean: what being a single token gives to all of them says nothing of any, and
    # after training on 19,000 pairs nDCG@10 was .405 with it taken away, .372 with it.
    vectors = _read_tokens(model.library_model, tokenizer, on_progress)
    return Start("teacher", tokenizer, fit_pca(vectors).apply(vectors))


def weigh_by_frequency(table: Embeddings, pairs: TokenizedPairs) -> Embeddings:
    """Weigh each row by a / (a + its token's share of the texts), a = 0.001."""
    total = pairs.anchors.sum(axis=0) + pairs.positives.sum(axis=0)
    share = np.asarray(total, dtype=np.float32) / (2 * pairs.anchors.shape[0])
    return table * (_SIF / (_SIF + share))[:, None].astype(np.float32)


def _fast_tokenizer(model: SentenceTransformerEncoder) -> Any:
    """Return a tokenizer of its own that neither cuts nor pads."""
    from tokenizers import Tokenizer

    backend = getattr(model.library_model.tokenizer, "backend_tokenizer", None)
    if not isinstance(backend, Tokenizer):
        raise ModelError(
            f"{model.info.name}: has no fast tokenizer (tokenizer.json), which a static model "
            "takes over: save the model with one, or name another"
        )
    tokenizer = Tokenizer.from_str(backend.to_str())
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _read_tokens(model: Any, tokenizer: Any, on_progress: OnProgress) -> Embeddings:
    """Return what a teacher makes of each token, [vocab, full_dim]; zeros of those without sense.

    Ids are given to the model, as the text of a piece from within a word is not that piece.
    """
    import torch

    example = tokenizer.encode("a")
    inner = np.flatnonzero(np.array(example.special_tokens_mask) == 0)
    before, after = example.ids[: inner[0]], example.ids[inner[-1] + 1 :]
    ids = _ids_with_sense(tokenizer)
    table = np.zeros((row_count(tokenizer), model.get_embedding_dimension()), dtype=np.float32)
    for start in range(0, len(ids), _CHUNK):
        chunk = ids[start : start + _CHUNK]
        texts = torch.tensor([[*before, each, *after] for each in chunk], device=model.device)
        with torch.inference_mode():
            read = model({"input_ids": texts, "attention_mask": torch.ones_like(texts)})
        table[chunk] = read["sentence_embedding"].float().cpu().numpy()
        on_progress(start + len(chunk), len(ids))
    return table


def _ids_with_sense(tokenizer: Any) -> list[int]:
    marks = {id_ for id_, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    return sorted(
        id_
        for token, id_ in vocabulary.items()
        if id_ not in marks and not _UNUSED.fullmatch(token)
    )
