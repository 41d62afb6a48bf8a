"""Adapt an index that exists: its stored vectors are turned, and no text is encoded again.

The new index is made beside the old one, which is searched until the new one is complete and stays
beside it afterwards, as ``NAME.unadapted``, so that the change can be undone. From then on whatever
is searched for or added goes through the adaptor, too.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path

from nestvec.engines.embedded.engine import EmbeddedEngine, create
from nestvec.engines.embedded.folder import DATABASE
from nestvec.errors import DataError, InvalidArgument
from nestvec.files.atomic import put_in_place
from nestvec.index.arguments import PlannedPoint, point_for
from nestvec.index.index import Index
from nestvec.models.adapter import BLOCK, Adaptor, adapted_info
from nestvec.models.adapter_file import ADAPTOR, check_unadapted, save_adaptor
from nestvec.types import OnProgress, OperatingPoint
from nestvec.wording import count_text


def adapt_index(
    path: Path | str,
    adaptor: Adaptor,
    *,
    point: PlannedPoint | OperatingPoint | str | None = None,
    on_progress: OnProgress | None = None,
) -> Index:
    """Turn the stored vectors of an index, and switch to them.

    Args:
        path: The index folder, which is searched as it was until the new one is complete.
        adaptor: Fitted for the index's model.
        point: How to search then; None for the same point.
        on_progress: Called with documents turned and in all.

    Raises:
        ModelMismatch: If the adaptor is for another model, or the index is adapted already, or was
            built of a folder that is.
        InvalidArgument: If the point is wider than the model, or the adaptor changes nothing.
        IndexLocked: If another process changes the index.
        DataError: If an index is kept under the name that this one would get, or the new one
            cannot be written; the index is untouched.
    """
    place, kept = Path(path), kept_place(path)
    if kept.exists() and not place.exists():
        raise DataError(place, "was being adapted when that was killed: put it back with --undo")
    if adaptor.method == "none":
        raise InvalidArgument("the adaptor changes nothing, so there is nothing to do")
    if kept.exists():
        raise DataError(kept, "is there already: delete or rename it, it would be lost")
    made = place.resolve().with_name(f".{place.resolve().name}.adapting")
    with closing(EmbeddedEngine(place)) as old:
        check_unadapted(Path(old.manifest.model.name))  # where it was built of such a folder
        old.lock()  # nothing may be added to it meanwhile: that would be lost
        try:
            shutil.rmtree(made, ignore_errors=True)  # of one that was killed: it held this lock
            _turn(old, adaptor, made, point, on_progress)
            put_in_place(made, place, marker=DATABASE, kept=kept)
        finally:
            shutil.rmtree(made, ignore_errors=True)
    return Index.open(place)


def undo_adapting(path: Path | str) -> Index:
    """Put an index back as it was before ``adapt_index``.

    Raises:
        DataError: If no index was kept, this one is not adapted, documents have come, gone or
            changed since, which would be lost, or the folder cannot be written.
        IndexLocked: If another process changes the index.
    """
    place, kept = Path(path), kept_place(path)
    if not kept.exists():
        raise DataError(place, f"cannot be put back: there is no {kept.name} beside it")
    if not place.exists():  # killed between the two renames
        put_in_place(kept, place, marker=DATABASE)
        return Index.open(place)
    with closing(EmbeddedEngine(place)) as adapted:
        if not adapted.manifest.model.adaptor:
            problem = f"is not adapted, so {kept.name} is not what it was: delete or rename that"
            raise DataError(place, problem)
        adapted.lock()
        with closing(EmbeddedEngine(kept)) as old:
            changed = _count_changed(adapted, old)
        if changed:
            documents = count_text(changed, "document")
            problem = f"{documents} came, went or changed since it was adapted"
            raise DataError(place, f"{problem}: re-embed it, or rename {kept.name} yourself")
        put_in_place(kept, place, marker=DATABASE)
    return Index.open(place)


def _count_changed(one: EmbeddedEngine, other: EmbeddedEngine) -> int:
    changed = len(set(one.ids()) ^ set(other.ids()))
    for ids in _blocks(one.ids()):
        before = other.get(ids)
        changed += sum(
            document != before[id_] for id_, document in one.get(ids).items() if id_ in before
        )
    return changed


def kept_place(path: Path | str) -> Path:
    """Return where the unadapted index stays."""
    target = Path(path).resolve()
    return target.with_name(f"{target.name}.unadapted")


def _turn(
    old: EmbeddedEngine,
    adaptor: Adaptor,
    made: Path,
    point: PlannedPoint | OperatingPoint | str | None,
    on_progress: OnProgress | None,
) -> None:
    manifest = old.manifest
    info = adapted_info(manifest.model, adaptor)
    chosen = manifest.point if point is None else point_for(point, info)
    create(made, model=info, point=chosen, stored=manifest.stored)
    total, done = len(old), 0
    with closing(EmbeddedEngine(made)) as new:
        new.lock()
        for ids in _blocks(old.ids()):
            documents = old.get(ids)
            turned = adaptor.apply(old.vectors(list(documents)), "document")
            new.add(documents, turned, code=False)
            done += len(ids)
            if on_progress is not None:
                on_progress(done, total)
        new.code()
    save_adaptor(adaptor, made / ADAPTOR)


def _blocks(ids: Iterator[str]) -> Iterator[list[str]]:
    while block := list(islice(ids, BLOCK)):
        yield block
