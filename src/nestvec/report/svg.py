"""Write figures: files that come out the same each time, and SVG to stand inside a page."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from nestvec.errors import InvalidArgument, require
from nestvec.files.atomic import replace_file
from nestvec.report.theme import LIGHT

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PNG_DPI = 160
# Text stays text, in the reader's own typeface. All are narrower than the one laid out with.
_FONTS = "system-ui, 'Helvetica Neue', Arial, 'Liberation Sans', sans-serif"
_LAID_OUT_WITH = "DejaVu Sans"  # comes with matplotlib: one layout everywhere
_ID = re.compile(r'(<[^<>]*?) id="([^"]+)"')  # inside a tag: texts have no plain angle brackets
_REFERENCE = re.compile(r'((?:href="|url\()#)([^")]+)')
_STYLE = re.compile(r'style="[^"]*"')
_COLOR = re.compile(r"#[0-9a-f]{6}")
_GLOBAL_STYLE = re.compile(r"<defs>\s*<style[^>]*>[^<]*</style>\s*</defs>\s*")
_OPEN_TAG = re.compile(r"<svg ([^>]*)>", re.DOTALL)


@contextmanager
def drawing() -> Iterator[None]:
    """Draw with the settings of this project: deterministic, texts taken as they are."""
    matplotlib = require("matplotlib", extra="report")
    settings = {
        "svg.fonttype": "none",
        "svg.hashsalt": "nestvec",
        "text.parse_math": False,  # a name with dollar signs is a name
        "font.family": [_LAID_OUT_WITH],
        "font.size": 9,
    }
    with matplotlib.rc_context(settings):
        yield


def save_chart(figure: Figure, path: Path | str) -> None:
    """Write a figure to a ``.svg`` or ``.png`` file, the same bytes each time.

    Raises:
        InvalidArgument: If the name ends otherwise.
        DataError: If the file cannot be written.
    """
    path = Path(path)
    if path.suffix not in (".svg", ".png"):
        raise InvalidArgument(f"a chart is saved as .svg or .png, not {path.name!r}")
    with replace_file(path) as temporary:
        if path.suffix == ".svg":
            temporary.write_text(_svg(figure), encoding="utf-8")
        else:
            with drawing():
                figure.savefig(temporary, format="png", dpi=PNG_DPI, metadata={"Software": None})


def inline_svg(figure: Figure, *, name: str) -> str:
    """Return a figure of the light theme as an SVG element whose colors are CSS variables.

    The element is an image to assistive technology, described by the figure's label.

    Args:
        figure: What to write.
        name: Stands before the ids in it, so that two figures can share a page.
    """
    text = _svg(figure)
    text = _GLOBAL_STYLE.sub("", text[text.index("<svg") :])
    label = html.escape(str(figure.get_label()), quote=True)
    text = _OPEN_TAG.sub(lambda tag: f'<svg role="img" aria-label="{label}" {tag[1]}>', text, 1)
    text = _STYLE.sub(lambda style: _COLOR.sub(_variable, style[0]), text)
    used = {reference[2] for reference in _REFERENCE.finditer(text)}
    text = _REFERENCE.sub(rf"\1{name}-\2", text)
    return _ID.sub(lambda tag: f'{tag[1]} id="{name}-{tag[2]}"' * (tag[2] in used) or tag[1], text)


def _variable(color: re.Match[str]) -> str:
    names = {value: name for name, value in LIGHT.variables().items()}
    return f"var(--{names[color[0]]})" if color[0] in names else color[0]


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    metadata = {"Date": None, "Creator": None, "Format": None, "Type": None}
    with drawing():
        figure.savefig(buffer, format="svg", metadata=metadata)
    text = buffer.getvalue()
    return _STYLE.sub(lambda style: style[0].replace(f"'{_LAID_OUT_WITH}'", _FONTS), text)
