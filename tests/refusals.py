"""The error of a file that cannot be used."""

from collections.abc import Callable
from typing import Any

import pytest

from nestvec.errors import DataError


def refusal(function: Callable[..., Any], *args: Any, **options: Any) -> str:
    """Return the message of the ``DataError`` that a call raises; the message is one line."""
    with pytest.raises(DataError) as caught:
        function(*args, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message
