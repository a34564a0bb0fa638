"""What the API counts, for Prometheus. Labels come from closed lists: routes, methods, statuses, reasons."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from fakesieve.reasons import Reason

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class ApiMetrics:
    """All figures of one process, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._answers = Counter(
            "fakesieve_api_answers", "Requests answered.", ["method", "route", "status"],
            registry=self.registry,
        )  # fmt: skip
        self._seconds = Histogram(
            "fakesieve_api_seconds", "Time of an answer to its end, that of long polls and streams too.",
            ["method", "route"], buckets=_SECONDS, registry=self.registry,
        )  # fmt: skip
        self._problems = Counter(
            "fakesieve_api_problems", "Requests refused or failed.", ["reason"], registry=self.registry
        )
        # From 0 on, as alert rules ask for these: a rate sees nothing of a series' first value.
        for reason in (Reason.INTERNAL, Reason.NOT_FOUND, Reason.UNAUTHENTICATED):
            self._problems.labels(reason.value)
        self.streams = Gauge(
            "fakesieve_api_streams", "Event streams and long polls that are open.", registry=self.registry
        )

        self.lost_sightings = Counter(
            "fakesieve_api_lost_sightings",
            "Review pages shown whose line in the audit log could not be written; the process's log has it.",
            registry=self.registry,
        )

    def note_answer(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answer. ``route`` is the path with names in place of ids."""
        self._answers.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)

    def note_problem(self, reason: Reason) -> None:
        """Count a refusal or a failure."""
        self._problems.labels(reason.value).inc()
