"""The docstring corpus: what is read and skipped, how it is split, and that it is repeatable."""

import sys
import textwrap
from pathlib import Path

import pytest

from nestvec.data import docstrings, processes
from nestvec.data.docstrings import harvest_docstrings
from nestvec.data.retrieval import load_dataset, save_dataset
from nestvec.errors import DataError


def package(root, name, count, *, start=0):
    folder = root / name
    folder.mkdir(parents=True)
    for number in range(start, start + count):
        lines = [
            f"def fn{number}():",
            f'    """Say what {name} number {number} does.',
            "",
            f"    The answer of {name} is {number}.",
            '    """',
        ]
        (folder / f"m{number}.py").write_text("\n".join(lines))
    return folder


@pytest.fixture
def root(tmp_path):
    """Forty small packages and a giant."""
    root = tmp_path / "lib"
    for number in range(40):
        package(root, f"small{number:02}", 3)
    package(root, "giant", 120)
    return root


def packages_by_split(corpus):
    return {
        split: {query_id.removeprefix("q:").split(".")[0] for query_id in qrels}
        for split, qrels in corpus.qrels_by_split.items()
    }


def test_documents_know_their_name_file_and_line(tmp_path):
    root = tmp_path / "lib"
    (root / "pkg" / "sub").mkdir(parents=True)
    (root / "pkg" / "__init__.py").write_text('"""A package."""\n')
    (root / "pkg" / "sub" / "mod.py").write_text('\n\nclass A:\n    """Some class."""\n')
    (root / "alone.py").write_text('"""A module."""\n')
    corpus = harvest_docstrings(roots=[root]).corpus
    places = {name: (doc.metadata["file"], doc.metadata["line"]) for name, doc in corpus.items()}
    assert places == {
        "alone": ("lib/alone.py", 1),
        "pkg": ("lib/pkg/__init__.py", 1),
        "pkg.sub.mod.A": ("lib/pkg/sub/mod.py", 3),
    }
    assert all(name == doc.title for name, doc in corpus.items())


def test_nothing_is_imported_and_what_cannot_be_parsed_is_counted(tmp_path):
    trap = tmp_path / "ran"
    code = f'"""A trap."""\nopen({str(trap)!r}, "w")\nx = "\\d"\n'
    (tmp_path / "trap_module.py").write_text(code)
    (tmp_path / "broken.py").write_text('"""Broken."""\ndef f(:\n')
    (tmp_path / "binary.py").write_bytes(b'"""\xff"""')
    harvested = harvest_docstrings(roots=[tmp_path])
    assert list(harvested.corpus) == ["trap_module"]
    assert harvested.counts == {"files": 3, "broken_files": 2, "duplicates": 0}
    assert not trap.exists()
    assert "trap_module" not in sys.modules


@pytest.mark.parametrize(
    "path",
    [
        "pkg/tests/a.py",
        "site-packages/a.py",
        "pip/_vendor/a.py",
        "pkg-1.0.dist-info/a.py",
        "a-b.py",
    ],
)
def test_tests_vendored_copies_and_what_cannot_be_imported_are_skipped(tmp_path, path):
    (tmp_path / "kept.py").write_text('"""Kept."""')
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / path).write_text('"""Skipped."""')
    assert list(harvest_docstrings(roots=[tmp_path]).corpus) == ["kept"]


def test_equal_documents_are_stored_once_and_equal_names_get_distinct_ids(tmp_path):
    (tmp_path / "a.py").write_text('def f(): """Same text."""\n')
    (tmp_path / "b.py").write_text('def f(): """same   text."""\nif 1:\n  def g(): "X."\n')
    (tmp_path / "c.py").write_text('def g(): """One."""\n\ndef g(): "Two."\n')
    harvested = harvest_docstrings(roots=[tmp_path])
    [again] = [name for name in harvested.corpus if "@" in name]
    assert list(harvested.corpus) == ["a.f", "b.g", "c.g", again]
    assert again == f"c.g@{tmp_path.name}/c.py:3"
    assert harvested.counts["duplicates"] == 1


def test_no_package_has_queries_in_two_splits_and_the_giant_trains(root):
    harvested = harvest_docstrings(roots=[root])
    train, dev, test = (packages_by_split(harvested)[name] for name in ("train", "dev", "test"))
    assert train and dev and test
    assert not (train & dev or train & test or dev & test)
    assert "giant" in train
    assert len(harvested.corpus) == len(harvested.queries) == 240
    assert len(harvested.qrels_by_split["test"]) >= 0.12 * 240


def test_a_seed_decides_what_is_held_out_and_the_corpus_stays(root):
    first, again, other = (harvest_docstrings(roots=[root], seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert list(first.queries) == list(again.queries)
    assert other.corpus == first.corpus
    assert packages_by_split(other)["test"] != packages_by_split(first)["test"]


def test_the_test_split_is_capped_by_sampling(root):
    harvested = harvest_docstrings(roots=[root], max_test_queries=5)
    assert len(harvested.qrels_by_split["test"]) == 5
    assert len(packages_by_split(harvested)["test"]) > 1
    kept = [query_id for qrels in harvested.qrels_by_split.values() for query_id in qrels]
    assert sorted(harvested.queries) == sorted(kept)


def test_a_package_is_capped_and_not_in_alphabetical_order(root):
    names = list(harvest_docstrings(roots=[root], max_per_package=30).corpus)
    numbers = [int(name.split(".m")[1].split(".")[0]) for name in names if name[:5] == "giant"]
    assert len(numbers) == 30
    assert max(numbers) > 60


def write_question(root, module, question, answer):
    lines = [f'"""{question}', "", f"{answer}", '"""']
    (root / f"{module}.py").write_text("\n".join(lines))


def test_equal_questions_of_one_split_are_one_query_with_several_answers(root):
    for number in range(2):
        write_question(root / "giant", f"x{number}", f"What IS {'  ' * number}giant?", number)
    harvested = harvest_docstrings(roots=[root])
    assert harvested.qrels_by_split["train"]["q:giant.x0"] == {"giant.x0": 1, "giant.x1": 1}
    assert harvested.queries["q:giant.x0"] == "What IS giant?"


def test_questions_of_two_splits_or_of_many_documents_are_dropped(root):
    held_out = min(packages_by_split(harvest_docstrings(roots=[root]))["test"])
    for name in ("giant", held_out):
        write_question(root / name, "both", "Asked in two splits.", f"Answer of {name}")
    for number in range(6):
        write_question(root / "giant", f"many{number}", "Asked all over again.", f"{number}")
    harvested = harvest_docstrings(roots=[root])
    assert packages_by_split(harvested)["test"] >= {held_out}
    texts = {text.casefold() for text in harvested.queries.values()}
    assert not texts & {"asked in two splits.", "asked all over again."}
    assert {"giant.both", f"{held_out}.both", "giant.many5"} <= harvested.corpus.keys()


def test_several_processes_find_what_one_finds(root, monkeypatch):
    alone = harvest_docstrings(roots=[root], max_per_package=50)
    monkeypatch.setattr(docstrings, "_FEW_FILES", 0)
    monkeypatch.setattr(docstrings, "_count_cores", lambda: 2)
    calls = []
    together = harvest_docstrings(
        roots=[root],
        max_per_package=50,
        on_progress=lambda done, total: calls.append((done, total)),
    )
    assert together == alone
    assert calls[-1] == (240, 240)
    assert calls == sorted(calls)


@pytest.mark.parametrize("error", [OSError("no pipes"), ChildProcessError(), ImportError()])
def test_where_no_process_can_start_this_one_reads(root, monkeypatch, error):
    def refuse(*_):
        raise error

    expected = harvest_docstrings(roots=[root])
    monkeypatch.setattr(docstrings, "_FEW_FILES", 0)
    monkeypatch.setattr(docstrings, "_count_cores", lambda: 2)
    monkeypatch.setattr(processes, "get_context", refuse)
    assert harvest_docstrings(roots=[root]) == expected


def test_folders_without_docstrings_raise(tmp_path):
    with pytest.raises(DataError, match="no Python file with a docstring"):
        harvest_docstrings(roots=[tmp_path])


def test_the_standard_library_gives_a_set_that_can_be_saved_and_searched(tmp_path):
    harvested = harvest_docstrings(quick=True)
    assert len(harvested.corpus) > 3_000
    assert len(harvested.qrels_by_split["test"]) > 200
    place = harvested.corpus["textwrap.TextWrapper"].metadata
    assert str(place["file"]).endswith("/textwrap.py")
    lines = Path(textwrap.__file__).read_text().splitlines()
    assert lines[int(place["line"]) - 1] == "class TextWrapper:"
    save_dataset(harvested.corpus, harvested.queries, harvested.qrels_by_split, tmp_path / "x")
    loaded = load_dataset(tmp_path / "x", strict=True)
    assert loaded.corpus == harvested.corpus
    assert loaded.qrels == harvested.qrels_by_split["test"]
