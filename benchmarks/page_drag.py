"""Measure how fast the page of `nestvec serve` follows a slider, in a real browser.

A browser opens the page for the folder of `nestvec demo` and moves every slider of a two-stage
point through all its positions. The next step starts when the page has been drawn. Two times are
measured: the response, from the request to the last byte, and the whole, from the key press to the
changed page.

The measurement runs on two copies of the folder: as the demo built it, with the codes of all
positions, and with only the codes of the index's own point, like any other index. On the second
copy, the server builds the codes during the first moves.

    python benchmarks/page_drag.py nestvec-demo
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Page, sync_playwright

import nestvec as nv
from record import record

POINT = "64:int4@50>512:float16"
STEPS = ["Home", *["ArrowRight"] * 12, *["ArrowLeft"] * 12]
SLIDERS = [(0, "Dims"), (0, "Precision"), (0, "Shortlist"), (1, "Dims"), (1, "Precision")]
REPETITIONS = 3
LIMIT_MS = 100
WATCH = """() => {
    window.drawn = [];
    let begun = null;
    addEventListener("input", () => { begun = performance.now(); }, true);
    const record = () => {
        if (begun !== null) window.drawn.push(performance.now() - begun);
        begun = null;
    };
    const summary = document.getElementById("summary");
    new MutationObserver(record).observe(summary, { childList: true });
    performance.setResourceTimingBufferSize(5000);
    performance.clearResourceTimings();
}"""
TAKE = """() => {
    const requests = performance.getEntriesByType("resource");
    const searches = requests.filter((each) => each.name.endsWith("/v1/search"));
    const times = [searches.map((each) => each.duration), window.drawn];
    performance.clearResourceTimings();
    window.drawn = [];
    return times;
}"""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder, and yield the address."""
    command = [sys.executable, "-m", "nestvec.cli.main", "serve", str(folder), "--port", "0"]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=quiet, text=True) as process:
        assert process.stdout is not None
        try:
            yield re.findall(r"http://\S+", process.stdout.readline())[0]
        finally:
            process.terminate()


def drag(page: Page) -> tuple[list[float], list[float]]:
    """Move each slider through its positions; return the milliseconds of responses and wholes."""
    moves = 0
    for stage, name in SLIDERS:
        slider = page.locator(".stage").nth(stage).get_by_label(name)
        for key in STEPS:
            before = slider.input_value()
            slider.press(key)
            if slider.input_value() != before:
                moves += 1
                page.wait_for_function("(moves) => window.drawn.length >= moves", arg=moves)
    answers, drawn = page.evaluate(TAKE)
    return answers, drawn


def summary(milliseconds: list[float]) -> dict[str, Any]:
    """Return percentiles, and the share within the limit."""
    p50, p95 = np.percentile(milliseconds, [50, 95]).round(1).tolist()
    within = float(np.mean(np.array(milliseconds) < LIMIT_MS))
    worst = round(max(milliseconds), 1)
    return {"n": len(milliseconds), "p50_ms": p50, "p95_ms": p95, "max_ms": worst, "within": within}


def repetition(source: Path, *, bare: bool) -> dict[str, Any]:
    """Measure once, on a copy; if ``bare``, with only the codes of the index's own point."""
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as playwright:
        folder = Path(shutil.copytree(source, Path(temporary) / "nestvec-demo"))
        if bare:
            remove_codes(folder / "index")
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        chromium = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
        with served(folder) as address:
            page = browser.new_page(viewport={"width": 1600, "height": 1000})
            page.goto(f"{address}#point={POINT}")
            page.locator("#results .hit").first.wait_for()
            page.evaluate(WATCH)
            first = drag(page)
            time.sleep(3)
            then = drag(page)
            browser.close()
    names = ("answer", "drawn")
    return {
        "at_once": dict(zip(names, map(summary, first), strict=True)),
        "then": dict(zip(names, map(summary, then), strict=True)),
    }


def remove_codes(index: Path) -> None:
    """Remove the codes that the index's own point does not need."""
    with nv.Index.open(index) as opened:
        stages = opened.point.stages
    own = {f"{stage.dim}-{stage.precision}.codes" for stage in stages}
    for path in (index / "codes").rglob("*.codes"):
        if path.name not in own:
            path.unlink()


def main() -> None:
    """Measure, and record the results."""
    source = Path(sys.argv[1])
    settings = {
        "point": POINT,
        "steps": STEPS,
        "sliders": SLIDERS,
        "limit_ms": LIMIT_MS,
        "load_average_before": os.getloadavg()[0],
    }
    results = {
        name: [repetition(source, bare=bare) for _ in range(REPETITIONS)]
        for name, bare in (("as_built", False), ("without_codes", True))
    }
    for name, each in results.items():
        print(name, *each, sep="\n")
    print(record("page_drag", settings=settings, results=results))


if __name__ == "__main__":
    main()
