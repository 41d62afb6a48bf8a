"""Name the values in which two models differ, for messages about files of another model."""

from __future__ import annotations

from collections.abc import Iterator

from nestvec.types import ModelInfo

_NAMES = {
    "full_dim": "dims",
    "query_prompt": "query prompt",
    "document_prompt": "document prompt",
    "query_task": "query task",
    "document_task": "document task",
    "pooling": "pooling",
    "layer_norm": "layer normalization",
    "max_tokens": "maximum tokens",
}


def differences(stored: ModelInfo, given: ModelInfo, file: str) -> str:
    """Return each value that differs, with both values.

    Args:
        stored: The model that a file records.
        given: The model in use.
        file: What records ``stored``, such as "index" or "plan".
    """
    return "; ".join(_differences(stored, given, file))


def shown(value: object) -> str:
    """Return a value as messages show it; None is the absence of a limit."""
    return "no limit" if value is None else repr(value)


def same_model(one: ModelInfo, other: ModelInfo) -> bool:
    """Return whether what was measured or planned with one model is valid for another.

    Stored vectors have one fingerprint with every query model, so query models are compared, too.
    """
    both_named = one.query_model is not None and other.query_model is not None
    same_queries = not both_named or _query_model(one) == _query_model(other)
    return one.fingerprint == other.fingerprint and same_queries


def _query_model(info: ModelInfo) -> str | None:
    return None if info.query_model is None else info.query_model.fingerprint


def _identity(model: ModelInfo | None) -> str:
    return "none" if model is None else model.identity


def _differences(stored: ModelInfo, given: ModelInfo, file: str) -> Iterator[str]:
    named = False
    for field, name in _NAMES.items():
        before, now = getattr(stored, field), getattr(given, field)
        unknown = field == "pooling" and not (before and now)
        if before != now and not unknown:
            named = True
            yield f"{name} ({shown(before)} in the {file}, {shown(now)} in the model)"
    if stored.adapter != given.adapter:
        named = True
        before, now = (each.adapter[:12] or "none" for each in (stored, given))
        yield f"adapter ({before} in the {file}, {now} with the model)"
    if _query_model(stored) != _query_model(given):
        named = True
        before, now = (each.query_model for each in (stored, given))
        yield f"query model ({_identity(before)} in the {file}, {_identity(now)} with the model)"
    if stored.weights and given.weights:
        if stored.weights != given.weights:
            yield f"weights or tokenizer ({stored.weights[:12]}, {given.weights[:12]})"
    elif not named:
        yield f"weights, tokenizer or vectors ({stored.fingerprint[:12]}, {given.fingerprint[:12]})"
