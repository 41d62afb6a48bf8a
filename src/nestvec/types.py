"""Types shared by all layers: operating points, documents, hits, models, array aliases.

``codec`` truncates and quantizes vectors.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any, Literal, NamedTuple, Protocol, get_args, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from nestvec.errors import InvalidArgument

Embeddings = NDArray[np.float32]
"""Float vectors, [n, dim]."""
Codes = NDArray[np.uint8]
"""Quantized vectors, [n, bytes]."""
Rows = NDArray[np.int64]
"""Row numbers of documents in a corpus."""
Scores = NDArray[np.float64]
"""Metric values, [n_queries]."""

Scalar = str | int | float  # int includes bool
"""A single value of a metadata field. Dates are ISO 8601 strings."""
MetadataValue = Scalar | Sequence[Scalar]
"""A value of a metadata field: one value, or a list of values."""
Metadata = Mapping[str, MetadataValue]
"""Fields of a document or a query, by name."""

Kind = Literal["query", "document"]
Precision = Literal["float32", "float16", "int8", "int4", "int2", "binary", "sign", "pq4"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
CodeKey = tuple[int, Precision]
"""Identifies a representation: (dim, precision)."""

Evidence = Literal["labels", "made queries", "agreement"]
"""What a curve's metrics are measured against: relevance labels; queries generated from the corpus,
each with its source text; or agreement with full precision."""

OnProgress = Callable[[int, int], None]
"""Progress callback, called with (done, total)."""


@runtime_checkable
class StepProgress(Protocol):
    """A progress callback that also shows the name of the current step."""

    def __call__(self, done: int, total: int) -> None:
        """Report how much of the step is done."""
        ...

    def begin(self, name: str, unit: str = "steps") -> None:
        """Begin a step: its name, and what is counted, in the plural."""
        ...


def begin_step(on_progress: OnProgress | None, name: str, unit: str = "steps") -> None:
    """Name the next step, if the progress callback shows names of steps."""
    if isinstance(on_progress, StepProgress):
        on_progress.begin(name, unit)


_STAGE = re.compile(r"(?P<dim>[0-9]{1,9}):(?P<precision>[a-z0-9]+)(?:@(?P<keep>[0-9]{1,9}))?")


@dataclass(frozen=True)
class Stage:
    """One stage of a search: score ``dim`` dimensions at ``precision``.

    The best ``keep`` documents are passed to the next stage. In the last stage ``keep`` is None:
    it returns the ``k`` documents that the search requests.
    """

    dim: int
    precision: Precision
    keep: int | None = None

    def __post_init__(self) -> None:
        """Check each value against its limit."""
        if self.dim < 1:
            raise InvalidArgument(f"dim={self.dim} is below 1 in stage {self}.")
        if self.precision not in PRECISIONS:
            known = ", ".join(PRECISIONS)
            raise InvalidArgument(f"precision {self.precision!r} is not one of {known}.")
        if self.keep is not None and self.keep < 1:
            raise InvalidArgument(f"keep={self.keep} is below 1 in stage {self}.")

    def __str__(self) -> str:
        """Write the stage as ``dim:precision[@keep]``."""
        keep = "" if self.keep is None else f"@{self.keep}"
        return f"{self.dim}:{self.precision}{keep}"

    @property
    def representation(self) -> CodeKey:
        """The representation that this stage scores: (dim, precision)."""
        return self.dim, self.precision


@dataclass(frozen=True)
class OperatingPoint:
    """How vectors are searched: one stage, or a shortlist rescored by later stages.

    The text form is the same everywhere: ``256:int4``, ``256:int4@200>1024:float16``,
    ``64:binary@1000>256:int8@100>1024:float16``.
    """

    stages: tuple[Stage, ...]

    def __post_init__(self) -> None:
        """Check that each stage except the last has a ``keep``, and that these do not increase."""
        if not self.stages:
            raise InvalidArgument("An operating point needs at least one stage.")
        *shortlists, last = self.stages
        if last.keep is not None:
            raise InvalidArgument(f"{self}: the last stage returns k documents. Remove its @keep.")
        for stage in shortlists:
            if stage.keep is None:
                raise InvalidArgument(f"{self}: stage {stage} is not the last. Add @keep to it.")
        keeps = [stage.keep for stage in shortlists if stage.keep is not None]
        if any(later > earlier for earlier, later in pairwise(keeps)):
            raise InvalidArgument(
                f"{self}: keep increases. A stage cannot keep more than the one before."
            )

    @classmethod
    def parse(cls, text: str) -> OperatingPoint:
        """Parse the text form.

        >>> OperatingPoint.parse("64:binary@200>512:int8").stages[0]
        Stage(dim=64, precision='binary', keep=200)

        Raises:
            InvalidArgument: If the text is not an operating point.
        """
        stages = []
        for part in text.strip().split(">"):
            match = _STAGE.fullmatch(part.strip())
            if match is None:
                examples = "256:int4, 64:binary@200>512:int8"
                raise InvalidArgument(f"{text!r} is not an operating point. Examples: {examples}.")
            keep = match["keep"]
            precision: Any = match["precision"]  # Stage checks it
            stages.append(Stage(int(match["dim"]), precision, int(keep) if keep else None))
        return cls(tuple(stages))

    @classmethod
    def single(cls, dim: int, precision: Precision) -> OperatingPoint:
        """Create a point with one stage."""
        return cls((Stage(dim, precision),))

    def __str__(self) -> str:
        """Write the text form."""
        return ">".join(str(stage) for stage in self.stages)


@dataclass(frozen=True, slots=True)
class Document:
    """A text of the corpus, with title and metadata."""

    text: str
    title: str = ""
    metadata: Metadata = field(default_factory=dict)

    def __eq__(self, other: object) -> bool:
        """Compare texts and metadata. In metadata, True differs from 1, unlike in Python."""
        if not isinstance(other, Document):
            return NotImplemented
        if (self.text, self.title) != (other.text, other.title):
            return False
        one, two = self.metadata, other.metadata
        return one == two and _booleans_in(one) == _booleans_in(two)

    @property
    def content(self) -> str:
        """The text to encode: title and text, joined as in BEIR."""
        return f"{self.title} {self.text}".strip() if self.title else self.text.strip()


def _booleans_in(metadata: Metadata) -> dict[str, bool | list[bool]]:
    """Return, for each field, which values are booleans."""
    return {
        field: [isinstance(item, bool) for item in value]
        if isinstance(value, list | tuple)
        else isinstance(value, bool)
        for field, value in metadata.items()
    }


class Hit(NamedTuple):
    """One document that a search found.

    Attributes:
        id: The document's id.
        score: Higher is better.
        text: The document's text; "" if the index has none.
        title: The document's title; "" if it has none.
        metadata: The document's fields, by name.
    """

    id: str
    score: float
    text: str
    title: str
    metadata: Metadata


@dataclass(frozen=True)
class Hits:
    """The results of a search over a batch of queries, best first.

    ``hits[0]`` are the hits of the first query, with texts, titles and metadata. Iteration yields
    the hits of each query. Equal scores are sorted by descending id. A query has fewer than k hits
    only if the index or the last shortlist has fewer than k documents.

    Attributes:
        ids: Document ids, [n_queries][at most k].
        scores: Scores in the same order.
        get: Reads documents by id from the searched index when hits are accessed; None if there
            are no documents to read.
    """

    ids: list[list[str]]
    scores: list[list[float]]
    get: Callable[[Sequence[str]], Mapping[str, Document]] | None = field(
        default=None, repr=False, compare=False
    )

    def __len__(self) -> int:
        """Count the queries."""
        return len(self.ids)

    def __getitem__(self, query: int) -> list[Hit]:
        """Return the hits of one query.

        Raises:
            IndexError: If there are fewer queries.
        """
        ids = self.ids[query]
        documents = {} if self.get is None else self.get(ids)
        nothing = Document("")  # for documents deleted after the search
        found = [documents.get(id_, nothing) for id_ in ids]
        return [
            Hit(id_, score, each.text, each.title, each.metadata)
            for id_, score, each in zip(ids, self.scores[query], found, strict=True)
        ]

    def __iter__(self) -> Iterator[list[Hit]]:
        """Yield the hits of each query."""
        return (self[query] for query in range(len(self)))


@dataclass(frozen=True)
class ModelInfo:
    """Information about a model that is needed to use its vectors correctly.

    Attributes:
        name: Path or hub id of the model.
        fingerprint: sha256 of weights, tokenizer, pooling, normalization, prompts and tasks.
        full_dim: Number of dimensions of its embeddings.
        dims: Dims to measure, largest first; the Matryoshka dims if they are known.
        dims_source: Source of ``dims`` ("config.json", "known model", "guess").
        dims_trained: Whether the model was trained for ``dims``.
        min_dim: Smallest dim of a model that was trained for every dim from it to ``full_dim``;
            None if the model was trained for single dims only, or if it is unknown.
        matryoshka: Whether the model is known to be trained for truncation, at whichever dims.
        not_prefixes: Why embeddings of the model must not be truncated, as a clause; else "".
        layer_norm: Whether the model card requires layer normalization before truncation.
        query_prompt: Prefix of each query.
        document_prompt: Prefix of each document.
        query_task: Argument ``task`` of a model with task adapters, for queries; else "".
        document_task: Argument ``task`` for documents; else "".
        max_tokens: Longer texts are truncated; None without a limit.
        dtype: Data type of the computation, such as "float32"; "" if unknown or for precomputed
            vectors. It affects vectors slightly and is not part of the fingerprint.
        adapter: sha256 of the adapter; "" without an adapter.
        pooling: How the vectors of all tokens become one vector ("mean", "cls", "lasttoken");
            "" if unknown or for precomputed vectors.
        weights: sha256 of the same files as ``fingerprint`` without the prompts; "" if unknown or
            for precomputed vectors.
        prompts_source: Source of the prompts ("config_sentence_transformers.json", "known model",
            "requested"); "" without prompts or if unknown.
        query_model: The model that encodes queries, if it is another one. ``query_prompt`` is then
            its prompt, and the other values are those of documents.
        document_fingerprint: Fingerprint of the model of documents alone, if ``fingerprint`` is
            of both models.
    """

    name: str
    fingerprint: str
    full_dim: int
    dims: tuple[int, ...]
    dims_source: str
    dims_trained: bool
    layer_norm: bool = False
    query_prompt: str = ""
    document_prompt: str = ""
    max_tokens: int | None = None
    adapter: str = ""
    dtype: str = ""
    pooling: str = ""
    weights: str = ""
    prompts_source: str = ""
    min_dim: int | None = None
    matryoshka: bool = False
    not_prefixes: str = ""
    query_task: str = ""
    document_task: str = ""
    query_model: ModelInfo | None = None
    document_fingerprint: str = ""

    def is_trained_for(self, dim: int) -> bool:
        """Return whether vectors of the model may be truncated to a dim."""
        if dim == self.full_dim or (self.dims_trained and dim in self.dims):
            return True
        return self.min_dim is not None and self.min_dim <= dim <= self.full_dim

    @property
    def identity(self) -> str:
        """Name and short fingerprint, for messages."""
        adapted = " with an adapter" if self.adapter else ""
        queried = f", queries by {self.query_model.name}" if self.query_model else ""
        return f"{self.name}{adapted}{queried} ({self.fingerprint[:12]})"

    @property
    def prompts(self) -> dict[Kind, str]:
        """The prefix of each kind of text; "" without a prompt."""
        return {"query": self.query_prompt, "document": self.document_prompt}

    def to_json(self) -> dict[str, Any]:
        """Return plain values for a JSON file."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ModelInfo:
        """Create an info from the values of ``to_json``, also of earlier versions."""
        named = {_RENAMED.get(name, name): value for name, value in values.items()}
        query_model = values.get("query_model")
        named["query_model"] = None if query_model is None else cls.from_json(query_model)
        return cls(**{**named, "dims": tuple(values["dims"])})


_RENAMED = {"adaptor": "adapter"}


@runtime_checkable
class Encoder(Protocol):
    """Encodes texts as embeddings."""

    @property
    def info(self) -> ModelInfo:
        """Information about the model."""
        ...

    def encode(
        self, texts: Sequence[str], *, kind: Kind, on_progress: OnProgress | None = None
    ) -> Embeddings:
        """Encode texts, float32 [n, full_dim], neither normalized nor truncated."""
        ...

    def count_truncated(self, texts: Sequence[str], *, kind: Kind) -> int:
        """Count the texts that are longer than the model's maximum length."""
        ...


@runtime_checkable
class TimedEncoder(Encoder, Protocol):
    """An encoder that can report a stored time for encoding one text."""

    def encode_ms(self, texts: Sequence[str], *, kind: Kind) -> float | None:
        """Return the milliseconds for encoding one text; None if no time is stored."""
        ...


@runtime_checkable
class TokenEncoder(Encoder, Protocol):
    """An encoder that tokenizes and encodes in two separate steps."""

    @property
    def vocabulary(self) -> int:
        """Size of the vocabulary; token ids are smaller."""
        ...

    @property
    def special_tokens(self) -> tuple[Sequence[int], Sequence[int]]:
        """The token ids that ``tokenize`` adds before and after each text with its prompt."""
        ...

    def tokenize(self, texts: Sequence[str], *, kind: Kind) -> list[list[int]]:
        """Return the token ids that ``encode`` uses: with prompt, truncated."""
        ...

    def encode_tokens(self, ids: Sequence[Sequence[int]]) -> Embeddings:
        """Encode the result of ``tokenize``, with the same result as ``encode``, [n, full_dim]."""
        ...
