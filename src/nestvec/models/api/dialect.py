"""What differs between embedding APIs: addresses, keys, bodies of requests, answers and limits.

Each dialect is a value of ``Dialect``. ``client`` sends requests, ``answers`` checks the answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from nestvec.types import Kind

Body = dict[str, Any]


class TextRequest(NamedTuple):
    """The content of one request.

    Attributes:
        model: Name of the model at the API.
        texts: The texts, with their prompt.
        input_type: The dialect's word for queries or documents; "" to omit the field.
        dim: The width to request; None for the default of the API.
    """

    model: str
    texts: Sequence[str]
    input_type: str
    dim: int | None


class RawAnswer(NamedTuple):
    """An answer before its vectors are decoded and checked.

    Attributes:
        vectors: One list of numbers or one base64 string for each text.
        indexes: The position of the text of each vector; None if the vectors are in order.
        model: The model that the answer names; "" if it names none.
    """

    vectors: Sequence[Any]
    indexes: Sequence[Any] | None = None
    model: str = ""


@dataclass(frozen=True)
class Dialect:
    """One kind of embedding API.

    Attributes:
        name: The word before the colon in the name of a model.
        base_url: Address of the vendor's API; "" if a base URL must be given.
        keys: Environment variables of the vendor's key; the first one that is set is used.
        header: Name of the header of the key. With ``Authorization``, the key follows "Bearer ".
        path: Path of requests for a model, below the base URL.
        body: Creates the body of a request.
        read: Reads an answer. It raises KeyError, TypeError or IndexError for another format.
        input_types: The words for queries and documents; empty without such a field.
        texts: Maximum number of texts in a request.
        tokens: Maximum number of estimated tokens in a request. It is far below the limit of the
            API, because the number is an estimate.
        requests_width: Whether the width must be requested, because the default is smaller than
            the full width for some models.
        has_prompts: Whether the server adds the prompts of its model itself.
        base_url_variable: Environment variable that replaces ``base_url``; "" without one.
    """

    name: str
    base_url: str
    keys: tuple[str, ...]
    path: Callable[[str], str]
    body: Callable[[TextRequest], Body]
    read: Callable[[Any], RawAnswer]
    texts: int
    tokens: int
    header: str = "Authorization"
    input_types: Mapping[Kind, str] | None = None
    requests_width: bool = False
    has_prompts: bool = False
    base_url_variable: str = ""
