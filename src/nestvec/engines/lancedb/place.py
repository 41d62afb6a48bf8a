"""The URL of an index in LanceDB: ``lance://folder`` or ``s3://bucket/prefix``.

Credentials come only from the environment, as for other object storage of nestvec.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl

from nestvec.engines.places import check_name
from nestvec.errors import InvalidArgument
from nestvec.files.object_storage import lance_options

LOCAL_SCHEME, S3_SCHEME = "lance://", "s3://"
DEFAULT_TABLE = "documents"


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
        return {} if self.folder is not None else lance_options()


def _parameters(query: str) -> Mapping[str, str]:
    pairs = parse_qsl(query, keep_blank_values=True)
    if any(name != "table" for name, _ in pairs) or len(pairs) > 1:
        problem = "the URL of the index has a parameter that this engine does not know."
        raise InvalidArgument(f"{problem} Write at most ?table=NAME.")
    return dict(pairs)
