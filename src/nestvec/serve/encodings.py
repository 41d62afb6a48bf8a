"""Vectors as a response holds them: numbers, or base64 of their bytes.

``base64`` is little-endian float32, as OpenAI's clients read it. ``int8`` and ``binary`` are the
codes that the served index stores, made with its own calibration of vectors rounded as it rounds
them. Without an index, ``binary`` is made of the vectors at float32.
"""

from __future__ import annotations

from base64 import b64encode
from typing import Any, Literal

import numpy as np

from nestvec.codec.codec import Codec
from nestvec.codec.prefix import prefix
from nestvec.codec.quantizer import QUANTIZERS
from nestvec.serve.errors import refused
from nestvec.serve.served import Served
from nestvec.types import Embeddings

Format = Literal["float", "base64", "int8", "binary"]


def written(vectors: Embeddings, dim: int, form: Format, served: Served) -> Embeddings | list[str]:
    """Return what stands for each vector in the JSON of a response.

    Args:
        vectors: [n, full_dim], as the model gives them.
        dim: How many dimensions are asked for.
        form: How they are written.
        served: Whose calibration is used.

    Raises:
        ApiError: 400 if there is no calibration for that.
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
    if not QUANTIZERS[form].fitted_values:
        return Codec(dim, form, served.info.layer_norm, np.empty(0, dtype=np.float32))
    if served.index is None:
        raise refused(
            f"encoding_format {form!r} needs the calibration of an index: serve one beside the "
            "model, or ask for base64",
            param,
        )
    codecs = served.index.codecs
    if (dim, form) not in codecs:
        saved = sorted((key[0] for key in codecs if key[1] == form), reverse=True)
        dims = ", ".join(map(str, saved)) or "no dims"
        raise refused(
            f"encoding_format {form!r} at {dim} dims: the index has its calibration for {dims}; "
            "ask for those dimensions, or search the index by a point that has these",
            param,
        )
    return codecs[dim, form]
