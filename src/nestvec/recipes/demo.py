"""The steps of ``nestvec demo``, which uses the docstrings of the Python installation as corpus.

Each step writes the same files as its own command, so that users can run any command on the
output. Nothing is printed here.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import mkdtemp

import numpy as np

from nestvec.curve.curve import Curve
from nestvec.data.docstrings import DocstringCorpus, harvest_docstrings
from nestvec.data.retrieval import load_dataset, save_dataset
from nestvec.data.training import load_pairs
from nestvec.files.atomic import check_replaceable
from nestvec.index.building import build_index
from nestvec.index.index import Index
from nestvec.measure.grid import Grid
from nestvec.measure.run import evaluate
from nestvec.models.load import load_model
from nestvec.planning.choose import Plan, plan
from nestvec.recipes.trained import train_and_save
from nestvec.report.chart import quality_chart, save_chart
from nestvec.report.page import write_report
from nestvec.train.static import StaticConfig, tokenize
from nestvec.types import Document, OnProgress, OperatingPoint, begin_step

QUESTIONS = (
    "read a csv file into a table",
    "run a function in another process and get its result",
    "how do I parse a date from a string?",
    "compress data before sending it",
    "find all files that match a pattern",
)
MATRYOSHKA, TWIN = "Matryoshka", "no Matryoshka"
_QUICK = StaticConfig(batch_size=256, epochs=30)  # more epochs: few pairs give few steps each
_SHOWN = 2  # documents for each question
_MARKER = "data/corpus.jsonl"
_EARLIER, _OBSOLETE = ".earlier-", ".obsolete-"  # folders with the output of an earlier run
_WRITTEN = (
    *("data", "model", "twin", "index", "curve.json", "curve.scores.npz"),
    *("twin.json", "twin.scores.npz", "plan.json", "curve.svg", "report.html"),
)


@dataclass(frozen=True)
class DemoFolder:
    """Paths of the demo's output.

    Attributes:
        out: The folder.
    """

    out: Path

    @property
    def data(self) -> Path:
        """The texts as a BEIR folder."""
        return self.out / "data"

    @property
    def model(self) -> Path:
        """The Matryoshka model."""
        return self.out / "model"

    @property
    def twin(self) -> Path:
        """The baseline model, trained the same way without Matryoshka."""
        return self.out / "twin"

    @property
    def curve(self) -> Path:
        """The model's curve."""
        return self.out / "curve.json"

    @property
    def twin_curve(self) -> Path:
        """The baseline's curve, at float32."""
        return self.out / "twin.json"

    @property
    def plan(self) -> Path:
        """The plan."""
        return self.out / "plan.json"

    @property
    def index(self) -> Path:
        """The index."""
        return self.out / "index"

    @property
    def chart(self) -> Path:
        """The chart of quality against memory."""
        return self.out / "curve.svg"

    @property
    def report(self) -> Path:
        """The report page."""
        return self.out / "report.html"


@dataclass(frozen=True)
class Answer:
    """Search results of a question.

    Attributes:
        question: The query.
        found: (score, title, file and line) of the best documents.
        milliseconds: Search time.
    """

    question: str
    found: Sequence[tuple[float, str, str]]
    milliseconds: float


@contextmanager
def replacing(folder: DemoFolder) -> Iterator[None]:
    """Move an earlier demo's output aside while the block writes, and restore it on failure.

    Files of two runs are never mixed, because they do not fit together: an index, for example,
    requires the model it was built with. If an earlier run was killed, what it moved aside is
    restored first.

    Raises:
        DataError: If the folder contains other files than a demo's, or cannot be written.
    """
    _clean_up_after_kill(folder.out)
    check_replaceable(folder.out, marker=_MARKER)
    was_there = folder.out.exists()
    folder.out.mkdir(parents=True, exist_ok=True)
    aside = Path(mkdtemp(prefix=_EARLIER, dir=folder.out))
    _move(folder.out, aside)
    try:
        yield
    except BaseException:
        _restore(aside, folder.out)
        if not was_there:
            folder.out.rmdir()
        raise
    shutil.rmtree(aside.rename(aside.with_name(aside.name.replace(_EARLIER, _OBSOLETE))))


def _clean_up_after_kill(out: Path) -> None:
    """Restore what a killed run moved aside, and remove what it had begun to remove."""
    for aside in out.glob(f"{_EARLIER}*"):
        _restore(aside, out)
    for obsolete in out.glob(f"{_OBSOLETE}*"):
        shutil.rmtree(obsolete)


def _restore(aside: Path, out: Path) -> None:
    """Remove the output of an unfinished run, and move the earlier output back."""
    for name in _WRITTEN:
        _remove(out / name)
    _move(aside, out)
    aside.rmdir()


def _move(source: Path, target: Path) -> None:
    for name in _WRITTEN:
        if (source / name).exists():
            (source / name).replace(target / name)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def make_texts(
    folder: DemoFolder, *, quick: bool, seed: int, on_progress: OnProgress
) -> DocstringCorpus:
    """Harvest docstrings and write them as a BEIR folder."""
    begin_step(on_progress, "read source files", "files")
    texts = harvest_docstrings(quick=quick, seed=seed, on_progress=on_progress)
    save_dataset(texts.corpus, texts.queries, texts.qrels_by_split, folder.data)
    return texts


def train_models(
    folder: DemoFolder, *, quick: bool, seed: int, on_progress: OnProgress
) -> StaticConfig:
    """Train the Matryoshka model and the baseline without Matryoshka on the same tokens."""
    config = replace(_QUICK if quick else StaticConfig(), seed=seed)
    begin_step(on_progress, "tokenize")
    tokens = tokenize(load_pairs([folder.data]), config)
    baseline = replace(config, dims=(max(config.dims),))
    begin_step(on_progress, "train")
    for number, (each, path) in enumerate(((config, folder.model), (baseline, folder.twin))):

        def report(done: int, total: int, number: int = number) -> None:
            on_progress(number * total + done, 2 * total)

        train_and_save(tokens, each, path, on_progress=report)
    return config


def measure(
    folder: DemoFolder, *, dims: Sequence[int], on_progress: OnProgress
) -> Mapping[str, Curve]:
    """Measure the model at every operating point, and the baseline at float32."""
    data = load_dataset(folder.data, split="test")
    curve = evaluate(
        load_model(folder.model), data, Grid(baselines=("bm25",)), on_progress=on_progress
    )
    floats = Grid(precisions=("float32",), shortlisted=())
    begin_step(on_progress, "measure the baseline")
    baseline = evaluate(load_model(folder.twin, dims=dims), data, floats)
    curve.save(folder.curve)
    baseline.save(folder.twin_curve)
    return {MATRYOSHKA: curve, TWIN: baseline}


def choose(folder: DemoFolder, curve: Curve, *, seed: int) -> Plan:
    """Choose an operating point for the default budget, and save the plan."""
    chosen = plan(curve, seed=seed)
    chosen.save(folder.plan)
    return chosen


def build(
    folder: DemoFolder, chosen: Plan, corpus: Mapping[str, Document], *, on_progress: OnProgress
) -> Index:
    """Build the index of the plan, and verify all its checksums."""
    model = load_model(folder.model)
    begin_step(on_progress, "encode corpus", "documents")
    build_index(model, corpus, chosen, folder.index, on_progress=on_progress).close()
    return Index.open(folder.index, model, verify=True)


def build_page_codes(index: Index, curve: Curve) -> None:
    """Build all codes that the page's sliders can select, so that no slider move waits."""
    query = np.ones((1, index.info.full_dim), dtype=np.float32)
    for dim, precision in {point.point.stages[0].representation for point in curve.points}:
        if precision != "float32":
            index.search(query, 1, point=OperatingPoint.single(dim, precision))


def ask(index: Index, questions: Sequence[str] = QUESTIONS) -> list[Answer]:
    """Search for each question."""
    index.search(questions[:1])  # loads what is loaded on first use, which must not be timed
    return [_answer(index, question) for question in questions]


def _answer(index: Index, question: str) -> Answer:
    start = time.perf_counter()
    hits = index.search([question], _SHOWN)
    milliseconds = (time.perf_counter() - start) * 1000
    documents = index.get(hits.ids[0])
    found = [
        (score, documents[id_].title, _where(documents[id_]))
        for id_, score in zip(hits.ids[0], hits.scores[0], strict=True)
    ]
    return Answer(question, found, milliseconds)


def write_chart_and_report(folder: DemoFolder, curves: Mapping[str, Curve], chosen: Plan) -> None:
    """Write the chart and the report page."""
    save_chart(quality_chart(curves, chosen), folder.chart)
    write_report(curves, folder.report, chosen)


def _where(document: Document) -> str:
    return f"{document.metadata['file']}:{document.metadata['line']}"
