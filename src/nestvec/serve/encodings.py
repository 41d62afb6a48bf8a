"""Formats of vectors in a response: numbers, or base64 of their bytes.

``base64`` is little-endian float32, as in the OpenAI API. ``int8`` and ``binary`` are the codes
that the served index stores: they have its calibration and its rounding. Without an index,
``binary`` codes are computed from float32 vectors.
"""

from __future__ import annotations

from base64 import b64encode
from typing import Any, Literal

import numpy as np

from nestvec.codec.codec import Codec
from nestvec.codec.prefix import prefix
from nestvec.serve.errors import bad_request
from nestvec.serve.served import Served
from nestvec.types import Embeddings

Format = Literal["float", "base64", "int8", "binary"]


def format_vectors(
    vectors: Embeddings, dim: int, form: Format, served: Served
) -> Embeddings | list[str]:
    """Return the JSON value of each vector.

    Args:
        vectors: Vectors of the model, [n, full_dim].
        dim: Requested number of dims.
        form: Requested format.
        served: The served model and index, whose calibration is used.

    Raises:
        ApiError: 400 if the index has no calibration for this format and number of dims.
    """
    if form in ("int8", "binary"):
        codec = _codec(served, dim, form)
        index = served.index
        return _as_text(codec.encode(vectors) if index is None else index.codes(vectors, codec))
    unit = prefix(vectors, dim, layer_norm=served.info.layer_norm)
    return unit if form == "float" else _as_text(unit.astype("<f4", copy=False))


def _as_text(lines: np.ndarray[Any, Any]) -> list[str]:
    return [b64encode(line).decode("ascii") for line in lines]


def _codec(served: Served, dim: int, form: Literal["int8", "binary"]) -> Codec:
    param = "encoding_format"
    if form == "binary" and served.index is None:  # codes of a model alone subtract no mean
        return Codec(dim, form, served.info.layer_norm, np.empty(0, dtype=np.float32))
    if served.index is None:
        raise bad_request(
            f"encoding_format={form!r} requires the calibration of an index. Serve an index with "
            "the model, or use base64.",
            param,
        )
    codecs = served.index.codecs
    if (dim, form) not in codecs:
        saved = sorted((key[0] for key in codecs if key[1] == form), reverse=True)
        dims = ", ".join(map(str, saved)) or "no dims"
        raise bad_request(
            f"encoding_format={form!r} with {dim} dims has no calibration in the index, which has "
            f"a calibration for {dims}. Choose one of these, or search once with {dim}:{form}.",
            param,
        )
    return codecs[dim, form]
