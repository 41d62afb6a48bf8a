"""Estimate what an API model costs before texts are sent.

Only texts that are not in the embedding cache count, each text once. Tokens are estimated: UTF-8
bytes of prompt and text / 4. A TOML file of the user contains the prices.

    ["openai:text-embedding-3-large"]
    price_per_million_tokens = 0.13
    currency = "USD"
    tokens_per_minute = 1_000_000
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeGuard

from nestvec.errors import DataError, InvalidArgument
from nestvec.models.adapted import unadapted
from nestvec.models.api.address import ApiAddress
from nestvec.models.api.batches import estimate_tokens, group_rows
from nestvec.models.api.cached import CachedApiEncoder
from nestvec.models.api.encoder import ApiEncoder
from nestvec.types import Encoder, Kind
from nestvec.wording import count_text

_CHUNK = 4_096  # texts looked up at a time
_FIELDS = {"price_per_million_tokens", "currency", "tokens_per_minute"}


@dataclass(frozen=True)
class ApiPrice:
    """The price of a model, as the user states it.

    Attributes:
        per_million_tokens: Price of a million tokens.
        currency: Its currency.
        tokens_per_minute: The limit of the account; None if it is not stated.
    """

    per_million_tokens: float
    currency: str = "USD"
    tokens_per_minute: float | None = None


@dataclass(frozen=True)
class CostEstimate:
    """What it costs to encode texts.

    Attributes:
        model: Name of the model.
        texts: Number of texts to send.
        cached: Number of texts that need no request: in the cache, repeated or blank.
        tokens: Estimated number of tokens to send.
        requests: Number of requests.
        price: The price; None if it is unknown.
    """

    model: str
    texts: int
    cached: int
    tokens: int
    requests: int
    price: ApiPrice | None = None

    @property
    def cost(self) -> float | None:
        """The cost in the currency of the price; None if the price is unknown."""
        if self.texts == 0:
            return 0.0
        return None if self.price is None else self.tokens * self.price.per_million_tokens / 1e6

    @property
    def minutes(self) -> float | None:
        """The shortest time that the limit of tokens per minute allows; None without a limit."""
        limit = None if self.price is None else self.price.tokens_per_minute
        return None if limit is None else self.tokens / limit

    def __add__(self, other: CostEstimate) -> CostEstimate:
        """Add the texts of another estimate for the same model."""
        return CostEstimate(
            self.model,
            self.texts + other.texts,
            self.cached + other.cached,
            self.tokens + other.tokens,
            self.requests + other.requests,
            self.price,
        )

    def __str__(self) -> str:
        """Describe the estimate in one line."""
        known = f" ({self.cached:,} cached, repeated or blank)" if self.cached else ""
        sent = f"{count_text(self.texts, 'text')} to send{known}"
        amount = f"about {self.tokens:,} tokens (bytes / 4), {count_text(self.requests, 'request')}"
        return f"{self.model}: {sent}, {amount}; {self._cost_text()}{self._time_text()}"

    def _cost_text(self) -> str:
        if self.cost is None or self.price is None:
            return "price unknown" if self.texts else "nothing to pay"
        price = f"{self.price.per_million_tokens:g} {self.price.currency} per million tokens"
        digits = 2 if self.cost >= 0.01 or self.cost == 0 else 6
        return f"about {self.cost:,.{digits}f} {self.price.currency} at {price}"

    def _time_text(self) -> str:
        if self.minutes is None:
            return ""
        minutes = f"at least {max(1, math.ceil(self.minutes)):,} min"
        return f"; {minutes} at the limit of tokens per minute" if self.minutes > 1 else ""


def estimate_cost(
    model: Encoder,
    texts: Iterable[str],
    *,
    kind: Kind = "document",
    prices: Path | str | None = None,
) -> CostEstimate:
    """Estimate what it costs to encode texts with an API model; nothing is sent.

    Args:
        model: A result of ``load_model`` for an API model.
        texts: The texts, read once in blocks. A text that appears in two blocks is counted twice.
        kind: "query" or "document".
        prices: A TOML file of prices. Each table has the name of a model, with or without the name
            of the API, and ``price_per_million_tokens``; optionally ``currency`` and
            ``tokens_per_minute``.

    Raises:
        InvalidArgument: If the model is not an API model.
        DataError: If the file of prices cannot be used.
    """
    api = api_encoder(model)
    if api is None:
        raise InvalidArgument(f"{model.info.name} is not an API model. It has no costs per token.")
    price = None if prices is None else read_price(Path(prices), api.address)
    total = CostEstimate(model.info.name, 0, 0, 0, 0, price)
    cache = unadapted(model)
    for block in _blocks(texts):
        new = list(dict.fromkeys(text for text in block if text.strip()))
        if isinstance(cache, CachedApiEncoder):
            new = cache.missing(new, kind=kind)
        total += _of_new_texts(api, new, kind, len(block) - len(new))
    return total


def api_encoder(model: Encoder) -> ApiEncoder | None:
    """Return the API model behind a cache or an adapter; None for another model."""
    base = unadapted(model)
    base = base.api if isinstance(base, CachedApiEncoder) else base
    return base if isinstance(base, ApiEncoder) else None


def read_price(path: Path, address: ApiAddress) -> ApiPrice | None:
    """Return the price of a model; None if the file has no price for the model.

    Raises:
        DataError: If the file cannot be read, or the price is not a number from 0.
    """
    try:
        tables: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(path, f"cannot be read ({error.strerror})") from error
    except ValueError as error:  # not UTF-8, or not TOML
        raise DataError(path, f"is not TOML ({error})") from error
    names = (address.name, f"{address.dialect.name}:{address.model}", address.model)
    name = next((each for each in names if each in tables), None)
    return None if name is None else _price(path, name, tables[name])


def _price(path: Path, name: str, values: Any) -> ApiPrice:
    unknown = sorted(set(values) - _FIELDS) if isinstance(values, dict) else [name]
    if unknown:
        known = ", ".join(sorted(_FIELDS))
        raise DataError(path, f"[{name!r}] the field {unknown[0]!r} is unknown. Use {known}.")
    price, limit = values.get("price_per_million_tokens"), values.get("tokens_per_minute")
    if not _is_number(price) or price < 0:
        problem = f"[{name!r}] price_per_million_tokens={price!r} is not a number from 0."
        raise DataError(path, problem)
    if limit is not None and not (_is_number(limit) and limit > 0):
        raise DataError(path, f"[{name!r}] tokens_per_minute={limit!r} is not a number above 0.")
    return ApiPrice(float(price), str(values.get("currency", "USD")), limit)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and type(value) is not bool and math.isfinite(value)


def _of_new_texts(api: ApiEncoder, new: Sequence[str], kind: Kind, cached: int) -> CostEstimate:
    prompt, dialect = api.info.prompts[kind], api.address.dialect
    prompted = [f"{prompt}{text}" for text in new]
    groups = group_rows(
        enumerate(prompted), most_texts=lambda: dialect.texts, most_tokens=dialect.tokens
    )
    tokens = sum(map(estimate_tokens, prompted))
    return CostEstimate(api.info.name, len(new), cached, tokens, sum(1 for _ in groups))


def _blocks(texts: Iterable[str]) -> Iterator[list[str]]:
    rest = iter(texts)
    while block := list(islice(rest, _CHUNK)):
        yield block
