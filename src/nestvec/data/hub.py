"""Find the tables of a retrieval set on the Hugging Face hub, read by ``datasets``.

A repository has a corpus, queries and relevance labels as configurations. Four layouts are known;
NAME is the subset:

    one set      corpus, queries, qrels or default        mteb/scifact, zeta-alpha-ai/NanoSciFact
    Nano sets    the same, with NAME as a split of each   sentence-transformers/NanoBEIR-en
    languages    NAME-corpus, NAME-queries, NAME-qrels    multilingual tasks of MTEB
    languages    corpus-NAME, queries-NAME, NAME          older tasks of MTEB

A folder in the form of such a repository (data files and a README.md that lists the configurations)
is read in the same way. Code of a repository is never run: ``datasets`` does not support this.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from nestvec.data.dataset_files import preferred_split
from nestvec.data.parquet_rows import column_values, is_unread, warn_unread
from nestvec.data.records import Row, Table
from nestvec.errors import DataError, InvalidArgument, first_line, require

_HUB_ID = re.compile(r"[\w][\w.-]*/[\w][\w.-]*")
_CONFIG_NAME = re.compile(r"""^[ -]*config_name: *["']?([^\s"']+)""", re.MULTILINE)
_BATCH = 1_024  # rows that are in memory at a time
_MAX_NAMED = 10  # names in a message
_logger = logging.getLogger(__name__)


class HubTables(NamedTuple):
    """The tables of one subset and split.

    Attributes:
        corpus: Rows of documents.
        queries: Rows of queries.
        qrels: Rows of relevance labels.
        name: Name of the set: the subset, or the name of the repository.
        split: Split of the relevance labels.
        labels: Repository, configuration and revision of the labels, for output.
    """

    corpus: Table
    queries: Table
    qrels: Table
    name: str
    split: str
    labels: str


class _Configs(NamedTuple):
    """Names of the configurations of one subset; ``split`` is given if the subset is a split."""

    corpus: str
    queries: str
    qrels: str
    split: str | None = None


def is_hub_id(name: str) -> bool:
    """Return whether a name may be the id of a repository: owner/name."""
    return _HUB_ID.fullmatch(name) is not None


def is_hub_folder(folder: Path) -> bool:
    """Return whether a folder has the form of a repository with a corpus and relevance labels.

    The README.md of a repository lists its configurations.
    """
    readme = folder / "README.md"
    try:
        names = _CONFIG_NAME.findall(readme.read_text("utf-8")) if readme.is_file() else []
    except (OSError, UnicodeDecodeError):
        return False
    corpora = [name for name in names if "corpus" in name.split("-")]
    return any(
        name in ("default", "qrels") or "qrels" in name.split("-") or f"corpus-{name}" in corpora
        for name in names
        if corpora
    )


def find_hub_tables(
    place: Path, *, subset: str | None, split: str | None, revision: str | None
) -> HubTables:
    """Find the tables of a subset in a repository of the hub, or in a folder of this form.

    Args:
        place: The id of the repository, or the folder.
        subset: Name of the subset; None if the repository contains one set.
        split: Split of the relevance labels; None chooses it as for folders.
        revision: Branch, tag or commit of the repository; None for its main branch.

    Raises:
        DataError: If the repository cannot be read, or has no such subset or split.
        MissingExtra: If ``datasets`` is not installed.
    """
    repository = _Repository(place, revision)
    configs = repository.configs_of(subset)
    chosen = configs.split or repository.choose_split(configs.qrels, split, subset)
    if configs.split and split not in (None, configs.split):
        problem = f"subset {subset!r} is a split of this repository, so it has no split {split!r}."
        raise DataError(repository.place, f"{problem} Pass either subset or split.")
    repository.warn_unread(configs, subset)
    version = f", revision {revision}" if revision else ""
    return HubTables(
        corpus=repository.table(configs.corpus, chosen),
        queries=repository.table(configs.queries, chosen),
        qrels=repository.table(configs.qrels, chosen),
        name=subset or place.name,
        split=chosen,
        labels=f"{place.name if place.is_dir() else place.as_posix()}, {configs.qrels}{version}",
    )


@dataclass(frozen=True)
class _Repository:
    """A repository of the hub, or a folder of this form."""

    place: Path
    revision: str | None
    known_splits: dict[str, list[str]] = field(default_factory=dict)

    @cached_property
    def configs(self) -> list[str]:
        """The names of all configurations."""
        library = _library()
        with self._errors():
            names = library.get_dataset_config_names(self._name, revision=self.revision)
        return list(map(str, names))

    @property
    def _name(self) -> str:
        return str(self.place.resolve()) if self.place.is_dir() else self.place.as_posix()

    def splits(self, config: str) -> list[str]:
        """Return the names of the splits of a configuration; each is requested once."""
        if config not in self.known_splits:
            find = _library().get_dataset_split_names
            with self._errors():
                names = find(self._name, config, revision=self.revision)
            self.known_splits[config] = list(map(str, names))
        return self.known_splits[config]

    def configs_of(self, subset: str | None) -> _Configs:
        """Return the configurations of a subset.

        Raises:
            DataError: If there is none.
        """
        for configs in _candidates(subset):
            if self._has(configs) and configs.split in (None, *self._sets_of(configs)):
                return configs
        found = self._subsets()
        if subset is not None:
            solution = f"Choose one of {_named(found)}." if found else "Omit the subset."
            raise DataError(self.place, f"has no subset {subset!r}. {solution}")
        if found:
            problem = "contains several sets. Choose one of them as subset (--subset)"
            raise DataError(self.place, f"{problem}: {_named(found)}.")
        has = _named(self.configs)
        problem = "has no configurations corpus, queries and qrels (or default)"
        raise DataError(self.place, f"{problem}, so it is not a retrieval set (has: {has})")

    def choose_split(self, config: str, split: str | None, subset: str | None) -> str:
        """Return the split of the labels: ``split``, else the preferred one."""
        known = self.splits(config)
        if found := preferred_split(known, split):
            return found
        what = "split" if split is not None or subset is not None else "subset"
        problem = f"has no split {split!r}." if split is not None else "contains several sets."
        option = f"Choose one of them as {what} (--{what})"
        raise DataError(self.place, f"{problem} {option}: {_named(known)}.")

    def table(self, config: str, split: str) -> Table:
        """Return a table, which is downloaded when it is first read.

        Raises:
            DataError: If the configuration has several splits, none of which fits.
        """
        known = self.splits(config)
        fits = [name for name in (split, *config.split("-")) if name in known]
        if not fits and len(known) > 1:
            problem = f"configuration {config!r} has no split {split!r} (has: {_named(known)})"
            raise DataError(self.place, problem)
        name = (fits or known)[0]
        return Table(self.place / config / name, self._reader(config, name))

    def warn_unread(self, used: _Configs, subset: str | None) -> None:
        """Log the configurations of the subset that are not read."""
        others = [name for name in self.configs if name not in used[:3]]
        if subset is not None and used.split is None:
            others = [name for name in others if subset in re.split("-", name)]
        if others:
            _logger.warning("%s: configurations that are not read: %s", self.place, _named(others))

    def _subsets(self) -> list[str]:
        """Return the names of all subsets."""
        named = [name.removesuffix("-corpus") for name in self.configs if name.endswith("-corpus")]
        named += [name.removeprefix("corpus-") for name in self.configs if name[:7] == "corpus-"]
        sets = (each for each in _candidates(None) if self._has(each))
        return named or next(map(self._sets_of, sets), [])

    def _has(self, configs: _Configs) -> bool:
        return {configs.corpus, configs.queries, configs.qrels} <= {*self.configs}

    def _sets_of(self, configs: _Configs) -> list[str]:
        """Return the splits of the labels that are also splits of the corpus: Nano sets."""
        corpora = self.splits(configs.corpus)
        return [name for name in self.splits(configs.qrels) if name in corpora]

    def _reader(self, config: str, split: str) -> Callable[[], Iterator[tuple[int, Row]]]:
        def read() -> Iterator[tuple[int, Row]]:
            with self._errors():
                table = _library().load_dataset(
                    self._name, config, split=split, revision=self.revision
                )
            return _rows(self.place / config / split, table)

        return read

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Convert errors of the library to one line.

        The library raises errors of many types, also of the libraries that it uses.
        """
        quiet = [logging.getLogger(name) for name in ("huggingface_hub", "datasets")]
        levels = [logger.level for logger in quiet]
        try:
            for logger in quiet:  # it logs a warning for each of its attempts
                logger.setLevel(logging.ERROR)
            with _without_bars():
                yield
        except DataError:
            raise
        except Exception as error:
            raise DataError(self.place, self._problem(error)) from error
        finally:
            for logger, level in zip(quiet, levels, strict=True):
                logger.setLevel(level)

    def _problem(self, error: Exception) -> str:
        reason = first_line(error.__cause__ or error).rstrip(".")
        if "cripts are no longer supported" in reason:
            return (
                "needs its own loading script, which is not run. Choose a repository with data "
                "files, or its revision 'refs/convert/parquet'."
            )
        if self.place.is_dir():
            return f"cannot be read by datasets ({reason})"
        return (
            "is not a folder, and cannot be read from the Hugging Face hub "
            f"({type(error).__name__}: {reason}). Check the name, or download the data set and "
            "pass its folder."
        )


def check_no_hub_options(path: Path, *, subset: str | None, revision: str | None) -> None:
    """Check that options of the hub are not used with a folder of files.

    Raises:
        InvalidArgument: If ``revision`` is set for a folder.
    """
    if revision is not None and path.exists():
        problem = f"{path} is a folder, so revision={revision!r} has no effect."
        raise InvalidArgument(f"{problem} Omit the revision.")
    if subset is not None and path.is_dir() and not is_hub_folder(path):
        problem = f"{path} has no README.md with configurations, so it has no subset {subset!r}."
        raise InvalidArgument(f"{problem} Omit the subset, or pass the folder of one set.")


def _candidates(subset: str | None) -> Iterator[_Configs]:
    """Yield the configurations that the known layouts would have."""
    for qrels in ("qrels", "default"):
        for queries in ("queries", "query"):
            if subset is None:
                yield _Configs("corpus", queries, qrels)
            else:
                yield _Configs("corpus", queries, qrels, split=subset)
    if subset is not None:
        yield _Configs(f"{subset}-corpus", f"{subset}-queries", f"{subset}-qrels")
        for qrels in (f"qrels-{subset}", subset):
            yield _Configs(f"corpus-{subset}", f"queries-{subset}", qrels)


def _rows(path: Path, table: Any) -> Iterator[tuple[int, Row]]:
    """Yield the rows of a data set as dicts; columns of vectors are not read."""
    number = 0
    unread: list[str] | None = None
    for batch in table.with_format("arrow").iter(batch_size=_BATCH):
        if unread is None:
            unread = [name for name in batch.column_names if is_unread(batch.column(name))]
            warn_unread(path, unread, "vectors or binary data")
        names = [name for name in batch.column_names if name not in unread]
        columns = [column_values(path, name, batch.column(name).combine_chunks()) for name in names]
        for values in zip(*columns, strict=True):
            number += 1
            yield number, dict(zip(names, values, strict=True))
    if not number:
        raise DataError(path, "contains no rows")


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
    return ", ".join(names[:_MAX_NAMED]) + more


def _library() -> Any:
    return require("datasets", extra="train")


@contextmanager
def _without_bars() -> Iterator[None]:
    """Show the progress of downloads on a terminal only."""
    library = _library()
    had_bars = not library.are_progress_bars_disabled() and not sys.stderr.isatty()
    if had_bars:
        library.disable_progress_bars()
    try:
        yield
    finally:
        if had_bars:
            library.enable_progress_bars()
