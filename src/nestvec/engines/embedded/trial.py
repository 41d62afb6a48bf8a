"""The embedded engine's search over vectors and codes, without an index, for measurements.

A trial searches a snapshot like that of an index whose documents are all in one part. Codes of the
first stage are in memory. Full vectors and codes of later stages are in memory-mapped files, as in
an index folder. The time to fetch documents is measured on a sample, in a real database.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from nestvec.codec.codec import Codec
from nestvec.codec.prefix import as_stored
from nestvec.codec.quantizer import code_bytes
from nestvec.data.corpus import Corpus
from nestvec.engines.embedded import documents as tables
from nestvec.engines.embedded.database import Database
from nestvec.engines.embedded.documents import Row
from nestvec.engines.embedded.folder import DATABASE, FROM_VECTORS, coded_keys
from nestvec.engines.embedded.part import Part, id_table
from nestvec.engines.embedded.searching import PointSearch
from nestvec.engines.embedded.sizes import planned_bytes, text_bytes
from nestvec.engines.embedded.snapshot import Snapshot, Tail
from nestvec.engines.embedded.stacked import ScatteredRows, Stacked
from nestvec.engines.embedded.state import Span, State
from nestvec.engines.engine import Search
from nestvec.engines.filters.condition import Condition
from nestvec.engines.flat.representations import BLOCK_BYTES, Representations
from nestvec.engines.flat.scoring import ZeroPrefixes
from nestvec.engines.manifest import Settings, Stored, stored_for
from nestvec.engines.results import PointBytes
from nestvec.errors import InvalidArgument
from nestvec.files.mapped import map_array
from nestvec.types import CodeKey, Codes, Document, Embeddings, Hits, OperatingPoint

SAMPLED_DOCUMENTS = 2_000
SCANNED_BYTES = 2**29  # maximum size of the codes that a search scans, more than any cache
_READ_BYTES = 1 << 24  # read at a time, to load a file into the page cache


class EmbeddedTrial:
    """The searches of any operating point over one corpus."""

    def __init__(
        self, corpus: Representations, ids: Sequence[str], documents: Mapping[str, Document]
    ) -> None:
        """Prepare a trial, as ``Engine.trial`` does. Files are written when they are needed."""
        self._corpus = corpus
        self._ids, self._id_table = ids, id_table(ids)
        self._id_bytes = float(np.mean([len(id_.encode()) for id_ in ids])) if ids else 0.0
        sample = _spread(ids, SAMPLED_DOCUMENTS)
        self._sample = list(Corpus.of({id_: documents[id_] for id_ in sample if id_ in documents}))
        self._folder = TemporaryDirectory(prefix="nestvec-trial-")
        self._database: Database | None = None
        self._random = np.random.default_rng(0)
        self._text_bytes = 0.0  # mean bytes of a document in the database
        self._part: tuple[CodeKey, Part] | None = None
        # Files that may not be in the page cache: a cold search drops files, and other files that
        # were written since can displace the file of the corpus.
        self._dropped: set[Path] = {corpus.vectors_file} if corpus.vectors_file else set()

    def searcher(self, point: OperatingPoint) -> Search:
        """Return the search of a point, with all its files in the page cache."""
        search = self._search(point, self._part_for(point))
        for file in self._dropped & {*self._files_read(point)}:
            _load(file)
            self._dropped.remove(file)
        return search

    def scanned_share(self, point: OperatingPoint) -> float:
        """Return the share of the corpus whose codes of the first stage fit ``SCANNED_BYTES``."""
        return self._n_scanned(point.stages[0].representation) / max(1, len(self._corpus))

    def cold_searcher(self, point: OperatingPoint) -> Search | None:
        """Return the search of a point, with the files of its later stages not in the page cache.

        None for one stage, which reads no files, and on systems other than Linux.
        """
        if len(point.stages) == 1 or not hasattr(os, "posix_fadvise") or sys.platform != "linux":
            return None
        scanned = self._part_for(point)
        self._part = None  # mapped files cannot be dropped from the page cache
        part = scanned.remapped()
        for file in self._files_read(point):
            _drop(file)
            self._dropped.add(file)
        self._part = point.stages[0].representation, part
        return self._search(point, part)

    def bytes(self, point: OperatingPoint) -> PointBytes:
        """Return the bytes per document of an index folder with this point."""
        self._sampled()
        return planned_bytes(
            point,
            stored_for(point),
            self._corpus.full_dim,
            id_bytes=self._id_bytes,
            text_bytes=self._text_bytes,
        )

    def build_s(self, point: OperatingPoint) -> float:
        """Return the seconds to fit codecs and encode the codes of all stages."""
        return sum(self._corpus[key].build_s for key in coded_keys(point))

    def settings(self, point: OperatingPoint) -> Settings:
        """Return no settings: every search is exhaustive."""
        return {}

    def lookup_ms(self, k: int) -> float:
        """Time one check for a new commit and one lookup of ``k`` documents."""
        if not self._sample:
            return 0.0
        database, n = self._sampled(), len(self._sample)
        drawn = self._random.choice(n, min(k, n), replace=False)
        ids = [self._sample[number][0] for number in drawn.tolist()]
        start = time.perf_counter()
        database.version()
        tables.get(database, ids)
        return (time.perf_counter() - start) * 1000

    def close(self) -> None:
        """Delete the temporary files."""
        self._part = None
        if self._database is not None:
            self._database.close()
        self._folder.cleanup()

    def _search(self, point: OperatingPoint, part: Part) -> Search:
        vectors = None
        if any(precision in FROM_VECTORS for _, precision in _later(point)):
            vectors = self._vector_file(stored_for(point))
        snapshot = self._snapshot(part, stored_for(point), vectors)
        codecs = [self._corpus.codec(stage.representation) for stage in point.stages]
        search = PointSearch(snapshot, point, codecs)

        def hits(embeddings: Embeddings, k: int, where: Condition | None = None, /) -> Hits:
            if where is not None:
                problem = "a trial of the embedded engine cannot filter documents."
                raise InvalidArgument(f"{problem} Measure filters by exhaustive scoring.")
            return snapshot.hits(search.search(embeddings, k))

        return hits

    def _part_for(self, point: OperatingPoint) -> Part:
        """Return the part whose codes of the point's first stage are in memory."""
        first = point.stages[0].representation
        if self._part is None or self._part[0] != first:
            self._part = None  # frees the codes before others are loaded
            n, zeros = self._n_scanned(first), self._corpus.zeros
            rows = np.arange(n, dtype=np.int64)
            table = self._id_table
            if n < len(self._corpus):
                inside = zeros.rows < n
                zeros = ZeroPrefixes(zeros.rows[inside], zeros.lengths[inside])
                table = id_table(self._ids[:n])
            self._part = first, Part(Span(0, n), rows, table, zeros, self._codes(first, n))
        return self._part[1]

    def _n_scanned(self, first: CodeKey) -> int:
        most = max(1, SCANNED_BYTES // code_bytes(*first))
        return min(most, len(self._corpus[first].codes))

    def _codes(self, scanned: CodeKey, n: int) -> Callable[[Codec], Codes]:
        def make(codec: Codec) -> Codes:
            key = (codec.dim, codec.precision)
            codes = self._corpus[key].codes
            return codes[:n] if key == scanned else self._mapped(key, codes)

        return make

    def _mapped(self, key: CodeKey, codes: Codes) -> Codes:
        file = self._code_file(key)
        if not file.exists():
            file.write_bytes(np.ascontiguousarray(codes).data)
        if not len(codes):
            return codes
        with file.open("rb") as opened:
            return map_array(opened, np.uint8, codes.shape)

    def _code_file(self, key: CodeKey) -> Path:
        return Path(self._folder.name) / f"{key[0]}-{key[1]}.codes"

    def _vector_file(self, stored: Stored) -> Path:
        shared = self._corpus.vectors_file
        if stored == "float16" and shared is not None:
            return shared
        file = Path(self._folder.name) / f"{stored}.vectors"
        if not file.exists():
            with file.open("wb") as opened:
                size = max(1, BLOCK_BYTES // (4 * self._corpus.full_dim))
                for start in range(0, len(self._corpus), size):
                    block = self._corpus.embeddings(slice(start, start + size))
                    unit = as_stored(block, layer_norm=self._corpus.layer_norm)
                    opened.write(np.ascontiguousarray(unit.astype(stored)).data)
        return file

    def _snapshot(self, part: Part, stored: Stored, file: Path | None) -> Snapshot:
        shape = (len(self._corpus), self._corpus.full_dim)
        in_order = scattered = np.empty((0, shape[1]), dtype=stored)
        if file is not None and shape[0]:
            with file.open("rb") as opened:
                in_order = map_array(opened, stored, shape)
                scattered = map_array(opened, stored, shape, scattered=True)
        vectors = Stacked.of([in_order])
        state = replace(State(), n_documents=shape[0], segments=(part.span,), parts=(part.span,))
        no_rows = np.empty(0, dtype=np.int64)
        tail = Tail(no_rows, [], vectors)
        rows = ScatteredRows(Stacked.of([scattered]))
        return Snapshot(state, vectors, rows, (part,), no_rows, tail)

    def _files_read(self, point: OperatingPoint) -> list[Path]:
        files = {
            self._vector_file(stored_for(point)) if key[1] in FROM_VECTORS else self._code_file(key)
            for key in _later(point)
        }
        return [file for file in files if file.exists()]

    def _sampled(self) -> Database:
        """Return the database of the sampled documents; it is created at the first use."""
        if self._database is None:
            folder = Path(self._folder.name) / "sample"
            folder.mkdir()
            self._database = database = Database(folder / DATABASE, write=True, create=True)
            with database.transaction():
                tables.create_tables(database)
            database.checkpoint()
            empty = text_bytes(folder)
            rows = [Row.of(row, id_, each, 0) for row, (id_, each) in enumerate(self._sample)]
            with database.transaction():
                tables.insert_rows(database, rows)
            database.checkpoint()
            values = sum(len(str(value).encode()) for row in rows for value in row)
            # A few documents may fit into the pages of an empty database, and add no bytes.
            self._text_bytes = max(text_bytes(folder) - empty, values) / max(1, len(rows))
        return self._database


def _later(point: OperatingPoint) -> Iterable[CodeKey]:
    return [stage.representation for stage in point.stages[1:]]


def _spread(ids: Sequence[str], n: int) -> Iterable[str]:
    step = max(1, len(ids) // n)
    return islice(ids, 0, None, step)


def _load(path: Path) -> None:
    """Load a file into the page cache."""
    with path.open("rb") as file:
        while file.read(_READ_BYTES):
            pass


def _drop(path: Path) -> None:
    """Drop a file from the page cache. Pages that are mapped or not yet written would remain."""
    with path.open("r+b") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
