"""Write figures as reproducible files, or as SVG elements inside an HTML page."""

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
# SVG text uses a font of the viewer. All of these are narrower than the font of the layout.
_FONTS = "system-ui, 'Helvetica Neue', Arial, 'Liberation Sans', sans-serif"
_LAYOUT_FONT = "DejaVu Sans"  # included in matplotlib, so the layout is the same everywhere
_ID = re.compile(r'(<[^<>]*?) id="([^"]+)"')  # inside a tag: angle brackets in texts are escaped
_REFERENCE = re.compile(r'((?:href="|url\()#)([^")]+)')
_STYLE = re.compile(r'style="[^"]*"')
_COLOR = re.compile(r"#[0-9a-f]{6}")
_GLOBAL_STYLE = re.compile(r"<defs>\s*<style[^>]*>[^<]*</style>\s*</defs>\s*")
_OPEN_TAG = re.compile(r"<svg ([^>]*)>", re.DOTALL)


@contextmanager
def drawing() -> Iterator[None]:
    """Apply the settings of this project: reproducible output, no math markup in texts."""
    matplotlib = require("matplotlib", extra="report")
    settings = {
        "svg.fonttype": "none",
        "svg.hashsalt": "nestvec",
        "text.parse_math": False,  # names may contain dollar signs
        "font.family": [_LAYOUT_FONT],
        "font.size": 9,
    }
    with matplotlib.rc_context(settings):
        yield


def save_chart(figure: Figure, path: Path | str) -> None:
    """Write a figure to a ``.svg`` or ``.png`` file. The same figure gives the same bytes.

    Raises:
        InvalidArgument: If the file has another suffix.
        DataError: If the file cannot be written.
    """
    path = Path(path)
    if path.suffix not in (".svg", ".png"):
        raise InvalidArgument(f"{path.name!r} is not a chart file. Use the suffix .svg or .png.")
    with replace_file(path) as temporary:
        if path.suffix == ".svg":
            temporary.write_text(_svg(figure), encoding="utf-8")
        else:
            with drawing():
                figure.savefig(temporary, format="png", dpi=PNG_DPI, metadata={"Software": None})


def inline_svg(figure: Figure, *, name: str) -> str:
    """Return a figure of the light theme as an SVG element whose colors are CSS variables.

    For assistive technology, the element is an image with the label of the figure.

    Args:
        figure: The figure.
        name: Prefix of the ids in the element, unique on the page.
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
    return _STYLE.sub(lambda style: style[0].replace(f"'{_LAYOUT_FONT}'", _FONTS), text)
