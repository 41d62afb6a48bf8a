"""Where everything lies in an index folder.

manifest.json                    model, stored precision, operating point, calibrated codecs
documents.sqlite                 ids, texts, metadata, checksums; what is committed
documents.seal                   checksum of that file, as the last writer left it
vectors/0-0.vectors              full vectors: generation, number; append-only
codes/0-0-46961/128-binary.codes codes of rows 0 to 46960, a cache; rows and ids beside them
writer.lock, writer.json         held by the one writer, and who that is
adaptor.safetensors              what its vectors went through, if they did: of ``workflows``
"""

from __future__ import annotations

from pathlib import Path

from nestvec.types import Precision

MANIFEST = "manifest.json"
DATABASE = "documents.sqlite"
SEAL = "documents.seal"
VECTORS = "vectors"
CODES = "codes"
LOCK = "writer.lock"
HOLDER = "writer.json"


def segment_file(folder: Path, generation: int, number: int) -> Path:
    """Return where a segment of vectors lies."""
    return folder / VECTORS / f"{generation}-{number}.vectors"


def part_folder(folder: Path, generation: int, first_row: int, n_rows: int) -> Path:
    """Return where the codes of a range of rows lie."""
    return folder / CODES / f"{generation}-{first_row}-{n_rows}"


def codes_name(dim: int, precision: Precision) -> str:
    """Return the name of the codes of one representation."""
    return f"{dim}-{precision}.codes"
