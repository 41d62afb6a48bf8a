"""Read the value of a claim from the JSON file of a benchmark.

A *path* is a list of steps from the top of the file. A text is a key, a number is a position, an
object selects the only row with these values, and ``*`` continues with every value or row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import fmean, median
from typing import Any

Step = str | int | Mapping[str, Any]

_TAKES: Mapping[str, Callable[[Sequence[float]], float]] = {
    "median": median,
    "mean": fmean,
    "least": min,
    "largest": max,
    "sum": sum,
}


def read_value(document: Mapping[str, Any], measured: Mapping[str, Any]) -> float:
    """Return the value of a claim.

    Args:
        document: The JSON file of a benchmark.
        measured: ``path``, and optionally ``take`` (how several numbers become one: median, mean,
            least, largest, sum), ``over`` and ``minus`` (paths of a divisor and of a subtrahend,
            taken in the same way) and ``times`` (a factor, such as 100 for percent). Or
            ``function``, the name of a function in `FUNCTIONS`, with ``arguments`` and ``times``.

    Raises:
        LookupError: If the file has no value at a path, or several rows match a step.
    """
    if "function" in measured:
        value = FUNCTIONS[measured["function"]](document, **measured.get("arguments", {}))
    else:
        take = measured.get("take")
        value = _number(document, measured["path"], take)
        if "over" in measured:
            value /= _number(document, measured["over"], take)
        if "minus" in measured:
            value -= _number(document, measured["minus"], take)
    return value * float(measured.get("times", 1))


def _number(document: Any, path: Sequence[Step], take: str | None) -> float:
    found = list(_walk(document, path))
    if take is None:
        if len(found) != 1:
            raise LookupError(f"{list(path)}: {len(found)} values instead of 1")
        return float(found[0])
    numbers = [number for each in found for number in (each if isinstance(each, list) else [each])]
    if not numbers:
        raise LookupError(f"{list(path)}: no value")
    return float(_TAKES[take](numbers))


def _walk(value: Any, path: Sequence[Step]) -> Iterator[Any]:
    if not path:
        yield value
        return
    step, *rest = path
    if step == "*":
        for each in value.values() if isinstance(value, Mapping) else value:
            yield from _walk(each, rest)
    else:
        yield from _walk(_only_row(value, step) if isinstance(step, Mapping) else value[step], rest)


def _only_row(rows: Sequence[Mapping[str, Any]], wanted: Mapping[str, Any]) -> Mapping[str, Any]:
    found = [row for row in rows if all(row.get(key) == each for key, each in wanted.items())]
    if len(found) != 1:
        raise LookupError(f"{dict(wanted)}: {len(found)} rows instead of 1")
    return found[0]


def speed_ratio(
    document: Mapping[str, Any], *, index: str, other: str, n: int, overlap: float
) -> float:
    """Return queries per second of an index, relative to another at the same overlap@10.

    Both use the setting with the least processor time that reaches the overlap, as the tables do.
    """
    queries_per_s = [_fastest_setting(document, name, n, overlap)["qps"] for name in (index, other)]
    return float(queries_per_s[0] / queries_per_s[1])


def _fastest_setting(
    document: Mapping[str, Any], name: str, n: int, overlap: float
) -> Mapping[str, Any]:
    contender = _only_row(document["results"]["contenders"], {"name": name, "n": n})
    reached = [row for row in contender["settings"] if row["overlap@10"] >= overlap]
    if not reached:
        raise LookupError(f"{name}: overlap {overlap:g} was not reached")
    fastest: Mapping[str, Any] = min(reached, key=lambda row: row["processor_ms"])
    return fastest


def skipped_share(document: Mapping[str, Any], *, n: int, overlap: float) -> float:
    """Return the share of rows that clusters can skip if the best rows found reach an overlap."""
    for row in document["results"][str(n)]:
        if row["overlap@10_at_most"] >= overlap:
            return float(1 - row["rows_looked_at"])
    raise LookupError(f"overlap {overlap:g} was not reached")


def kept_by_adapter(
    document: Mapping[str, Any], *, point: str, part: str = "rows", **row: Any
) -> float:
    """Return the retention of an operating point in one row of an adapter benchmark."""
    found = _only_row(document["results"][part], row)
    return float(found["kept"][found["points"].index(point)])


def ablation_gain(document: Mapping[str, Any], *, variant: str, point: str) -> float:
    """Return the mean change of a metric by an option of the loss, over the data sets."""
    wanted = {"variant": variant, "point": point}
    rows = [row for row in document["results"]["rows"] if wanted.items() <= row.items()]
    if not rows:
        raise LookupError(f"{wanted}: no row")
    return fmean(row["difference"] for row in rows)


def longer_percent(document: Mapping[str, Any], *, engine: str, point: str) -> float:
    """Return by how many percent nestvec's search takes longer than the engine's own client."""
    found = document["results"][engine][point]["overhead"]
    return 100 * float(found["nestvec_p50_ms"] / found["native_p50_ms"] - 1)


FUNCTIONS: Mapping[str, Callable[..., float]] = {
    "ablation_gain": ablation_gain,
    "kept_by_adapter": kept_by_adapter,
    "longer_percent": longer_percent,
    "skipped_share": skipped_share,
    "speed_ratio": speed_ratio,
}
