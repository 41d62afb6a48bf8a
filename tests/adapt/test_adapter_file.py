"""The file of an adapter, as a stranger may have made it: one line, never a traceback."""

import json
import struct

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from nestvec.errors import DamagedFile, DataError
from nestvec.models.adapter import Head
from nestvec.models.adapter_file import load_adapter, save_adapter

RNG = np.random.default_rng(1)
WIDTH, HIDDEN = 4, 6
MATRIX = RNG.standard_normal((WIDTH, WIDTH)).astype(np.float32)
INNER = RNG.standard_normal((WIDTH, HIDDEN)).astype(np.float32)


@pytest.fixture
def path(make_adapter, tmp_path):
    """Return the file of an mlp that is as it should be."""
    file = tmp_path / "adapter.safetensors"
    head = Head(MATRIX, INNER, np.ones(HIDDEN, np.float32), INNER.T.copy())
    save_adapter(make_adapter(head, method="mlp", dims=(4, 2)), file)
    load_adapter(file)
    return file


def rewrite(path, change):
    """Write the same tensors under another manifest, or others under the same."""
    with safe_open(path, framework="numpy") as file:
        manifest = json.loads(file.metadata()["nestvec"])
    tensors = load_file(path)
    changed = change(manifest, tensors)
    manifest = changed if isinstance(changed, str) else json.dumps(manifest)
    save_file(tensors, path, metadata={"nestvec": manifest})


def put(**values):
    return lambda manifest, tensors: manifest.update(values)


def put_array(name, change):
    def put(manifest, tensors):
        tensors[f"documents.{name}"] = np.ascontiguousarray(change(tensors[f"documents.{name}"]))

    return put


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda m, t: "[1]", DataError, "is not an adapter"),
        (lambda m, t: "[" * 100_000, DataError, "cannot be read as an adapter"),
        (put(version=9), DataError, "format version 9, not 1"),
        (put(version="x" * 1000), DataError, "format version 'x{39}, not 1"),
        (put(format="x"), DataError, "is not an adapter"),
        (put(method="magic"), DamagedFile, "its method 'magic' is not one of none, svd"),
        (put(digest="0"), DamagedFile, "its checksum is wrong"),
        (
            lambda m, t: m.pop("digest") and None,
            DamagedFile,
            "its digest is missing",
        ),
        (lambda m, t: m.pop("dims"), DamagedFile, "its dims is missing or not of type"),
        (put(dims=[]), DamagedFile, "its dims are not whole numbers from 1 to 4"),
        (put(dims=[-3]), DamagedFile, "dims are not whole"),
        (put(dims=[0.5]), DamagedFile, "dims are not whole"),
        (put(dims=[True]), DamagedFile, "dims are not whole"),
        (put(dims=["2"]), DamagedFile, "dims are not whole"),
        (put(dims=[10**12]), DamagedFile, "dims are not whole"),
        (put(full_dim=99), DamagedFile, "do not match an adapter of 99 dims"),
        (put(full_dim="4"), DamagedFile, "its full_dim is missing or not of type"),
        (put(base=None), DamagedFile, "its base is missing or not of type"),
        (put(base_name=[]), DamagedFile, "its base_name is missing or not of type"),
        (put(layer_norm=0), DamagedFile, "its layer_norm is missing or not of type"),
        (put(two_heads="no"), DamagedFile, "its two_heads is missing or not of type"),
        (put(two_heads=True), DamagedFile, "arrays for queries do not match"),
        (put(seed=True), DamagedFile, "its seed is missing or not of type"),
        (put(fitted=[1]), DamagedFile, "its fitted is missing or not of type"),
        (put_array("matrix", lambda a: a[:, :1]), DamagedFile, "arrays for documents do not"),
        (put_array("matrix", lambda a: a[0]), DamagedFile, "arrays for documents do not"),
        (put_array("matrix", lambda a: a[0, 0]), DamagedFile, "arrays for documents do not"),
        (put_array("matrix", lambda a: a * np.nan), DamagedFile, "not finite float32"),
        (put_array("bias", lambda a: a / 0), DamagedFile, "not finite float32"),
        (put_array("outer", np.float64), DamagedFile, "not finite float32"),
        (put_array("inner", lambda a: a[:, :3]), DamagedFile, "arrays for documents do not"),
        (put_array("matrix", lambda a: a + 1), DamagedFile, "its checksum is wrong"),
        (lambda m, t: t.pop("documents.bias"), DamagedFile, "arrays for documents do not"),
        (lambda m, t: t.pop("documents.matrix"), DamagedFile, "arrays for documents do not"),
        (
            lambda m, t: t.update({"documents.x": MATRIX}),
            DamagedFile,
            "arrays for documents do not",
        ),
        (lambda m, t: t.update({"x\ny": MATRIX}), DamagedFile, r"unknown array 'x\\ny'"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_what_no_adapter_can_be_is_refused_in_one_line(path, change, error, message):
    rewrite(path, change)
    with pytest.raises(error, match=message) as raised:
        load_adapter(path)
    assert type(raised.value) is error
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < len(str(path)) + 120


@pytest.mark.parametrize(("kind", "size"), [("BF16", 2), ("F8_E4M3", 1)])
def test_numbers_that_numpy_does_not_know_are_refused(path, kind, size):
    end = size * WIDTH * WIDTH
    tensor = {"dtype": kind, "shape": [WIDTH, WIDTH], "data_offsets": [0, end]}
    header = json.dumps({"documents.matrix": tensor}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(end))
    with pytest.raises(DataError, match="cannot be read as an adapter"):
        load_adapter(path)


def test_other_files_are_refused_in_one_line(tmp_path):
    path = tmp_path / "adapter.safetensors"
    with pytest.raises(DataError, match="cannot be read as an adapter"):
        load_adapter(path)
    path.write_bytes(b"something else entirely")
    with pytest.raises(DataError, match="cannot be read as an adapter") as error:
        load_adapter(path)
    assert "\n" not in str(error.value)
    save_file({"x": MATRIX}, path)
    with pytest.raises(DataError, match="is not an adapter"):
        load_adapter(path)
