"""A table of models with published Matryoshka dims, prompts and layer normalization.

``info`` has the defaults for models that are not in the table.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class KnownModel:
    """Published information about a model.

    Attributes:
        names: Hub ids or API names, the canonical name first.
        full_dim: Number of dimensions of its embeddings.
        trained_dims: Dims that it was trained or published for, largest first; empty if it was
            not trained for truncation.
        query_prompt: Prefix of each query.
        document_prompt: Prefix of each document.
        layer_norm: Whether its card applies layer normalization before truncation.
        source: URL of the publication.
    """

    names: tuple[str, ...]
    full_dim: int
    trained_dims: tuple[int, ...] = ()
    query_prompt: str = ""
    document_prompt: str = ""
    layer_norm: bool = False
    source: str = ""


_BGE_PROMPT = "Represent this sentence for searching relevant passages: "
_OPENAI = "https://openai.com/index/new-embedding-models-and-api-updates/"

_E5_DIMS = {
    **{"e5-small": 384, "e5-base": 768, "e5-large": 1024},
    **{"e5-small-v2": 384, "e5-base-v2": 768, "e5-large-v2": 1024},
    **{"multilingual-e5-small": 384, "multilingual-e5-base": 768, "multilingual-e5-large": 1024},
}
_E5_MODELS = tuple(
    KnownModel(
        names=(f"intfloat/{name}",),
        full_dim=full_dim,
        query_prompt="query: ",
        document_prompt="passage: ",
        source=f"https://huggingface.co/intfloat/{name}",
    )
    for name, full_dim in _E5_DIMS.items()
)

KNOWN_MODELS: tuple[KnownModel, ...] = (
    *_E5_MODELS,
    KnownModel(
        names=("nomic-ai/nomic-embed-text-v1.5",),
        full_dim=768,
        trained_dims=(768, 512, 256, 128, 64),
        query_prompt="search_query: ",
        document_prompt="search_document: ",
        layer_norm=True,
        source="https://huggingface.co/nomic-ai/nomic-embed-text-v1.5",
    ),
    KnownModel(
        names=("mixedbread-ai/mxbai-embed-large-v1",),
        full_dim=1024,
        trained_dims=(1024, 512),  # the card mentions Matryoshka and no other dims
        query_prompt="Represent this sentence for searching relevant passages: ",
        source="https://huggingface.co/mixedbread-ai/mxbai-embed-large-v1",
    ),
    KnownModel(
        names=("text-embedding-3-small",),
        full_dim=1536,
        trained_dims=(1536, 512),
        source=_OPENAI,
    ),
    KnownModel(
        names=("text-embedding-3-large",),
        full_dim=3072,
        trained_dims=(3072, 1024, 256),
        source=_OPENAI,
    ),
    KnownModel(
        names=("BAAI/bge-small-en-v1.5",),
        full_dim=384,
        query_prompt=_BGE_PROMPT,
        source="https://huggingface.co/BAAI/bge-small-en-v1.5",
    ),
    KnownModel(
        names=("BAAI/bge-base-en-v1.5",),
        full_dim=768,
        query_prompt=_BGE_PROMPT,
        source="https://huggingface.co/BAAI/bge-base-en-v1.5",
    ),
    KnownModel(
        names=("BAAI/bge-large-en-v1.5",),
        full_dim=1024,
        query_prompt=_BGE_PROMPT,
        source="https://huggingface.co/BAAI/bge-large-en-v1.5",
    ),
    KnownModel(
        names=("sentence-transformers/all-MiniLM-L6-v2",),
        full_dim=384,
        source="https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2",
    ),
)


def find_known(name: str) -> KnownModel | None:
    """Look up a model by the last part of its path or hub id, ignoring case.

    >>> find_known("models/BGE_small-en-v1.5").full_dim
    384
    """
    wanted = _last_part(name)
    for model in KNOWN_MODELS:
        if any(_last_part(known) == wanted for known in model.names):
            return model
    return None


def _last_part(name: str) -> str:
    last = name.replace("\\", "/").rstrip("/").rpartition("/")[2]
    return last.lower().replace("_", "-")
