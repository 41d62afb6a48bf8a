"""Copy an index to another place or engine, with its manifest and adapter. No text is encoded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path

import numpy as np

from nestvec.engines.engine import Engine
from nestvec.engines.manifest import Manifest, Stored
from nestvec.engines.places import is_url, shown_place
from nestvec.engines.registry import engine_at, open_engine
from nestvec.errors import DataError, InvalidArgument
from nestvec.index.arguments import PlannedPoint, point_for
from nestvec.index.index import Index
from nestvec.types import OnProgress, OperatingPoint

BLOCK = 1_024  # documents copied at a time
COMPARED_QUERIES, K = 20, 10
LEAST_OVERLAP = 0.99
"""Rounding vectors to float16 changes the order of almost equal scores."""


def copy_index(
    source: Path | str,
    target: Path | str,
    *,
    point: PlannedPoint | OperatingPoint | str | None = None,
    stored: Stored | None = None,
    on_progress: OnProgress | None = None,
) -> Index:
    """Copy an index, compare the copy with the source, and open the copy.

    An interrupted copy is continued by the next call with equal arguments.

    Args:
        source: The path or URL of an index. It must not be changed during the copy.
        target: The path or URL of the copy. An existing index is replaced when the copy is
            complete.
        point: The operating point of the copy: a plan, a point, or a point in text form; None for
            that of the source.
        stored: The precision of the stored vectors of the copy; None for that of the source.
        on_progress: Called with the number of copied documents and the total.

    Returns:
        The copy, open.

    Raises:
        InvalidArgument: If source and target are the same, or the engine of the target does not
            support the point.
        DataError: If the copy cannot be written, or differs from the source. An existing index is
            then unchanged.
    """
    kind = engine_at(target)
    if _resolved(source) == _resolved(target):
        raise InvalidArgument(f"{shown_place(source)} is the source and the target of the copy.")
    with closing(open_engine(source)) as old:
        manifest = old.manifest
        chosen = manifest.point if point is None else point_for(point, manifest.model)
        new_manifest = Manifest(
            manifest.model,
            stored or manifest.stored,
            chosen,
            encoder=manifest.encoder,
            canaries=manifest.canaries,
        )
        if not kind.capabilities.can_run(chosen):
            problem = f"the engine of {shown_place(target)} cannot search by the point {chosen}."
            raise InvalidArgument(f"{problem} Pass another point.")
        state = f"{old.stats().commits}"
        copied = {"copied": f"{old.place} {manifest.model.fingerprint} {state}"}
        with kind.building(str(target), new_manifest, source=copied, adapter=old.adapter) as new:
            _copy(old, new, on_progress)
            _compare(old, new)
    return Index.open(target)


def _resolved(place: Path | str) -> str:
    return shown_place(place) if is_url(place) else str(Path(place).resolve())


def _copy(old: Engine, new: Engine, on_progress: OnProgress | None) -> None:
    """Copy the documents that the new index does not contain, and delete its other documents."""
    others, total, done = set(new.ids()), len(old), 0
    ids = old.ids()
    while block := list(islice(ids, BLOCK)):
        missing = [id_ for id_ in block if id_ not in others]
        documents = old.get(missing)
        if documents:
            new.add(documents, old.vectors(list(documents)), build_codes=False)
        others.difference_update(block)
        done += len(block)
        if on_progress is not None:
            on_progress(done, total)
    if others:
        new.delete(list(others))


def _compare(old: Engine, new: Engine) -> None:
    """Compare the counts, some documents, and the results of some exact searches.

    Raises:
        DataError: If they differ.
    """
    if len(new) != len(old):
        problem = f"the copy has {len(new):,} documents, and {old.place} has {len(old):,}."
        raise DataError(new.place, f"{problem} Copy again while the source is not changed.")
    if not len(old):
        return
    sample = list(islice(old.ids(), 0, None, max(1, len(old) // COMPARED_QUERIES)))
    if new.get(sample) != old.get(sample):
        raise DataError(new.place, f"documents of the copy differ from those of {old.place}.")
    queries = old.vectors(sample)
    pairs = zip(_found(old, queries), _found(new, queries), strict=True)
    overlap = float(np.mean([len(one & two) / max(1, len(one)) for one, two in pairs]))
    if overlap < LEAST_OVERLAP:
        problem = f"exact searches of the copy find {overlap:.0%} of the documents of {old.place}."
        raise DataError(new.place, f"{problem} Copy again.")


def _found(engine: Engine, queries: np.ndarray) -> Iterator[set[str]]:
    return map(set, engine.search(queries, K, exact=True).ids)
