"""The URL of an index in LanceDB: ``lance://folder`` or ``s3://bucket/prefix``.

Credentials come only from the environment, as for other object storage of nestvec.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl

from nestvec.engines.places import check_name
from nestvec.errors import InvalidArgument

LOCAL_SCHEME, S3_SCHEME = "lance://", "s3://"
DEFAULT_TABLE = "documents"
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
_SECRETS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_LIMITS = {"connect_timeout": "10s", "timeout": "60s", "client_max_retries": "3"}


@dataclass(frozen=True)
class LancePlace:
    """A parsed URL.

    Attributes:
        uri: The path of the folder, or the URL of the prefix, for LanceDB.
        table: The name of the index.
        shown: The URL, for messages.
    """

    uri: str
    table: str
    shown: str

    @property
    def folder(self) -> Path | None:
        """The local folder; None on object storage."""
        return None if self.uri.startswith(S3_SCHEME) else Path(self.uri)

    @classmethod
    def parse(cls, url: str) -> LancePlace:
        """Split a URL.

        Raises:
            InvalidArgument: If the URL names no folder or no bucket, or contains credentials or
                unknown parameters.
        """
        address, _, query = url.partition("?")
        scheme, separator, rest = address.partition("://")
        scheme = f"{scheme.lower()}{separator}"
        if scheme not in (LOCAL_SCHEME, S3_SCHEME) or not rest.strip("/"):
            problem = "the URL of the index names no folder."
            remedy = f"Write {LOCAL_SCHEME}FOLDER or {S3_SCHEME}BUCKET/PREFIX."
            raise InvalidArgument(f"{problem} {remedy}")
        if scheme == S3_SCHEME and "@" in rest.partition("/")[0]:
            problem = "the URL of the index contains credentials."
            raise InvalidArgument(f"{problem} Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.")
        table = check_name(_parameters(query).get("table", DEFAULT_TABLE), "table")
        rest = rest.rstrip("/")
        uri = scheme + rest if scheme == S3_SCHEME else rest
        suffix = f"?table={table}" if query else ""
        return cls(uri, table, f"{scheme}{rest}{suffix}")

    def storage_options(self) -> dict[str, str]:
        """Return the options of the object storage, without credentials."""
        if self.folder is not None:
            return {}
        endpoint = next(filter(None, map(os.environ.get, _ENDPOINTS)), None)
        if endpoint is None:
            return dict(_LIMITS)
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        return {
            **_LIMITS,
            "aws_endpoint": endpoint,
            "allow_http": str(endpoint.startswith("http://")).lower(),
            "aws_region": region or "us-east-1",
        }


def without_secrets(text: str) -> str:
    """Return a text without the credentials of the environment."""
    for name in _SECRETS:
        value = os.environ.get(name)
        if value:
            text = text.replace(value, "***")
    return text


def _parameters(query: str) -> Mapping[str, str]:
    pairs = parse_qsl(query, keep_blank_values=True)
    if any(name != "table" for name, _ in pairs) or len(pairs) > 1:
        problem = "the URL of the index has a parameter that this engine does not know."
        raise InvalidArgument(f"{problem} Write at most ?table=NAME.")
    return dict(pairs)
