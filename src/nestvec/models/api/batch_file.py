"""Write request files for the Batch API of OpenAI; ``sources.openai_batch`` reads the answers."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from nestvec.errors import InvalidArgument
from nestvec.files.atomic import replace_file
from nestvec.models.api.address import parse_name
from nestvec.models.api.dialect import TextRequest
from nestvec.models.api.openai import OPENAI
from nestvec.types import Kind

MOST_REQUESTS = 50_000
MOST_BYTES = 200_000_000
"""Limits of a file: https://platform.openai.com/docs/api-reference/batch/create"""
_LONG_ID = 64  # characters
_logger = logging.getLogger(__name__)


class BatchFiles(NamedTuple):
    """The written files.

    Attributes:
        files: Their paths.
        requests: Number of requests in all files.
    """

    files: list[Path]
    requests: int


def write_openai_batch(
    model: str,
    texts: Iterable[tuple[str, str]],
    out: Path,
    *,
    kind: Kind = "document",
    prompts: Mapping[Kind, str] | None = None,
) -> BatchFiles:
    """Write one request for each text, in files within the limits of the Batch API.

    Nothing is sent. The id of a text becomes the ``custom_id`` of its request.

    Args:
        model: Name of an OpenAI model, such as "openai:text-embedding-3-small".
        texts: Ids and texts.
        out: The file to write; further files have the suffixes ``-2``, ``-3`` before ``.jsonl``.
        kind: "query" or "document"; selects the prompt.
        prompts: Prefixes of texts by kind.

    Raises:
        InvalidArgument: If the model is of another API, or an id is empty or appears twice, or a
            text is blank.
        DataError: If a file cannot be written. No file is changed after an error.
    """
    address = parse_name(model, None)
    if address.dialect is not OPENAI:
        raise InvalidArgument(f"{model}: batch files are written for openai: models only.")
    prompt = (prompts or {}).get(kind, "")
    files: list[Path] = []
    count = 0
    with ExitStack() as replaced:  # all files or, after an error, none
        for lines in _parts(_lines(address.model, texts, prompt)):
            number = len(files) + 1
            file = out if number == 1 else out.with_stem(f"{out.stem}-{number}")
            temporary = replaced.enter_context(replace_file(file))
            temporary.write_bytes(b"".join(lines))
            files.append(file)
            count += len(lines)
    if not files:
        raise InvalidArgument("There are no texts to write.")
    return BatchFiles(files, count)


def _lines(model: str, texts: Iterable[tuple[str, str]], prompt: str) -> Iterator[bytes]:
    seen: set[str] = set()
    long = ""
    for id_, text in texts:
        if not id_ or id_ in seen:
            raise InvalidArgument(f"id {id_!r:.80} is empty or appears twice. Ids must be unique.")
        if not text.strip():
            problem = f"the text of id {id_!r:.80} is blank, which the API refuses"
            raise InvalidArgument(f"{problem}. Remove it from the texts.")
        seen.add(id_)
        long = long or (id_ if len(id_) > _LONG_ID else "")
        body = OPENAI.body(TextRequest(model, [f"{prompt}{text}"], "", None))
        line = {"custom_id": id_, "method": "POST", "url": "/v1/embeddings", "body": body}
        yield json.dumps(line, ensure_ascii=False).encode(errors="replace") + b"\n"
    if long:
        _logger.warning(
            "ids of more than %s characters, such as %r: some servers refuse them as custom_id.",
            *(_LONG_ID, long),
        )


def _parts(lines: Iterable[bytes]) -> Iterator[list[bytes]]:
    part: list[bytes] = []
    size = 0
    for line in lines:
        if part and (len(part) >= MOST_REQUESTS or size + len(line) > MOST_BYTES):
            yield part
            part, size = [], 0
        part.append(line)
        size += len(line)
    if part:
        yield part
