"""Load what a server serves: a model, an index, and their curve and plan."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np

from nestvec.curve.curve import Curve
from nestvec.data.retrieval import load_dataset
from nestvec.engines.places import is_url, shown_place
from nestvec.engines.registry import engine_at, open_engine
from nestvec.errors import DataError, InvalidArgument, ModelError, ModelMismatch, NestvecError
from nestvec.index.index import Index
from nestvec.index.model import encoder_for, load_for_index
from nestvec.models.adapted import unadapted, with_adapter
from nestvec.models.differences import differences, same_model
from nestvec.models.info import check_truncation
from nestvec.models.known import Rows
from nestvec.models.load import load_model
from nestvec.models.paired import PairedEncoder, encoded_kinds
from nestvec.models.precomputed import PrecomputedVectors
from nestvec.models.sentence_transformer import DType
from nestvec.models.transformer import TransformerEncoder, share_processors
from nestvec.planning.choose import Plan
from nestvec.recipes.demo import DemoFolder
from nestvec.types import Encoder, Kind, ModelInfo, OperatingPoint

_SHOWN = 24
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExampleQuery:
    """A query with its relevant documents.

    Attributes:
        id: Id of the query in the dataset.
        text: Text of the query.
        relevant: Ids of the relevant documents, the highest grade first.
    """

    id: str
    text: str
    relevant: tuple[str, ...]


def load_examples(folder: Path, *, n: int = _SHOWN) -> Sequence[ExampleQuery]:
    """Return up to ``n`` evenly spaced queries of a BEIR folder; none if there is no folder."""
    if not (folder / "queries.jsonl").is_file():
        return ()
    data = load_dataset(folder)
    ids = list(data.qrels)
    step = max(1, len(ids) // n)
    return tuple(
        ExampleQuery(id_, data.queries[id_], _best_first(data.qrels[id_]))
        for id_ in ids[::step][:n]
    )


def _best_first(grades: dict[str, int]) -> tuple[str, ...]:
    relevant = [id_ for id_, grade in grades.items() if grade > 0]
    return tuple(sorted(relevant, key=lambda id_: -grades[id_]))


@dataclass(frozen=True)
class Served:
    """A served model and index, with what was measured of them.

    Attributes:
        name: Name of the model in the API.
        model: Encoder of texts; None if there are only stored vectors.
        index: The index; None if only a model is served.
        curve: Measured curve of the model on the corpus, or None.
        plan: Plan from the curve, or None.
        tiers: Named operating points.
        examples: Example queries with their relevant documents.
    """

    name: str
    model: Encoder | None
    index: Index | None = None
    curve: Curve | None = None
    plan: Plan | None = None
    tiers: Mapping[str, OperatingPoint] = field(default_factory=dict)
    examples: Sequence[ExampleQuery] = ()

    def __post_init__(self) -> None:
        """Check that the parts fit together.

        Raises:
            InvalidArgument: If there is neither model nor index, or a tier has too many dims or
                a reserved name.
            ModelMismatch: If the curve or the plan is for another model or another adapter.
        """
        if self.model is None and self.index is None:
            raise InvalidArgument("nothing to serve. Pass a model that encodes texts, or an index.")
        for name, point in self.tiers.items():
            if name in get_args(Kind):
                problem = f"tier {name}={point}: the name selects how texts are encoded"
                raise InvalidArgument(f"{problem}. Choose another name.")
            widest = max(stage.dim for stage in point.stages)
            if widest > self.info.full_dim:
                problem = f"dim={widest} is larger than full_dim={self.info.full_dim}"
                limit = f"Choose dims from 1 to {self.info.full_dim}."
                raise InvalidArgument(f"tier {name}={point}: {problem}. {limit}")
            self.check_truncation(point)
        for kind, measured in (("curve", self.curve), ("plan", self.plan)):
            if measured is not None and not same_model(measured.model, self.info):
                raise ModelMismatch(
                    f"the {kind} is for {measured.model.identity}, but the served model is "
                    f"{self.info.identity}. Different: "
                    f"{differences(measured.model, self.info, kind)}. "
                    f"Evaluate the served model, or omit the {kind}."
                )

    @property
    def info(self) -> ModelInfo:
        """The model whose vectors are served."""
        if self.index is not None:
            return self.index.info
        assert self.model is not None, "checked in __post_init__"
        return self.model.info

    @property
    def model_names(self) -> list[str]:
        """The listed model names: without suffix, with each kind of text, and with each tier."""
        kinds = () if self.model is None else encoded_kinds(self.model)
        return [self.name, *(f"{self.name}:{suffix}" for suffix in (*kinds, *self.tiers))]

    @property
    def trained_dims(self) -> tuple[int, ...]:
        """The listed dims that the model was trained for, the largest first.

        A model with ``min_dim`` was trained for more dims than those in the list.
        """
        info = self.info
        trained = {dim for dim in info.dims if info.is_trained_for(dim)}
        return tuple(sorted({*trained, info.full_dim}, reverse=True))

    def check_truncation(self, point: OperatingPoint) -> None:
        """Check that the vectors of the model may be truncated to the dims of a point.

        Raises:
            InvalidArgument: If they must not be truncated.
        """
        check_truncation(replace(self.info, name=self.name), [point])

    @property
    def trained_dims_text(self) -> str:
        """The dims that the model was trained for, for messages."""
        info = self.info
        if info.min_dim is not None and info.min_dim < info.full_dim:
            return f"any from {info.min_dim} to {info.full_dim}"
        dims = ", ".join(map(str, self.trained_dims))
        return dims if len(self.trained_dims) == 1 else f"one of {dims}"

    @property
    def chosen_dims(self) -> frozenset[int]:
        """The dims of the tiers, of the index's point and of the plan."""
        points = [*self.tiers.values()]
        points += [] if self.index is None else [self.index.point]
        points += [] if self.plan is None else [self.plan.point]
        return frozenset(stage.dim for point in points for stage in point.stages)

    @property
    def searched_dims(self) -> tuple[int, ...]:
        """The dims that a search may use, the largest first.

        They are the dims of the model, the curve, the plan and the served points. Other dims are
        not allowed by default, because each new width requires a copy of all codes.
        """
        measured = () if self.curve is None else self.curve.points
        dims = {stage.dim for row in measured for stage in row.point.stages}
        return tuple(sorted({*self.info.dims, *self.chosen_dims, *dims}, reverse=True))

    @property
    def point(self) -> OperatingPoint | None:
        """The default operating point of the index."""
        return None if self.index is None else self.index.point

    def warm_up(self) -> None:
        """Encode once and search once with each served point, so that requests need not wait."""
        if self.model is not None:
            self.model.encode(["warm"], kind="query")
        if self.index is not None:
            query = np.ones((1, self.info.full_dim), dtype=np.float32)
            for point in (self.index.point, *self.tiers.values()):
                self.index.search(query, 1, point=point)

    def share_processors(self) -> int:
        """Prepare the model for encoding in several threads and return their number.

        This changes the number of threads of PyTorch for the whole process. The weights of a
        supported model are copied, in a layout that is faster on a CPU.
        """
        model = None if self.model is None else unadapted(self.model)
        models = model.by_kind.values() if isinstance(model, PairedEncoder) else [model]
        transformers = [each for each in models if isinstance(each, TransformerEncoder)]
        if len(transformers) < len(models):
            return 1
        for each in transformers:
            each.pack()
        return share_processors()

    def close(self) -> None:
        """Close the index."""
        if self.index is not None:
            self.index.close()


@dataclass(frozen=True)
class _ServedFiles:
    """Where the parts are that a server serves."""

    model: Path | str | None = None
    index: Path | str | None = None
    curve: Path | None = None
    plan: Path | None = None
    demo: DemoFolder | None = None


def load_served(  # noqa: PLR0913 - one keyword for each part
    paths: Path | str | Sequence[Path | str],
    *,
    adapter: Path | None = None,
    prompts: Mapping[Kind, str] | None = None,
    name: str | None = None,
    tiers: Mapping[str, OperatingPoint] | None = None,
    curve: Path | None = None,
    plan: Path | None = None,
    dtype: DType | None = None,
    device: str | None = None,
    trust_remote_code: bool = False,
    models: Rows | None = None,
    query_model: str | None = None,
    same_space: bool = False,
) -> Served:
    """Load a model, an index or both from folders.

    Args:
        paths: An index folder, a model folder or hub id, one of each, or the folder that
            `nestvec demo` wrote.
        adapter: Adapter of the model; an adapted index already contains its adapter.
        prompts: Prompts by kind. None uses the prompts that the index records, or those of the
            model.
        name: Name of the model in the API; None for the last part of the folder name.
        tiers: Named operating points.
        curve: Curve file; None for the curve of the demo folder, if there is one.
        plan: Plan file; None for the plan of the demo folder, if there is one.
        dtype: Data type in which a transformer computes. None is the data type that the index
            records; without an index, bfloat16 on processors that support it.
        device: As in ``load_model``.
        trust_remote_code: As in ``load_model``.
        models: As in ``load_model``, without effect on the model that an index records.
        query_model: As in ``load_model``; None for the one that the index records.
        same_space: As in ``load_model``.

    Raises:
        InvalidArgument: If the paths are not at most one index and one model.
        NestvecError: As ``load_model``, ``with_adapter`` and ``Served``, or if a file or the index
            cannot be used.
    """
    paths = [paths] if isinstance(paths, str | Path) else paths
    files = _find(paths, curve, plan)
    loaded = _load(
        files,
        models,
        prompts=prompts,
        dtype=dtype,
        device=device,
        trust_remote_code=trust_remote_code,
        query_model=query_model,
        same_space=same_space,
    )
    name = name or _short_name(paths, loaded)
    return _join(files, with_adapter(loaded, adapter), name=name, tiers=tiers or {})


def _find(paths: Sequence[Path | str], curve: Path | None, plan: Path | None) -> _ServedFiles:
    model: Path | str | None = None
    index: Path | str | None = None
    for path in paths:
        folder = DemoFolder(Path(path))
        if folder.index.is_dir() and folder.model.is_dir() and len(paths) == 1:
            return _ServedFiles(folder.model, folder.index, curve, plan, folder)
        if engine_at(path).exists(str(path)):
            if index is not None:
                both = f"{shown_place(index)} and {shown_place(path)}"
                raise InvalidArgument(f"{both} are two indexes. Serve only one.")
            index = path
        elif model is not None:
            raise InvalidArgument(f"{model} and {path} are two models. Serve only one.")
        else:
            model = path
    return _ServedFiles(model, index, curve, plan)


def _load(files: _ServedFiles, models: Rows | None, **options: Any) -> Encoder:
    """Load the given model, or the model that the index names."""
    if models is not None and files.index is not None:
        _logger.warning(
            "%s records what its model needs, so the given known models have no effect.",
            shown_place(files.index),
        )
    if files.index is None:
        if files.model is None:
            raise InvalidArgument("nothing to serve. Pass an index or a model.")
        return load_model(files.model, models=models, **options)
    if files.model is not None:
        return load_for_index(str(files.model), str(files.index), **options)
    try:
        return load_for_index(None, str(files.index), **options)
    except ModelError as error:
        problem = f"{str(error).rstrip('.')}. Or pass the model folder with the index."
        raise DataError(shown_place(files.index), problem) from error


def _open(place: Path | str | None, model: Encoder) -> tuple[Encoder, Index | None]:
    """Open the index, if there is one, and return the encoder of its queries and the index."""
    if place is None:
        return model, None
    engine = open_engine(place)
    try:
        encoder = encoder_for(engine, model)
        return encoder, Index(engine, encoder)
    except NestvecError:
        engine.close()
        raise


def _join(
    files: _ServedFiles, model: Encoder, *, name: str, tiers: Mapping[str, OperatingPoint]
) -> Served:
    """Open the other parts, and join them to the model; close the index if they do not fit."""
    encoder, index = _open(files.index, model)
    curve, plan = _measured(files, encoder.info if index is None else index.info)
    try:
        return Served(
            name=name,
            model=None if isinstance(encoder, PrecomputedVectors) else encoder,
            index=index,
            curve=None if curve is None else Curve.load(curve),
            plan=None if plan is None else Plan.load(plan),
            tiers=tiers,
            examples=() if files.demo is None else load_examples(files.demo.data),
        )
    except NestvecError:
        if index is not None:
            index.close()
        raise


def _measured(files: _ServedFiles, info: ModelInfo) -> tuple[Path | None, Path | None]:
    """Return the files of the curve and the plan, by default those of the demo."""
    curve, plan, demo = files.curve, files.plan, files.demo
    if demo is None:
        return curve, plan
    if info.adapter:
        _logger.warning(
            "%s was measured without the adapter. A curve or a plan is shown only if --curve or "
            "--plan names a file of the adapted model.",
            demo.out,
        )
        return curve, plan
    return curve or _if_there(demo.curve), plan or _if_there(demo.plan)


def _if_there(path: Path) -> Path | None:
    return path if path.is_file() else None


def _short_name(paths: Sequence[Path | str], model: Encoder) -> str:
    first = paths[0]
    if len(paths) == 1 and is_url(first):  # the model is not named by the path of the index
        first = model.info.name
    last = Path(first if len(paths) == 1 else model.info.name)
    return last.resolve().name.replace(":", "-") or "model"
