"""How a server behaves: where it listens, who may ask, what one request may cost.

Values only; each is enforced where its noun lives.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field

from nestvec.errors import InvalidArgument, refuse_string

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Limits:
    """What one request may cost, and how many may wait.

    Attributes:
        body_bytes: Size of a request's body.
        items: Texts or documents in a request; OpenAI's own limit.
        tokens: Tokens in a request, after long texts are cut; OpenAI's own limit.
        k: Hits asked for.
        keep: Shortlist of a point that a request names.
        requests: Requests worked on at the same time.
        queued_items: Texts waiting for the encoder.
        queued_searches: Searches waiting for a thread.
        timeout_s: How long a request may take.
        cache_bytes: Vectors kept of texts that were encoded before; 0 keeps none.
        warm_bytes: Codes made for the page before they are asked for; 0 makes none.
    """

    body_bytes: int = 8 * 2**20
    items: int = 2048
    tokens: int = 300_000
    k: int = 1000
    keep: int = 10_000
    requests: int = 512
    queued_items: int = 4096
    queued_searches: int = 256
    timeout_s: float = 60.0
    cache_bytes: int = 64 * 2**20
    warm_bytes: int = 256 * 2**20

    def __post_init__(self) -> None:
        """Refuse limits that would let nothing through."""
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            if value < 0 or (value == 0 and name not in ("cache_bytes", "warm_bytes")):
                raise InvalidArgument(f"{name} {value} lets nothing through")


@dataclass(frozen=True)
class Settings:
    """How a server behaves.

    Attributes:
        keys: API keys that are let in; none lets everybody in.
        writable: Documents may be added and deleted.
        allow_any_dimension: ``dimensions`` need not be one that the model was trained for.
        allow_any_point: A search may name an operating point that is no tier.
        allow_origins: Other sites whose pages may call the API ("*" for all).
        allow_hosts: Names that the server may be called by; none allows all.
        encoders: Threads that encode at the same time.
        limits: What one request may cost.
    """

    keys: tuple[str, ...] = ()
    writable: bool = False
    allow_any_dimension: bool = False
    allow_any_point: bool = True
    allow_origins: tuple[str, ...] = ()
    allow_hosts: tuple[str, ...] = LOOPBACK_NAMES
    encoders: int = 1
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        """Refuse one string: as a list of keys, each of its letters would let clients in."""
        for name in ("keys", "allow_origins", "allow_hosts"):
            refuse_string(getattr(self, name), name)


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach a server that listens there."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_binding(host: str, *, keys: tuple[str, ...], insecure: bool) -> None:
    """Refuse to listen where others can reach it, unless they need a key.

    Raises:
        InvalidArgument: If they do not, and nobody said that this is meant.
    """
    if not (is_loopback(host) or keys or insecure):
        raise InvalidArgument(
            f"--host {host} can be reached from elsewhere and there is no API key: name "
            "--api-key-file, set NESTVEC_API_KEYS, or say --insecure"
        )
