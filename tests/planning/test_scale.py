"""Projections: the arithmetic of bytes and money, and invalid price files."""

import json

import pytest

from nestvec.curve.point import Cost, CurvePoint
from nestvec.errors import DataError, InvalidArgument
from nestvec.planning.scale import Prices, project, scale_text
from nestvec.types import OperatingPoint

PRICES = {"currency": "USD", "ram_gb_month": 3.0, "disk_gb_month": 0.1, "replicas": 2}


def row(point, ram, disk=0):
    return CurvePoint(OperatingPoint.parse(point), {}, {}, Cost(ram, disk, 0, 0.5, 1, 1, 1))


@pytest.mark.parametrize(
    ("point", "ram", "vectors", "gigabytes"),
    [("768:float32", 3072, 1_000_000, 3.072), ("128:int8", 128, 100_000_000, 12.8)],
)
def test_published_sizes_are_reproduced(point, ram, vectors, gigabytes):
    projection = project(row(point, ram), n_measured=1000, vectors=vectors)
    assert projection.ram_gb == pytest.approx(gigabytes)


def test_money_counts_memory_disk_and_replicas(tmp_path):
    (tmp_path / "prices.json").write_text(json.dumps(PRICES))
    prices = Prices.load(tmp_path / "prices.json")
    point = row("128:binary@200>512:int8", 16, 512)
    projection = project(point, n_measured=50_000, vectors=10_000_000, prices=prices)
    # By hand: 2 * 0.16 GB * 3 + 2 * 5.12 GB * 0.1
    assert projection.money_month == pytest.approx(0.96 + 1.024)
    assert projection.build_s == pytest.approx(100)
    full = project(row("512:float32", 2048), n_measured=50_000, vectors=10_000_000, prices=prices)
    text = scale_text(projection, full, n_measured=50_000, currency="USD")
    assert "10,000,000 vectors in 2 replicas need 0.32 GB in memory and 10.24 GB on disk" in text
    assert "(full precision: 40.96 GB in memory and 0 GB on disk)" in text
    assert "cost USD 1.98 a month (full precision: USD 122.88)" in text
    assert "extrapolated linearly from 50,000 documents." in text
    one = project(point, n_measured=50_000, vectors=10_000_000, prices=prices, replicas=1)
    assert one.money_month == pytest.approx(projection.money_month / 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ram_gb_month": -1}, "ram_gb_month=-1 is not a number >= 0"),
        ({"disk_gb_month": "free"}, "disk_gb_month='free' is not a number"),
        ({"ram_gb_month": float("nan")}, "ram_gb_month=nan is not"),
        ({"replicas": 1.5}, "replicas=1.5 is not an integer"),
        ({"replicas": 0}, "replicas=0 is not an integer"),
        ({"currency": 3}, "currency=3 is not a string"),
        ({"cpu_month": 3}, "is not a JSON object with only currency, ram_gb_month"),
    ],
)
def test_invalid_prices_are_rejected(tmp_path, change, message):
    path = tmp_path / "prices.json"
    path.write_text(json.dumps(PRICES | change))
    with pytest.raises(DataError, match=message):
        Prices.load(path)


def test_files_without_prices_are_rejected(tmp_path):
    path = tmp_path / "prices.json"
    with pytest.raises(DataError, match="cannot be read as JSON"):
        Prices.load(path)
    path.write_text('{"currency": "EUR"}')
    with pytest.raises(DataError, match="is missing ram_gb_month, disk_gb_month"):
        Prices.load(path)


def test_counts_below_one_are_rejected():
    with pytest.raises(InvalidArgument, match="vectors=0 is too small"):
        project(row("8:int8", 8), n_measured=10, vectors=0)
    with pytest.raises(InvalidArgument, match="replicas=0 is too small"):
        project(row("8:int8", 8), n_measured=10, vectors=5, replicas=0)
