"""URLs of indexes: parameters, credentials and names."""

import pytest

from nestvec.engines.places import Place, check_name, is_url, shown_place
from nestvec.errors import InvalidArgument

URL = "postgresql://me:secret@host:5432/search?table=docs&sslmode=require&password=other"


def test_credentials_and_unknown_parameters_are_not_shown():
    place = Place.parse(URL, ("table",))
    assert place.shown == "postgresql://host:5432/search?table=docs"
    assert place.parameters == {"table": "docs"}
    assert place.url == "postgresql://me:secret@host:5432/search?sslmode=require&password=other"
    assert "secret" not in repr(place)
    assert shown_place(URL) == place.shown


def test_other_parameters_remain_as_written():
    others = "options=-c%20statement_timeout%3D200&password=a+b"
    place = Place.parse(f"postgresql://host/search?{others}&table=my+docs&", ("table",))
    assert place.url == f"postgresql://host/search?{others}"
    assert place.parameters == {"table": "my docs"}


def test_a_host_is_optional_and_a_path_is_unchanged():
    assert Place.parse("postgresql:///search?table=a", ("table",)).shown.endswith("/search?table=a")
    assert shown_place("some/folder") == "some/folder"


@pytest.mark.parametrize("url", ["qdrant-edge:///data/index", "postgresql:///search"])
def test_a_url_without_a_host_is_shown_as_a_url(url):
    assert shown_place(url) == url
    assert is_url(shown_place(f"{url}?sslmode=require"))
    assert not is_url("some/folder")
    assert is_url("lance://folder")


@pytest.mark.parametrize("url", ["postgresql://[host/x", "postgresql://h/x?table=a&table=b"])
def test_a_bad_url_is_one_line(url):
    with pytest.raises(InvalidArgument) as caught:
        Place.parse(url, ("table",))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "1a", "a-b", 'a"b', "a" * 49, "ä"])
def test_names_that_need_quoting_are_refused(name):
    with pytest.raises(InvalidArgument, match="is not a valid name"):
        check_name(name, "table")
    assert check_name("docs_2", "table") == "docs_2"
