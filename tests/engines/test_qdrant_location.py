"""URLs of indexes in Qdrant servers."""

import pytest

from nestvec.engines.qdrant_server.location import QdrantLocation
from nestvec.engines.registry import engine_name
from nestvec.errors import InvalidArgument


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("qdrant://host:1234/docs", "http://host:1234"),
        ("qdrant://host/docs", "http://host:6333"),
        ("qdrant+https://a.b.cloud/docs", "https://a.b.cloud:6333"),
        ("qdrant://[::1]:80/docs?quantization=int8", "http://[::1]:80"),
    ],
)
def test_a_url_has_an_address_and_a_name(url, address):
    place = QdrantLocation.parse(url)
    assert (place.address, place.name) == (address, "docs")
    assert place.shown == url
    assert place.quantization == ("int8" if "int8" in url else "")
    assert engine_name(url) == "qdrant-server"


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("qdrant://host", "names no server or no collection"),
        ("qdrant:///docs", "names no server or no collection"),
        ("qdrant://host/", "names no server or no collection"),
        ("qdrant://host/a/b", "collection 'a/b' is not a valid name"),
        ("qdrant://host:x/docs", "has an invalid port"),
        ("qdrant://host/docs?quantization=int3", "quantization='int3' is unknown"),
        ("qdrant://host/docs#part", "unknown parameter"),
    ],
)
def test_an_invalid_url_is_refused(url, problem):
    with pytest.raises(InvalidArgument, match=problem):
        QdrantLocation.parse(url)


@pytest.mark.parametrize(
    "url",
    ["qdrant://s3cret@host/docs", "qdrant://me:s3cret@host/docs", "qdrant://h/d?api_key=s3cret"],
)
def test_credentials_are_refused_and_not_repeated(url):
    with pytest.raises(InvalidArgument) as caught:
        QdrantLocation.parse(url)
    assert "s3cret" not in str(caught.value)
