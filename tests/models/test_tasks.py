"""Models whose modules accept a task: the table names it, and vectors depend on it."""

import logging

import numpy as np
import pytest

from nestvec.index.building import build_index
from nestvec.index.index import Index
from nestvec.models.differences import differences
from nestvec.models.info import recorded_row
from nestvec.models.load import load_model
from nestvec.models.prompts import prompts_text
from nestvec.types import Document, TokenEncoder
from task_model import TASKS, rows, write_task_model


@pytest.fixture
def task_folder(bert_folder, tmp_path):
    """A model with task adapters, in a folder that has no known name."""
    return write_task_model(bert_folder, tmp_path / "task-model")


@pytest.fixture
def width(bert_folder):
    return load_model(bert_folder).info.full_dim


def shift(model, plain, kind):
    """The number that the task added to each vector."""
    added = model.encode(["read a csv"], kind=kind) - plain.encode(["read a csv"], kind=kind)
    np.testing.assert_allclose(added, added[0, 0], atol=1e-5)
    return round(float(added[0, 0]))


def test_the_task_of_the_row_is_passed_for_each_kind(bert_folder, task_folder, width, tmp_path):
    plain = load_model(bert_folder)
    for cache in (None, tmp_path / "cache"):
        model = load_model(
            task_folder,
            trust_remote_code=True,
            models=rows(task_folder, width, **TASKS),
            cache=cache,
        )
        assert (shift(model, plain, "query"), shift(model, plain, "document")) == (1, 2)
        assert (model.info.query_task, model.info.document_task) == tuple(TASKS.values())
        assert not isinstance(model, TokenEncoder)


def test_tasks_are_part_of_the_fingerprint_and_of_the_cache(task_folder, width, tmp_path):
    other = rows(task_folder, width, query_task="retrieval.passage", document_task="document")
    first, second = (
        load_model(task_folder, trust_remote_code=True, models=models, cache=tmp_path / "cache")
        for models in (rows(task_folder, width, **TASKS), other)
    )
    assert first.info.fingerprint != second.info.fingerprint
    assert first.info.weights == second.info.weights
    one, two = (model.encode(["a csv"], kind="query") for model in (first, second))
    np.testing.assert_allclose(two - one, 1, atol=1e-5)
    named = differences(first.info, second.info, "index")
    assert "query task ('retrieval.query' in the index, 'retrieval.passage' in the model)" in named


def test_a_model_that_accepts_a_task_without_a_row_is_reported(task_folder, caplog):
    with caplog.at_level(logging.WARNING):
        model = load_model(task_folder, trust_remote_code=True)
    assert model.info.query_task == ""
    (message,) = [each.getMessage() for each in caplog.records if "task" in each.getMessage()]
    assert "accepts a task argument. nestvec passes 'query' and 'document'" in message
    assert "--models" in message


def test_a_task_without_effect_is_reported(bert_folder, width, caplog):
    load_model(bert_folder, models=rows(bert_folder, width, **TASKS))
    messages = [record.getMessage() for record in caplog.records]
    assert any("so the tasks have no effect" in message for message in messages)


def test_an_index_is_opened_later_without_the_file_of_the_row(task_folder, width, tmp_path):
    model = load_model(
        task_folder,
        trust_remote_code=True,
        models=rows(task_folder, width, layer_norm=True, **TASKS),
    )
    texts = ["read a csv", "find file", "table"]
    corpus = {f"d{i}": Document(text) for i, text in enumerate(texts)}
    build_index(model, corpus, f"{width}:int8", tmp_path / "index").close()
    with Index.open(tmp_path / "index") as index:
        recorded = index.info
    row = recorded_row(str(task_folder), recorded)
    again = load_model(task_folder, trust_remote_code=True, models=[row]).info
    assert (again.fingerprint, again.layer_norm) == (recorded.fingerprint, True)
    without = load_model(task_folder, trust_remote_code=True).info
    assert without.fingerprint != recorded.fingerprint


def test_tasks_are_printed_with_the_prompts(task_folder, width):
    model = load_model(
        task_folder, trust_remote_code=True, models=rows(task_folder, width, **TASKS)
    )
    assert prompts_text(model.info).endswith(
        "; tasks: query 'retrieval.query', document 'retrieval.passage'"
    )
