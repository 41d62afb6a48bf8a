"""A model with a task argument, in a folder that has no known name."""

import json
import shutil

from nestvec.models.known_row import KnownModel

MODULE = '''
from sentence_transformers.sentence_transformer.modules import Transformer


class TaskTransformer(Transformer):
    """Adds a number to each vector that depends on the task."""

    def forward(self, features, task=None, **kwargs):
        number = {"retrieval.query": 1.0, "retrieval.passage": 2.0, "query": 3.0, "document": 4.0}
        number[None] = 0.0  # in training
        features = super().forward(features, **kwargs)
        features["token_embeddings"] = features["token_embeddings"] + number[task]
        return features
'''
TASKS = {"query_task": "retrieval.query", "document_task": "retrieval.passage"}


def write_task_model(bert_folder, folder):
    """Copy a model whose transformer becomes one that accepts a task."""
    shutil.copytree(bert_folder, folder)
    modules = json.loads((folder / "modules.json").read_text())
    modules[0] |= {"type": "task_module.TaskTransformer", "kwargs": ["task"]}
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "task_module.py").write_text(MODULE)
    return folder


def rows(folder, width, **values):
    """Return a table of known models with one row for the folder."""
    return [KnownModel(names=(folder.name,), full_dim=width, **values)]
