"""Request files of the Batch API of OpenAI are written, and answer files are read."""

from __future__ import annotations

import json

import numpy as np
import pytest

import nestvec as nv
from api_server import shown, vector_of
from nestvec.models.api import batch_file
from nestvec.models.api.batch_file import write_openai_batch
from nestvec.sources.openai_batch import read_openai_batch
from refusals import refusal

TEXTS = [(f"d{n}", f"text {n} é") for n in range(7)]


def answer(id_, vector, *, packed=True, model="tiny"):
    data = [{"object": "embedding", "index": 0, "embedding": shown(vector, packed)}]
    body = {"object": "list", "data": data, "model": model}
    return {"custom_id": id_, "response": {"status_code": 200, "body": body}, "error": None}


def failed(id_):
    body = {"error": {"message": "too long"}}
    return {"custom_id": id_, "response": {"status_code": 400, "body": body}, "error": None}


def write(path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    return path


@pytest.mark.parametrize("packed", [True, False], ids=["base64", "float"])
def test_answers_to_written_requests_are_read_in_any_order(tmp_path, packed):
    written = write_openai_batch("openai:tiny", TEXTS, tmp_path / "requests.jsonl")
    requests = [json.loads(line) for line in written.files[0].read_text("utf-8").splitlines()]
    assert {each["url"] for each in requests} == {"/v1/embeddings"}
    answers = [
        answer(each["custom_id"], vector_of(each["body"]["input"][0]), packed=packed)
        for each in requests[::-1]
    ]
    found = read_openai_batch(write(tmp_path / "answers.jsonl", answers))
    assert list(found.ids) == [id_ for id_, _ in TEXTS[::-1]]
    np.testing.assert_array_equal(found.values, [vector_of(text) for _, text in TEXTS[::-1]])
    assert found.model == "tiny"


def test_files_are_split_at_the_limits(tmp_path, monkeypatch):
    monkeypatch.setattr(batch_file, "MOST_REQUESTS", 3)
    written = write_openai_batch("openai:tiny", TEXTS, tmp_path / "r.jsonl")
    assert [file.name for file in written.files] == ["r.jsonl", "r-2.jsonl", "r-3.jsonl"]
    assert written.requests == 7
    monkeypatch.setattr(batch_file, "MOST_REQUESTS", 50_000)
    monkeypatch.setattr(batch_file, "MOST_BYTES", 400)
    written = write_openai_batch("openai:tiny", TEXTS, tmp_path / "b.jsonl")
    assert len(written.files) > 1
    assert all(file.stat().st_size <= 400 for file in written.files)


@pytest.mark.parametrize(
    ("texts", "problem"),
    [
        ([("a", "x"), ("a", "y")], "appears twice"),
        ([("", "x")], "is empty"),
        ([("a", " ")], "is blank"),
        ([], "no texts"),
    ],
)
def test_requests_that_cannot_be_answered_are_not_written(tmp_path, texts, problem):
    with pytest.raises(nv.InvalidArgument, match=problem):
        write_openai_batch("openai:tiny", texts, tmp_path / "r.jsonl")
    assert not list(tmp_path.iterdir())


def test_an_error_in_a_later_file_leaves_all_files_unchanged(tmp_path, monkeypatch):
    monkeypatch.setattr(batch_file, "MOST_REQUESTS", 3)
    write_openai_batch("openai:tiny", TEXTS, tmp_path / "r.jsonl")
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    texts = [(id_, f"other {text}") for id_, text in TEXTS[:4]]
    with pytest.raises(nv.InvalidArgument, match="Remove it from the texts"):
        write_openai_batch("openai:tiny", [*texts, ("blank", " ")], tmp_path / "r.jsonl")
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_failed_requests_are_named_and_answered_by_another_file(tmp_path, caplog):
    write(tmp_path / "a.jsonl", [answer("d0", vector_of("0")), failed("d1"), failed("d2")])
    assert list(read_openai_batch(tmp_path / "a.jsonl").ids) == ["d0"]
    assert "2 of 3 requests failed and have no vector, the first is 'd1'" in caplog.text
    caplog.clear()
    write(tmp_path / "b.jsonl", [answer("d1", vector_of("1")), answer("d2", vector_of("2"))])
    assert list(read_openai_batch(tmp_path).ids) == ["d0", "d1", "d2"]
    assert not caplog.text


@pytest.mark.parametrize(
    ("second", "problem"),
    [
        (answer("d0", vector_of("1")), ":2: id 'd0' appears twice"),
        (answer("d1", vector_of("1", 8)), ":2: has 8 dims of 'tiny', but 64"),
        (answer("d1", vector_of("1"), model="other"), ":2: has 64 dims of 'other'"),
        (answer("d1", vector_of("1") * np.nan), ":2: the vector of id 'd1' is empty, or has NaN"),
        ({"custom_id": "d1", "response": {"body": {"data": []}}}, ":2: is not an answer"),
        ({"id": "d1"}, ":2: is not an answer"),
        ([1], ":2: is not an answer"),
    ],
)
def test_answers_that_cannot_be_used_are_one_line(tmp_path, second, problem):
    path = write(tmp_path / "a.jsonl", [answer("d0", vector_of("0")), second])
    assert problem in refusal(read_openai_batch, path)


def test_half_a_file_and_a_file_without_vectors_are_refused(tmp_path):
    path = write(tmp_path / "a.jsonl", [answer("d0", vector_of("0"))])
    path.write_text(path.read_text("utf-8")[:-200], "utf-8")
    assert ":1: is not an answer" in refusal(read_openai_batch, path)
    write(path, [failed("d0")])
    assert "contains no vector" in refusal(read_openai_batch, path)
