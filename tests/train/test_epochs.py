"""An epoch uses every pair once, also if texts repeat; pairs that cannot be ranked are refused."""

from copy import deepcopy
from dataclasses import replace
from itertools import chain

import numpy as np
import pytest

from nestvec.data.similarity import ScoredPairs
from nestvec.data.training import TrainingPairs
from nestvec.errors import InvalidArgument
from nestvec.train import trainer
from nestvec.train.config import FinetuneConfig
from nestvec.train.finetuning import Epoch, finetune
from nestvec.train.static import StaticConfig, tokenize, train_static

WORDS = ["read", "a", "csv", "file", "table", "find"]
CONFIG = FinetuneConfig(dims=(64, 8), batch_size=16, learning_rate=1e-3, checks=1)


def questions(n, n_answers):
    """Distinct questions, each with one of a few answers."""
    texts = [" ".join(WORDS[i // 6**place % 6] for place in range(4)) for i in range(n)]
    answers = [WORDS[i % n_answers] for i in range(n)]
    return TrainingPairs(texts, answers, [[] for _ in texts])


def batches_of(model, texts, config, folder, monkeypatch):
    """Train, and return the number of rows of each batch."""
    rows = []

    class Counted(trainer.NestedMultipleNegativesRankingLoss):
        def _relations_of(self, keys, labels):
            rows.append(keys[0].tolist())
            return super()._relations_of(keys, labels)

    monkeypatch.setattr(trainer, "NestedMultipleNegativesRankingLoss", Counted)
    return rows, finetune(model, texts, config, checkpoints=folder / "kept")


def test_an_epoch_covers_every_pair_if_answers_repeat(model, tmp_path, monkeypatch):
    pairs = questions(100, 5)
    rows, done = batches_of(model, {"pairs": pairs}, CONFIG, tmp_path, monkeypatch)
    assert [len(batch) for batch in rows] == [15, 15, 14, 14, 14, 14, 14]
    assert len({key for batch in rows for key in batch}) == 100
    assert done.epochs == {"pairs": Epoch(100, 7, 7, 95)}


def test_the_order_differs_between_epochs(model, tmp_path, monkeypatch):
    config = FinetuneConfig(**{**vars(CONFIG), "epochs": 2})
    rows, _ = batches_of(model, {"pairs": questions(40, 5)}, config, tmp_path, monkeypatch)
    first, second = ([*chain(*part)] for part in (rows[:3], rows[3:]))
    assert sorted(first) == sorted(second)
    assert first != second


def test_temperature_shows_how_many_batches_are_drawn(model, tmp_path, monkeypatch):
    texts = {"large": questions(80, 5), "small": questions(16, 5)}
    config = FinetuneConfig(**{**vars(CONFIG), "temperature": 1e9})
    _, done = batches_of(model, texts, config, tmp_path, monkeypatch)
    assert [(each.batches, each.drawn) for each in done.epochs.values()] == [(5, 3), (1, 3)]


def test_few_rows_with_more_negatives_join_the_others(model, tmp_path, caplog):
    pairs = questions(20, 5)
    negatives = [["find"], *([["find", "table"]] * 2), *([["table"]] * 15), [], []]
    pairs = TrainingPairs(pairs.anchors, pairs.positives, negatives)
    done = finetune(model, {"pairs": pairs}, CONFIG, checkpoints=tmp_path / "kept")
    rows = {name: each.rows for name, each in done.epochs.items()}
    assert rows == {"pairs, 0 negatives": 2, "pairs, 1 negatives": 18}
    assert (
        "pairs: not used: 2 negatives of pairs that have more negatives than others" in caplog.text
    )


def test_pairs_of_one_answer_are_refused(model, tmp_path):
    pairs = questions(8, 1)
    with pytest.raises(InvalidArgument, match="No pair has a text to be ranked against"):
        finetune(model, {"pairs": pairs}, CONFIG, checkpoints=tmp_path / "kept")
    with pytest.raises(InvalidArgument, match="All pairs have the same anchor or positive"):
        train_static(tokenize(pairs, StaticConfig(dims=(8,))), StaticConfig(dims=(8,)))


def test_pairs_of_one_anchor_without_negatives_are_named(model, tmp_path, caplog):
    texts = {"same": questions(8, 1), "other": questions(8, 2)}
    done = finetune(model, texts, CONFIG, checkpoints=tmp_path / "kept")
    assert list(done.epochs) == ["other"]
    message = "same: not used: 8 pairs without negatives and with only one positive"
    assert message in caplog.messages


def test_settings_for_pairs_without_effect_are_named(model, tmp_path, caplog):
    scored = ScoredPairs("scored", WORDS[:3], WORDS[3:], [-1, 0, 40])
    config = FinetuneConfig(dims=(8,), hard_negatives=2, teacher="base", temperature=2)
    finetune(model, {"scored": scored}, config, checkpoints=tmp_path / "kept")
    assert "settings without effect on scored pairs: hard_negatives, teacher" in caplog.messages
    assert "temperature=2 has no effect, because there is one data set" in caplog.messages


def test_one_step_of_fine_tuning_changes_the_model(model, tmp_path):
    """The warm-up of the library begins with a learning rate of 0."""
    before = model.encode("read a csv")
    done = finetune(model, {"pairs": questions(16, 5)}, CONFIG, checkpoints=tmp_path / "kept")
    assert done.steps == 1
    assert np.abs(model.encode("read a csv") - before).max() > 1e-4


STATIC = StaticConfig(dims=(8, 4), epochs=20, batch_size=8, learning_rate=0.1)


def test_static_training_uses_negatives():
    """A word that is a negative of all pairs gets away from their anchors."""
    pairs = questions(30, 5)
    pairs = TrainingPairs(pairs.anchors, pairs.positives, [["zebra", "zebra"]] * 30)
    tokens = tokenize(pairs, STATIC)
    assert tokens.batch(np.array([3, 5])).texts.shape[0] == 2 + 2 + 4
    uneven = TrainingPairs(["a", "b", "c"], ["d", "e", "f"], [["g", "h"], [], ["i"]])
    batch = tokenize(uneven, STATIC, tokenizer=tokens.tokenizer).batch(np.array([2, 0]))
    expected = tokenize(
        TrainingPairs(["c", "a"], ["f", "d"], [["i", "g", "h"], []]),
        STATIC,
        tokenizer=tokens.tokenizer,
    ).batch(np.arange(2))
    np.testing.assert_array_equal(batch.texts.toarray(), expected.texts.toarray())

    def similarity(model):
        vectors = np.stack([model.table[zebra], *(tokens.anchors @ model.table)])
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return (vectors[1:] @ vectors[0]).mean()

    zebra = tokens.tokenizer.token_to_id("zebra")
    none = replace(tokens, offsets=np.zeros_like(tokens.offsets))
    assert similarity(train_static(tokens, STATIC)) < similarity(train_static(none, STATIC)) - 0.3


def test_static_training_does_not_rank_equal_texts_against_each_other():
    """Questions with one answer are in one batch: without a mask, the loss is at least log 2."""
    pairs = TrainingPairs(["ask one", "ask two", "beg"], ["yes", "yes", "no"], [[], [], []])
    config = StaticConfig(dims=(8,), epochs=200, batch_size=3, learning_rate=0.1)
    assert train_static(tokenize(pairs, config), config).losses[8] < 0.1


def test_texts_that_static_training_truncates_are_counted(caplog):
    tokenize(questions(30, 5), replace(STATIC, max_tokens=2))
    assert caplog.messages == [
        "truncated in training: 30 of 60 texts with more than max_tokens=2 tokens"
    ]


@pytest.mark.parametrize("scores", [(-1, 0.5, 1), (0, 4, 5), (1e39, 2e39, 3e300)])
def test_only_the_order_of_scores_matters(model, tmp_path, scores):
    def trained(scores):
        changed = deepcopy(model)
        scored = ScoredPairs("scored", WORDS[:3], WORDS[3:], list(scores))
        finetune(changed, {"scored": scored}, CONFIG, checkpoints=tmp_path / "kept")
        return changed.encode(WORDS)

    np.testing.assert_array_equal(trained(scores), trained((0, 0.1, 1)))
    assert np.abs(trained(scores) - trained(scores[::-1])).max() > 1e-4
