"""The page's files as they are sent: their bytes, types and tags.

What the files do is written in ``static/``; how they reach a browser is for ``routes``.
"""

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
    """One file.

    Attributes:
        content: Its bytes.
        media_type: What a browser takes it for.
        etag: Changes when the bytes do.
    """

    content: bytes
    media_type: str
    etag: str

    @classmethod
    def of(cls, name: str, content: bytes) -> PageFile:
        """Describe the content of a file by its name's ending."""
        ending = name[name.rindex(".") :]
        return cls(content, _TYPES[ending], f'"{hashlib.sha256(content).hexdigest()[:20]}"')


@cache
def page_files() -> Mapping[str, PageFile]:
    """Return all files by name, read once: no request reaches the file system."""
    folder = resources.files(__package__) / "static"
    read = {each.name: each.read_bytes() for each in folder.iterdir()}
    read[_THEME] = theme_css().encode()
    return {name: PageFile.of(name, content) for name, content in sorted(read.items())}


def theme_css() -> str:
    """Write the report's colors as CSS: as the system is, unless the page's button said."""
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
