"""Write figures: files that come out the same each time, and SVG to stand inside a page."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from nestvec.atomic import replace_file
from nestvec.errors import InvalidArgument
from nestvec.report.theme import LIGHT

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PNG_DPI = 160
# Text stays text, in the reader's own typeface. All are narrower than the one laid out with.
_FONTS = "system-ui, 'Helvetica Neue', Arial, 'Liberation Sans', sans-serif"
_FONT = re.compile(r"(font: (?:[\w]+ )?[\d.]+px) [^;\"]+")
_ID = re.compile(r' id="([^"]+)"')
_GLOBAL_STYLE = re.compile(r"<defs>\s*<style[^>]*>[^<]*</style>\s*</defs>\s*")
_OPEN_TAG = re.compile(r"<svg ([^>]*)>", re.DOTALL)


@contextmanager
def drawing() -> Iterator[None]:
    """Draw with the settings of this project: deterministic, texts taken as they are."""
    import matplotlib as mpl

    settings = {
        "svg.fonttype": "none",
        "svg.hashsalt": "nestvec",
        "text.parse_math": False,  # a name with dollar signs is a name
        "font.family": ["DejaVu Sans"],  # comes with matplotlib: one layout everywhere
        "font.size": 9,
    }
    with mpl.rc_context(settings):
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


def inline_svg(figure: Figure) -> str:
    """Return a figure of the light theme as an SVG element whose colours are CSS variables.

    The element is an image to assistive technology, described by the figure's label.
    """
    text = _svg(figure)
    text = _GLOBAL_STYLE.sub("", text[text.index("<svg") :])
    label = html.escape(str(figure.get_label()), quote=True)
    opening = f'<svg role="img" aria-label="{label}" style="stroke-linejoin: round" \\1>'
    text = _OPEN_TAG.sub(opening, text, count=1)
    for name, colour in LIGHT.variables().items():
        text = text.replace(colour, f"var(--{name})")
    used = set(re.findall(r"(?:href=\"|url\()#([^\")]+)", text))
    return _ID.sub(lambda match: match[0] if match[1] in used else "", text)


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    metadata = {"Date": None, "Creator": None, "Format": None, "Type": None}
    with drawing():
        figure.savefig(buffer, format="svg", metadata=metadata)
    return _FONT.sub(rf"\1 {_FONTS}", buffer.getvalue())
