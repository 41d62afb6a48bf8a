"""Parquet rows: read in batches, dates as text, and without columns of vectors."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest

from nestvec.data.corpus import load_corpus
from nestvec.data.records import read_records
from nestvec.errors import DataError
from peak_memory import peak_bytes

pa = pytest.importorskip("pyarrow")
from pyarrow import parquet as pq  # noqa: E402


def write(path, columns, **options):
    n = len(next(iter(columns.values())))
    own = {"_id": [f"d{number}" for number in range(n)], "text": ["text"] * n}
    pq.write_table(pa.table({**own, **columns}), path, **options)
    return path


def metadata(path):
    return [document.metadata for document in load_corpus(path).values()]


MOMENT = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        (date(2026, 3, 1), pa.date32(), "2026-03-01"),
        (date(2026, 3, 1), pa.date64(), "2026-03-01"),
        (MOMENT.replace(tzinfo=None), pa.timestamp("s"), "2026-03-01T09:30:00"),
        (MOMENT, pa.timestamp("us", "Europe/Berlin"), "2026-03-01T09:30:00+00:00"),
        (1_000_000_007, pa.timestamp("ns"), "1970-01-01T00:00:01.000000007"),
        (253_402_300_800, pa.timestamp("s"), "10000-01-01T00:00:00"),  # after the year 9999
        (Decimal("19.99"), pa.decimal128(9, 2), 19.99),
        (True, pa.bool_(), True),
        (0.5, pa.float16(), 0.5),
        (["a", "b"], pa.list_(pa.string()), ["a", "b"]),
        ([1, 2], pa.list_(pa.int8(), 2), [1, 2]),
        ([date(2026, 3, 1)], pa.list_(pa.date32()), ["2026-03-01"]),
        ([0.5, 1.5], pa.large_list(pa.float32()), [0.5, 1.5]),
    ],
)
def test_each_type_of_a_column_is_stored(tmp_path, caplog, value, kind, expected):
    array = pa.array([np.float16(value)] if kind == pa.float16() else [value], type=kind)
    nothing = pa.nulls(1, kind)
    path = write(tmp_path / "x.parquet", {"value": pa.concat_arrays([array, nothing])})
    assert metadata(path) == [{"value": expected}, {}]
    assert caplog.messages == []


def test_a_dictionary_column_is_text(tmp_path):
    column = pa.array(["de", "en", "de"]).dictionary_encode()
    path = write(tmp_path / "x.parquet", {"lang": column})
    assert metadata(path) == [{"lang": "de"}, {"lang": "en"}, {"lang": "de"}]


def test_an_object_in_the_column_metadata_is_metadata(tmp_path):
    path = write(tmp_path / "x.parquet", {"metadata": [{"page": 3, "tags": ["a"]}, {"page": None}]})
    assert metadata(path) == [{"page": 3, "tags": ["a"]}, {}]


def test_objects_and_maps_of_a_file_are_counted(tmp_path, caplog):
    maps = pa.array([[("a", 1)], [("b", 2)]], type=pa.map_(pa.string(), pa.int64()))
    path = write(tmp_path / "x.parquet", {"loc": [{"page": 1}, {"page": 2}], "map": maps})
    assert metadata(path) == [{}, {}]
    (message,) = caplog.messages
    assert "x.parquet: left out 4 metadata values of other types" in message


def test_a_duration_that_python_cannot_represent_is_one_line(tmp_path):
    column = pa.array([2**62], type=pa.duration("s"))
    path = write(tmp_path / "x.parquet", {"took": column})
    with pytest.raises(DataError, match="column 'took' cannot be converted"):
        list(read_records(path))


VECTORS = {
    "plain": pa.list_(pa.float32()),
    "large": pa.large_list(pa.float64()),
    "half": pa.list_(pa.float16(), 64),
    "int8": pa.list_(pa.int8()),
    "uint8": pa.list_(pa.uint8(), 64),
}


@pytest.mark.parametrize("row_group_size", [2, 1_000])
def test_columns_of_vectors_and_binary_data_are_not_read_and_named(
    tmp_path, caplog, row_group_size
):
    columns = {
        name: pa.array([np.ones(64, kind.value_type.to_pandas_dtype())] * 5, type=kind)
        for name, kind in VECTORS.items()
    }
    columns |= {"image": [{"bytes": b"x", "path": "y"}] * 5, "ratings": [[0.5]] * 5}
    path = write(tmp_path / "x.parquet", columns, row_group_size=row_group_size)
    assert metadata(path) == [{"ratings": [0.5]}] * 5
    vectors, binary = caplog.messages
    assert vectors.endswith(
        "x.parquet: columns 'plain', 'large', 'half', 'int8', 'uint8' are not read (vectors)"
    )
    assert binary.endswith("x.parquet: column 'image' is not read (binary data)")


SETUP = "import pyarrow.parquet; from nestvec.data.corpus import open_corpus"


@pytest.mark.parametrize("row_group_size", [5_000, 30_000])
def test_a_corpus_file_with_vectors_costs_the_memory_of_a_few_batches(tmp_path, row_group_size):
    numbers = np.ones(30_000 * 512, dtype=np.float32)  # 61 MB, and 60 MB of text
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(numbers), 512)
    columns = {"embedding": vectors, "more": ["x" * 2_000] * 30_000}
    options = {"row_group_size": row_group_size, "use_dictionary": False, "compression": "none"}
    path = write(tmp_path / "x.parquet", columns, **options)
    read = f"assert sum(1 for _ in open_corpus({str(path)!r})) == 30_000"
    assert peak_bytes(read, setup=SETUP) < 120e6


def test_a_list_of_moments_and_nulls_is_read(tmp_path, caplog):
    moments = [MOMENT, None, MOMENT + timedelta(microseconds=1)]
    column = pa.array([moments], type=pa.list_(pa.timestamp("us", "UTC")))
    path = write(tmp_path / "x.parquet", {"times": column})
    assert metadata(path) == [
        {"times": ["2026-03-01T09:30:00+00:00", "2026-03-01T09:30:00.000001+00:00"]}
    ]
    (message,) = caplog.messages
    assert "left out null, NaN or infinite items of lists in 1 metadata value" in message
