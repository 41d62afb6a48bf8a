"""Know what each dimension and bit of your embeddings is worth, and search with just those."""

from nestvec.curve import Curve
from nestvec.data.retrieval import load_dataset
from nestvec.errors import NestvecError
from nestvec.evaluate.grid import Grid
from nestvec.evaluate.run import evaluate
from nestvec.models.load import load_model
from nestvec.plan.budget import Budget
from nestvec.plan.choose import Plan, plan
from nestvec.types import Document, Hits, OperatingPoint
from nestvec.version import __version__
from nestvec.workflows.adapting import fit_adaptor
from nestvec.workflows.index_building import build_index
from nestvec.workflows.text_index import Index

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
    "fit_adaptor",
    "load_dataset",
    "load_model",
    "plan",
]
