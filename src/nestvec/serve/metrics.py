"""Metrics of a server in the format of Prometheus, without texts or ids."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_ITEMS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Metrics:
    """Metrics of one server, in a separate registry."""

    def __init__(self) -> None:
        """Create the metrics."""
        self._registry = own = CollectorRegistry()
        self._requests = Counter(
            "nestvec_requests", "Requests answered.", ["route", "status"], registry=own
        )
        self._seconds = Histogram(
            "nestvec_request_seconds",
            "Time to answer a request.",
            ["route"],
            buckets=_SECONDS,
            registry=own,
        )
        self._batch = Histogram(
            "nestvec_batch_items", "Texts encoded together.", buckets=_ITEMS, registry=own
        )
        self._encoding = Histogram(
            "nestvec_batch_seconds", "Time to encode a batch.", buckets=_SECONDS, registry=own
        )
        self._tokens = Counter("nestvec_tokens", "Tokens of answered requests.", registry=own)

    def watch(self, name: str, help_text: str, value: Callable[[], float]) -> None:
        """Add a gauge whose value is read when the metrics are requested.

        Args:
            name: Name of the gauge.
            help_text: Description of the gauge.
            value: Function that returns the current value; called from any thread.
        """
        Gauge(name, help_text, registry=self._registry).set_function(value)

    def on_request(self, route: str, status: int, seconds: float) -> None:
        """Count an answered request."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def on_tokens(self, n: int) -> None:
        """Count tokens."""
        self._tokens.inc(n)

    def on_batch(self, items: int, seconds: float) -> None:
        """Count an encoded batch of texts."""
        self._batch.observe(items)
        self._encoding.observe(seconds)

    def text(self) -> bytes:
        """Return all metrics in the text format of Prometheus."""
        return generate_latest(self._registry)
