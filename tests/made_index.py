"""Build index folders of vectors for tests."""

from __future__ import annotations

from nestvec.engines.embedded.engine import EmbeddedEngine
from nestvec.engines.embedded.place import create_folder
from nestvec.engines.manifest import Manifest


def build(path, *, model, corpus, embeddings, point, stored=None):
    """Write an index of documents and their vectors, with codes."""
    if stored is None:
        needed = any(stage.precision == "float32" for stage in point.stages)
        stored = "float32" if needed else "float16"
    create_folder(path, Manifest(model, stored, point))
    index = EmbeddedEngine(path)
    try:
        index.add(corpus, embeddings)
        index.build_codes()
    finally:
        index.close()
