"""Blending trained and original weights: the exact average, once for each tensor."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from nestvec.data.similarity import ScoredPairs
from nestvec.errors import InvalidArgument
from nestvec.train.config import FinetuneConfig
from nestvec.train.finetuning import blend_weights, copy_weights, finetune

TEXTS = {
    "scored": ScoredPairs("scored", ["read", "find", "a"], ["file", "csv", "table"], [0, 1, 0])
}
CONFIG = FinetuneConfig(dims=(64, 8), batch_size=3, learning_rate=1e-2, checks=2, epochs=4)


class Tied(nn.Module):
    """Two names for one table, a buffer of floats, and a count."""

    def __init__(self):
        super().__init__()
        self.into, self.out = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
        self.out.weight = self.into.weight
        self.register_buffer("mean", torch.tensor([1.0, 3.0]))
        self.register_buffer("count", torch.tensor(4))


def test_each_tensor_is_averaged_once_and_counts_do_not_change():
    model = Tied()
    nn.init.constant_(model.into.weight, 2.0)
    kept = copy_weights(model)
    with torch.no_grad():
        model.into.weight.fill_(10.0)
        model.mean.copy_(torch.tensor([5.0, 3.0]))
        model.count.fill_(9)
    blend_weights(kept, 0.25)
    assert model.out.weight is model.into.weight
    assert model.into.weight.tolist() == [[8.0, 8.0], [8.0, 8.0]]  # 3/4 of 10 and 1/4 of 2
    assert model.mean.tolist() == [4.0, 3.0]
    assert model.count == 9


def test_a_share_of_zero_has_no_effect():
    model = nn.Linear(8, 8)
    kept = copy_weights(model)
    nn.init.normal_(model.weight)
    trained = model.weight.detach().clone()
    blend_weights(kept, 0.0)
    assert torch.equal(model.weight, trained)


def test_the_final_model_is_between_the_best_checkpoint_and_the_original(model, tmp_path):
    before = {name: each.clone() for name, each in model.state_dict().items()}
    trained, blended, scores = copy.deepcopy(model), model, iter([0.9, 0.1, 0.9, 0.1, 0.5])

    def evaluator(evaluated):
        return dict.fromkeys((64, 8), next(scores))

    first = finetune(trained, TEXTS, CONFIG, checkpoints=tmp_path / "one", evaluator=evaluator)
    config = replace(CONFIG, blend=0.25)
    second = finetune(blended, TEXTS, config, checkpoints=tmp_path / "two", evaluator=evaluator)
    assert (first.dev_scores, second.dev_scores) == (
        {64: 0.9, 8: 0.9},
        {64: 0.5, 8: 0.5},
    )  # scored again
    after, between = trained.state_dict(), blended.state_dict()
    assert any(not torch.equal(after[name], each) for name, each in before.items())
    for name, each in before.items():
        expected = (0.75 * after[name] + 0.25 * each).to(each.dtype)
        torch.testing.assert_close(between[name], expected, rtol=0, atol=1e-7)


def test_a_new_layer_is_not_blended(model, tmp_path):
    config = replace(CONFIG, dims=(16, 8), out_dim=16)
    trained, blended = copy.deepcopy(model), model
    before = next(model.parameters()).detach().clone()
    finetune(trained, TEXTS, config, checkpoints=tmp_path / "one")
    finetune(blended, TEXTS, replace(config, blend=0.5), checkpoints=tmp_path / "two")
    head, same_head = (
        next(each for name, each in it.named_parameters() if "linear" in name)
        for it in (trained, blended)
    )
    assert torch.equal(head, same_head)
    after, between = next(trained.parameters()), next(blended.parameters())
    torch.testing.assert_close(between, (after + before) / 2, rtol=0, atol=1e-7)


@pytest.mark.parametrize("share", [-0.1, 1, float("nan")])
def test_a_share_out_of_range_is_rejected(share):
    with pytest.raises(InvalidArgument, match=f"blend={share} is out of range"):
        FinetuneConfig(dims=(8,), blend=share)
