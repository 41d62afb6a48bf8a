"""The options that describe a model, defined once for all commands that load a model.

A command names the options that have an effect in ``@model_options(...)``, and receives their
values as one ``ModelChoice``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import wraps
from inspect import Parameter, signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, get_type_hints

from nestvec.cli.options import (
    AdapterOption,
    BaseUrlOption,
    CacheOption,
    DeviceOption,
    DocumentPromptOption,
    DtypeOption,
    ModelsOption,
    PricesOption,
    QueryModelOption,
    QueryPromptOption,
    SameSpaceOption,
    TrustRemoteCodeOption,
    VectorsModelOption,
    YesOption,
    parse_dtype,
    parse_prompts,
)

if TYPE_CHECKING:
    from nestvec.curve.sample import Draw
    from nestvec.models.sentence_transformer import DType
    from nestvec.types import Encoder, Kind


class Loading(TypedDict):
    """Keyword arguments of ``load_model``, ``load_for_index`` and ``load_served``."""

    prompts: dict[Kind, str]
    dtype: DType | None
    device: str | None
    trust_remote_code: bool
    query_model: str | None
    same_space: bool


@dataclass(frozen=True)
class ModelChoice:
    """The options that describe a model, in the order of ``--help``.

    An option that a command does not have keeps its default here.
    """

    adapter: AdapterOption = None
    vectors_model: VectorsModelOption = None
    query_prompt: QueryPromptOption = None
    document_prompt: DocumentPromptOption = None
    dtype: DtypeOption = "float32"
    device: DeviceOption = None
    cache: CacheOption = True
    trust_remote_code: TrustRemoteCodeOption = False
    models: ModelsOption = None
    query_model: QueryModelOption = None
    same_space: SameSpaceOption = False
    base_url: BaseUrlOption = None
    prices: PricesOption = None
    yes: YesOption = False

    @property
    def prompts(self) -> dict[Kind, str]:
        """The prompts that options name, by kind."""
        return parse_prompts(self.query_prompt, self.document_prompt)

    @property
    def loading(self) -> Loading:
        """The arguments that every function that loads a model has.

        Raises:
            InvalidArgument: If the dtype is unknown.
        """
        return Loading(
            prompts=self.prompts,
            dtype=parse_dtype(self.dtype),
            device=self.device,
            trust_remote_code=self.trust_remote_code,
            query_model=self.query_model,
            same_space=self.same_space,
        )


LOADING = ("query_prompt", "document_prompt", "dtype", "device", "trust_remote_code", "models")
"""The options of every command that loads a model by its name."""
PAIR = ("query_model", "same_space")
"""The options of commands that encode queries by another model."""
COSTS = ("prices", "yes")
"""The options of commands that send all texts of a corpus to an API model."""
ENCODING = (*LOADING, *PAIR, *COSTS, "vectors_model", "cache", "base_url")
"""The options of commands that accept every kind of model, and stored vectors."""

_Command = Callable[..., None]


def model_options(*names: str, dtype: Any = None) -> Callable[[_Command], _Command]:
    """Return a decorator that adds options to a command, which receives them as ``ModelChoice``.

    The options replace the parameter of type ``ModelChoice`` in the signature that Typer reads.

    Args:
        names: Fields of ``ModelChoice``: the options that have an effect on the command.
        dtype: Another definition of ``--dtype``, with the default None.

    Raises:
        ValueError: If a name is not a field of ``ModelChoice``.
    """
    options = list(_parameters(names, dtype))
    offered = [option.name for option in options]
    if unknown := set(names).difference(offered):
        raise ValueError(f"{', '.join(sorted(unknown))}: no field of ModelChoice")

    def decorate(command: _Command) -> _Command:
        @wraps(command)
        def run(**values: Any) -> None:
            chosen = ModelChoice(**{name: values.pop(name) for name in offered})
            command(choice=chosen, **values)

        parameters: list[Parameter] = []
        for parameter in signature(command, eval_str=True).parameters.values():
            own = parameter.replace(kind=Parameter.KEYWORD_ONLY)
            parameters += options if parameter.annotation is ModelChoice else [own]
        run.__signature__ = signature(run).replace(parameters=parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {each.name: each.annotation for each in parameters}
        return run

    return decorate


def _parameters(names: Sequence[str], dtype: Any) -> Iterator[Parameter]:
    """Yield the parameters of options, in the order of ``ModelChoice``."""
    types = get_type_hints(ModelChoice, include_extras=True)
    for field in fields(ModelChoice):
        name, kind, default = field.name, types[field.name], field.default
        if name == "dtype" and dtype is not None:
            kind, default = dtype, None
        if name in names:
            yield Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=kind)


def load_encoder(
    model: str,
    choice: ModelChoice,
    *,
    dims: Sequence[int] | None = None,
    draw: Draw | None = None,
) -> Encoder:
    """Load a model, with an adapter if one is chosen.

    Args:
        model: As in ``load_model``.
        choice: How to load the model.
        dims: As in ``load_model``.
        draw: The sample of stored vectors to read; None for all.

    Raises:
        InvalidArgument: If the dtype is unknown or the device is not available.
        NestvecError: As ``load_model`` and ``with_adapter``.
    """
    from nestvec.models.adapted import with_adapter
    from nestvec.models.load import load_model

    loaded = load_model(
        model,
        dims=dims,
        models=choice.models,
        model=choice.vectors_model,
        cache=shared_cache(choice.cache) or False,
        base_url=choice.base_url,
        sample=None if draw is None else draw.rows,
        seed=0 if draw is None else draw.seed,
        **choice.loading,
    )
    return with_adapter(loaded, choice.adapter)


def load_index_model(
    index: str, model: str | None, choice: ModelChoice, *, cache: Path | None = None
) -> Encoder | None:
    """Load the model of an index if an option names how; else the index loads it when needed.

    Args:
        index: The index folder.
        model: Where the model is; None for the place that the index records.
        choice: How to load the model; its dtype is None unless ``--dtype`` is given.
        cache: Folder of the embedding cache; None to use no cache.

    Raises:
        InvalidArgument: If the dtype is unknown or the device is not available.
        NestvecError: As ``load_for_index``.
    """
    given = (model, choice.dtype, choice.device, choice.trust_remote_code, choice.prompts)
    if not any((*given, choice.query_model, choice.same_space)):
        return None
    from nestvec.index.model import load_for_index

    return load_for_index(model, str(index), cache=cache, **choice.loading)


def shared_cache(wanted: bool) -> Path | None:
    """Return the folder in which all commands store embeddings; None with ``--no-cache``."""
    from nestvec.models.cache import default_cache_folder

    return default_cache_folder() if wanted else None
