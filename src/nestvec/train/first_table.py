"""Initial token tables: the table of a static model, or one distilled from a transformer.

Distillation embeds each token of the teacher's tokenizer alone, between the special tokens that the
tokenizer adds to a text. The vectors are projected on their principal axes, so that the first dims
are the most important. Frequent tokens get a lower weight, because they carry little meaning (SIF:
Arora et al. 2017, "A Simple but Tough-to-Beat Baseline for Sentence Embeddings").

model2vec uses the same method, but estimates token frequencies from the order of the vocabulary.
Here they are counted in the training pairs. Prompts are not used. ``static`` trains the table.
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
    from nestvec.train.tokenized import TokenizedPairs

Origin = Literal["table", "teacher"]
_CHUNK = 1024  # tokens that the teacher embeds at a time
_SIF = 1e-3  # a token with this share of all tokens gets half the weight of a rare one
# Static models that Sentence Transformers loads: in bfloat16, or with model2vec's file names.
_STATIC = (["StaticEmbedding"], ["StaticEmbedding", "Normalize"])
_UNUSED = re.compile(r"[\[<]unused_?\d+[\]>]")


@dataclass(frozen=True)
class Start:
    """Initial state of a static model.

    Attributes:
        origin: "table" for the table of a static model, "teacher" for a distilled table.
        tokenizer: A ``tokenizers.Tokenizer``.
        table: [vocab, full_dim].
    """

    origin: Origin
    tokenizer: Any
    table: Embeddings

    def table_for(self, pairs: TokenizedPairs) -> Embeddings:
        """Return the initial table for these pairs; a distilled table is weighted by frequency."""
        return self.table if self.origin == "table" else weight_by_frequency(self.table, pairs)


def start_from(model: Encoder, *, on_progress: OnProgress = lambda done, total: None) -> Start:
    """Return a static model's table, or distill a table from a transformer.

    Args:
        model: A model that ``load_model`` returned.
        on_progress: Called with the tokens that the transformer has embedded and their total.

    Raises:
        InvalidArgument: If the model is neither static nor a transformer.
        ModelError: If a transformer's tokenizer is not one of the ``tokenizers`` library.
    """
    if isinstance(model, StaticEncoder):
        return Start("table", model.tokenizer, model.table[: row_count(model.tokenizer)])
    if not isinstance(model, SentenceTransformerEncoder):
        problem = f"{model.info.name} has no tokenizer, so training cannot start from it."
        raise InvalidArgument(f"{problem} Pass a static model or a transformer.")
    if [type(module).__name__ for module in model.library_model] in _STATIC:
        static = model.library_model[0]
        table = static.embedding.weight.detach().float().cpu().numpy()
        return Start("table", static.tokenizer, table[: row_count(static.tokenizer)])
    tokenizer = _fast_tokenizer(model)
    # Centered, because the component that all single tokens share carries no meaning. After
    # training on 19,000 pairs, nDCG@10 was 0.405 with centering and 0.372 without.
    vectors = _embed_tokens(model.library_model, tokenizer, on_progress)
    return Start("teacher", tokenizer, fit_pca(vectors).apply(vectors))


def weight_by_frequency(table: Embeddings, pairs: TokenizedPairs) -> Embeddings:
    """Multiply each row by a / (a + share of the row's token in the texts), a = 0.001."""
    total = pairs.anchors.sum(axis=0) + pairs.positives.sum(axis=0)
    share = np.asarray(total, dtype=np.float32) / (2 * pairs.anchors.shape[0])
    return table * (_SIF / (_SIF + share))[:, None].astype(np.float32)


def _fast_tokenizer(model: SentenceTransformerEncoder) -> Any:
    """Return a copy of the model's tokenizer without truncation and padding."""
    from tokenizers import Tokenizer

    backend = getattr(model.library_model.tokenizer, "backend_tokenizer", None)
    if not isinstance(backend, Tokenizer):
        raise ModelError(
            f"{model.info.name} has no fast tokenizer (tokenizer.json), which a static model "
            "needs. Save the model with a fast tokenizer, or choose another model."
        )
    tokenizer = Tokenizer.from_str(backend.to_str())
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _embed_tokens(model: Any, tokenizer: Any, on_progress: OnProgress) -> Embeddings:
    """Return the teacher's embedding of each token, [vocab, full_dim]; zeros for special tokens.

    The model gets token ids, because the text of a word piece would be tokenized differently.
    """
    import torch

    example = tokenizer.encode("a")
    inner = np.flatnonzero(np.array(example.special_tokens_mask) == 0)
    before, after = example.ids[: inner[0]], example.ids[inner[-1] + 1 :]
    ids = _embeddable_ids(tokenizer)
    table = np.zeros((row_count(tokenizer), model.get_embedding_dimension()), dtype=np.float32)
    for start in range(0, len(ids), _CHUNK):
        chunk = ids[start : start + _CHUNK]
        texts = torch.tensor([[*before, each, *after] for each in chunk], device=model.device)
        with torch.inference_mode():
            output = model({"input_ids": texts, "attention_mask": torch.ones_like(texts)})
        table[chunk] = output["sentence_embedding"].float().cpu().numpy()
        on_progress(start + len(chunk), len(ids))
    return table


def _embeddable_ids(tokenizer: Any) -> list[int]:
    """Return the ids of all tokens except special and unused tokens, ascending."""
    special = {id_ for id_, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    return sorted(
        id_
        for token, id_ in vocabulary.items()
        if id_ not in special and not _UNUSED.fullmatch(token)
    )
