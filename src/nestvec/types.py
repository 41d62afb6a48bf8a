"""The words that every layer shares: operating points, documents, hits, models, array aliases.

Nothing here computes on vectors; what cuts or quantizes them lives in ``codec``.
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
"""Positions in a corpus."""
Scores = NDArray[np.float64]
"""Metric values, one for each query."""

Metadata = Mapping[str, str | int | float]
"""What else is known of a document or a query, by field."""

Kind = Literal["query", "document"]
Precision = Literal["float32", "float16", "int8", "int4", "int2", "binary", "pq4"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
CodeKey = tuple[int, Precision]
"""What names a kind of codes: (dim, precision)."""

Evidence = Literal["labels", "made queries", "agreement"]
"""What a curve's metrics are measured against: relevance labels; queries generated from the corpus,
each with its source text; or agreement with full precision."""

OnProgress = Callable[[int, int], None]
"""Called with (done, total) as long work goes on."""


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
    """One pass of a search: score ``dim`` dimensions at ``precision``, hand on the best ``keep``.

    ``keep`` is None for the last stage, which hands on whatever ``k`` the search asks for.
    """

    dim: int
    precision: Precision
    keep: int | None = None

    def __post_init__(self) -> None:
        """Check each value against its limit."""
        if self.dim < 1:
            raise InvalidArgument(f"dim {self.dim} < 1 in stage {self}")
        if self.precision not in PRECISIONS:
            known = ", ".join(PRECISIONS)
            raise InvalidArgument(f"precision {self.precision!r} is not one of {known}")
        if self.keep is not None and self.keep < 1:
            raise InvalidArgument(f"keep {self.keep} < 1 in stage {self}")

    def __str__(self) -> str:
        """Write the stage as ``dim:precision[@keep]``."""
        keep = "" if self.keep is None else f"@{self.keep}"
        return f"{self.dim}:{self.precision}{keep}"

    @property
    def representation(self) -> CodeKey:
        """What is stored for this stage, however many it hands on."""
        return self.dim, self.precision


@dataclass(frozen=True)
class OperatingPoint:
    """How vectors are searched: one stage, or a shortlist rescored by later stages.

    The text form is the same everywhere: ``256:int4``, ``256:int4@200>1024:float16``,
    ``64:binary@1000>256:int8@100>1024:float16``.
    """

    stages: tuple[Stage, ...]

    def __post_init__(self) -> None:
        """Check that each stage but the last hands on some, and no more than the one before."""
        if not self.stages:
            raise InvalidArgument("an operating point needs at least one stage")
        *shortlists, last = self.stages
        if last.keep is not None:
            raise InvalidArgument(f"{self}: the last stage hands on k, so it takes no @keep")
        for stage in shortlists:
            if stage.keep is None:
                raise InvalidArgument(f"{self}: stage {stage} needs @keep, as another follows it")
        keeps = [stage.keep for stage in shortlists if stage.keep is not None]
        if any(later > earlier for earlier, later in pairwise(keeps)):
            raise InvalidArgument(f"{self}: a later stage cannot keep more than an earlier one")

    @classmethod
    def parse(cls, text: str) -> OperatingPoint:
        """Read the text form.

        >>> OperatingPoint.parse("64:binary@200>512:int8").stages[0]
        Stage(dim=64, precision='binary', keep=200)

        Raises:
            InvalidArgument: If the text is not an operating point.
        """
        stages = []
        for part in text.strip().split(">"):
            match = _STAGE.fullmatch(part.strip())
            if match is None:
                example = "256:int4 or 64:binary@200>512:int8"
                raise InvalidArgument(f"{text!r} is not an operating point (write {example})")
            keep = match["keep"]
            precision: Any = match["precision"]  # Stage checks it
            stages.append(Stage(int(match["dim"]), precision, int(keep) if keep else None))
        return cls(tuple(stages))

    @classmethod
    def single(cls, dim: int, precision: Precision) -> OperatingPoint:
        """Make a point of one stage."""
        return cls((Stage(dim, precision),))

    def __str__(self) -> str:
        """Write the text form."""
        return ">".join(str(stage) for stage in self.stages)


@dataclass(frozen=True)
class Document:
    """A text of the corpus with what is known about it."""

    text: str
    title: str = ""
    metadata: Metadata = field(default_factory=dict)

    @property
    def content(self) -> str:
        """What is encoded: title and text, as BEIR joins them."""
        return f"{self.title} {self.text}".strip()


class Hit(NamedTuple):
    """One document that a search found.

    Attributes:
        id: The document's id.
        score: Higher is better.
        text: The document's text, "" where the index has none.
        title: The document's title, "" where it has none.
        metadata: The document's fields.
    """

    id: str
    score: float
    text: str
    title: str
    metadata: Metadata


@dataclass(frozen=True)
class Hits:
    """The results of a search over a batch of queries, best first.

    ``hits[0]`` are the hits of the first query, with their texts, titles and metadata; iterating
    yields the hits of each query. Equal scores are in descending order of id. A
    query has fewer than k hits only where the index, or its last shortlist, has fewer documents.

    Attributes:
        ids: The ids of each query's hits, [n_queries][at most k].
        scores: Their scores, in the same order.
        get: Reads documents by id from the index that was searched, when a query's hits are first
            looked at; None where there are no documents to read.
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
        nothing = Document("")  # of an id that was deleted after the search
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
    """What must be known of a model to use its vectors rightly.

    Attributes:
        name: The path or hub id it was loaded from.
        fingerprint: sha256 over weights, tokenizer, pooling, normalization and prompts.
        full_dim: Width of its embeddings.
        dims: Widths to measure, widest first; the trained ones where they are known.
        dims_source: Where ``dims`` come from, in words ("config.json", "known model", "guess").
        dims_trained: False where ``dims`` are guesses.
        layer_norm: True where its card asks for layer normalization before truncation.
        query_prompt: Put before each query.
        document_prompt: Put before each document.
        max_tokens: Longer texts are cut; None where there is no limit.
        dtype: What the model computes in, such as "float32"; "" where that is not known, or
            vectors exist already. It changes vectors slightly, and not the fingerprint.
        adapter: sha256 of what its vectors went through; "" where they are as it gives them.
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

    @property
    def identity(self) -> str:
        """Its name, and what tells it from others of that name, for messages."""
        adapted = " behind an adapter" if self.adapter else ""
        return f"{self.name}{adapted} ({self.fingerprint[:12]})"

    def to_json(self) -> dict[str, Any]:
        """Return plain values for a JSON file."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ModelInfo:
        """Read back what ``to_json`` wrote, also under the names of earlier versions."""
        named = {_RENAMED.get(name, name): value for name, value in values.items()}
        return cls(**{**named, "dims": tuple(values["dims"])})


_RENAMED = {"adaptor": "adapter"}


@runtime_checkable
class Encoder(Protocol):
    """Turns texts into embeddings."""

    @property
    def info(self) -> ModelInfo:
        """What must be known of the model."""
        ...

    def encode(
        self, texts: Sequence[str], *, kind: Kind, on_progress: OnProgress | None = None
    ) -> Embeddings:
        """Encode texts at full width, float32 [n, full_dim], as the model gives them.

        Not normalized, not truncated: that is the codec's work.
        """
        ...

    def count_truncated(self, texts: Sequence[str], *, kind: Kind) -> int:
        """Count the texts that are longer than the model's maximum length."""
        ...


@runtime_checkable
class TimedEncoder(Encoder, Protocol):
    """An encoder that may remember what one text takes, so that it need not be encoded again."""

    def encode_ms(self, texts: Sequence[str], *, kind: Kind) -> float | None:
        """Return the milliseconds of encoding one text alone; None where nothing remembers it."""
        ...


@runtime_checkable
class TokenEncoder(Encoder, Protocol):
    """An encoder that shows its tokens, so that they can be counted, and given instead of texts."""

    @property
    def vocabulary(self) -> int:
        """How many tokens there are: ids are below it."""
        ...

    def tokenize(self, texts: Sequence[str], *, kind: Kind) -> list[list[int]]:
        """Return the ids of what ``encode`` reads of each text: with its prompt, and cut."""
        ...

    def encode_tokens(self, ids: Sequence[Sequence[int]]) -> Embeddings:
        """Encode what ``tokenize`` returns as ``encode`` would its texts, [n, full_dim]."""
        ...
