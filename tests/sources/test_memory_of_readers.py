"""No reader and no writer has all vectors in memory twice."""

import numpy as np
import pyarrow as pa
import pytest

import nestvec as nv
from peak_memory import peak_bytes

N, DIM = 200_000, 256
N_TEXT = 2_000  # text is slow to parse


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A .npy file with ids."""
    folder = tmp_path_factory.mktemp("memory")
    values = np.lib.format.open_memmap(
        folder / "v.npy", mode="w+", dtype=np.float32, shape=(N, DIM)
    )
    values[:] = np.arange(1, DIM + 1, dtype=np.float32)
    (folder / "v.ids.txt").write_text("".join(f"d{row}\n" for row in range(N)))
    return folder


SETUP = "import nestvec as nv, numpy, pyarrow.parquet, h5py, nestvec.sources.save"
BYTES = N * DIM * 4


@pytest.mark.slow
@pytest.mark.parametrize("name", ["v.npz", "v.parquet", "v.arrow", "v.hdf5", "v.fvecs", "v.faiss"])
def test_vectors_are_in_memory_once(source, name):
    # Ids need about 65 bytes each. Mapped files count as memory here, so a mapped source may add
    # its own size.
    write = f"nv.convert_embeddings({str(source / 'v.npy')!r}, {str(source / 'w' / name)!r})"
    mapped = BYTES  # the pages of the source, which the system can drop
    assert peak_bytes(write, setup=SETUP) < mapped + 0.75 * BYTES
    path = source / "w" / name
    read = f"v = nv.load_embeddings({str(path)!r}); assert v.values.shape == ({N}, {DIM})"
    uncompressed = BYTES if name in ("v.arrow", "v.fvecs", "v.faiss") else 0
    once = 0 if name in ("v.fvecs", "v.faiss") else BYTES
    # Arrow decodes ahead in threads: the peak of one file varies by a tenth of the vectors.
    assert peak_bytes(read, setup=SETUP) < once + uncompressed + 0.85 * BYTES
    path.unlink()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["v.jsonl", "v.csv"])
def test_text_is_read_in_batches(tmp_path, name):
    wide = np.random.default_rng(0).standard_normal((N_TEXT, 1_024)).astype(np.float32)
    nv.save_embeddings([str(row) for row in range(N_TEXT)], wide, tmp_path / name)
    read = f"v = nv.load_embeddings({str(tmp_path / name)!r}); assert v.dim == 1024"
    # One batch of 256 rows is 256 * 1,024 numbers of Python, about 32 bytes each.
    assert peak_bytes(read, setup=SETUP) < wide.nbytes + 40e6


@pytest.mark.slow
def test_one_record_batch_of_arrow_is_not_copied(source, tmp_path):
    flat = pa.array(np.ones(N * DIM, dtype=np.float32))
    table = pa.table(
        {
            "id": [f"d{row}" for row in range(N)],
            "vector": pa.FixedSizeListArray.from_arrays(flat, DIM),
        }
    )
    with pa.ipc.new_file(tmp_path / "v.arrow", table.schema) as writer:
        writer.write_table(table)
    read = f"v = nv.load_embeddings({str(tmp_path / 'v.arrow')!r}); assert len(v) == {N}"
    assert peak_bytes(read, setup=SETUP) < 2.5 * BYTES
