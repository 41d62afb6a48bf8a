"""Fine-tune a tiny transformer: training, continuing after a kill, stopping on NaN."""

import copy

import numpy as np
import pytest
import torch

from nestvec.data.similarity import ScoredPairs
from nestvec.data.training import TrainingPairs
from nestvec.errors import DataError, InvalidArgument, NestvecError
from nestvec.train import trainer
from nestvec.train.config import Callbacks, FinetuneConfig
from nestvec.train.finetuning import finetune
from nestvec.train.trainer import append_head

WORDS = ["read", "a", "csv", "file", "table", "find"]
CONFIG = FinetuneConfig(dims=(64, 8), batch_size=4, learning_rate=1e-3, checks=3, epochs=3)


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
        callbacks=Callbacks(lambda done, total: steps.append((done, total))),
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

    def mine(mining_model, pairs, *, count, name):
        mined.append((mining_model is model, count))
        negatives = [own or ["table"] for own in pairs.negatives]
        return TrainingPairs(pairs.anchors, pairs.positives, negatives)

    monkeypatch.setattr("nestvec.train.finetuning.mine_negatives", mine)
    config = FinetuneConfig(**{**vars(CONFIG), "hard_negatives": 1, "epochs": 1})
    done = finetune(model, texts, config, checkpoints=tmp_path / "kept")
    assert mined == [(True, 1)]
    assert list(done.losses) == ["pairs", "scored"]  # all pairs have one negative now


def test_an_interrupted_run_gives_the_same_model_as_an_uninterrupted_one(model, texts, tmp_path):
    whole = copy.deepcopy(model)
    finetune(whole, texts, CONFIG, checkpoints=tmp_path / "whole")

    class Killed(BaseException):
        pass

    def kill(done, total):
        if done == 14:
            raise Killed

    with pytest.raises(Killed):
        killed = copy.deepcopy(model)
        finetune(killed, texts, CONFIG, checkpoints=tmp_path / "kept", callbacks=Callbacks(kill))
    first = []
    again = copy.deepcopy(model)
    finetune(
        again,
        texts,
        CONFIG,
        checkpoints=tmp_path / "kept",
        callbacks=Callbacks(lambda done, total: first.append(done)),
    )
    assert first[0] == 13  # the second of three checkpoints
    np.testing.assert_allclose(vectors(again), vectors(whole), atol=1e-6)


def test_an_incomplete_checkpoint_is_not_continued(model, texts, tmp_path):
    kept, steps = tmp_path / "kept", []
    finetune(copy.deepcopy(model), texts, CONFIG, checkpoints=kept)
    names = sorted(path.name for path in kept.glob("checkpoint-*"))
    assert names == ["checkpoint-12", "checkpoint-18"]
    (kept / "checkpoint-18" / "trainer_state.json").write_text("{")
    callbacks = Callbacks(lambda done, total: steps.append(done))
    finetune(model, texts, CONFIG, checkpoints=kept, callbacks=callbacks)
    assert steps[0] == 13


def test_a_full_disk_is_reported_in_one_line(model, texts, tmp_path, monkeypatch):
    def save(*args, **kwargs):
        raise RuntimeError("[enforce fail at inline_container.cc:672] unexpected pos")

    monkeypatch.setattr(torch, "save", save)
    with pytest.raises(DataError, match=r"kept: cannot be written \(\[enforce fail .* pos\)$"):
        finetune(model, texts, CONFIG, checkpoints=tmp_path / "kept")


def test_a_tracker_that_is_not_installed_is_rejected(model, texts, tmp_path):
    config = FinetuneConfig(**{**vars(CONFIG), "report_to": ("nothing",)})
    with pytest.raises(InvalidArgument, match="report_to='nothing' is not an installed tracker"):
        finetune(model, texts, config, checkpoints=tmp_path / "kept")


def test_checkpoints_of_another_model_are_not_continued(model, texts, tmp_path):
    kept, seen = tmp_path / "kept", []
    finetune(model, texts, CONFIG, checkpoints=kept)  # changes the model
    callbacks = Callbacks(lambda done, total: seen.append(done))
    finetune(model, texts, CONFIG, checkpoints=kept, callbacks=callbacks)
    assert seen[0] == 1


def test_checkpoints_of_other_texts_or_settings_are_not_continued(model, texts, tmp_path):
    kept, seen = tmp_path / "kept", []
    finetune(copy.deepcopy(model), texts, CONFIG, checkpoints=kept)
    other = FinetuneConfig(**{**vars(CONFIG), "seed": 1})
    callbacks = Callbacks(lambda done, total: seen.append(done))
    finetune(model, texts, other, checkpoints=kept, callbacks=callbacks)
    assert seen[0] == 1


def test_the_best_checkpoint_by_the_evaluator_is_restored(model, texts, tmp_path):
    dev_scores = [{64: 0.2, 8: 0.1}, {64: 0.9, 8: 0.7}, {64: 0.3, 8: 0.2}]
    found, seen, checks = iter(dev_scores), [], []

    def evaluator(evaluated):
        seen.append(vectors(evaluated))
        return next(found)

    callbacks = Callbacks(on_checkpoint=lambda *args: checks.append(args))
    done = finetune(
        model,
        texts,
        CONFIG,
        checkpoints=tmp_path / "kept",
        evaluator=evaluator,
        callbacks=callbacks,
    )
    assert done.dev_scores == {64: 0.9, 8: 0.7}
    assert [step for step, _, _ in checks] == [6, 12, 18]
    assert [scores for _, _, scores in checks] == dev_scores
    assert all(sorted(losses) == [8, 64] and min(losses.values()) > 0 for _, losses, _ in checks)
    np.testing.assert_allclose(vectors(model), seen[1], atol=1e-6)
    assert np.abs(seen[2] - seen[1]).max() > 1e-4


def test_the_best_checkpoint_at_one_width_is_restored_after_an_interruption(model, texts, tmp_path):
    dev_scores = iter([{64: 0.2, 8: 0.8}, {64: 0.9, 8: 0.7}, {64: 0.3, 8: 0.2}])
    config = FinetuneConfig(**{**vars(CONFIG), "best_at": 8})

    class Killed(BaseException):
        pass

    def kill(done, total):
        if done == 14:
            raise Killed

    options = {"checkpoints": tmp_path / "kept", "evaluator": lambda _: next(dev_scores)}
    with pytest.raises(Killed):
        finetune(copy.deepcopy(model), texts, config, callbacks=Callbacks(kill), **options)
    assert finetune(model, texts, config, **options).dev_scores == {64: 0.2, 8: 0.8}


def test_a_loss_that_is_not_finite_stops_training(model, texts, tmp_path, monkeypatch):
    class WithNaN(trainer.NestedCoSENTLoss):
        def forward(self, *args):
            return super().forward(*args) * torch.nan

    monkeypatch.setattr(trainer, "NestedCoSENTLoss", WithNaN)
    with pytest.raises(NestvecError, match=r"not finite at step 1\. Lower learning_rate"):
        finetune(model, {"scored": texts["scored"]}, CONFIG, checkpoints=tmp_path / "kept")


def test_a_batch_larger_than_a_file_contains_the_whole_file(model, texts, tmp_path, caplog):
    pairs = texts["pairs"]
    one_has_two = [["find", "read"], *([] for _ in pairs.anchors[1:])]
    pairs = TrainingPairs(pairs.anchors, pairs.positives, one_has_two)
    config = FinetuneConfig(dims=(64,), batch_size=512)
    done = finetune(model, {"pairs": pairs}, config, checkpoints=tmp_path / "kept")
    assert len(done.losses) == done.steps == 2
    assert (
        "pairs, 2 negatives: batch_size=512 is larger than the 1 rows, which form one batch"
        in caplog.messages
    )


def test_texts_are_truncated_in_training_only(model, texts, tmp_path):
    limit = model.max_seq_length
    config = FinetuneConfig(**{**vars(CONFIG), "max_tokens": 4, "epochs": 1})
    finetune(model, texts, config, checkpoints=tmp_path / "kept")
    assert model.max_seq_length == limit


def test_a_new_layer_reduces_the_width_and_is_trained(model, texts, tmp_path):
    whole = vectors(copy.deepcopy(model))
    config = FinetuneConfig(**{**vars(CONFIG), "dims": (16, 8), "out_dim": 16, "epochs": 1})
    widths = []

    def evaluator(evaluated):
        widths.append(vectors(evaluated).shape[1])
        return {16: 0.5, 8: 0.5}

    finetune(model, texts, config, checkpoints=tmp_path / "kept", evaluator=evaluator)
    assert {*widths} == {16}
    assert whole.shape[1] == 64
    head = model[-1] if hasattr(model[-1], "linear") else model[-2]
    products = (head.linear.weight @ head.linear.weight.T).detach().numpy()
    assert np.abs(products - np.eye(16)).max() > 1e-3  # it was orthogonal before training


def test_a_new_layer_of_the_model_s_width_rotates_vectors(model, texts):
    every = [*texts["pairs"].anchors, *texts["pairs"].positives]
    before = vectors(model)
    append_head(model, [], every, 64)
    after = vectors(model)
    np.testing.assert_allclose(after @ after.T, before @ before.T, rtol=1e-4)
    found = model.encode(every)
    variance = (found**2).sum(axis=0)
    assert (
        np.diff(variance) <= 1e-3 * variance[0]
    ).all()  # the first dims have the largest variance
    with pytest.raises(InvalidArgument, match="out_dim=65 is out of range"):
        append_head(model, [], every, 65)


def test_small_files_are_sampled_more_often_at_a_higher_temperature(model, texts, tmp_path):
    def steps_by_loss(temperature):
        seen = []

        class Counted(trainer.NestedCoSENTLoss):
            def forward(self, *args):
                seen.append(self)
                return super().forward(*args)

        config = FinetuneConfig(**{**vars(CONFIG), "batch_size": 2, "temperature": temperature})
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(trainer, "NestedCoSENTLoss", Counted)
            given = {"pairs": pairs, "scored": texts["scored"]}
            done = finetune(copy.deepcopy(model), given, config, checkpoints=tmp_path / "kept")
        return len(seen), done.steps

    bare = [[] for _ in texts["pairs"].anchors]
    pairs = TrainingPairs(texts["pairs"].anchors, texts["pairs"].positives, bare)
    assert steps_by_loss(1.0) == (3 * 4, 3 * 12)
    assert steps_by_loss(1e9) == (3 * 6, 3 * 12)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dims": (8, 8)}, "distinct widths"),
        ({"dims": (8,), "epochs": 0}, "epochs=0 is less than 1"),
        ({"dims": (8,), "batch_size": 1}, "batch_size=1 is less than 2"),
        ({"dims": (8,), "learning_rate": 0}, "learning_rate=0 is out of range"),
        ({"dims": (8,), "hard_negatives": -1}, "hard_negatives=-1 is less than 0"),
        ({"dims": (8,), "temperature": 0.5}, "temperature=0.5 is less than 1"),
        ({"dims": (8, 64), "out_dim": 32}, "dim 64 is larger than out_dim=32"),
        ({"dims": (8, 64), "best_at": 32}, "best_at=32 is not one of the dims 8, 64"),
        ({"dims": (8,), "dtype": "int8"}, "'int8' is not one of float32, bfloat16"),
    ],
)
def test_invalid_settings_are_rejected(settings, message):
    with pytest.raises(InvalidArgument, match=message):
        FinetuneConfig(**settings)


def test_the_base_model_is_used_as_teacher_and_not_trained(model, texts, tmp_path, monkeypatch):
    teachers = []

    class Recording(trainer.NestedMultipleNegativesRankingLoss):
        def teacher_embeddings(self, *args):
            teachers.append(self.teacher)
            return super().teacher_embeddings(*args)

    monkeypatch.setattr(trainer, "NestedMultipleNegativesRankingLoss", Recording)
    before = vectors(model)
    settings = {"teach": 1.0, "teacher": "base", "dims": (16, 8), "out_dim": 16, "epochs": 1}
    config = FinetuneConfig(**{**vars(CONFIG), **settings})
    finetune(model, {"pairs": texts["pairs"]}, config, checkpoints=tmp_path / "kept")
    assert len(teachers) == 4
    np.testing.assert_array_equal(vectors(teachers[-1]), before)
    assert vectors(model).shape[1] == 16
