"""Know what each dimension and bit of your embeddings is worth, and search with just those.

The public names are imported when they are first used (PEP 562), so that ``import nestvec`` costs
next to nothing. No public name equals a subpackage, so that neither hides the other.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from nestvec.version import __version__

if TYPE_CHECKING:  # for type checkers and editors; _MODULES does the same at run time
    from nestvec.curve.curve import Curve
    from nestvec.data.retrieval import load_dataset
    from nestvec.errors import NestvecError
    from nestvec.index.building import build_index
    from nestvec.index.index import Index
    from nestvec.measure.grid import Grid
    from nestvec.measure.run import evaluate
    from nestvec.models.load import load_model
    from nestvec.planning.budget import Budget
    from nestvec.planning.choose import Plan, plan
    from nestvec.recipes.adapting import fit_adapter
    from nestvec.types import Document, Hits, OperatingPoint

__all__ = [
    "Budget",
    "Curve",
    "Document",
    "Grid",
    "Hits",
    "Index",
    "NestvecError",
    "OperatingPoint",
    "Plan",
    "__version__",
    "build_index",
    "evaluate",
    "fit_adapter",
    "load_dataset",
    "load_model",
    "plan",
]

_MODULES = {
    "Budget": "nestvec.planning.budget",
    "Curve": "nestvec.curve.curve",
    "Document": "nestvec.types",
    "Grid": "nestvec.measure.grid",
    "Hits": "nestvec.types",
    "Index": "nestvec.index.index",
    "NestvecError": "nestvec.errors",
    "OperatingPoint": "nestvec.types",
    "Plan": "nestvec.planning.choose",
    "build_index": "nestvec.index.building",
    "evaluate": "nestvec.measure.run",
    "fit_adapter": "nestvec.recipes.adapting",
    "load_dataset": "nestvec.data.retrieval",
    "load_model": "nestvec.models.load",
    "plan": "nestvec.planning.choose",
}


def __getattr__(name: str) -> object:
    """Import a public name from the module that defines it, and keep it here."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted({*globals(), *__all__})
