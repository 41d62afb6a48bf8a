"""Training uses the prompts that queries and documents get when the model encodes."""

import copy
import json

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from nestvec.data.similarity import ScoredPairs
from nestvec.data.training import TrainingPairs
from nestvec.train import trainer
from nestvec.train.config import FinetuneConfig
from nestvec.train.finetuning import finetune
from nestvec.train.mining import mine_negatives
from nestvec.train.trainer import append_head

CONFIG = FinetuneConfig(dims=(64, 8), batch_size=4, learning_rate=1e-3, checks=1)
PAIRS = TrainingPairs(
    ["read csv", "read file", "read table", "csv table"],
    ["a csv", "a file", "a table", "read csv"],
    [["table file"]] * 4,
)
SCORED = ScoredPairs("scored", ["read", "csv", "table"], ["a csv", "file", "a table"], [0, 3, 5])


@pytest.fixture
def model(bert_folder):
    torch.manual_seed(0)
    return SentenceTransformer(
        str(bert_folder), device="cpu", prompts={"query": "find ", "document": "a file "}
    )


def without_prompts(model):
    bare = copy.deepcopy(model)
    bare.prompts = {"query": "", "document": ""}
    return bare


def seen_texts(model, monkeypatch):
    """Record the texts that the tokenizer reads in training."""
    seen = []
    original = type(model.tokenizer).__call__

    def spy(self, *args, **kwargs):
        texts = args[0] if args else kwargs.get("text")
        seen.extend([texts] if isinstance(texts, str) else texts)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(type(model.tokenizer), "__call__", spy)
    return seen


def weights(model):
    return torch.cat([each.detach().flatten() for each in model.parameters()]).numpy()


def trained(model, texts, folder, **settings):
    finetune(
        model, texts, FinetuneConfig(**{**vars(CONFIG), **settings}), checkpoints=folder / "kept"
    )
    return weights(model)


@pytest.mark.parametrize("texts", [{"pairs": PAIRS}, {"scored": SCORED}])
def test_prompts_change_the_weights(model, tmp_path, texts):
    bare = trained(without_prompts(model), texts, tmp_path)
    assert np.abs(trained(model, texts, tmp_path) - bare).max() > 1e-5


def test_each_column_is_read_with_its_prompt(model, tmp_path, monkeypatch):
    seen = seen_texts(model, monkeypatch)
    trained(model, {"pairs": PAIRS, "scored": SCORED}, tmp_path)
    for text in PAIRS.anchors:
        assert f"find {text}" in seen
    for text in (*PAIRS.positives, "table file", *SCORED.first, *SCORED.second):
        assert f"a file {text}" in seen


@pytest.mark.parametrize("settings", [{}, {"mini_batch_size": 2}, {"teach": 1, "teacher": "base"}])
def test_equal_texts_are_masked_also_with_different_prompts(model, tmp_path, monkeypatch, settings):
    """The positive "read csv" is an anchor, too, so it is not a negative of this anchor."""
    found = []

    class Recording(trainer.NestedMultipleNegativesRankingLoss):
        def _relations_of(self, *args):
            found.append(super()._relations_of(*args))
            return found[-1]

    monkeypatch.setattr(trainer, "NestedMultipleNegativesRankingLoss", Recording)
    trained(model, {"pairs": PAIRS}, tmp_path, **settings)
    (relations,) = found
    equal = relations.candidates[:, None] == relations.anchors
    assert equal.sum() == 1
    # The negative "table file" is in each row.
    assert len(torch.unique(relations.candidates)) == 5


def test_pooling_leaves_out_the_prompt_if_the_model_does(model, tmp_path, monkeypatch):
    model.set_pooling_include_prompt(False)
    lengths = []
    forward = type(model[1]).forward

    def spy(self, features, **kwargs):
        lengths.append(features["prompt_length"])
        return forward(self, features, **kwargs)

    monkeypatch.setattr(type(model[1]), "forward", spy)
    trained(model, {"pairs": PAIRS}, tmp_path)
    assert {*lengths} == {2, 3}  # with the token at the start


def test_prompts_are_used_in_mining(model, monkeypatch):
    seen = seen_texts(model, monkeypatch)
    pairs = TrainingPairs(PAIRS.anchors, PAIRS.positives, [[] for _ in PAIRS.anchors])
    mine_negatives(model, pairs, count=1, name="pairs")
    assert {f"find {text}" for text in pairs.anchors} < {*seen}
    assert {f"a file {text}" for text in pairs.positives} < {*seen}


def test_prompts_are_used_for_the_axes_of_a_new_layer(model, monkeypatch):
    seen = seen_texts(model, monkeypatch)
    append_head(model, PAIRS.anchors, PAIRS.positives, 16)
    texts = {*seen}
    assert {f"find {text}" for text in PAIRS.anchors} < texts
    assert {f"a file {text}" for text in PAIRS.positives} < texts
    assert not texts & {*PAIRS.anchors, *PAIRS.positives}


def test_checkpoints_of_other_prompts_are_not_continued(model, tmp_path):
    kept = tmp_path / "kept" / "nestvec.json"
    bare = without_prompts(model)
    trained(model, {"pairs": PAIRS}, tmp_path)
    first = json.loads(kept.read_text())
    trained(bare, {"pairs": PAIRS}, tmp_path)
    assert json.loads(kept.read_text()) != first
