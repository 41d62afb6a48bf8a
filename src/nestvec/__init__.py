"""Measure how many dimensions and bits your embeddings need, and search with only these.

Each public name is imported when it is first used (PEP 562), so that ``import nestvec`` is fast. No
public name equals the name of a subpackage: one would hide the other.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from nestvec.version import __version__

if TYPE_CHECKING:  # for type checkers and editors; _MODULES does the same at run time
    from nestvec.bulk.embedding import embed_corpus
    from nestvec.curve.curve import Curve
    from nestvec.curve.point import CurvePoint
    from nestvec.data.corpus import Corpus, open_corpus
    from nestvec.data.retrieval import load_dataset
    from nestvec.data.similarity import load_similarity
    from nestvec.errors import (
        DamagedFile,
        DataError,
        IndexLocked,
        InvalidArgument,
        MissingExtra,
        ModelError,
        ModelMismatch,
        NestvecError,
        UnsupportedLibrary,
    )
    from nestvec.export.recipes.writing import recipe
    from nestvec.export.result_names import ResultNames
    from nestvec.export.results import export_results
    from nestvec.index.building import build_index, reembed
    from nestvec.index.index import Index
    from nestvec.measure.grid import Grid
    from nestvec.measure.run import evaluate
    from nestvec.measure.runs import add_run
    from nestvec.measure.similarity import evaluate_similarity
    from nestvec.models.adapted import AdaptedEncoder
    from nestvec.models.adapter import Adapter
    from nestvec.models.adapter_file import load_adapter, save_adapter
    from nestvec.models.api.costs import estimate_cost
    from nestvec.models.load import load_model
    from nestvec.operate.certificate import certify
    from nestvec.operate.check import CheckOptions, check_search
    from nestvec.operate.check_report import CheckReport
    from nestvec.operate.compared_sides import SearchedPlace
    from nestvec.operate.comparing import CompareOptions, compare_searches
    from nestvec.operate.live.database import TableSearch
    from nestvec.operate.shrink.lancedb.searching import open_shrunk_table, search_table
    from nestvec.operate.shrink.request import ShrinkRequest
    from nestvec.operate.shrink.table import finish_shrink, shrink, undo_shrink
    from nestvec.operate.verification import verify_certificate
    from nestvec.planning.budget import Budget
    from nestvec.planning.choose import Plan, plan
    from nestvec.recipes.adapting import fit_adapter
    from nestvec.report.page import write_report
    from nestvec.serve.app import create_app
    from nestvec.serve.served import load_served
    from nestvec.sources.load import load_embeddings
    from nestvec.sources.logged_queries import LoggedQueries, read_logged_queries
    from nestvec.sources.save import convert_embeddings, save_embeddings
    from nestvec.types import Document, Encoder, Hit, Hits, ModelInfo, OperatingPoint, Stage

__all__ = [
    "AdaptedEncoder",
    "Adapter",
    "Budget",
    "CheckOptions",
    "CheckReport",
    "CompareOptions",
    "Corpus",
    "Curve",
    "CurvePoint",
    "DamagedFile",
    "DataError",
    "Document",
    "Encoder",
    "Grid",
    "Hit",
    "Hits",
    "Index",
    "IndexLocked",
    "InvalidArgument",
    "LoggedQueries",
    "MissingExtra",
    "ModelError",
    "ModelInfo",
    "ModelMismatch",
    "NestvecError",
    "OperatingPoint",
    "Plan",
    "ResultNames",
    "SearchedPlace",
    "ShrinkRequest",
    "Stage",
    "TableSearch",
    "UnsupportedLibrary",
    "__version__",
    "add_run",
    "build_index",
    "certify",
    "check_search",
    "compare_searches",
    "convert_embeddings",
    "create_app",
    "embed_corpus",
    "estimate_cost",
    "evaluate",
    "evaluate_similarity",
    "export_results",
    "finish_shrink",
    "fit_adapter",
    "load_adapter",
    "load_dataset",
    "load_embeddings",
    "load_model",
    "load_served",
    "load_similarity",
    "open_corpus",
    "open_shrunk_table",
    "plan",
    "read_logged_queries",
    "recipe",
    "reembed",
    "save_adapter",
    "save_embeddings",
    "search_table",
    "shrink",
    "undo_shrink",
    "verify_certificate",
    "write_report",
]

_MODULES = {
    "AdaptedEncoder": "nestvec.models.adapted",
    "Adapter": "nestvec.models.adapter",
    "Budget": "nestvec.planning.budget",
    "CheckOptions": "nestvec.operate.check",
    "CheckReport": "nestvec.operate.check_report",
    "CompareOptions": "nestvec.operate.comparing",
    "Corpus": "nestvec.data.corpus",
    "Curve": "nestvec.curve.curve",
    "CurvePoint": "nestvec.curve.point",
    "DamagedFile": "nestvec.errors",
    "DataError": "nestvec.errors",
    "Document": "nestvec.types",
    "Encoder": "nestvec.types",
    "Grid": "nestvec.measure.grid",
    "Hit": "nestvec.types",
    "Hits": "nestvec.types",
    "Index": "nestvec.index.index",
    "IndexLocked": "nestvec.errors",
    "InvalidArgument": "nestvec.errors",
    "LoggedQueries": "nestvec.sources.logged_queries",
    "MissingExtra": "nestvec.errors",
    "ModelError": "nestvec.errors",
    "ModelInfo": "nestvec.types",
    "ModelMismatch": "nestvec.errors",
    "NestvecError": "nestvec.errors",
    "OperatingPoint": "nestvec.types",
    "Plan": "nestvec.planning.choose",
    "ResultNames": "nestvec.export.result_names",
    "SearchedPlace": "nestvec.operate.compared_sides",
    "ShrinkRequest": "nestvec.operate.shrink.request",
    "Stage": "nestvec.types",
    "TableSearch": "nestvec.operate.live.database",
    "UnsupportedLibrary": "nestvec.errors",
    "add_run": "nestvec.measure.runs",
    "build_index": "nestvec.index.building",
    "certify": "nestvec.operate.certificate",
    "check_search": "nestvec.operate.check",
    "compare_searches": "nestvec.operate.comparing",
    "convert_embeddings": "nestvec.sources.save",
    "create_app": "nestvec.serve.app",
    "embed_corpus": "nestvec.bulk.embedding",
    "estimate_cost": "nestvec.models.api.costs",
    "evaluate": "nestvec.measure.run",
    "evaluate_similarity": "nestvec.measure.similarity",
    "export_results": "nestvec.export.results",
    "finish_shrink": "nestvec.operate.shrink.table",
    "fit_adapter": "nestvec.recipes.adapting",
    "load_adapter": "nestvec.models.adapter_file",
    "load_dataset": "nestvec.data.retrieval",
    "load_embeddings": "nestvec.sources.load",
    "load_model": "nestvec.models.load",
    "load_served": "nestvec.serve.served",
    "load_similarity": "nestvec.data.similarity",
    "open_corpus": "nestvec.data.corpus",
    "open_shrunk_table": "nestvec.operate.shrink.lancedb.searching",
    "plan": "nestvec.planning.choose",
    "read_logged_queries": "nestvec.sources.logged_queries",
    "recipe": "nestvec.export.recipes.writing",
    "reembed": "nestvec.index.building",
    "save_adapter": "nestvec.models.adapter_file",
    "save_embeddings": "nestvec.sources.save",
    "search_table": "nestvec.operate.shrink.lancedb.searching",
    "shrink": "nestvec.operate.shrink.table",
    "undo_shrink": "nestvec.operate.shrink.table",
    "verify_certificate": "nestvec.operate.verification",
    "write_report": "nestvec.report.page",
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
