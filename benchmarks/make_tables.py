"""Write the tables of README and docs from the committed results, between their markers.

python benchmarks/make_tables.py            # writes
python benchmarks/make_tables.py --check    # exits with 1 where a table is stale
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import adapter_tables
import claim_tables
import corrected_tables
import engine_tables
import exact_tables
import serving_tables
import speed_tables
import story_tables
import training_tables
from markdown_tables import markdown, results, text_block

REPOSITORY = Path(__file__).parent.parent
PAGES = (REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md")))
_BLOCK = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def main() -> None:
    """Write or check every page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    stale = [page for page in PAGES if page.read_text("utf-8") != fill(page.read_text("utf-8"))]
    for page in stale:
        if not check:
            page.write_text(fill(page.read_text("utf-8")), encoding="utf-8")
        print(f"{page.relative_to(REPOSITORY)}: {'stale' if check else 'written'}")
    sys.exit(1 if check and stale else 0)


def fill(text: str) -> str:
    """Return a page's text with every table made again."""
    return _BLOCK.sub(lambda match: match[1] + TABLES[match[2]]() + match[3], text)


def quantizers() -> str:
    """List what each candidate keeps, the bound one in bold."""
    from nestvec.codec.quantizer import QUANTIZERS

    rows = results("quantizers")
    columns = list(dict.fromkeys((row["set"], row["dim"]) for row in rows))
    kept: dict[tuple[str, str, bool, bool], dict[tuple[str, int], Mapping[str, Any]]] = {}
    for row in rows:
        key = row["precision"], row["quantizer"], row["rotated"], row["centered"]
        kept.setdefault(key, {})[row["set"], row["dim"]] = row
    names = [f"{name}, {dim} dims" for name, dim in columns]
    lines = [["precision", "FAISS quantizer", *names, "mean"]]
    for (precision, quantizer, rotated, centered), cells in kept.items():
        chosen = QUANTIZERS[precision]
        label = f"{quantizer}{', rotated' if rotated else ''}{', centered' if centered else ''}"
        candidate = quantizer, rotated, centered
        if (chosen.faiss_name, chosen.rotated, chosen.mean_shrinkage is not None) == candidate:
            label = f"**{label}**"
        values = [(cells[column]["alone"], cells[column]["rescored"]) for column in columns]
        values.append(tuple(sum(each) / len(columns) for each in zip(*values, strict=True)))
        texts = (f"{100 * alone:.1f} → {100 * rescored:.1f}" for alone, rescored in values)
        lines.append([precision, label, *texts])
    return markdown(lines)


def centering() -> str:
    """List what each precision retains without and with the mean, over all sets and models."""
    kept: dict[tuple[str, str, int, bool], list[tuple[float, float]]] = {}
    cosines: dict[int, list[float]] = {}
    rows = results("centering")
    shifts: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        subject = row["set"], row["model"]
        own = shifts.setdefault(subject, [])
        if row["mean_cosine"] not in own:
            own.append(row["mean_cosine"])
        shift = own.index(row["mean_cosine"])
        width = "all dims" if row["dim"] in (384, 256) else "a quarter of the dims"
        cosines.setdefault(shift, []).append(row["mean_cosine"])
        key = row["precision"], width, shift, row["centered"]
        kept.setdefault(key, []).append((row["alone"], row["rescored"]))

    def cell(precision: str, width: str, shift: int, centered: bool) -> str:
        values = kept.get((precision, width, shift, centered))
        if values is None:
            return ""
        alone, rescored = (100 * sum(each) / len(values) for each in zip(*values, strict=True))
        return f"{alone:.1f} → {rescored:.1f}"

    means = [f"mean cosine {sum(each) / len(each):.2f}" for each in cosines.values()]
    lines = [["precision", "dims", *(f"{m}, {c}" for m in means for c in ("plain", "centered"))]]
    for precision in ("int4", "int2", "binary", "pq4"):
        for width in ("all dims", "a quarter of the dims"):
            cells = [cell(precision, width, s, c) for s in cosines for c in (False, True)]
            lines.append([precision, width, *cells])
    return markdown(lines)


def scan() -> str:
    """List what one query takes, by dims and precision."""
    lines = [
        ["dims", "precision", "bytes", "ms", "ms, scalar quantizer", "times faster", "top 100"]
    ]
    for row in results("scan"):
        ours, theirs = (f"{median(row[key]):.2f}" for key in ("ms", "scalar_quantizer_ms"))
        share = f"{100 * row['overlap@100']:.2f} %"
        faster = f"{row['times_faster']:.1f}"
        size = str(row["bytes"])
        lines.append([str(row["dim"]), row["precision"], size, ours, theirs, faster, share])
    return markdown(lines)


def decisions() -> str:
    """List how often plans say what is false, and how far they are from the cheapest that holds."""
    names = ("false", "false, bootstrap-t", "confirmed", "confirmed, bootstrap-t")
    lines = [["set", "target", "queries", *names, "memory relative to the cheapest valid point"]]
    kept: dict[tuple[str, float, int], dict[str, Mapping[str, Any]]] = {}
    for row in results("decisions"):
        kept.setdefault((row["set"], row["target"], row["queries"]), {})[row["bound"]] = row
    for (name, target, queries), bounds in sorted(kept.items()):
        ours, rival = bounds["gaffke"], bounds["bootstrap-t"]
        false = [
            f"{100 * each['false']:.1f} ± {100 * each['standard_error']:.1f} %"
            for each in (ours, rival)
        ]
        confirmed = [f"{100 * each['confirmed']:.1f} %" for each in (ours, rival)]
        over = ours.get("bytes_over_oracle")
        ratio = f"{over['median']:g}, mean {over['mean']:.2f}" if over else "-"
        lines.append([name, f"{target * 100:g} %", f"{queries:,}", *false, *confirmed, ratio])
    return markdown(lines)


def demo() -> str:
    """Show what the demo measured, as it prints it."""
    return text_block(results("demo")["retention_table"])


def readme() -> str:
    """Show what the README's first lines of code printed on the full demo's data."""
    return text_block(results("demo")["readme"])


def proxies() -> str:
    """List how far each proxy is off, and how often it says 98 % (and how often wrongly)."""
    rows = results("proxies")
    names = list(dict.fromkeys(row["proxy"] for row in rows))
    lines = [["set", "model", "points that retain 98 %", *names]]
    subjects: dict[tuple[str, str], dict[str, Mapping[str, Any]]] = {}
    for row in rows:
        subjects.setdefault((row["set"], row["model"]), {})[row["proxy"]] = row
    for (name, model), found in subjects.items():
        first = next(iter(found.values()))
        cells = [_proxy(found[proxy]) if proxy in found else "" for proxy in names]
        lines.append([name, model, f"{first['kept']} of {first['n_points']}", *cells])
    return markdown(lines)


def _proxy(row: Mapping[str, Any]) -> str:
    error = 100 * row["mean_absolute_error"]
    return f"{error:.1f}; {row['claimed']} ({row['claimed_wrongly']} wrong)"


def evaluator() -> str:
    """Say what the whole grid takes beside one evaluator."""
    found = results("evaluator")
    lines = [["SciFact, all-MiniLM-L6-v2", "seconds, median", "relative to the evaluator"]]
    one = median(found["evaluator_s"])
    for name, key in (
        ("Sentence Transformers, one dim at float32, from texts", "evaluator_s"),
        (f"nestvec, {found['points']} operating points, from texts", "grid_from_texts_s"),
        (f"nestvec, {found['points']} operating points, vectors cached", "grid_cached_s"),
    ):
        seconds = median(found[key])
        lines.append([name, f"{seconds:.1f}", f"{seconds / one:.3f}"])
    return markdown(lines)


def large_corpus() -> str:
    """List processor time and memory of a large evaluation, next to exhaustive searches."""
    found = results("large_corpus")
    one = found["faiss"]["processor_s"]
    name = f"nestvec, {found['points']} operating points"
    lines = [["1,000,000 vectors of 768 dims", "processor seconds", "relative", "peak memory, GB"]]
    for label, key in (
        ("FAISS, four exhaustive searches", "faiss"),
        (name, "evaluate"),
        ("nestvec, opening and checking all files", "open"),
    ):
        used = found[key]
        seconds, memory = used["processor_s"], used["anonymous_bytes"] / 1e9
        lines.append([label, f"{seconds:.0f}", f"{seconds / one:.1f}", f"{memory:.1f}"])
    return markdown(lines)


def bulk() -> str:
    """Compare the processor time of encoding with that of the library."""
    tasks = results("bulk")["tasks"]
    library = [name for name in next(iter(tasks.values()))["medians"] if name != "nestvec"]
    sizes = [name.rpartition("=")[2] for name in library]
    lines = [["texts", *(f"library, batches of {size}" for size in sizes), "nestvec"]]
    for task, found in tasks.items():
        medians = found["medians"]
        own = medians["nestvec"]["processor_s"]
        times = [f"{medians[name]['processor_s'] / own:.2f}" for name in library]
        lines.append([task, *times, "1.00"])
    return markdown(lines)


def bytes_() -> str:
    """List what is kept at equal bytes, alone and rescored, the best alone in bold."""
    rows = results("bytes")
    sizes = sorted({row["bytes"] for row in rows})
    lines = [["set", "model", "precision", *(f"{size} B" for size in sizes)]]
    kept: dict[tuple[str, str], dict[str, dict[int, Mapping[str, Any]]]] = {}
    for row in rows:
        hows = kept.setdefault((row["set"], row["model"]), {})
        hows.setdefault(row["how"], {})[row["bytes"]] = row
    for (name, model), hows in kept.items():
        best = {
            size: max((row[size]["alone"] for row in hows.values() if size in row), default=0.0)
            for size in sizes
        }
        for how, cells in hows.items():
            texts = [_alone_rescored(cells.get(size), best[size]) for size in sizes]
            lines.append([name, model, how, *texts])
    return markdown(lines)


def _alone_rescored(row: Mapping[str, Any] | None, best: float) -> str:
    if row is None:
        return ""
    alone = f"{100 * row['alone']:.1f}"
    return f"{f'**{alone}**' if row['alone'] == best else alone} → {100 * row['rescored']:.1f}"


TABLES: Mapping[str, Callable[[], str]] = {
    "quantizers": quantizers,
    "centering": centering,
    "scan": scan,
    "decisions": decisions,
    "demo": demo,
    "readme": readme,
    "proxies": proxies,
    "evaluator": evaluator,
    "large_corpus": large_corpus,
    "engines": engine_tables.engines,
    "engine_costs": engine_tables.engine_costs,
    "engine_paper": engine_tables.engine_paper,
    "bulk": bulk,
    "bytes": bytes_,
    "benchmarks": claim_tables.benchmarks,
    "benchmark_commands": claim_tables.benchmark_commands,
    "finetune_sts": training_tables.finetune_sts,
    "finetune_pairs": training_tables.finetune_pairs,
    "losses": training_tables.losses,
    "static_training": training_tables.static_training,
    "ablation": training_tables.ablation,
    "ablation_binary": training_tables.ablation_binary,
    "static_pairs": training_tables.static_pairs,
    "adapters": adapter_tables.adapters,
    "adapter_codes": adapter_tables.adapter_codes,
    "adapter_transfer": adapter_tables.adapter_transfer,
    "adapter_samples": adapter_tables.adapter_samples,
    "clusters": speed_tables.clusters,
    "serving": serving_tables.serving,
    "corrected_codes": corrected_tables.corrected_codes,
    "correction_gains": corrected_tables.correction_gains,
    "nested_codes": corrected_tables.nested_codes,
    "exact_search": exact_tables.exact_search,
    "million": speed_tables.million,
    "million_service": speed_tables.million_service,
    "index_speed_100000": partial(speed_tables.index_speed, 100_000),
    "index_speed_1000000": partial(speed_tables.index_speed, 1_000_000),
    "index_speed_growth": speed_tables.index_speed_growth,
    "index_speed_service": speed_tables.index_speed_service,
}


TABLES |= {f"existing_{name}": partial(story_tables.block, name) for name in story_tables.COMMANDS}


if __name__ == "__main__":
    main()
