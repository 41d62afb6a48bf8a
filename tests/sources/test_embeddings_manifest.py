"""The manifest of a folder of shards."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from nestvec.codec.codec import Codec
from nestvec.errors import DataError
from nestvec.sources.manifest import (
    MANIFEST,
    EmbeddingsManifest,
    Shard,
    read_manifest,
    write_manifest,
)
from nestvec.types import ModelInfo

MODEL = ModelInfo("m", "f" * 64, 64, (64, 32), "config.json", True, query_prompt="q: ")


def manifest() -> EmbeddingsManifest:
    vectors = np.random.default_rng(0).normal(size=(50, 64)).astype(np.float32)
    codec = Codec.fit(vectors, 32, "int8")
    shards = (Shard("00000.parquet", 3, "a" * 64), Shard("00001.parquet", 2, "b" * 64))
    return EmbeddingsManifest(MODEL, "document", 32, "int8", shards, codec, complete=True)


def test_a_manifest_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = manifest()
    write_manifest(written, tmp_path)
    read = read_manifest(tmp_path)
    assert read is not None
    assert read.model == MODEL
    assert read.shards == written.shards
    assert (read.rows, read.complete, read.kind) == (5, True, "document")
    assert read.codec is not None
    np.testing.assert_array_equal(read.codec.calibration, written.codec.calibration)


def test_a_folder_without_a_manifest(tmp_path: Path) -> None:
    assert read_manifest(tmp_path) is None


@pytest.mark.parametrize("key", ["model", "shards", "codec"])
def test_a_damaged_manifest_is_one_line(tmp_path: Path, key: str) -> None:
    values = manifest().to_json()
    del values[key]
    (tmp_path / MANIFEST).write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(DataError, match=f"is damaged .*{key}"):
        read_manifest(tmp_path)
