"""Transform the stored vectors of an existing index with an adapter; no text is encoded again.

The new index is built next to the old one, which can be searched until the new one is complete.
The old index is then kept as ``NAME.unadapted``, so that the change can be undone. The new index
also applies its adapter to queries and added documents.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
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
    """Transform the stored vectors of an index with an adapter, and replace the index.

    Args:
        path: The index folder. It can be searched while the new index is built.
        adapter: An adapter that was fitted for the index's model.
        point: The operating point of the new index; None for the same point.
        on_progress: Called with the number of transformed documents and the total.

    Returns:
        The new index, open.

    Raises:
        ModelMismatch: If the adapter is for another model, or the index is adapted already or was
            built from a folder of adapted vectors.
        InvalidArgument: If the point is wider than the model, or the adapter changes nothing.
        IndexLocked: If another process changes the index.
        DataError: If the name of the backup is in use, or the new index cannot be written. The
            index is then unchanged.
    """
    kind, place, backup = engine_at(path), str(path), backup_place(path)
    _check_adaptable(kind, place, backup)
    if adapter.method == "none":
        raise InvalidArgument("the adapter changes no vector. The index needs no change.")
    with closing(kind.open(place)) as old:
        check_unadapted(Path(old.manifest.model.name))  # the index may be built from a folder
        old.lock()  # documents added during the transformation would be lost
        manifest = old.manifest
        if manifest.encoder is not None and adapter.base == manifest.encoder.fingerprint:
            adapter = replace(adapter, base="")  # this model made the vectors
        info = adapted_info(manifest.model, adapter)
        chosen = manifest.point if point is None else point_for(point, info)
        with kind.building(
            place,
            Manifest(
                info,
                manifest.stored,
                chosen,
                encoder=manifest.encoder,
                canaries=manifest.canaries,
            ),
            source={"unadapted": f"{manifest.model.fingerprint} {old.stats().commits}"},
            adapter=adapter,
            keep_backup=True,
        ) as new:
            _transform(old, adapter, new, on_progress)
    return Index.open(place)


def undo_adapting(path: Path | str) -> Index:
    """Restore an index as it was before ``adapt_index``.

    Raises:
        DataError: If there is no backup, the index is not adapted, its documents have changed
            since, or the folder cannot be written.
        IndexLocked: If another process changes the index.
    """
    kind, place, backup = engine_at(path), str(path), backup_place(path)
    if not kind.exists(place):  # ``adapt_index`` was killed between its two renames
        kind.restore(place)
        return Index.open(place)
    if kind.exists(backup):
        with closing(kind.open(place)) as adapted:
            adapted.lock()
            _check_unchanged(adapted, kind, backup)
            kind.restore(place)
    else:
        kind.restore(place)  # raises that there is no backup
    return Index.open(place)


def _check_adaptable(kind: type[Engine], place: str, backup: str) -> None:
    if not kind.capabilities.restores:
        raise InvalidArgument(
            "this engine keeps no backup, so its index cannot be adapted in place. Apply the "
            "adapter to the model, and build a new index."
        )
    if kind.exists(backup) and not kind.exists(place):
        problem = "adapting this index was interrupted. Restore the index with --undo."
        raise DataError(place, problem)
    if kind.exists(backup):
        problem = "the name of the backup is in use. Delete or rename this index."
        raise DataError(backup, problem)


def _check_unchanged(adapted: Engine, kind: type[Engine], backup: str) -> None:
    name = Path(backup).name
    if not adapted.manifest.model.adapter:
        problem = f"the index is not adapted, so {name} is not its backup. Delete or rename {name}."
        raise DataError(adapted.place, problem)
    with closing(kind.open(backup)) as old:
        changed = _count_changed(adapted, old)
    if changed:
        documents = count_text(changed, "document")
        problem = f"{documents} changed since the index was adapted, and would be lost."
        remedy = f"Re-embed the index, or replace it by {name} yourself."
        raise DataError(adapted.place, f"{problem} {remedy}")


def _count_changed(one: Engine, other: Engine) -> int:
    changed = len(set(one.ids()) ^ set(other.ids()))
    for ids in _blocks(one.ids()):
        before = other.get(ids)
        changed += sum(
            document != before[id_] for id_, document in one.get(ids).items() if id_ in before
        )
    return changed


def backup_place(path: Path | str) -> str:
    """Return the place of the backup that ``adapt_index`` keeps."""
    return engine_at(path).backup_place(str(path))


def _transform(old: Engine, adapter: Adapter, new: Engine, on_progress: OnProgress | None) -> None:
    total, done, existing = len(old), 0, set(new.ids())
    for ids in _blocks(old.ids()):
        documents = {id_: each for id_, each in old.get(ids).items() if id_ not in existing}
        if documents:
            transformed = adapter.apply(old.vectors(list(documents)), "document")
            new.add(documents, transformed, build_codes=False)
        done += len(ids)
        if on_progress is not None:
            on_progress(done, total)


def _blocks(ids: Iterator[str]) -> Iterator[list[str]]:
    while block := list(islice(ids, BLOCK)):
        yield block
