"""Write the tables of docs/train.md."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import mean, stdev
from typing import Any

from markdown_tables import METRIC, markdown, results

_PRECISIONS = ("float32", "binary")  # of static_pairs
_SHOWN = {"plain": "CoSENTLoss", "untouched": "base model"}  # names of the results, as shown


def finetune_sts() -> str:
    """Write Spearman's correlation at each dim, its retention, and differences."""
    found = results("finetune_sts")
    names = [name for name in found if " - " not in name]
    dims = list(found[names[0]]["spearman"])
    lines = [["Spearman, STS-B dev (retained of own full width)", *(f"{dim} dims" for dim in dims)]]
    for name in names:
        kept = (f" ({100 * row['value']:.1f} %)" for row in found[name]["kept"])
        values = (f"{value:.4f}" for value in found[name]["spearman"].values())
        lines.append([_shown(name), *(a + b for a, b in zip(values, kept, strict=True))])
    return markdown([*lines, *_differences(found, key="value")])


def finetune_pairs() -> str:
    """Write nDCG@10 of each data set at each dim, and differences."""
    lines: list[list[str]] = []
    for set_name, found in results("finetune_pairs").items():
        names = [name for name in found if " - " not in name]
        dims = list(found[names[0]])
        lines = lines or [["set", METRIC, *(f"{dim} dims" for dim in dims)]]
        for name in names:
            values = (f"{value:.4f}" for value in found[name].values())
            lines.append([set_name, _shown(name), *values])
        lines += [[set_name, *line] for line in _differences(found, key="difference")]
    return markdown(lines)


def _shown(name: str) -> str:
    return " - ".join(_SHOWN.get(part, part) for part in name.split(" - "))


def _differences(found: Mapping[str, Any], *, key: str) -> list[list[str]]:
    return [
        [_shown(name), *(_with_interval(row, key) for row in rows)]
        for name, rows in found.items()
        if " - " in name
    ]


def _with_interval(row: Mapping[str, float], key: str) -> str:
    """Write a difference, in bold if its interval does not contain 0."""
    text = f"{row[key]:+.4f} ({row['low']:+.4f} to {row['high']:+.4f})"
    return f"**{text}**" if row["low"] > 0 or row["high"] < 0 else text


def losses() -> str:
    """Write the time of each loss relative to the plain loss, and the peak memory."""
    names = {"plain": "plain", "matryoshka": "MatryoshkaLoss", "nested": "nested"}
    names |= {"nested, duplicates masked": "nested, duplicates masked"}
    lines = [["batch", "dims", *(f"{name}: time" for name in names.values())]]
    lines[0] += [f"{name}: MiB" for name in names.values()]
    for row in results("losses"):
        plain = row["plain"]["seconds"]
        times = [f"{row[name]['seconds'] / plain:.2f}" for name in names]
        memory = [f"{row[name]['peak_mib']:,.0f}" for name in names]
        dims = f"{row['dims'][0]:,} in {len(row['dims'])} prefixes"
        lines.append([f"{row['batch']:,}", dims, *times, *memory])
    return markdown(lines)


def static_training() -> str:
    """Write the speedup of static training, and the differences in nDCG@10."""
    found = results("static_training")
    dims = [row["dim"] for row in next(iter(found["better"].values()))]
    lines = [
        [
            "nestvec compared with Sentence Transformers",
            "speed of a step",
            "speed of training",
            "speed with tokenizing",
            *(f"{METRIC} difference at {d}" for d in dims),
        ]
    ]
    for way, times in found["times_faster"].items():
        better = [
            f"{row['difference']:+.4f} ({row['low']:+.4f} to {row['high']:+.4f})"
            for row in found["better"][way]
        ]
        faster = [f"{times[key]:.1f}x" for key in ("step", "train", "train_and_tokenize")]
        lines.append([way.replace("ours", "nestvec"), *faster, *better])
    return markdown(lines)


def static_pairs() -> str:
    """Write nDCG@10 of each static model at each dim, float32 and binary, averaged over seeds."""
    rows = results("static_pairs")["rows"]
    dims = sorted({row["dim"] for row in rows}, reverse=True)
    found: dict[tuple[str, str], dict[tuple[int, str], list[float]]] = {}
    for set_name in dict.fromkeys(row["set"] for row in rows):
        for row in (row for row in rows if row["set"] == set_name):
            cells = found.setdefault((set_name, row["model"]), {})
            cells.setdefault((row["dim"], row["precision"]), []).append(row["ndcg@10"])
    lines = [["set", "model", *(f"{dim:,} dims" for dim in dims)]]
    for (set_name, model), cells in found.items():
        texts = [
            " / ".join(f"{100 * mean(cells[dim, precision]):.1f}" for precision in _PRECISIONS)
            if (dim, _PRECISIONS[0]) in cells
            else ""
            for dim in dims
        ]
        lines.append([set_name, model, *texts])
    return markdown(lines)


def ablation() -> str:
    """Write the effect of each option of the loss at each dim in float32."""
    return _ablation("float32")


def ablation_binary() -> str:
    """Write the effect of each option of the loss at each dim in binary."""
    return _ablation("binary")


def _ablation(precision: str) -> str:
    """Write changes in hundredths of the metric, in bold if the interval does not contain 0."""
    found = [row for row in results("ablation")["rows"] if row["point"].endswith(f":{precision}")]
    dims = list(dict.fromkeys(row["point"].partition(":")[0] for row in found))
    lines = [["set", "trained with", *(f"{dim} dims" for dim in dims), "deviation over seeds"]]
    kept: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in found:
        kept.setdefault((row["set"], row["variant"]), []).append(row)
    for (name, variant), rows in kept.items():
        equal = kept[name, found[0]["variant"]]
        if rows is equal:
            cells = [f"{100 * mean(row['seeds']):.1f}" for row in rows]
            lines.append([name, f"{variant}: {METRIC}", *cells, ""])
            continue
        spread = max(
            stdev(ours - theirs for ours, theirs in zip(row["seeds"], base["seeds"], strict=True))
            for row, base in zip(rows, equal, strict=True)
        )
        lines.append([name, variant, *map(_change, rows), f"{100 * spread:.1f}"])
    return markdown(lines)


def _change(row: Mapping[str, Any]) -> str:
    text = f"{100 * row['difference']:+.1f} ± {50 * (row['high'] - row['low']):.1f}"
    return f"**{text}**" if row["low"] > 0 or row["high"] < 0 else text
