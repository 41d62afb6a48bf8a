"""URLs of Milvus servers and of files of Milvus Lite."""

import pytest

from nestvec.engines.milvus.location import Location
from nestvec.engines.registry import engine_name
from nestvec.errors import InvalidArgument


def test_a_url_of_a_server_has_an_address_and_hides_its_password():
    place = Location.parse("milvus://me:s%40cret@host:19531/base?collection=docs")
    assert place.uri == "http://host:19531"
    assert (place.user, place.password) == ("me", "s@cret")
    assert (place.database, place.name) == ("base", "docs")
    assert place.level == "Strong"
    assert not place.is_lite
    assert place.shown == "milvus://host:19531/base?collection=docs"
    assert "cret" not in repr(place)


def test_a_url_has_defaults_and_can_require_tls():
    place = Location.parse("milvus://host?tls=true&consistency=session")
    assert place.uri == "https://host:19530"
    assert (place.name, place.database, place.level) == ("documents", "", "Session")


@pytest.mark.parametrize(
    ("url", "file"),
    [
        ("milvus-lite://docs.db", "docs.db"),
        ("milvus-lite://folder/My%20docs.db", "folder/My docs.db"),
        ("milvus-lite:///data/docs.db?collection=x", "/data/docs.db"),
        ("milvus:///data/docs.db", "/data/docs.db"),
    ],
)
def test_a_url_of_milvus_lite_is_a_path(url, file):
    place = Location.parse(url)
    assert place.is_lite
    assert place.uri == file
    assert place.shown == url
    assert engine_name(url) == "milvus"


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("milvus-lite:///data/docs", "does not name a file of Milvus Lite"),
        ("milvus://host:port", "invalid port"),
        ("milvus://host?collection=a-b", "is not a valid name"),
        ("milvus://host?consistency=eventually", "Choose one of: strong, session"),
        ("milvus://host?token=secret", "unknown parameter"),
    ],
)
def test_an_invalid_url_is_refused_without_its_secrets(url, problem):
    with pytest.raises(InvalidArgument, match=problem) as caught:
        Location.parse(url)
    assert "secret" not in str(caught.value)
