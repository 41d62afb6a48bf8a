"""Names, addresses and keys of API models."""

from __future__ import annotations

import logging

import pytest

import nestvec as nv
from api_server import KEY, Fault, running_api
from nestvec.models.api import retry
from nestvec.models.api.address import is_api_name, parse_name
from nestvec.models.api.keys import find_key

FOREIGN = "https://embeddings.example.com/v1"
NAMES = (
    *("OPENAI_API_KEY", "OPENAI_BASE_URL", "GEMINI_API_KEY", "GOOGLE_API_KEY", "VOYAGE_API_KEY"),
    *("CO_API_KEY", "COHERE_API_KEY", "NESTVEC_API_KEY", "NESTVEC_API_HOST"),
)


@pytest.fixture(autouse=True)
def no_keys(monkeypatch, tmp_path):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NESTVEC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(retry, "_FIRST_WAIT_S", 0.001)


def key_of(name, base_url=None):
    return find_key(parse_name(name, base_url)).value


def test_names_of_apis_are_told_from_folders_and_hub_ids():
    assert is_api_name("openai:text-embedding-3-large")
    assert not any(map(is_api_name, ["openai", "openai/x", "C:\\models", "./openai:x", "hf:x"]))


def test_a_name_contains_the_address_that_is_not_the_vendors():
    assert parse_name("openai:a", None).name == "openai:a"
    assert parse_name("openai:a", "https://api.openai.com/v1/").name == "openai:a"
    named = parse_name("openai:@cf/baai/bge", FOREIGN)
    assert named.name == f"openai:@cf/baai/bge@{FOREIGN}"
    again = parse_name(named.name, None)
    assert (again.model, again.base_url) == ("@cf/baai/bge", FOREIGN)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://embeddings.example.com/v1", "is not encrypted"),
        ("http://127.0.0.1.example.com/v1", "is not encrypted"),
        (f"https://user:{KEY}@example.com/v1", "contains a user, password"),
        (f"https://example.com/v1?key={KEY}", "contains a user, password, query"),
        (f"https://example.com/v1#{KEY}", "contains a user, password, query"),
        ("ftp://example.com", "is not an HTTP address"),
        ("example.com/v1", "is not an HTTP address"),
        ("https://[::1/v1", "is not a URL"),
        ("https://example.com:port/v1", "is not a URL"),
    ],
)
def test_an_address_that_cannot_be_used_safely_is_refused(url, problem):
    with pytest.raises(nv.InvalidArgument, match=problem) as caught:
        nv.load_model("openai:a", base_url=url)
    assert KEY not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://localhost:8000/v1", "http://[::1]:80", "http://127.8.8.8"])
def test_this_computer_needs_no_encryption(url):
    assert parse_name("openai:a", url).base_url == url


def test_two_addresses_contradict_each_other():
    with pytest.raises(nv.InvalidArgument, match="contradicts the name"):
        parse_name(f"openai:a@{FOREIGN}", "https://other.example.com/v1")


@pytest.mark.parametrize(
    ("dialect", "variable"),
    [
        ("openai", "OPENAI_API_KEY"),
        ("gemini", "GEMINI_API_KEY"),
        ("gemini", "GOOGLE_API_KEY"),
        ("voyage", "VOYAGE_API_KEY"),
        ("cohere", "CO_API_KEY"),
        ("cohere", "COHERE_API_KEY"),
    ],
)
def test_a_vendor_gets_its_own_key_alone(dialect, variable, monkeypatch):
    with pytest.raises(nv.ModelError, match=f"needs a key. Set .*{variable}"):
        key_of(f"{dialect}:a")
    monkeypatch.setenv("NESTVEC_API_KEY", "other")
    monkeypatch.setenv("NESTVEC_API_HOST", "embeddings.example.com")
    monkeypatch.setenv(variable, KEY)
    assert key_of(f"{dialect}:a") == KEY
    assert key_of(f"{dialect}:a", "https://other.example.com/v1") == ""


def test_the_key_of_openai_follows_its_own_base_url(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", f"{FOREIGN}/")
    address = parse_name("openai:a", None)
    assert address.name == f"openai:a@{FOREIGN}"
    assert find_key(address).value == KEY
    with pytest.raises(nv.ModelError, match="needs a key"):
        key_of("openai:a", "https://api.openai.com/v1")


def test_nestvecs_key_goes_to_an_address_that_was_passed(monkeypatch):
    monkeypatch.setenv("NESTVEC_API_KEY", KEY)
    assert key_of("openai:a", FOREIGN) == KEY
    named_by_a_file = find_key(parse_name(f"openai:a@{FOREIGN}", None))
    assert named_by_a_file.value == ""
    assert "set NESTVEC_API_HOST=embeddings.example.com" in named_by_a_file.source


def test_nestvecs_key_goes_to_the_host_that_it_belongs_to(monkeypatch):
    monkeypatch.setenv("NESTVEC_API_KEY", KEY)
    monkeypatch.setenv("NESTVEC_API_HOST", "Embeddings.example.com:443")
    assert key_of(f"openai:a@{FOREIGN}") == KEY
    assert key_of("openai:a", "https://other.example.com/v1") == ""
    assert key_of("openai:a", "https://embeddings.example.com:8443/v1") == ""


def test_a_key_with_a_line_break_is_refused(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "one\ntwo")
    with pytest.raises(nv.ModelError, match="OPENAI_API_KEY contains characters of no key"):
        key_of("openai:a")


def test_a_key_is_in_no_message_log_repr_or_file(monkeypatch, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("NESTVEC_API_KEY", KEY)
    echo = {"error": {"message": f"Incorrect API key provided: {KEY}. Bearer {KEY}"}}
    with running_api() as server:
        model = nv.load_model("openai:tiny", base_url=server.url)
        model.encode(["a"], kind="document")
        with nv.build_index(model, {"d": nv.Document("a")}, "64:int8", tmp_path / "index"):
            pass
        shown = [repr(model), repr(model.api), repr(model.api._caller.client), repr(model.info)]
        shown += [repr(find_key(model.api.address))]
        for status in (401, 500):
            server.faults = [Fault(status, echo)] * retry.ATTEMPTS
            with pytest.raises(nv.ModelError) as caught:
                model.encode(["b"], kind="document")
            shown += [str(caught.value), repr(caught.value.__cause__)]
            assert "Incorrect API key provided: ***" in str(caught.value)
        assert server.received[0].headers["authorization"] == f"Bearer {KEY}"
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert len(files) > 3
    assert not [file for file in files if KEY.encode() in file.read_bytes()]
    assert KEY not in "".join(shown) + caplog.text


def test_the_source_of_a_refused_key_is_named(monkeypatch):
    monkeypatch.setenv("NESTVEC_API_KEY", KEY)
    with running_api() as server:
        server.faults = [Fault(401, {"detail": "no"}), Fault(401, {"detail": "no"})]
        with pytest.raises(nv.ModelError, match="The key is from NESTVEC_API_KEY"):
            nv.load_model("openai:tiny", base_url=server.url)
        with pytest.raises(nv.ModelError, match="NESTVEC_API_KEY was not sent"):
            nv.load_model(f"openai:tiny@{server.url}")


def test_local_requests_use_no_proxy(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    with running_api() as server:
        nv.load_model("openai:tiny", base_url=server.url)
        assert len(server.received) == 1


def test_a_refusal_without_a_key_names_the_variables_of_the_host(monkeypatch):
    with running_api() as server:

        def refusal_of(name, url):
            server.faults = [Fault(401, {"detail": "no"})] * retry.ATTEMPTS
            with pytest.raises(nv.ModelError) as caught:
                nv.load_model(name, base_url=url)
            return str(caught.value)

        of_any = "no key was sent, because NESTVEC_API_KEY is not set"
        assert refusal_of("openai:tiny", server.url).endswith(f"Reason: {of_any}.")
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        only = f"{of_any} (OPENAI_API_KEY is sent only to api.openai.com)"
        assert only in refusal_of("openai:tiny", server.url)
        monkeypatch.delenv("OPENAI_API_KEY")
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        both = "no key was sent, because none of OPENAI_API_KEY, NESTVEC_API_KEY is set"
        assert both in refusal_of("openai:tiny", None)
        monkeypatch.setenv("NESTVEC_API_KEY", KEY)
        monkeypatch.setenv("NESTVEC_API_HOST", "embeddings.example.com")
        assert ", or set OPENAI_API_KEY" in refusal_of("openai:tiny", None)
