"""What the commands on indexes share: the texts that go in, and how an index is described."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from nestvec.cli.console import say_wrapped
from nestvec.errors import InvalidArgument
from nestvec.wording import count_text, size_text

if TYPE_CHECKING:
    from nestvec.index.index import Index
    from nestvec.types import Document


def load_texts(corpus: Path, passage_words: int | None) -> dict[str, Document]:
    """Load a corpus, of text files in passages of so many words.

    Raises:
        InvalidArgument: If words are limited, but it is no folder of text files.
        DataError: If it cannot be loaded.
    """
    from nestvec.data.corpus import is_text_folder, load_corpus

    if passage_words is None:
        return load_corpus(corpus)
    if not is_text_folder(corpus):
        raise InvalidArgument(f"--passage-words is for a folder of text files; {corpus} is none")
    return load_corpus(corpus, passage_words=passage_words)


def say_closed(index: Index, *, seconds: float) -> None:
    """Close an index, and say what it holds, how it is searched, what that takes and took.

    Closed, as what was changed lies on the disk twice until then.
    """
    from nestvec.engines.embedded.compaction import folder_bytes

    held = f"{count_text(len(index), 'document')} at {index.point}"
    resident_bytes = index.stats().resident_bytes
    index.close()
    say_wrapped(f"{held}: {sizes(resident_bytes, folder_bytes(index.path))}, {seconds:.0f} s")


def sizes(resident_bytes: int, disk_bytes: int) -> str:
    """Write what an index takes."""
    return f"{size_text(resident_bytes)} in memory, {size_text(disk_bytes)} on disk"
