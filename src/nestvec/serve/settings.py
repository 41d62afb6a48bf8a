"""Settings of a server: its address, its access rules and the limits of a request."""

from __future__ import annotations

from dataclasses import dataclass, field

from nestvec.errors import InvalidArgument, refuse_string
from nestvec.models.api.address import is_loopback

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Limits:
    """Limits of a request and of the queues.

    Attributes:
        body_bytes: Maximum size of the body of a request.
        items: Maximum number of texts or documents in a request; the limit of OpenAI.
        tokens: Maximum number of tokens in a request, after truncation; the limit of OpenAI.
        k: Maximum number of requested hits.
        keep: Maximum shortlist of a requested operating point.
        requests: Maximum number of concurrent requests.
        queued_items: Maximum number of texts that wait for the encoder.
        queued_searches: Maximum number of searches that wait for a thread.
        timeout_s: Maximum duration of a request in seconds.
        cache_bytes: Size of the cache of vectors; 0 turns the cache off.
        warm_bytes: Maximum size of codes built in advance for the page; 0 builds none.
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
        """Check that no limit rejects every request."""
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            may_be_zero = name in ("cache_bytes", "warm_bytes")
            if value < 0 or (value == 0 and not may_be_zero):
                least = "0 or more" if may_be_zero else "a value above 0"
                raise InvalidArgument(f"{name}={value} is too small. Pass {least}.")


@dataclass(frozen=True)
class Settings:
    """Settings of a server.

    Attributes:
        keys: Accepted API keys; without keys, every request is accepted.
        writable: Whether documents may be added and deleted.
        allow_any_dimension: Whether requests may use dims that the model was not trained for.
        default_dimensions: Dims of the vectors in responses to requests that name neither dims nor
            a tier; None for all dims.
        allow_any_point: Whether a search may use an operating point that is not a tier.
        accept_token_ids: Whether token ids are accepted even if they may be of another tokenizer.
        decode_token_ids: Encoding of OpenAI whose token ids are decoded to texts, such as
            "cl100k_base"; None decodes nothing.
        allow_origins: Origins of other sites that may call the API ("*" for all).
        allow_hosts: Accepted host names; empty accepts all.
        encoders: Number of threads that encode at the same time.
        limits: Limits of a request.
    """

    keys: tuple[str, ...] = ()
    writable: bool = False
    allow_any_dimension: bool = False
    default_dimensions: int | None = None
    allow_any_point: bool = True
    accept_token_ids: bool = False
    decode_token_ids: str | None = None
    allow_origins: tuple[str, ...] = ()
    allow_hosts: tuple[str, ...] = LOOPBACK_NAMES
    encoders: int = 1
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        """Reject a single string, each of whose characters would become a valid key."""
        for name in ("keys", "allow_origins", "allow_hosts"):
            refuse_string(getattr(self, name), name)
        if self.accept_token_ids and self.decode_token_ids is not None:
            raise InvalidArgument(
                "--accept-token-ids and --decode-token-ids exclude each other: token ids are those "
                "of the served model, or those of another encoding. Pass one of the options."
            )


def check_binding(host: str, *, keys: tuple[str, ...], insecure: bool) -> None:
    """Check that a server that other machines can reach requires an API key.

    Raises:
        InvalidArgument: If there is no key, the host is not loopback and ``insecure`` is False.
    """
    if not (is_loopback(host) or keys or insecure):
        raise InvalidArgument(
            f"--host {host} can be reached from other machines, and there is no API key. Pass "
            "--api-key-file, set NESTVEC_API_KEYS, or pass --insecure."
        )
