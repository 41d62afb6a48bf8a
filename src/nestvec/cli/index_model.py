"""``nestvec index model``: record the model that made the vectors of an index."""

from __future__ import annotations

from typing import Annotated

import typer

from nestvec.cli.console import print_next, print_wrapped, shown_path
from nestvec.cli.models import load_encoder
from nestvec.cli.options import (
    BaseUrlOption,
    CacheOption,
    DeviceOption,
    DocumentPromptOption,
    DtypeOption,
    IndexArgument,
    ModelsOption,
    QueryModelOption,
    QueryPromptOption,
    SameSpaceOption,
    TrustRemoteCodeOption,
    parse_prompts,
)

_Model = Annotated[
    str, typer.Argument(help="Model folder or Hugging Face hub id that made the vectors.")
]


def model(
    index: IndexArgument,
    model: _Model,
    query_prompt: QueryPromptOption = None,
    document_prompt: DocumentPromptOption = None,
    dtype: DtypeOption = "float32",
    device: DeviceOption = None,
    cache: CacheOption = True,
    trust_remote_code: TrustRemoteCodeOption = False,
    models: ModelsOption = None,
    query_model: QueryModelOption = None,
    same_space: SameSpaceOption = False,
    base_url: BaseUrlOption = None,
) -> None:
    """Record the model that made the vectors of an index.

    An index of your own vectors needs this once. Stored documents are encoded and compared with
    their vectors. Searches, servers and 'nestvec index add' then encode texts with the model.

    Example: nestvec index model index intfloat/e5-small-v2 --document-prompt "passage: "
    """
    from nestvec.index.index import Index
    from nestvec.models.prompts import prompts_text

    encoder = load_encoder(
        model,
        prompts=parse_prompts(query_prompt, document_prompt),
        dtype=dtype,
        device=device,
        cache=cache,
        trust_remote_code=trust_remote_code,
        models=models,
        query_model=query_model,
        same_space=same_space,
        base_url=base_url,
    )
    with Index.open(index) as opened:
        lowest = opened.record_model(encoder)
    print_wrapped(f"recorded {encoder.info.name}; lowest cosine to the stored vectors {lowest:.4f}")
    print_wrapped(prompts_text(encoder.info))
    print_next(f'nestvec search {shown_path(index)} "your question"')
