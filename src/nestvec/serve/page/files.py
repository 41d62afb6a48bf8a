"""The static files of the page, with their media types and ETags."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

from nestvec.report.theme import DARK, LIGHT, Theme

INDEX = "index.html"
_THEME = "theme.css"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True)
class PageFile:
    """A static file.

    Attributes:
        content: Its bytes.
        media_type: Value of the ``Content-Type`` header.
        etag: Hash of the bytes.
    """

    content: bytes
    media_type: str
    etag: str

    @classmethod
    def of(cls, name: str, content: bytes) -> PageFile:
        """Create a file; the suffix of its name determines the media type."""
        ending = name[name.rindex(".") :]
        return cls(content, _TYPES[ending], f'"{hashlib.sha256(content).hexdigest()[:20]}"')


@cache
def page_files() -> Mapping[str, PageFile]:
    """Return all files by name. They are read once, so no request reads the file system."""
    folder = resources.files(__package__) / "static"
    read = {each.name: each.read_bytes() for each in folder.iterdir()}
    read[_THEME] = theme_css().encode()
    return {name: PageFile.of(name, content) for name, content in sorted(read.items())}


def theme_css() -> str:
    """Return the colors of the report as CSS.

    The theme follows the system, unless the user has selected a theme on the page.
    """
    light, dark = _variables(LIGHT), _variables(DARK)
    return (
        f":root {{ color-scheme: light; {light} }}\n"
        "@media (prefers-color-scheme: dark) {\n"
        f"  :root:not([data-theme=light]) {{ color-scheme: dark; {dark} }}\n"
        "}\n"
        f":root[data-theme=dark] {{ color-scheme: dark; {dark} }}\n"
    )


def _variables(theme: Theme) -> str:
    return " ".join(f"--{name}: {color};" for name, color in theme.variables().items())
