"""Arguments and options that several commands share, each defined once, and their parsers."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from nestvec.errors import InvalidArgument

if TYPE_CHECKING:
    from nestvec.models.sentence_transformer import DType
    from nestvec.types import Kind, ModelInfo

ModelArgument = Annotated[
    str,
    typer.Argument(
        help="Model folder, Hugging Face hub id, file, folder or URL of vectors (such as "
        "postgresql://host/database?table=docs), or API model such as "
        "openai:text-embedding-3-large."
    ),
]
CorpusArgument = Annotated[
    str,
    typer.Argument(
        help="BEIR folder, folder of text files, JSONL, CSV or Parquet file, or PostgreSQL table "
        "such as postgresql://host/database?table=docs&text=body."
    ),
]
IndexArgument = Annotated[
    str, typer.Argument(help="Index folder, or URL such as postgresql://host/database?table=docs.")
]

AdapterOption = Annotated[
    Path | None,
    typer.Option(
        "--adapter",
        help="Transform the model's vectors with this adapter, a file that 'nestvec adapt' wrote.",
    ),
]
QueryPromptOption = Annotated[
    str | None,
    typer.Option(
        "--query-prompt",
        help="Prefix of each query (in training: of each anchor), such as 'query: '.",
        show_default="the model's own prompt, or the prompt that the index records",
    ),
]
DocumentPromptOption = Annotated[
    str | None,
    typer.Option(
        "--document-prompt",
        help="Prefix of each document (in training: of each positive, negative or scored text), "
        "such as 'passage: '.",
        show_default="the model's own prompt, or the prompt that the index records",
    ),
]
QueryModelOption = Annotated[
    str | None,
    typer.Option(
        "--query-model",
        help="Model folder or Hugging Face hub id of another model that encodes queries. Both "
        "models must share a space. Example: voyageai/voyage-4-nano.",
        show_default="the model that encodes documents, or the query model that the index records",
    ),
]
SameSpaceOption = Annotated[
    bool,
    typer.Option(
        "--same-space",
        help="State that the query model shares the space of the documents, if nestvec does not "
        "know this.",
    ),
]
_DTYPE = "Data type that the model computes in: float32 or bfloat16."
DtypeOption = Annotated[str | None, typer.Option("--dtype", help=_DTYPE)]
DeviceOption = Annotated[
    str | None,
    typer.Option(
        "--device",
        help="Device that the model runs on, such as cpu, cuda, cuda:1 or mps.",
        show_default="what Sentence Transformers chooses",
    ),
]
CacheOption = Annotated[
    bool,
    typer.Option(
        "--cache/--no-cache",
        help="Store embeddings in the folder that all commands share ($NESTVEC_CACHE), and "
        "encode only texts that are not stored yet.",
    ),
]
TrustRemoteCodeOption = Annotated[
    bool,
    typer.Option(
        "--trust-remote-code",
        help="Run Python code that comes with the model. Use it only if you trust the source.",
    ),
]
BaseUrlOption = Annotated[
    str | None,
    typer.Option(
        "--base-url",
        help="Address of the server of an API model, such as http://127.0.0.1:8000/v1.",
        show_default="the address of the vendor",
    ),
]
PricesOption = Annotated[
    Path | None,
    typer.Option(
        "--prices",
        help="TOML file with the prices of API models, from which the cost is estimated.",
    ),
]
YesOption = Annotated[
    bool,
    typer.Option("--yes", help="Send texts to an API model without asking about the cost."),
]
IndexDtypeOption = Annotated[
    str | None,
    typer.Option("--dtype", help=_DTYPE, show_default="the dtype that the index records"),
]
ServeDtypeOption = Annotated[
    str | None,
    typer.Option(
        "--dtype",
        help=_DTYPE,
        show_default="the dtype that the index records; without an index, bfloat16 if the "
        "processor supports it",
    ),
]
TrainDtypeOption = Annotated[
    str | None, typer.Option("--dtype", help=_DTYPE, show_default="float32")
]
IndexModelOption = Annotated[
    str | None,
    typer.Option(
        "--model", help="Folder or hub id of the index's model, if the model was moved or renamed."
    ),
]
ModelsOption = Annotated[
    Path | None,
    typer.Option(
        "--models",
        metavar="FILE",
        help="TOML file with rows of known models, which take precedence over nestvec's own table "
        "('nestvec models').",
        show_default="the file that $NESTVEC_MODELS names, if any",
    ),
]
VectorsModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="NAME",
        help="Name of the model that computed stored vectors, such as text-embedding-3-large. "
        "'nestvec models' lists the names.",
        show_default="the name that the folder of vectors records, or the name of the folder",
    ),
]
PassageWordsOption = Annotated[
    int | None,
    typer.Option(
        "--passage-words",
        help="Maximum words of a passage; text files are split into passages.",
        show_default="200",
    ),
]
PointOption = Annotated[
    str | None,
    typer.Option(
        "--point",
        help='Operating point of later searches, such as "64:binary@200>512:int8".',
        show_default="the index's present point",
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON object, with all warnings, instead of text.")
]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Random seed.")]
CurveArgument = Annotated[Path, typer.Argument(help="Curve file that 'nestvec evaluate' wrote.")]
PlanOption = Annotated[
    Path | None, typer.Option("--plan", help="Plan file that 'nestvec plan' wrote.")
]


def parse_ints(text: str | None, *, option: str) -> tuple[int, ...] | None:
    """Read ``512,256,64``.

    Raises:
        InvalidArgument: If a part is not a whole number.
    """
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        problem = f"{option} {text!r} is not a list of whole numbers"
        raise InvalidArgument(f"{problem}. Separate numbers by commas: 512,256,64.") from error


def parse_words(text: str | None) -> tuple[str, ...]:
    """Read ``int8,binary``."""
    return tuple(part.strip() for part in text.split(",")) if text else ()


def parse_kind(name: str) -> Kind:
    """Read ``--kind``.

    Raises:
        InvalidArgument: If this is no kind of texts.
    """
    kinds: tuple[Kind, ...] = ("document", "query")
    for kind in kinds:
        if kind == name:
            return kind
    raise InvalidArgument(f"--kind {name!r} is unknown. Choose {' or '.join(kinds)}.")


def parse_prompts(query: str | None, document: str | None) -> dict[Kind, str]:
    """Return the prompts that options name, by kind; an empty prompt counts."""
    given: dict[Kind, str | None] = {"query": query, "document": document}
    return {kind: prompt for kind, prompt in given.items() if prompt is not None}


def prompt_options(model: ModelInfo) -> str:
    """Return the options that load the model with the user's prompts and query model."""
    from nestvec.models.prompts import REQUESTED

    pair = _query_model_options(model)
    if REQUESTED not in model.prompts_source:
        return pair
    query, document = quote(model.query_prompt), quote(model.document_prompt)
    if model.query_model is not None and not model.document_fingerprint:  # stored documents
        return f"{pair} --query-prompt {query}"
    return f"{pair} --query-prompt {query} --document-prompt {document}"


def _query_model_options(model: ModelInfo) -> str:
    from nestvec.models.spaces import share_space

    queries = model.query_model
    if queries is None:
        return ""
    stated = bool(model.document_fingerprint) and not share_space(model, queries)
    return f" --query-model {quote(queries.name)}{' --same-space' if stated else ''}"


def parse_dtype(name: str | None) -> DType | None:
    """Read ``--dtype``; None if the option was not given.

    Raises:
        InvalidArgument: If models cannot compute in this data type.
    """
    from nestvec.models.sentence_transformer import DTYPES

    found = next((dtype for dtype in DTYPES if dtype == name), None)
    if name is not None and found is None:
        raise InvalidArgument(f"--dtype {name!r} is not one of {', '.join(DTYPES)}.")
    return found
