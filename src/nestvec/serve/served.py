"""What a server serves: a model, an index, and what was measured of them, found in folders.

Nothing here listens or answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from nestvec.curve.curve import Curve
from nestvec.data.retrieval import load_dataset
from nestvec.engines.registry import engine_at, open_engine
from nestvec.errors import DataError, InvalidArgument, ModelError, ModelMismatch, NestvecError
from nestvec.index.index import Index
from nestvec.index.model import encoder_for, load_for_index, load_named
from nestvec.models.adapted import behind, unadapted
from nestvec.models.load import load_model
from nestvec.models.precomputed import PrecomputedVectors
from nestvec.models.sentence_transformer import DType
from nestvec.models.transformer import TransformerEncoder, share_processors
from nestvec.planning.choose import Plan
from nestvec.recipes.demo import DemoFolder
from nestvec.types import Encoder, ModelInfo, OperatingPoint

_SHOWN = 24


@dataclass(frozen=True)
class ExampleQuery:
    """A query with its answers.

    Attributes:
        id: Its id in the data.
        text: What is asked.
        relevant: Ids of the documents that answer it, the best grade first.
    """

    id: str
    text: str
    relevant: tuple[str, ...]


def load_examples(folder: Path, *, n: int = _SHOWN) -> Sequence[ExampleQuery]:
    """Take some queries of a BEIR folder, evenly spread; none where there is no such folder."""
    if not (folder / "queries.jsonl").is_file():
        return ()
    data = load_dataset(folder)
    ids = list(data.qrels)
    step = max(1, len(ids) // n)
    return tuple(
        ExampleQuery(id_, data.queries[id_], _best_first(data.qrels[id_]))
        for id_ in ids[::step][:n]
    )


def _best_first(judged: dict[str, int]) -> tuple[str, ...]:
    relevant = [id_ for id_, grade in judged.items() if grade > 0]
    return tuple(sorted(relevant, key=lambda id_: -judged[id_]))


@dataclass(frozen=True)
class Served:
    """What a server serves.

    Attributes:
        name: What clients call the model.
        model: What encodes texts; None where there are only vectors.
        index: What is searched; None where there is only a model.
        curve: What was measured of the model on the corpus.
        plan: The choice that was made on it.
        tiers: Named operating points.
        examples: Queries to try, with the documents that are known to answer them.
    """

    name: str
    model: Encoder | None
    index: Index | None = None
    curve: Curve | None = None
    plan: Plan | None = None
    tiers: Mapping[str, OperatingPoint] = field(default_factory=dict)
    examples: Sequence[ExampleQuery] = ()

    def __post_init__(self) -> None:
        """Refuse to serve nothing, tiers that cannot be searched, and what was measured of others.

        Raises:
            InvalidArgument: If there is neither model nor index, or a tier is too wide.
            ModelMismatch: If the curve or the plan is of another model, also behind an adapter.
        """
        if self.model is None and self.index is None:
            raise InvalidArgument("there is nothing to serve: no model that encodes, no index")
        for name, point in self.tiers.items():
            widest = max(stage.dim for stage in point.stages)
            if widest > self.info.full_dim:
                problem = f"tier {name}={point}: dim {widest} > full_dim {self.info.full_dim}"
                raise InvalidArgument(problem)
        for kind, measured in (("curve", self.curve), ("plan", self.plan)):
            if measured is not None and measured.model.fingerprint != self.info.fingerprint:
                whose = f"of {measured.model.identity}, not of {self.info.identity}"
                raise ModelMismatch(f"the {kind} is {whose}: evaluate the latter, or leave it out")

    @property
    def info(self) -> ModelInfo:
        """The model whose vectors are served."""
        if self.index is not None:
            return self.index.info
        assert self.model is not None, "checked when this was made"
        return self.model.info

    @property
    def model_names(self) -> list[str]:
        """What a request may call the model, alone and with each tier."""
        return [self.name, *(f"{self.name}:{tier}" for tier in self.tiers)]

    @property
    def trained_dims(self) -> tuple[int, ...]:
        """The widths that the model was trained for, widest first."""
        info = self.info
        return info.dims if info.dims_trained else (info.full_dim,)

    @property
    def searched_dims(self) -> tuple[int, ...]:
        """The widths that a search may name: those measured, and those of points that are served.

        Widest first. Few, as a new one costs a copy of all codes.
        """
        points = [*self.tiers.values()]
        points += [] if self.index is None else [self.index.point]
        points += [] if self.plan is None else [self.plan.point]
        points += [] if self.curve is None else [row.point for row in self.curve.points]
        named = {stage.dim for point in points for stage in point.stages}
        return tuple(sorted({*self.info.dims, *named}, reverse=True))

    @property
    def point(self) -> OperatingPoint | None:
        """How the index is searched when nothing else is asked for."""
        return None if self.index is None else self.index.point

    def warm_up(self) -> None:
        """Encode and search once in each way, so that no request waits for what loads on use."""
        if self.model is not None:
            self.model.encode(["warm"], kind="query")
        if self.index is not None:
            query = np.ones((1, self.info.full_dim), dtype=np.float32)
            for point in (self.index.point, *self.tiers.values()):
                self.index.search(query, 1, point=point)

    def share_processors(self) -> int:
        """Let several threads encode at the same time, if the model gains by it; return how many.

        This is for a process that does nothing else: PyTorch's number of threads is its whole.
        """
        model = None if self.model is None else unadapted(self.model)
        return share_processors() if isinstance(model, TransformerEncoder) else 1

    def close(self) -> None:
        """Close the index."""
        if self.index is not None:
            self.index.close()


@dataclass(frozen=True)
class _ServedFiles:
    model: Path | str | None = None
    index: Path | None = None
    demo: DemoFolder | None = None


def load_served(  # noqa: PLR0913 - all that may be served, each by its name
    paths: Path | str | Sequence[Path | str],
    *,
    adapter: Path | None = None,
    name: str | None = None,
    tiers: Mapping[str, OperatingPoint] | None = None,
    curve: Path | None = None,
    plan: Path | None = None,
    dtype: DType | None = None,
) -> Served:
    """Load what stands in folders.

    Args:
        paths: An index folder, a model folder or hub id, one of each, or what `nestvec demo` wrote.
        adapter: What the model's vectors go through; an adapted index has its own.
        name: What clients call the model; None takes the last part of the folder's name.
        tiers: Named operating points.
        curve: A measured curve, where no demo folder has one.
        plan: A plan, likewise.
        dtype: What a transformer computes in; None takes what an index was encoded in, and
            without an index bfloat16 where the processor has it, at cosines of .9999 and more to
            float32.

    Raises:
        InvalidArgument: If they do not make one index and one model, or a tier cannot be searched.
        DataError: If a file cannot be used.
        ModelError: If the model cannot be loaded.
        ModelMismatch: If the index holds another model's vectors, or the curve or plan is of one.
    """
    paths = [paths] if isinstance(paths, str | Path) else paths
    found = _find(paths)
    demo = found.demo
    encoder = behind(_load(found, dtype), adapter)
    index = None
    if found.index is not None:
        encoder, index = _open(found.index, encoder)
    info = encoder.info if index is None else index.info
    if demo is not None and not info.adapter:  # else they are of vectors as they were before
        curve, plan = curve or _if_there(demo.curve), plan or _if_there(demo.plan)
    try:
        return Served(
            name=name or _short_name(paths, encoder),
            model=None if isinstance(encoder, PrecomputedVectors) else encoder,
            index=index,
            curve=None if curve is None else Curve.load(curve),
            plan=None if plan is None else Plan.load(plan),
            tiers=tiers or {},
            examples=() if demo is None else load_examples(demo.data),
        )
    except NestvecError:
        if index is not None:
            index.close()
        raise


def _find(paths: Sequence[Path | str]) -> _ServedFiles:
    model: Path | str | None = None
    index: Path | None = None
    for path in paths:
        folder = DemoFolder(Path(path))
        if folder.index.is_dir() and folder.model.is_dir() and len(paths) == 1:
            return _ServedFiles(folder.model, folder.index, folder)
        if engine_at(path).exists(str(path)):
            if index is not None:
                raise InvalidArgument(f"{index} and {path} are two indexes: serve one of them")
            index = Path(path)
        elif model is not None:
            raise InvalidArgument(f"{model} and {path} are two models: serve one of them")
        else:
            model = path
    return _ServedFiles(model, index)


def _load(found: _ServedFiles, dtype: DType | None) -> Encoder:
    """Load the model that was named, or else the one that the index names."""
    if found.model is not None:
        if found.index is not None:
            return load_for_index(str(found.model), str(found.index), dtype=dtype)
        return load_model(found.model, dtype=dtype)
    if found.index is None:
        raise InvalidArgument("there is nothing to serve: name an index or a model")
    try:
        place = str(found.index)
        return load_named(engine_at(place).read_manifest(place).model, place, dtype=dtype)
    except ModelError as error:
        problem = f"{error}; or name the model's folder beside the index"
        raise DataError(found.index, problem) from error


def _open(place: Path, model: Encoder) -> tuple[Encoder, Index]:
    """Open an index with its model, and return what encodes for it with the index."""
    engine = open_engine(place)
    try:
        encoder = encoder_for(engine, model)
        return encoder, Index(engine, encoder)
    except NestvecError:
        engine.close()
        raise


def _if_there(path: Path) -> Path | None:
    return path if path.is_file() else None


def _short_name(paths: Sequence[Path | str], model: Encoder) -> str:
    last = Path(paths[0] if len(paths) == 1 else model.info.name)
    return last.resolve().name.replace(":", "-") or "model"
