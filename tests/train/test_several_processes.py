"""Two processes that gather each other's texts equal one process with the joint batch."""

import os
import subprocess
import sys
from itertools import permutations
from pathlib import Path

import pytest
import torch
from sentence_transformers import SentenceTransformer

from nestvec.train.losses import NestedMultipleNegativesRankingLoss

TEXTS = [" ".join(words) for words in permutations(["read", "csv", "table", "find"], 3)]
ANCHORS = TEXTS[:8]
POSITIVES = [*TEXTS[8:15], TEXTS[8]]  # one stands twice, in texts of both processes
WORKER = """
import sys, torch, torch.distributed as dist
from sentence_transformers import SentenceTransformer
from test_several_processes import gradients
rank, folder, place = int(sys.argv[1]), sys.argv[2], sys.argv[3]
dist.init_process_group("gloo", init_method=f"file://{place}/meet", rank=rank, world_size=2)
value, found = gradients(folder, slice(4 * rank, 4 * rank + 4), gather=True, **SETTINGS)
for each in (value, *found.values()):
    dist.all_reduce(each)
    each /= 2  # as data-parallel training does
if rank == 0:
    torch.save((value, found), f"{place}/found.pt")
dist.destroy_process_group()
"""
EVERY = ("query_to_doc", "query_to_query", "doc_to_query", "doc_to_doc")


def gradients(folder, rows, *, gather, **settings):
    torch.set_num_threads(1)
    model = SentenceTransformer(str(folder), device="cpu").eval()
    with torch.no_grad():  # a random transformer gives much the same for all texts
        model[0].auto_model.embeddings.word_embeddings.weight.mul_(30)
    loss = NestedMultipleNegativesRankingLoss(
        model, (8, 64), gather_across_devices=gather, **settings
    )
    value = loss([model.preprocess(column[rows]) for column in (ANCHORS, POSITIVES)], None)
    value.backward()
    found = {n: each.grad for n, each in model.named_parameters() if each.grad is not None}
    return value.detach(), found


@pytest.mark.parametrize(
    "settings", [{}, {"directions": EVERY, "straight_through": "int8", "orthogonality": 0.7}]
)
def test_two_processes_equal_one(bert_folder, tmp_path, settings):
    worker = WORKER.replace("SETTINGS", repr(settings))
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", worker, str(rank), str(bert_folder), str(tmp_path)],
            env={**os.environ, "PYTHONPATH": path},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    errors = [each.communicate(timeout=120)[1] for each in processes]
    assert [each.returncode for each in processes] == [0, 0], errors
    value, found = torch.load(tmp_path / "found.pt", weights_only=True)
    expected, reference = gradients(bert_folder, slice(0, 8), gather=False, **settings)
    assert expected > 1
    torch.testing.assert_close(value, expected)
    largest = max(float(each.abs().max()) for each in reference.values())
    for name, gradient in found.items():
        torch.testing.assert_close(
            gradient, reference[name], rtol=1e-3, atol=1e-5 * largest, msg=name
        )
