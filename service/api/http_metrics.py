"""Counts and times of the requests that this process answered."""

from prometheus_client import CollectorRegistry, Counter, Histogram

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class HttpMetrics:
    """Requests that this process answered."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "toco_http_requests", "Requests by route, method and status.", ("route", "method", "status"),
            registry=self.registry,
        )  # fmt: skip
        self._seconds = Histogram(
            "toco_http_request_seconds", "Time to the end of the answer.", ("route", "method"), buckets=_SECONDS,
            registry=self.registry,
        )  # fmt: skip

    def note(self, *, route: str, method: str, status: int, seconds: float) -> None:
        """Count one request.

        Args:
            route: the path's template, so that ids do not make a series each.
            method: of the request.
            status: of the answer.
            seconds: from the first byte in to the last byte out.
        """
        self._requests.labels(route, method, str(status)).inc()
        self._seconds.labels(route, method).observe(seconds)
