"""Choose the key of an API from the environment, and remove keys from messages.

A key is sent only to the host that it belongs to:

1. The variable of a vendor (``OPENAI_API_KEY`` and others) belongs to the vendor's host. If
   ``OPENAI_BASE_URL`` is set, ``OPENAI_API_KEY`` belongs to that host instead, as in the clients of
   OpenAI.
2. ``NESTVEC_API_KEY`` belongs to the host in ``NESTVEC_API_HOST``. If this variable is not set, the
   key belongs to the base URL that the caller passes. It is not sent to a host that only the name
   of a model contains: the name may come from an index of another person.

Keys are never stored, logged or shown.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from nestvec.errors import ModelError
from nestvec.models.api.address import ApiAddress, host_of, url_in_environment

OWN_KEY, OWN_HOST = "NESTVEC_API_KEY", "NESTVEC_API_HOST"


@dataclass(frozen=True)
class ApiKey:
    """A key and where it comes from; the key is not part of ``repr``.

    Attributes:
        value: The key; "" without one.
        source: The environment variable, or the reason why there is no key.
    """

    value: str = field(repr=False)
    source: str

    def removed_from(self, text: str) -> str:
        """Return a text without the key, which some servers repeat in error messages."""
        return text.replace(self.value, "***") if self.value else text


def find_key(address: ApiAddress) -> ApiKey:
    """Return the key for an address.

    Raises:
        ModelError: If the vendor's API needs a key and none is set, or a key has characters that
            cannot be sent.
    """
    vendor = address.dialect.keys
    moved = url_in_environment(address.dialect)
    owner = host_of(moved or address.dialect.base_url)
    found = _first_set(vendor) if address.host == owner else None
    if found is not None:
        return found
    if address.is_vendor:
        names = " or ".join(vendor)
        raise ModelError(f"{address.name}: needs a key. Set the environment variable {names}.")
    own = _first_set((OWN_KEY,))
    if own is None:
        return ApiKey("", _without_key(address, owner))
    host = os.environ.get(OWN_HOST, "").strip()
    if host_of(host) == address.host if host else address.chosen:
        return own
    reason = f"{OWN_KEY} was not sent. To send it to this host, set {OWN_HOST}={address.host}"
    if address.host == owner and vendor:
        reason += f", or set {' or '.join(vendor)}"
    return ApiKey("", reason)


def _without_key(address: ApiAddress, owner: str) -> str:
    """Name the variables whose key would be sent to the host of an address; none of them is set."""
    vendor = address.dialect.keys
    if address.host == owner and vendor:
        names = f"none of {', '.join((*vendor, OWN_KEY))} is set"
        return f"no key was sent, because {names}"
    reason = f"no key was sent, because {OWN_KEY} is not set"
    other = _first_set(vendor)
    return reason if other is None else f"{reason} ({other.source} is sent only to {owner})"


def _first_set(names: tuple[str, ...]) -> ApiKey | None:
    for name in names:
        value = os.environ.get(name, "").strip()
        if not value:
            continue
        if not (value.isascii() and value.isprintable()) or " " in value:
            raise ModelError(f"The environment variable {name} contains characters of no key.")
        return ApiKey(value, name)
    return None
