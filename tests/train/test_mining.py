"""Hard negatives are positives of other pairs, but not any that may be relevant."""

import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from tokenizers import Tokenizer, models, pre_tokenizers

from nestvec.data.training import TrainingPairs
from nestvec.train.mining import mine_negatives

ANGLES = {"ask": 0, "answer": 20, "almost": 25, "near": 40, "far": 90, "other": 180}


@pytest.fixture
def model():
    """A text's vector lies at its angle from the anchor "ask"."""
    words = {word: number for number, word in enumerate(ANGLES)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="other"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    angles = torch.deg2rad(torch.tensor([float(angle) for angle in ANGLES.values()]))
    table = torch.stack([angles.cos(), angles.sin()], dim=1).numpy()
    return SentenceTransformer(
        modules=[StaticEmbedding(tokenizer, embedding_weights=table)], device="cpu"
    )


def pairs(negatives):
    anchors = ["ask", "almost", "near", "far", "other"]
    positives = ["answer", "almost", "near", "far", "other"]
    return TrainingPairs(anchors, positives, negatives)


def test_the_nearest_text_below_the_margin_is_mined(model, capfd):
    mined = mine_negatives(model, pairs([[] for _ in range(5)]), count=1, name="pairs")
    # cos 25 degrees is above 95 % of cos 20: "almost" may be an answer, "near" is the next.
    assert mined.negatives[0] == ["near"]
    assert capfd.readouterr() == ("", "")


def test_existing_negatives_do_not_change(model):
    known = [["far"], [], [], [], []]
    mined = mine_negatives(model, pairs(known), count=2, name="pairs")
    assert mined.negatives[0] == ["far"]
    assert all(len(each) in (0, 2) for each in mined.negatives[1:])


def test_nothing_is_mined_if_all_pairs_have_negatives(model):
    known = pairs([["far"]] * 5)
    assert mine_negatives(model, known, count=3, name="pairs") is known
