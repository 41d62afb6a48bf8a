"""Convert errors of libraries, raised while a model encodes, to one line that states the remedy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from nestvec.errors import ModelError, NestvecError, first_line

_NO_PADDING = (
    "its tokenizer has no padding token. Set tokenizer.pad_token (for example to "
    "tokenizer.eos_token) with Sentence Transformers, save the model, and load it again"
)
_NO_MEMORY = (
    "there is not enough memory. Reduce the model's max_seq_length, use bfloat16, or choose "
    "another device"
)


@contextmanager
def encoding_errors(name: str) -> Iterator[None]:
    """Convert all errors of a block that encodes texts to ``ModelError``.

    Args:
        name: Name of the model.

    Raises:
        ModelError: If the block raises an error of another library. The error is its cause.
    """
    try:
        yield
    except NestvecError:
        raise
    except Exception as error:  # three libraries and remote code can raise any error
        reason = _reason(error)
        raise ModelError(f"{name}: cannot encode texts: {reason}.") from error


def _reason(error: Exception) -> str:
    text = str(error).lower()
    if "padding token" in text or "pad token" in text:
        return _NO_PADDING
    if isinstance(error, MemoryError) or "out of memory" in text or "can't allocate" in text:
        return f"{_NO_MEMORY} ({first_line(error).rstrip('.')})"
    return f"{type(error).__name__}: {first_line(error).rstrip('.')}"
