"""Colors of the charts and pages, light and dark.

No two roles have the same color, so CSS can switch a chart that was drawn in the light theme.
The precisions have the color-blind safe colors of Okabe and Ito, and each has its own marker.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Theme:
    """A color for each role, as ``#rrggbb``.

    Attributes:
        paper: Background.
        ink: Text and the main line.
        muted: Secondary text.
        rule: Grid lines and borders.
        panel: Background of boxes.
        accent: The chosen point.
        twin: Other models in comparison.
        precisions: Color of each precision.
    """

    paper: str
    ink: str
    muted: str
    rule: str
    panel: str
    accent: str
    twin: str
    precisions: Mapping[str, str]

    def variables(self) -> dict[str, str]:
        """Return the colors by CSS variable name, without the leading dashes."""
        roles = {name: value for name, value in vars(self).items() if name != "precisions"}
        return roles | dict(self.precisions)


LIGHT = Theme(
    paper="#ffffff",
    ink="#1b1d21",
    muted="#5c6068",
    rule="#e1e3e6",
    panel="#f5f6f7",
    accent="#c8402a",
    twin="#8b8f96",
    precisions=MappingProxyType(
        {
            "float32": "#3c4048",
            "float16": "#56b4e9",
            "int8": "#0072b2",
            "int4": "#009e73",
            "int2": "#e69f00",
            "binary": "#cc79a7",
            "sign": "#8c6d31",
            "pq4": "#7d5ba6",
        }
    ),
)
DARK = Theme(
    paper="#15171b",
    ink="#eceef1",
    muted="#a0a5ae",
    rule="#30343b",
    panel="#1d2025",
    accent="#ff7a5c",
    twin="#80858e",
    precisions=MappingProxyType(
        {
            "float32": "#c9cdd4",
            "float16": "#7cc8f5",
            "int8": "#3f9bdc",
            "int4": "#2bbf92",
            "int2": "#f0b030",
            "binary": "#dd93bb",
            "sign": "#c2a05a",
            "pq4": "#ab8ad6",
        }
    ),
)
MARKERS = MappingProxyType(
    {
        "float32": "o",
        "float16": "v",
        "int8": "s",
        "int4": "D",
        "int2": "^",
        "binary": "P",
        "sign": "h",
        "pq4": "X",
    }
)
