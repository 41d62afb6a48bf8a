"""Build a large corpus of real sentences with vectors, and queries with relevance labels.

The documents of four retrieval sets come first, as the labels refer to them. Sentences of
docstrings, pages and the data folder follow, shuffled and without duplicates by their beginnings.

    python benchmarks/sentences.py --model nestvec-demo/model --out corpus --n 1000000

This writes texts.txt, vectors.npy, queries.txt, queries.npy, qrels.json and about.json.
"""

from __future__ import annotations

import argparse
import json
import random
import sysconfig
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from nestvec.codec.prefix import as_stored
from nestvec.data.retrieval import RetrievalSet, load_dataset
from nestvec.models.load import load_model
from nestvec.types import Encoder
from sentence_sources import beginning, of_packages, of_pages, of_rows, split_sentences

LABELED = {"scifact": "test", "cosqa": "dev", "ms-support": "test", "squad-sent": "dev"}
QUERIES_OF_EACH = 600
_BLOCK = 20_000  # texts encoded at a time


def main() -> None:
    """Write the folder."""
    options = _options()
    sets = [
        load_dataset(options.data / "retrieval" / name, split=split)
        for name, split in LABELED.items()
    ]
    documents = [_one_line(each.content) for one in sets for each in one.corpus.values()]
    sentences, counts = _distinct(_sources(options), {beginning(text) for text in documents})
    random.Random(options.seed).shuffle(sentences)
    texts = [*documents, *sentences][: options.n]
    queries, qrels = _queries(sets, options.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    _write_lines(options.out / "texts.txt", texts)
    _write_lines(options.out / "queries.txt", queries)
    (options.out / "qrels.json").write_text(json.dumps(qrels))
    model = load_model(options.model)
    _encode(model, texts, options.out / "vectors.npy", kind="document")
    _encode(model, queries, options.out / "queries.npy", kind="query")
    about = {
        "texts": len(texts),
        "judged_documents": len(documents),
        "distinct_sentences": len(sentences),
        "sentences_by_source": dict(counts),
        "queries": len(queries),
        "full_dim": model.info.full_dim,
        "model": model.info.fingerprint,
        "seed": options.seed,
    }
    (options.out / "about.json").write_text(json.dumps(about, indent=1) + "\n")
    print(json.dumps(about, indent=1))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--n", type=int, default=1_000_000)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--packages", type=Path, nargs="*", default=[], help="More packages.")
    parser.add_argument(
        "--pages", type=Path, nargs="*", default=[], help="Folders of documentation."
    )
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def _sources(options: argparse.Namespace) -> Iterator[tuple[str, Iterable[str]]]:
    """Yield the name and the texts of each source; earlier sources win for equal sentences."""
    for file in sorted((options.data / "retrieval").glob("*/corpus.jsonl.gz")):
        yield f"retrieval/{file.parent.name}", of_rows(file, ["text"])
    for file in sorted((options.data / "pairs").glob("*.jsonl.gz")):
        yield f"pairs/{file.name.partition('.')[0]}", of_rows(file, ["anchor", "positive"])
    for folder in options.pages:
        yield f"pages/{folder.name}", of_pages(folder)
    installed = dict.fromkeys(sysconfig.get_path(kind) for kind in ("stdlib", "purelib", "platlib"))
    yield "docstrings", of_packages([*map(Path, installed), *options.packages])


def _distinct(
    sources: Iterable[tuple[str, Iterable[str]]], known: set[str]
) -> tuple[list[str], Counter[str]]:
    """Return the sentences with distinct beginnings, and their number from each source."""
    kept: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for name, texts in sources:
        before = len(kept)
        for sentence in split_sentences(texts):
            key = beginning(sentence)
            if key not in known:
                kept.setdefault(key, sentence)
        counts[name] = len(kept) - before
        print(f"{name}: {counts[name]:,}, together {len(kept):,}", flush=True)
    return list(kept.values()), counts


def _queries(sets: Iterable[RetrievalSet], seed: int) -> tuple[list[str], list[dict[str, int]]]:
    """Return shuffled queries of all sets, and the grades of each by row of the corpus."""
    drawn = random.Random(seed)
    pairs: list[tuple[str, dict[str, int]]] = []
    first = 0
    for one in sets:
        rows = {id_: str(first + row) for row, id_ in enumerate(one.corpus)}
        chosen = drawn.sample(sorted(one.queries), min(QUERIES_OF_EACH, len(one.queries)))
        pairs += [
            (
                _one_line(one.queries[id_]),
                {rows[doc]: grade for doc, grade in one.qrels[id_].items()},
            )
            for id_ in chosen
        ]
        first += len(one.corpus)
    drawn.shuffle(pairs)
    return [text for text, _ in pairs], [grades for _, grades in pairs]


def _encode(model: Encoder, texts: list[str], path: Path, *, kind: str) -> None:
    """Write unit vectors, float32 [n, full_dim]."""
    shape = len(texts), model.info.full_dim
    vectors = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    for start in range(0, len(texts), _BLOCK):
        block = model.encode(texts[start : start + _BLOCK], kind=kind)
        vectors[start : start + len(block)] = as_stored(block, layer_norm=model.info.layer_norm)
        print(f"{path.name}: {start + len(block):,} of {len(texts):,}", flush=True)
    vectors.flush()


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _write_lines(path: Path, lines: list[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


if __name__ == "__main__":
    main()
