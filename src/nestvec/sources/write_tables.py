"""Write blocks of vectors to formats of tables with the columns id and vector.

Parquet files contain fixed-size lists, without a dictionary and with the encoding
byte-stream-split, which makes floats smaller. JSON Lines and CSV name the column ``embedding``.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nestvec.data.records import suffix_of
from nestvec.errors import require
from nestvec.sources.stream import Block, FloatType, Writer

if TYPE_CHECKING:
    import pyarrow as pa

_ID, _VECTOR, _TEXT_VECTOR = "id", "vector", "embedding"
_ROW_GROUP = 65_536


def write_parquet(path: Path, blocks: Iterator[Block], dtype: FloatType) -> None:
    """Write a Parquet file with the columns ``id`` and ``vector``."""
    parquet = require("pyarrow.parquet", extra="parquet")
    writer: Any = None
    try:
        for table in _tables(blocks, dtype):
            if writer is None:
                writer = parquet.ParquetWriter(path, table.schema, **parquet_options())
            writer.write_table(table, row_group_size=_ROW_GROUP)
    finally:
        if writer is not None:
            writer.close()


def parquet_options() -> dict[str, Any]:
    """Return the options of ``pyarrow.parquet.ParquetWriter`` for vectors."""
    leaf = f"{_VECTOR}.list.element"
    return {
        "compression": "zstd",
        "use_dictionary": False,
        "column_encoding": {leaf: "BYTE_STREAM_SPLIT", _ID: "PLAIN"},
        "write_page_checksum": True,
    }


def write_arrow(path: Path, blocks: Iterator[Block], dtype: FloatType) -> None:
    """Write an Arrow file (Feather version 2) with the columns ``id`` and ``vector``."""
    arrow = require("pyarrow", extra="parquet")
    writer: Any = None
    try:
        for table in _tables(blocks, dtype):
            if writer is None:
                writer = arrow.ipc.new_file(path, table.schema)
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()


def _tables(blocks: Iterator[Block], dtype: FloatType) -> Iterator[pa.Table]:
    arrow = require("pyarrow", extra="parquet")
    for block in blocks:
        dim = block.values.shape[1]
        flat = arrow.array(np.ascontiguousarray(block.values).reshape(-1))
        vectors = arrow.FixedSizeListArray.from_arrays(flat, dim)
        ids = arrow.array(list(block.ids or ()), type=arrow.string())
        yield arrow.table({_ID: ids, _VECTOR: vectors})


def jsonl_writer(target: Path) -> Writer:
    """Return a function that writes one JSON object per line: ``id`` and ``embedding``.

    Args:
        target: The name of the file, which states by ``.gz`` whether it is compressed.
    """

    def write(path: Path, blocks: Iterator[Block], dtype: FloatType) -> None:
        with _text(path, compressed=_is_gzip(target)) as file:
            for block in blocks:
                for name, text in _rows(block):
                    shown = json.dumps(name, ensure_ascii=False)
                    file.write(f'{{"{_ID}": {shown}, "{_TEXT_VECTOR}": {text}}}\n')

    return write


def csv_writer(target: Path) -> Writer:
    """Return a function that writes the columns ``id`` and ``embedding``; a vector is a JSON list.

    Args:
        target: The name of the file: ``.tsv`` separates columns by tabs, ``.gz`` compresses.
    """
    delimiter = "\t" if suffix_of(target) == ".tsv" else ","

    def write(path: Path, blocks: Iterator[Block], dtype: FloatType) -> None:
        with _text(path, compressed=_is_gzip(target)) as file:
            writer = csv.writer(file, delimiter=delimiter, lineterminator="\n")
            writer.writerow([_ID, _TEXT_VECTOR])
            for block in blocks:
                writer.writerows(_rows(block))

    return write


def _is_gzip(target: Path) -> bool:
    return target.name.lower().endswith(".gz")


def _rows(block: Block) -> Iterator[tuple[str, str]]:
    # Nine significant digits identify each float32; formatting a row at once is three times faster
    # than ``json.dumps``.
    numbers = f"[{', '.join(['%.9g'] * block.values.shape[1])}]"
    for name, row in zip(block.ids or (), block.values.tolist(), strict=True):
        yield name, numbers % tuple(row)


@contextmanager
def _text(path: Path, *, compressed: bool) -> Iterator[io.TextIOBase]:
    if not compressed:
        with path.open("w", encoding="utf-8", newline="") as file:
            yield file
        return
    with (
        path.open("wb") as raw,
        gzip.GzipFile("", "wb", fileobj=raw, mtime=0, compresslevel=6) as packed,
        io.TextIOWrapper(packed, encoding="utf-8", newline="") as file,
    ):
        yield file
