"""The engine contract on LanceDB in a local folder, and what a folder of tables can do wrong."""

import math
import subprocess

import numpy as np
import pytest

from conftest import program
from engine_contract import EngineContract
from engine_setup import UrlSetup
from nestvec.engines.filters.condition import And, Comparison, In, Not, Or
from nestvec.engines.lancedb.engine import LanceEngine
from nestvec.engines.manifest import Manifest
from nestvec.errors import DataError, InvalidArgument
from nestvec.types import Document, ModelInfo, OperatingPoint


class LanceSetup(UrlSetup):
    """The setup of LanceDB in a folder."""

    name = "lancedb"

    def url(self, place):
        return f"lance://{place}"


class TestLanceDB(EngineContract):
    @pytest.fixture
    def setup(self):
        return LanceSetup()


ODD = {
    "quote": "it's",
    "zero": "a\0b",
    "back\\slash": "c\\d",
    "long": "é" * 500,
    "wide": 2**62 + 1,
    "tiny": 5e-324,
    "large": 1e300,
    "negative": -0.1,
    "exact": 0.1 + 0.2,
    "": "no name",
}


@pytest.fixture
def odd(tmp_path):
    """An index with one document of odd values and one of other values."""
    model = ModelInfo("models/any", "e" * 64, 4, (4,), "config.json", True)
    manifest = Manifest(model, "float32", OperatingPoint.parse("4:float32"))
    engine = LanceEngine.create(f"lance://{tmp_path}/odd", manifest)
    other = {field: "x" if isinstance(value, str) else 0 for field, value in ODD.items()}
    vectors = np.eye(4, dtype=np.float32)
    engine.add({"odd": Document("\0", "t\n", ODD), "": Document("", "", other)}, vectors[:2])
    yield engine
    engine.close()


@pytest.mark.parametrize("field", ODD)
def test_odd_values_are_compared_exactly(odd, field):
    value, query = ODD[field], np.ones((1, 4), dtype=np.float32)

    def found(condition):
        return odd.search(query, 5, where=condition).ids[0]

    assert found(Comparison(field, "=", value)) == ["odd"]
    assert found(Comparison(field, "!=", value)) == [""]
    assert found(In(field, (value,) * 3)) == ["odd"]
    assert "odd" in found(Comparison(field, "<=", value))
    assert "odd" not in found(Comparison(field, "<", value))
    assert "odd" not in found(Comparison(field, ">", value))
    assert "odd" in found(Comparison(field, ">=", value))
    if isinstance(value, float):
        near = math.nextafter(value, math.inf)
        assert "odd" in found(Comparison(field, "<", near))
        assert found(Comparison(field, "=", near)) == []
    if isinstance(value, int):
        assert "odd" in found(Comparison(field, "<", value + 1))
        assert found(In(field, (value - 1, value + 1))) == []
    assert odd.get(["odd", ""])["odd"] == Document("\0", "t\n", ODD)


def test_long_lists_and_deep_conditions_are_compiled(odd):
    query = np.ones((1, 4), dtype=np.float32)
    many = In("wide", (*range(1, 5_000), ODD["wide"]))
    assert odd.search(query, 5, where=many).ids == [["odd"]]
    parts = tuple(Comparison("wide", "=", number) for number in range(1, 200))
    assert odd.search(query, 5, where=Or((*parts, Comparison("wide", "=", 0)))).ids == [[""]]
    deep = Comparison("wide", "=", 0)
    for _ in range(50):
        deep = Not(deep)
    assert odd.search(query, 5, where=deep).ids == [[""]]
    for number in range(16):
        deep = Not(And((deep, Not(Comparison("wide", "=", number + 1)))))
    assert odd.search(query, 5, where=deep).ids == [[""]]
    with pytest.raises(InvalidArgument, match="nested in more than 16 levels"):
        odd.search(query, 5, where=And((deep, deep)))


def test_invalid_unicode_is_refused(odd):
    with pytest.raises(InvalidArgument, match="the text of a document contains invalid Unicode"):
        odd.add({"new": Document("\ud800")}, np.ones((1, 4), dtype=np.float32))
    assert len(odd) == 2


def test_a_folder_without_an_index_is_not_created(tmp_path):
    url = f"lance://{tmp_path}/none"
    assert not LanceEngine.exists(url)
    with pytest.raises(DataError, match=r"contains no index\. Build it with nestvec index build"):
        LanceEngine.open(url)
    assert LanceEngine.count_unfinished(url) == 0
    assert not (tmp_path / "none").exists()


def test_a_folder_has_several_indexes(tmp_path):
    model = ModelInfo("models/any", "e" * 64, 4, (4,), "config.json", True)
    manifest = Manifest(model, "float16", OperatingPoint.parse("4:float16"))
    urls = [f"lance://{tmp_path}/shared{table}" for table in ("", "?table=a", "?table=a_b")]
    for number, url in enumerate(urls):
        with LanceEngine.building(url, manifest, source={}) as engine:
            engine.add({f"d{number}": Document("")}, np.ones((1, 4), dtype=np.float32))
    assert [list(LanceEngine.open(url).ids()) for url in urls] == [["d0"], ["d1"], ["d2"]]
    engine = LanceEngine.open(urls[1])
    engine.drop()
    assert [LanceEngine.exists(url) for url in urls] == [True, False, True]


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("lance://", "names no folder"),
        ("s3:///", "names no folder"),
        ("s3://key:secret@bucket/x", "contains credentials"),
        ("lance://x?table=a&table=b", "has a parameter that this engine does not know"),
        ("lance://x?aws_secret_access_key=secret", "has a parameter that this engine does not"),
        ("lance://x?table=a'b", "is not a valid name"),
    ],
)
def test_an_invalid_url_is_refused_without_its_secrets(url, problem):
    with pytest.raises(InvalidArgument, match=problem) as raised:
        LanceEngine.exists(url)
    assert "secret" not in str(raised.value).replace("AWS_SECRET_ACCESS_KEY", "")


def test_an_index_is_built_searched_and_shown_by_commands(tmp_path, word_model, corpus_file):
    place = f"lance://{tmp_path}/command"

    def nestvec(*arguments):
        ended = subprocess.run(
            [program("nestvec"), *map(str, arguments)], capture_output=True, text=True, cwd=tmp_path
        )
        return ended.stdout + ended.stderr

    point, other = "16:float16@50>32:float32", "8:float16@50>32:float32"
    nestvec("index", "build", word_model, corpus_file, "--point", point, "--out", place)
    assert "3 of 400 documents" in nestvec("search", place, "w1 w2 w3", "-k", "3")
    assert point in nestvec("index", "stats", place)
    nestvec("index", "use", place, other)
    assert other in nestvec("index", "stats", place)
    refused = nestvec("search", place, "w1 w2", "--point", point)
    assert f"Run nestvec index use {place} {point}." in " ".join(refused.split())
    assert [path.name for path in tmp_path.iterdir()] == ["command"]
