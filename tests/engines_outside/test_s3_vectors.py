"""Vectors of Parquet files on a real S3 server: SeaweedFS, on the loopback interface."""

import io
import subprocess

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet
from s3_server import SECRET, s3_server

import nestvec as nv
from conftest import program
from nestvec.errors import DataError, InvalidArgument
from nestvec.files.object_storage import Bucket
from nestvec.sources import arrow_files
from nestvec.sources.load import open_vectors
from nestvec.sources.stream import ANY_COLUMNS

N, DIM = 900, 8
VECTORS = np.random.default_rng(0).standard_normal((N, DIM)).astype(np.float32)


def content(numbers, column="vector"):
    """Return a Parquet file with row groups of 100 rows."""
    lists = pa.FixedSizeListArray.from_arrays(pa.array(VECTORS[numbers].ravel()), DIM)
    file = io.BytesIO()
    ids = pa.array([f"d{n}" for n in numbers])
    parquet.write_table(pa.table({"id": ids, column: lists}), file, row_group_size=100)
    return file.getvalue()


@pytest.fixture(scope="module")
def bucket(tmp_path_factory):
    """A bucket with three files of vectors, the last in another folder."""
    with s3_server(tmp_path_factory.mktemp("s3"), "vectors") as url:
        files = Bucket(f"{url}/docs")
        files.write("part-1.parquet", content(range(400, 800)))
        files.write("part-0.parquet", content(range(400)))
        files.write("odd.parquet", content(range(9), "the floats"))
        files.write("notes.txt", b"no vectors")
        files.write("deeper/part-2.parquet", content(range(800, 900)))
        yield url


def test_the_files_of_a_folder_are_read_in_the_order_of_their_names(bucket):
    found = nv.load_embeddings(f"{bucket}/docs/part-*.parquet")
    assert list(found.ids) == [f"d{n}" for n in range(800)]
    np.testing.assert_array_equal(found.values, VECTORS[:800])
    assert found.path == "s3://vectors/docs/part-*.parquet"


def test_row_groups_are_streamed(bucket, monkeypatch):
    monkeypatch.setattr(arrow_files, "BATCH", 50)
    stream = open_vectors(f"{bucket}/docs/part-1.parquet", columns=ANY_COLUMNS)
    assert stream.rows == 400
    assert [len(block.values) for block in stream.read()] == [50] * 8


def test_columns_are_named_or_the_only_ones(bucket):
    place = f"{bucket}/docs/odd.parquet"
    for each in (place, f"{place}?vector=the+floats&id=id"):
        np.testing.assert_array_equal(nv.load_embeddings(each).values, VECTORS[:9])


def test_no_copy_is_made_on_this_machine(bucket, monkeypatch):
    monkeypatch.setattr(Bucket, "download", None)
    assert len(nv.load_embeddings(f"{bucket}/docs/part-0.parquet")) == 400


def test_files_of_an_object_storage_are_converted_and_adapted(bucket, tmp_path):
    place, out = f"{bucket}/docs/part-*.parquet", tmp_path / "adapter.safetensors"
    command = ["adapt", place, "--dims", "4", "--method", "svd", "--out", str(out)]
    for arguments in (command, ["convert", place, str(tmp_path / "docs.npy")]):
        done = subprocess.run([program("nestvec"), *arguments], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(np.load(tmp_path / "docs.npy"), VECTORS[:800])
    assert out.exists()


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("docs/absent.parquet", "cannot be read"),
        ("docs/z*.parquet", "matches no file"),
        ("docs/part-0.parquet?vector=absent", "has no column absent .* Append &vector="),
        ("docs/notes.parquet", "cannot be read"),
    ],
)
def test_a_missing_file_is_one_line(bucket, name, problem):
    with pytest.raises(DataError, match=problem) as caught:
        nv.load_embeddings(f"{bucket}/{name}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["docs/", "docs/notes.txt", "*/part-0.parquet", "a.parquet?b=c"])
def test_another_name_is_refused(bucket, name):
    with pytest.raises(InvalidArgument, match=r"neither Parquet files nor a table\. Write s3"):
        nv.load_embeddings(f"{bucket}/{name}")


def test_credentials_are_not_shown(bucket, monkeypatch):
    with pytest.raises(InvalidArgument, match="contains credentials") as caught:
        nv.load_embeddings(f"s3://key:{SECRET}@vectors/docs/part-0.parquet")
    assert SECRET not in str(caught.value)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another-secret")
    with pytest.raises(DataError, match="Check the URL, credentials and region") as caught:
        nv.load_embeddings(f"{bucket}/docs/part-0.parquet")
    assert "another-secret" not in str(caught.value)
