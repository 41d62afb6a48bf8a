"""Fine-tuning a tiny transformer: it learns, goes on after a kill, stops where it is spoilt."""

import copy

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from nestvec.data.pairs import TrainingPairs
from nestvec.data.similarity import ScoredPairs
from nestvec.errors import DataError, InvalidArgument, NestvecError
from nestvec.train import trainer
from nestvec.train.finetune import FinetuneConfig, finetune

WORDS = ["read", "a", "csv", "file", "table", "find"]
CONFIG = FinetuneConfig(dims=(64, 8), batch_size=4, learning_rate=1e-3, checks=3, epochs=3)


@pytest.fixture
def model(bert_folder):
    torch.manual_seed(0)
    return SentenceTransformer(str(bert_folder), device="cpu")


@pytest.fixture
def texts():
    pairs = [(f"{one} {two}", f"{two} {one} a") for one in WORDS for two in WORDS if one != two]
    anchors, positives = (list(side) for side in zip(*pairs[:16], strict=True))
    scored = ScoredPairs("scored", anchors[:8], positives[8:], [i / 8 for i in range(8)])
    negatives = [[anchors[-1 - i]] if i % 2 else [] for i in range(16)]
    return {"pairs": TrainingPairs(anchors, positives, negatives), "scored": scored}


def vectors(model):
    return model.encode(["read a csv", "find", "table file"])


def test_each_file_has_its_loss_and_the_model_changes(model, texts, tmp_path):
    before = vectors(model)
    steps = []
    done = finetune(
        model,
        texts,
        CONFIG,
        checkpoints=tmp_path / "kept",
        on_progress=lambda done, total: steps.append((done, total)),
    )
    assert done.losses == {
        "pairs, 0 negatives": "NestedMultipleNegativesRankingLoss",
        "pairs, 1 negatives": "NestedMultipleNegativesRankingLoss",
        "scored": "NestedCoSENTLoss",
    }
    assert steps[-1] == (done.steps, done.steps) == (18, 18)
    assert np.abs(vectors(model) - before).max() > 1e-3


def test_negatives_are_mined_before_training(model, texts, tmp_path, monkeypatch):
    mined = []

    def mine(given, pairs, *, count):
        mined.append((given is model, count))
        negatives = [own or ["table"] for own in pairs.negatives]
        return TrainingPairs(pairs.anchors, pairs.positives, negatives)

    monkeypatch.setattr("nestvec.train.finetune.mine_negatives", mine)
    config = FinetuneConfig(**{**vars(CONFIG), "hard_negatives": 1, "epochs": 1})
    done = finetune(model, texts, config, checkpoints=tmp_path / "kept")
    assert mined == [(True, 1)]
    assert list(done.losses) == ["pairs", "scored"]  # all pairs have one negative now


def test_a_run_that_was_killed_ends_as_one_that_was_not(model, texts, tmp_path):
    whole = copy.deepcopy(model)
    finetune(whole, texts, CONFIG, checkpoints=tmp_path / "whole")

    class Killed(BaseException):
        pass

    def kill(done, total):
        if done == 14:
            raise Killed

    with pytest.raises(Killed):
        finetune(model, texts, CONFIG, checkpoints=tmp_path / "kept", on_progress=kill)
    first = []
    again = copy.deepcopy(model)
    finetune(
        again,
        texts,
        CONFIG,
        checkpoints=tmp_path / "kept",
        on_progress=lambda done, total: first.append(done),
    )
    assert first[0] == 13  # the second of three checkpoints
    np.testing.assert_allclose(vectors(again), vectors(whole), atol=1e-6)


def test_checkpoints_of_other_texts_or_settings_are_not_gone_on_with(model, texts, tmp_path):
    kept, seen = tmp_path / "kept", []
    finetune(copy.deepcopy(model), texts, CONFIG, checkpoints=kept)
    other = FinetuneConfig(**{**vars(CONFIG), "seed": 1})
    finetune(model, texts, other, checkpoints=kept, on_progress=lambda d, t: seen.append(d))
    assert seen[0] == 1


def test_the_best_by_the_judge_is_kept(model, texts, tmp_path):
    found = iter([{64: 0.2, 8: 0.1}, {64: 0.9, 8: 0.7}, {64: 0.3, 8: 0.2}])
    seen = []

    def judge(judged):
        seen.append(vectors(judged))
        return next(found)

    done = finetune(model, texts, CONFIG, checkpoints=tmp_path / "kept", judge=judge)
    assert done.best == {64: 0.9, 8: 0.7}
    np.testing.assert_allclose(vectors(model), seen[1], atol=1e-6)
    assert np.abs(seen[2] - seen[1]).max() > 1e-4


def test_a_loss_that_is_not_finite_stops_training(model, texts, tmp_path, monkeypatch):
    class Spoilt(trainer.NestedCoSENTLoss):
        def forward(self, *given):
            return super().forward(*given) * torch.nan

    monkeypatch.setattr(trainer, "NestedCoSENTLoss", Spoilt)
    with pytest.raises(NestvecError, match="not finite at step 1: lower learning_rate"):
        finetune(model, {"scored": texts["scored"]}, CONFIG, checkpoints=tmp_path / "kept")


def test_a_batch_larger_than_a_file_takes_all_of_it_and_leaves_others_alone(model, texts, tmp_path):
    pairs = texts["pairs"]
    one_has_two = [["find", "read"], *([] for _ in pairs.anchors[1:])]
    pairs = TrainingPairs(pairs.anchors, pairs.positives, one_has_two)
    config = FinetuneConfig(dims=(64,), batch_size=512)
    done = finetune(model, {"pairs": pairs}, config, checkpoints=tmp_path / "kept")
    assert len(done.losses) == done.steps == 2


def test_texts_are_cut_in_training_only(model, texts, tmp_path):
    limit = model.max_seq_length
    config = FinetuneConfig(**{**vars(CONFIG), "max_tokens": 4, "epochs": 1})
    finetune(model, texts, config, checkpoints=tmp_path / "kept")
    assert model.max_seq_length == limit


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dims": ()}, "distinct widths"),
        ({"dims": (8,), "epochs": 0}, "epochs 0 < 1"),
        ({"dims": (8,), "batch_size": 1}, "batch_size 1 < 2: a pair needs others beside it"),
        ({"dims": (8,), "learning_rate": 0}, "learning_rate 0 is not within 0 and 1"),
        ({"dims": (8,), "hard_negatives": -1}, "hard_negatives -1 < 0"),
        ({"dims": (8,), "dtype": "int8"}, "'int8' is not one of float32, bfloat16"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, message):
    with pytest.raises(InvalidArgument, match=message):
        FinetuneConfig(**settings)


def test_settings_come_from_a_file_between_what_is_usual_and_what_is_given(tmp_path):
    (tmp_path / "run.toml").write_text("dims = [64, 8]\nweights = [1, 2.5]\nbatch_size = 16\n")
    found = FinetuneConfig.from_file(
        tmp_path / "run.toml", usual={"dims": (32,), "epochs": 2}, given={"batch_size": 8}
    )
    assert found == FinetuneConfig(dims=(64, 8), weights=(1, 2.5), epochs=2, batch_size=8)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learning = 1", "learning is not one of dims, weights"),
        ("dims = [", "cannot be read"),
        ("dims = [8]\nepochs = 'many'", "value of the wrong kind"),
        ("dims = ['eight']", "value of the wrong kind"),
    ],
)
def test_a_file_of_settings_that_cannot_be_is_said(tmp_path, text, message):
    (tmp_path / "run.toml").write_text(text)
    with pytest.raises(DataError, match=message):
        FinetuneConfig.from_file(tmp_path / "run.toml", usual={}, given={})
