"""``nestvec batch write``: write request files for the Batch API of OpenAI."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nestvec.cli.console import check_output, print_wrapped, shown_path
from nestvec.cli.index_files import open_texts
from nestvec.cli.options import (
    CorpusArgument,
    DocumentPromptOption,
    QueryPromptOption,
    parse_kind,
    parse_prompts,
)
from nestvec.wording import count_text

app = typer.Typer(help="Write files for batch APIs.", rich_markup_mode=None)

_Model = Annotated[str, typer.Argument(help="OpenAI model, such as openai:text-embedding-3-small.")]
_Out = Annotated[Path, typer.Option(help="Request file to write (JSON Lines).")]
_Kind = Annotated[
    str,
    typer.Option("--kind", help="Kind of the texts: document or query. It selects the prompt."),
]


@app.callback()
def _batch() -> None:
    """Keep the name of the only command."""


@app.command("write")
def write(
    model: _Model,
    corpus: CorpusArgument,
    out: _Out = Path("requests.jsonl"),
    kind: _Kind = "document",
    query_prompt: QueryPromptOption = None,
    document_prompt: DocumentPromptOption = None,
) -> None:
    """Write a corpus as request files of the Batch API of OpenAI. Nothing is sent.

    Example: nestvec batch write openai:text-embedding-3-small corpus.jsonl --out requests.jsonl
    """
    from nestvec.models.api.batch_file import write_openai_batch

    chosen = parse_kind(kind)
    check_output(out)
    written = write_openai_batch(
        model,
        ((id_, document.content) for id_, document in open_texts(corpus, None)),
        out,
        kind=chosen,
        prompts=parse_prompts(query_prompt, document_prompt),
    )
    files = ", ".join(shown_path(file) for file in written.files)
    print_wrapped(f"{count_text(written.requests, 'request')} written to {files}")
