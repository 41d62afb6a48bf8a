"""Measure how fast the page of `nestvec serve` follows a slider, in a real browser.

A browser opens the page on what `nestvec demo` wrote and moves every slider of a two-stage point
through all its positions, one step after the other has been drawn. Measured are the answer, from
asking to the last byte, and the whole, from the key to the changed page: on the folder as it is,
where the demo has made all codes, and on one that has none but the index's own, as any other index
that the page is opened on; there the first moves meet a server that still makes them.

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
    const note = () => {
        if (begun !== null) window.drawn.push(performance.now() - begun);
        begun = null;
    };
    const summary = document.getElementById("summary");
    new MutationObserver(note).observe(summary, { childList: true });
    performance.setResourceTimingBufferSize(5000);
    performance.clearResourceTimings();
}"""
TAKE = """() => {
    const asked = performance.getEntriesByType("resource");
    const answers = asked.filter((each) => each.name.endsWith("/v1/search"));
    const taken = [answers.map((each) => each.duration), window.drawn];
    performance.clearResourceTimings();
    window.drawn = [];
    return taken;
}"""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder; yields the address."""
    command = [sys.executable, "-m", "nestvec.cli.main", "serve", str(folder), "--port", "0"]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=quiet, text=True) as process:
        assert process.stdout is not None
        try:
            yield re.findall(r"http://\S+", process.stdout.readline())[0]
        finally:
            process.terminate()


def drag(page: Page) -> tuple[list[float], list[float]]:
    """Move each slider through its positions; return milliseconds of answers and of the whole."""
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


def told(milliseconds: list[float]) -> dict[str, Any]:
    """Return percentiles of what was measured."""
    p50, p95 = np.percentile(milliseconds, [50, 95]).round(1).tolist()
    within = float(np.mean(np.array(milliseconds) < LIMIT_MS))
    worst = round(max(milliseconds), 1)
    return {"n": len(milliseconds), "p50_ms": p50, "p95_ms": p95, "max_ms": worst, "within": within}


def repetition(source: Path, *, bare: bool) -> dict[str, Any]:
    """Measure once, on a copy; a bare one has no codes but those of the index's own point."""
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
        "at_once": dict(zip(names, map(told, first), strict=True)),
        "then": dict(zip(names, map(told, then), strict=True)),
    }


def remove_codes(index: Path) -> None:
    """Remove the codes that its own point does not need."""
    with nv.Index.open(index) as opened:
        stages = opened.point.stages
    own = {f"{stage.dim}-{stage.precision}.codes" for stage in stages}
    for path in (index / "codes").rglob("*.codes"):
        if path.name not in own:
            path.unlink()


def main() -> None:
    """Measure and record."""
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
