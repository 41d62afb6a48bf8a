"""Write the tables of README and docs from the committed results, between their markers.

python benchmarks/make_tables.py            # writes
python benchmarks/make_tables.py --check    # exits with 1 where a table is stale
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

REPOSITORY = Path(__file__).parent.parent
RESULTS = REPOSITORY / "benchmarks" / "results"
PAGES = (REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md")))
METRIC = "nDCG@10"
_SHOWN = ("float32", "binary")  # of static_pairs
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


def quantisers() -> str:
    """List what each candidate keeps, the bound one in bold."""
    from nestvec.quantiser import QUANTISERS

    rows = _results("quantisers")
    columns = list(dict.fromkeys((row["set"], row["dim"]) for row in rows))
    kept: dict[tuple[str, str, bool], dict[tuple[str, int], Mapping[str, Any]]] = {}
    for row in rows:
        key = row["precision"], row["quantiser"], row["rotated"]
        kept.setdefault(key, {})[row["set"], row["dim"]] = row
    names = [f"{name}, {dim} dims" for name, dim in columns]
    lines = [["precision", "FAISS quantiser", *names, "mean"]]
    for (precision, quantiser, rotated), cells in kept.items():
        chosen = QUANTISERS[precision]
        label = f"{quantiser}{', rotated' if rotated else ''}"
        if (chosen.faiss_name, chosen.rotated) == (quantiser, rotated):
            label = f"**{label}**"
        values = [(cells[column]["alone"], cells[column]["rescored"]) for column in columns]
        values.append(tuple(sum(each) / len(columns) for each in zip(*values, strict=True)))
        texts = (f"{100 * alone:.1f} → {100 * rescored:.1f}" for alone, rescored in values)
        lines.append([precision, label, *texts])
    return _markdown(lines)


def scan() -> str:
    """List what one query takes, by dims and precision."""
    lines = [
        ["dims", "precision", "bytes", "ms", "ms, scalar quantiser", "times faster", "top 100"]
    ]
    for row in _results("scan"):
        ours, theirs = (f"{median(row[key]):.2f}" for key in ("ms", "scalar_quantiser_ms"))
        share = f"{100 * row['overlap@100']:.2f} %"
        faster = f"{row['times_faster']:.1f}"
        size = str(row["bytes"])
        lines.append([str(row["dim"]), row["precision"], size, ours, theirs, faster, share])
    return _markdown(lines)


def decisions() -> str:
    """List how often plans say what is false, and how far they are from the cheapest that holds."""
    names = ("false", "false, bootstrap-t", "confirmed", "confirmed, bootstrap-t")
    lines = [["set", "target", "queries", *names, "memory over the least that holds"]]
    kept: dict[tuple[str, float, int], dict[str, Mapping[str, Any]]] = {}
    for row in _results("decisions"):
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
    return _markdown(lines)


def demo() -> str:
    """Show what the demo measured, as it prints it."""
    return _text(_results("demo")["retention_table"])


def readme() -> str:
    """Show what the README's first lines of code printed on the full demo's data."""
    return _text(_results("demo")["readme"])


def proxies() -> str:
    """List how far each proxy is off, and how often it says 98 % (and how often wrongly)."""
    rows = _results("proxies")
    names = list(dict.fromkeys(row["proxy"] for row in rows))
    lines = [["set", "model", "points that keep 98 %", *names]]
    subjects: dict[tuple[str, str], dict[str, Mapping[str, Any]]] = {}
    for row in rows:
        subjects.setdefault((row["set"], row["model"]), {})[row["proxy"]] = row
    for (name, model), found in subjects.items():
        first = next(iter(found.values()))
        cells = [_proxy(found[proxy]) if proxy in found else "" for proxy in names]
        lines.append([name, model, f"{first['kept']} of {first['n_points']}", *cells])
    return _markdown(lines)


def _proxy(row: Mapping[str, Any]) -> str:
    error = 100 * row["mean_absolute_error"]
    return f"{error:.1f}; {row['claimed']} ({row['claimed_wrongly']} wrong)"


def evaluator() -> str:
    """Say what the whole grid takes beside one evaluator."""
    found = _results("evaluator")
    lines = [["SciFact, all-MiniLM-L6-v2", "seconds, median", "of one evaluator"]]
    one = median(found["evaluator_s"])
    for name, key in (
        ("Sentence Transformers, one dim at float32, from texts", "evaluator_s"),
        (f"nestvec, {found['points']} operating points, from texts", "grid_from_texts_s"),
        (f"nestvec, {found['points']} operating points, vectors cached", "grid_cached_s"),
    ):
        seconds = median(found[key])
        lines.append([name, f"{seconds:.1f}", f"{seconds / one:.3f}"])
    return _markdown(lines)


def bytes_() -> str:
    """List what is kept at equal bytes, alone and rescored, the best alone in bold."""
    rows = _results("bytes")
    sizes = sorted({row["bytes"] for row in rows})
    lines = [["set", "model", "how", *(f"{size} B" for size in sizes)]]
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
    return _markdown(lines)


def losses() -> str:
    """List what each loss takes, in parts of the plain one."""
    names = {"plain": "plain", "matryoshka": "MatryoshkaLoss", "nested": "nested"}
    names |= {"nested, duplicates masked": "nested, duplicates masked"}
    lines = [["batch", "dims", *(f"{name}: time" for name in names.values())]]
    lines[0] += [f"{name}: MiB" for name in names.values()]
    for row in _results("losses"):
        plain = row["plain"]["seconds"]
        times = [f"{row[name]['seconds'] / plain:.2f}" for name in names]
        memory = [f"{row[name]['peak_mib']:,.0f}" for name in names]
        dims = f"{row['dims'][0]:,} in {len(row['dims'])} prefixes"
        lines.append([f"{row['batch']:,}", dims, *times, *memory])
    return _markdown(lines)


def static_training() -> str:
    """List how many times faster static training is, and by how much better its models are."""
    found = _results("static_training")
    dims = [row["dim"] for row in next(iter(found["better"].values()))]
    lines = [
        [
            "times faster",
            "a step",
            "training",
            "with tokenising",
            *(f"{METRIC} at {d}" for d in dims),
        ]
    ]
    for way, times in found["times_faster"].items():
        better = [
            f"{row['difference']:+.4f} ({row['low']:+.4f} to {row['high']:+.4f})"
            for row in found["better"][way]
        ]
        faster = [f"{times[key]:.1f}x" for key in ("step", "train", "train_and_tokenise")]
        lines.append([way, *faster, *better])
    return _markdown(lines)


def static_pairs() -> str:
    """List what each static model scores at each dim, float32 and binary, averaged over seeds."""
    rows = _results("static_pairs")["rows"]
    dims = sorted({row["dim"] for row in rows}, reverse=True)
    found: dict[tuple[str, str], dict[tuple[int, str], list[float]]] = {}
    for set_name in dict.fromkeys(row["set"] for row in rows):
        for row in (row for row in rows if row["set"] == set_name):
            cells = found.setdefault((set_name, row["model"]), {})
            cells.setdefault((row["dim"], row["precision"]), []).append(row["ndcg@10"])
    lines = [["set", "model", *(f"{dim:,} dims" for dim in dims)]]
    for (set_name, model), cells in found.items():
        texts = [
            " / ".join(f"{100 * mean(cells[dim, precision]):.1f}" for precision in _SHOWN)
            if (dim, _SHOWN[0]) in cells
            else ""
            for dim in dims
        ]
        lines.append([set_name, model, *texts])
    return _markdown(lines)


def ablation() -> str:
    """List what each addition to the loss changes at each dim in float32."""
    return _ablation("float32")


def ablation_binary() -> str:
    """List what each addition to the loss changes at each dim in binary."""
    return _ablation("binary")


def _ablation(precision: str) -> str:
    """List changes in hundredths of the metric, in bold where the interval leaves out 0."""
    found = [row for row in _results("ablation")["rows"] if row["point"].endswith(f":{precision}")]
    dims = list(dict.fromkeys(row["point"].partition(":")[0] for row in found))
    lines = [["set", "trained with", *(f"{dim} dims" for dim in dims), "seeds differ by"]]
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
    return _markdown(lines)


def _change(row: Mapping[str, Any]) -> str:
    text = f"{100 * row['difference']:+.1f} ± {50 * (row['high'] - row['low']):.1f}"
    return f"**{text}**" if row["low"] > 0 or row["high"] < 0 else text


def _alone_rescored(row: Mapping[str, Any] | None, best: float) -> str:
    if row is None:
        return ""
    alone = f"{100 * row['alone']:.1f}"
    return f"{f'**{alone}**' if row['alone'] == best else alone} → {100 * row['rescored']:.1f}"


TABLES: Mapping[str, Callable[[], str]] = {
    "quantisers": quantisers,
    "scan": scan,
    "decisions": decisions,
    "demo": demo,
    "readme": readme,
    "proxies": proxies,
    "evaluator": evaluator,
    "bytes": bytes_,
    "losses": losses,
    "static_training": static_training,
    "ablation": ablation,
    "ablation_binary": ablation_binary,
    "static_pairs": static_pairs,
}


def _results(name: str) -> Any:
    return json.loads((RESULTS / f"{name}.json").read_text("utf-8"))["results"]


def _text(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in ("```text", *lines, "```"))


def _markdown(lines: Iterable[list[str]]) -> str:
    header, *rows = lines
    rule = [":--" if number < 2 else "--:" for number in range(len(header))]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (header, rule, *rows))


if __name__ == "__main__":
    main()
