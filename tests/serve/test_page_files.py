"""The static files of the page: complete, self-contained, with a strict security policy."""

import json
import re
from html.parser import HTMLParser
from importlib import resources

import pytest

from fakes import NestedHashEncoder
from nestvec.codec.quantizer import QUANTIZERS
from nestvec.report.theme import DARK, LIGHT
from nestvec.serve.app import create_app
from nestvec.serve.page.files import INDEX, page_files
from nestvec.serve.served import Served
from nestvec.serve.settings import Settings
from nestvec.types import PRECISIONS
from serving_client import Client

FILES = page_files()
SCRIPTS = sorted(name for name in FILES if name.endswith(".js"))
STYLES = sorted(name for name in FILES if name.endswith(".css"))
KEY = "a-key-of-sixteen-characters"
DANGERS = (
    *("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "setHTML", "DOMParser"),
    *("eval(", "new Function", "cssText", '"style"', "srcdoc", "createContextualFragment"),
)


class Tags(HTMLParser):
    """Collects all tags with their attributes, and the text inside scripts and styles."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.inside, self._open = [], "", None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._open = tag if tag in ("script", "style") else None

    def handle_endtag(self, tag):
        self._open = None

    def handle_data(self, data):
        self.inside += data.strip() if self._open else ""


def text_of(name):
    return FILES[name].content.decode()


def references(name):
    """List the files that a file references, by name."""
    if name == INDEX:
        values = [value for _, attrs in Tags(text_of(name)).tags for value in attrs.values()]
        return {value.removeprefix("page/") for value in values if str(value).startswith("page/")}
    return {each.removeprefix("./") for each in re.findall(r'from "([^"]+)"', text_of(name))}


@pytest.fixture
def model_client():
    return Client(create_app(Served("tiny", NestedHashEncoder())))


def test_the_page_has_a_strict_content_security_policy(client):
    answer = client.get("/")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = dict(
        part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; ")
    )
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("name", sorted({*FILES} - {INDEX}))
def test_every_file_is_sent_once_and_then_revalidated(client, name):
    answer = client.get(f"/page/{name}")
    assert (answer.status_code, answer.content) == (200, FILES[name].content)
    assert answer.headers["content-type"] == FILES[name].media_type
    assert answer.headers["cache-control"] == "no-cache"
    tag = answer.headers["etag"]
    for asked in (tag, f'"other", W/{tag}'):
        again = client.get(f"/page/{name}", {"if-none-match": asked})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == tag
    assert client.get(f"/page/{name}", {"if-none-match": '"other"'}).status_code == 200


@pytest.mark.parametrize("name", ["index.html", "nothing.js", "..%2froutes.py", "%2e%2e/files.py"])
def test_nothing_else_is_sent(client, name):
    assert client.get(f"/page/{name}").status_code == 404


def test_a_head_has_no_body(client):
    answer = client.ask("HEAD", "/")
    assert answer.status_code == 200
    assert answer.headers["etag"] == FILES[INDEX].etag


def test_there_is_no_inline_script_or_style_and_no_other_host():
    page = Tags(text_of(INDEX))
    assert page.inside == ""
    for tag, attrs in page.tags:
        assert not [name for name in attrs if name == "style" or name.startswith("on")], tag
        for name in ("src", "href"):
            value = attrs.get(name, "")
            assert not re.match(r"[a-z]+:|//", value), value


def test_every_field_of_the_page_has_a_label():
    tags = Tags(text_of(INDEX)).tags
    labeled = {attrs.get("for") for tag, attrs in tags if tag == "label"}
    text = text_of(INDEX)
    for tag, attrs in tags:
        if tag in ("input", "select", "textarea") and attrs.get("id") not in labeled:
            assert re.search(
                rf"<label[^>]*>[^<]*<{tag}[^>]*{attrs.get('id') or attrs['value']}", text
            )


def test_all_files_are_referenced_and_all_references_exist():
    asked, found = {INDEX}, [INDEX]
    while found:
        new = references(found.pop()) - asked
        asked |= new
        found += new
    assert asked == set(FILES)


def test_the_files_are_in_the_package():
    folder = resources.files("nestvec.serve.page") / "static"
    assert {each.name for each in folder.iterdir()} | {"theme.css"} == set(FILES)


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_make_text_only_of_text(name):
    text = text_of(name)
    assert not [danger for danger in DANGERS if danger in text]
    assert len(text.splitlines()) <= 300


@pytest.mark.parametrize("name", [*SCRIPTS, *STYLES])
def test_no_script_or_style_names_another_host(name):
    text = text_of(name).replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?:|\burl\(|@import", text)


def test_the_colors_are_those_of_the_report():
    text = text_of("theme.css")
    for theme in (LIGHT, DARK):
        for name, color in theme.variables().items():
            assert f"--{name}: {color};" in text


def test_the_page_knows_every_precision_and_its_bits():
    text = text_of("point.js")
    names = json.loads(re.search(r"PRECISIONS = (\[.*?\])", text)[1])
    bits = dict(re.findall(r"(\w+): (\d+)", re.search(r"BITS = {(.*?)}", text)[1]))
    assert set(names) == set(PRECISIONS)
    assert {name: int(each) for name, each in bits.items()} == {
        name: quantizer.bits for name, quantizer in QUANTIZERS.items()
    }


def test_the_page_needs_no_key(served):
    client = Client(create_app(served, Settings(keys=(KEY,))))
    assert client.get("/").status_code == 200
    assert client.get("/page/main.js").status_code == 200
    assert client.get("/v1/models").status_code == 401
    assert client.get("/v1/models", {"authorization": f"Bearer {KEY}"}).status_code == 200


def test_models_route_has_no_index_without_one(model_client):
    entry = model_client.get("/v1/models").json()["data"][0]
    assert entry["index"] is None
    assert entry["point"] is None


def test_models_route_describes_the_index_for_the_page(client):
    index = client.get("/v1/models").json()["data"][0]["index"]
    assert index["documents"] == 10
    assert index["dims"] == [64, 32, 16]
    assert index["any_point"] is True
    assert "float16" in index["precisions"]
    assert not {"pq4", "float32"} & set(index["precisions"])  # the index keeps float16
    refused = client.post("/v1/search", {"query": "read", "point": "64:float32"})
    assert refused.status_code == 400
    for name in index["precisions"]:
        assert client.post("/v1/search", {"query": "read", "point": f"16:{name}"}).is_success


def test_full_precision_is_omitted_on_request(client):
    asked = {"query": "read csv", "k": 3, "point": "16:binary@8>64:int8"}
    whole = client.post("/v1/search", {**asked, "explain": True}).json()
    stages = client.post("/v1/search", {**asked, "explain": "stages"}).json()
    assert [len(stage["ids"]) for stage in whole["explain"]["stages"]] == [8, 3]
    assert len(whole["explain"]["exact"]["ids"]) == 3
    assert whole["explain"]["exact"]["bytes"] == 10 * 64 * 2
    assert stages["explain"] == {"stages": whole["explain"]["stages"]}
    assert client.post("/v1/search", {**asked, "explain": "exact"}).status_code == 400
