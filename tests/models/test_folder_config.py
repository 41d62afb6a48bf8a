"""The pooling that a model folder states, in each format of Sentence Transformers."""

import json

import pytest

from nestvec.errors import ModelError
from nestvec.models.folder_config import configured_tasks, pooling_of


def write(folder, pooling, kind="sentence_transformers.models.Pooling"):
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": kind},
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"pooling_mode": "cls"}, "cls"),
        ({"pooling_mode": ["mean", "max"]}, "mean+max"),
        ({"pooling_mode_cls_token": False, "pooling_mode_lasttoken": True}, "lasttoken"),
        ({"pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": True}, "mean+max"),
        ({"embedding_dimension": 8}, "mean"),
    ],
)
def test_the_pooling_is_read_from_its_module(tmp_path, config, expected):
    write(tmp_path, config)
    assert pooling_of(tmp_path) == expected


def test_a_folder_without_modules_is_mean_pooled_and_own_code_states_nothing(tmp_path):
    assert pooling_of(tmp_path) == ""
    (tmp_path / "config.json").write_text("{}")
    assert pooling_of(tmp_path) == "mean"
    write(tmp_path, {}, kind="custom.Pooled")
    assert pooling_of(tmp_path) == ""


@pytest.mark.parametrize("own", [{}, {"nestvec": {"train": {}}}, {"nestvec": "text"}])
def test_folders_without_tasks_name_none(tmp_path, own):
    (tmp_path / "config.json").write_text(json.dumps(own))
    assert configured_tasks(tmp_path) is None


@pytest.mark.parametrize("tasks", ["query", {"query": 1}])
def test_tasks_that_are_not_text_are_refused(tmp_path, tasks):
    (tmp_path / "config.json").write_text(json.dumps({"nestvec": {"tasks": tasks}}))
    with pytest.raises(ModelError, match="tasks of nestvec are"):
        configured_tasks(tmp_path)
