"""Build an index of a corpus, or move one to another model; what was interrupted is gone on with.

An index grows in ``.NAME.unfinished`` beside its place, and gets its name when it is complete.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path

from nestvec.engines.embedded.engine import EmbeddedEngine, create
from nestvec.engines.embedded.folder import DATABASE, VECTORS, WriterLock
from nestvec.engines.embedded.manifest import Stored
from nestvec.errors import DataError, IndexLocked, InvalidArgument
from nestvec.files.atomic import check_replaceable, put_in_place, replace_file
from nestvec.index.arguments import PlannedPoint, point_for
from nestvec.index.index import Index
from nestvec.index.model import findable_anywhere
from nestvec.models.adapted import AdaptedEncoder
from nestvec.models.adapter_file import ADAPTOR, save_adaptor
from nestvec.models.encoding import encoded_batches
from nestvec.types import Document, Encoder, OnProgress, OperatingPoint

_SOURCE = "source.json"  # in an unfinished folder: what it is made of


def build_index(
    model: Encoder,
    corpus: Mapping[str, Document],
    point: PlannedPoint | OperatingPoint | str,
    path: Path | str,
    *,
    stored: Stored | None = None,
    on_progress: OnProgress | None = None,
) -> Index:
    """Encode a corpus, write its index folder and open it.

    An interrupted build of the same model and corpus goes on where it stopped.

    Args:
        model: What encodes; also precomputed vectors.
        corpus: The documents by id.
        point: How to search: a plan, a point or a point's text form.
        path: The folder; an index in its place is replaced when the new one is complete.
        stored: How full vectors are kept; None for float16, or float32 where the point needs it.
        on_progress: Called with documents encoded and in total.

    Raises:
        InvalidArgument: If the point is wider than the model or the corpus is empty.
        ModelMismatch: If the plan is another model's.
        IndexLocked: If another process builds an index there.
        DataError: If the folder cannot be written; what was there is untouched.
    """
    place = Path(path)
    chosen = point_for(point, model.info)
    if not corpus:
        raise InvalidArgument("the corpus is empty: an index needs at least one document")
    check_replaceable(place, marker=DATABASE)  # before the corpus is encoded, not after
    if stored is None:
        stored = "float32" if any(s.precision == "float32" for s in chosen.stages) else "float16"
    unfinished = _unfinished_folder(place)
    with _kept_if_begun(unfinished):
        index = _unfinished(unfinished, model, corpus, chosen, stored)
        try:
            index.lock()
            _fill(index, model, corpus, on_progress)
            index.code()
        finally:
            index.close()
    if isinstance(model, AdaptedEncoder) and model.info.adaptor:
        save_adaptor(model.adaptor, unfinished / ADAPTOR)
    (unfinished / _SOURCE).unlink()
    put_in_place(unfinished, place, marker=DATABASE)
    return Index.open(place, model)


def reembed(
    path: Path | str,
    model: Encoder,
    *,
    point: PlannedPoint | OperatingPoint | str | None = None,
    on_progress: OnProgress | None = None,
) -> Index:
    """Move an index to another model: encode its texts beside it, then switch.

    Args:
        path: The index folder, which is searched as it was until the new one is complete.
        model: What encodes from then on.
        point: How to search then; None for the same point.
        on_progress: Called with documents encoded and in total.

    Raises:
        InvalidArgument: If the point is wider than the model, or no document has a text.
        IndexLocked: If another process changes the index.
        DataError: If the new index cannot be written; the old one is untouched.
    """
    with Index.open(path) as old:
        old.lock()  # nothing may be added to it meanwhile: that would be lost
        asked = old.point if point is None else point
        corpus = old.get(list(old.ids()))
        without = [id_ for id_, document in corpus.items() if not document.content]
        if len(without) == len(corpus) and corpus:
            raise InvalidArgument(f"{path}: holds no texts to encode: it was built of vectors")
        # Who asked for float32 keeps it; float16 gives way where the new point needs more.
        stored: Stored | None = "float32" if old.stats().stored == "float32" else None
        return build_index(model, corpus, asked, path, stored=stored, on_progress=on_progress)


def count_unfinished(path: Path | str) -> int:
    """Count the documents that an interrupted build, or move to a model, has kept beside a path."""
    try:
        with closing(EmbeddedEngine(_unfinished_folder(Path(path)))) as index:
            return len(index)
    except DataError:  # none was interrupted
        return 0


def _unfinished_folder(place: Path) -> Path:
    target = place.resolve()
    return target.with_name(f".{target.name}.unfinished")


def _unfinished(
    folder: Path,
    model: Encoder,
    corpus: Mapping[str, Document],
    point: OperatingPoint,
    stored: Stored,
) -> EmbeddedEngine:
    """Open what an interrupted build of the same left, or begin."""
    digest = sha256()
    for id_, document in corpus.items():
        values = [id_, document.title, document.text, dict(document.metadata)]
        digest.update(json.dumps(values).encode())
    source = {
        "fingerprint": model.info.fingerprint,
        "corpus": digest.hexdigest(),
        "point": str(point),
        "stored": stored,
    }
    try:
        if json.loads((folder / _SOURCE).read_text(encoding="utf-8")) == source:
            return EmbeddedEngine(folder)
    except (OSError, ValueError, DataError):
        pass  # none was begun, or of something else
    if folder.exists():
        WriterLock(folder).release()  # not under the feet of another process
    shutil.rmtree(folder, ignore_errors=True)
    create(folder, model=findable_anywhere(model.info), point=point, stored=stored)
    with replace_file(folder / _SOURCE) as file:
        file.write_text(json.dumps(source), encoding="utf-8")
    return EmbeddedEngine(folder)


@contextmanager
def _kept_if_begun(folder: Path) -> Iterator[None]:
    """Keep what an error or an interrupt leaves only where there is something to go on with."""
    try:
        yield
    except IndexLocked:  # another process builds there
        raise
    except BaseException:
        if not any((folder / VECTORS).glob("*")):
            shutil.rmtree(folder, ignore_errors=True)
        raise


def _fill(
    index: EmbeddedEngine,
    model: Encoder,
    corpus: Mapping[str, Document],
    on_progress: OnProgress | None,
) -> None:
    there = set(index.ids())
    missing = {id_: document for id_, document in corpus.items() if id_ not in there}
    done = len(corpus) - len(missing)
    for batch, embeddings in encoded_batches(model, missing, on_progress=on_progress, before=done):
        index.add(batch, embeddings, code=False)
