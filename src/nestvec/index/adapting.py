"""Adapt an index that exists: its stored vectors are turned, and no text is encoded again.

The new index is made beside the old one, which is searched until the new one is complete and stays
beside it afterwards, as ``NAME.unadapted``, so that the change can be undone. From then on whatever
is searched for or added goes through the adapter, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path

from nestvec.engines.engine import Engine
from nestvec.engines.manifest import Manifest
from nestvec.engines.registry import engine_at
from nestvec.errors import DataError, InvalidArgument
from nestvec.index.arguments import PlannedPoint, point_for
from nestvec.index.index import Index
from nestvec.models.adapter import BLOCK, Adapter, adapted_info
from nestvec.models.adapter_file import check_unadapted
from nestvec.types import OnProgress, OperatingPoint
from nestvec.wording import count_text


def adapt_index(
    path: Path | str,
    adapter: Adapter,
    *,
    point: PlannedPoint | OperatingPoint | str | None = None,
    on_progress: OnProgress | None = None,
) -> Index:
    """Turn the stored vectors of an index, and switch to them.

    Args:
        path: The index folder, which is searched as it was until the new one is complete.
        adapter: Fitted for the index's model.
        point: How to search then; None for the same point.
        on_progress: Called with documents turned and in all.

    Raises:
        ModelMismatch: If the adapter is for another model, or the index is adapted already, or was
            built of a folder that is.
        InvalidArgument: If the point is wider than the model, or the adapter changes nothing.
        IndexLocked: If another process changes the index.
        DataError: If an index is kept under the name that this one would get, or the new one
            cannot be written; the index is untouched.
    """
    kind, place, kept = engine_at(path), str(path), kept_place(path)
    if kind.exists(kept) and not kind.exists(place):
        raise DataError(place, "was being adapted when that was killed: put it back with --undo")
    if adapter.method == "none":
        raise InvalidArgument("the adapter changes nothing, so there is nothing to do")
    if kind.exists(kept):
        raise DataError(kept, "is there already: delete or rename it, it would be lost")
    with closing(kind.open(place)) as old:
        check_unadapted(Path(old.manifest.model.name))  # where it was built of such a folder
        old.lock()  # nothing may be added to it meanwhile: that would be lost
        manifest = old.manifest
        info = adapted_info(manifest.model, adapter)
        chosen = manifest.point if point is None else point_for(point, info)
        with kind.building(
            place,
            Manifest(info, manifest.stored, chosen),
            source={"unadapted": f"{manifest.model.fingerprint} {old.stats().commits}"},
            adapter=adapter,
            keep_replaced=True,
        ) as new:
            _transform(old, adapter, new, on_progress)
    return Index.open(place)


def undo_adapting(path: Path | str) -> Index:
    """Put an index back as it was before ``adapt_index``.

    Raises:
        DataError: If no index was kept, this one is not adapted, documents have come, gone or
            changed since, which would be lost, or the folder cannot be written.
        IndexLocked: If another process changes the index.
    """
    kind, place, kept = engine_at(path), str(path), kept_place(path)
    if not kind.exists(place):  # killed between the two renames
        kind.restore(place)
        return Index.open(place)
    if kind.exists(kept):
        with closing(kind.open(place)) as adapted:
            adapted.lock()
            _check_unchanged(adapted, kind, kept)
            kind.restore(place)
    else:
        kind.restore(place)  # says that none was kept
    return Index.open(place)


def _check_unchanged(adapted: Engine, kind: type[Engine], kept: str) -> None:
    name = Path(kept).name
    if not adapted.manifest.model.adapter:
        problem = f"is not adapted, so {name} is not what it was: delete or rename that"
        raise DataError(adapted.place, problem)
    with closing(kind.open(kept)) as old:
        changed = _count_changed(adapted, old)
    if changed:
        documents = count_text(changed, "document")
        problem = f"{documents} came, went or changed since it was adapted"
        raise DataError(adapted.place, f"{problem}: re-embed it, or rename {name} yourself")


def _count_changed(one: Engine, other: Engine) -> int:
    changed = len(set(one.ids()) ^ set(other.ids()))
    for ids in _blocks(one.ids()):
        before = other.get(ids)
        changed += sum(
            document != before[id_] for id_, document in one.get(ids).items() if id_ in before
        )
    return changed


def kept_place(path: Path | str) -> str:
    """Return where the unadapted index stays."""
    return engine_at(path).kept_place(str(path))


def _transform(old: Engine, adapter: Adapter, new: Engine, on_progress: OnProgress | None) -> None:
    total, done, there = len(old), 0, set(new.ids())
    for ids in _blocks(old.ids()):
        documents = {id_: each for id_, each in old.get(ids).items() if id_ not in there}
        if documents:
            found = adapter.apply(old.vectors(list(documents)), "document")
            new.add(documents, found, code=False)
        done += len(ids)
        if on_progress is not None:
            on_progress(done, total)


def _blocks(ids: Iterator[str]) -> Iterator[list[str]]:
    while block := list(islice(ids, BLOCK)):
        yield block
