"""A load test as a document for programs and as rows for people.

What was not seen is null, or a dash. A time behind the time-out is null, and for people a lower bound.
"""

from collections.abc import Iterator

from api.load.mix import Kind, Mix
from api.load.pace import Course, Schedule
from api.load.tally import Count
from fakesieve.cli.printing import Json

ALL = "all"
NAMES = (
    *("request", "sent", "answered", "refused", "failed", "unsent", "open"),
    *("p50 ms", "p90 ms", "p99 ms", "max ms", "answers/s", "why"),
)
"""The columns of the table; ``open`` are those that waited for an answer when it was interrupted."""


def write_course(mix: Mix, schedule: Schedule, course: Course) -> dict[str, Json]:
    """Return a load test as one document."""
    late = course.late
    return {
        "object": "load_test",
        "asked_per_s": schedule.per_s,
        "duration_s": schedule.duration_s,
        "timeout_s": schedule.timeout_s,
        "key_rate": {"burst": mix.rate.burst, "per_s": mix.rate.per_s},
        "is_interrupted": course.is_interrupted,
        "elapsed_s": round(course.elapsed_s, 3),
        "sender": {
            "is_on_time": course.is_on_time,
            "late_p99_ms": _round(late.p99_ms),
            "late_max_ms": _round(late.max_ms),
        },
        "kinds": [
            {
                "kind": kind,
                "left_out": mix.left_out.get(kind),
                **_write_count(count, course.elapsed_s),
            }
            for kind, count in course.counts.items()
        ],
        ALL: _write_count(course.whole, course.elapsed_s),
    }


def _write_count(count: Count, elapsed_s: float) -> dict[str, Json]:
    waits = count.waits
    return {
        "sent": count.sent,
        "answered": count.answered,
        "refused": count.refused,
        "failed": {str(why): number for why, number in count.failed.items()},
        "unsent": {str(why): number for why, number in count.unsent.items()},
        "open": count.open,
        "p50_ms": _round(waits.p50_ms),
        "p90_ms": _round(waits.p90_ms),
        "p99_ms": _round(waits.p99_ms),
        "max_ms": _round(waits.max_ms),
        "answered_per_s": find_rate(count, elapsed_s),
    }


def find_rate(count: Count, elapsed_s: float) -> float | None:
    """Return the answers a second over the whole run; None where there was none, or no time for one."""
    return round(count.answered / elapsed_s, 3) if count.answered and elapsed_s > 0 else None


def list_rows(mix: Mix, schedule: Schedule, course: Course) -> Iterator[list[object]]:
    """Yield the rows of the table: each kind, also one that was left out, and all together."""
    for kind, count in course.counts.items():
        yield _list_cells(kind, count, schedule.timeout_s, course.elapsed_s, _tell_left_out(mix, kind))
    yield _list_cells(ALL, course.whole, schedule.timeout_s, course.elapsed_s, "")


def _list_cells(name: str, count: Count, timeout_s: float, elapsed_s: float, left_out: str) -> list[object]:
    waits = count.waits
    # With a request that was given up there is a number for each quantile, if only a lower bound.
    unseen = f">{timeout_s:g} s" if count.timed_out else None
    rate = find_rate(count, elapsed_s)
    counted = [count.sent, count.answered, count.refused, count.failed.total(), count.unsent.total()]
    return [
        name,
        *([None] * 6 if left_out else [*counted, count.open]),
        *(unseen if each is None else f"{each:.1f}" for each in (waits.p50_ms, waits.p90_ms)),
        *(unseen if each is None else f"{each:.1f}" for each in (waits.p99_ms, waits.max_ms)),
        None if rate is None else f"{rate:.2f}",
        left_out or tell_faults(count),
    ]


def _tell_left_out(mix: Mix, kind: Kind) -> str:
    why = mix.left_out.get(kind)
    return "" if why is None else f"not asked: {why}"


def tell_faults(count: Count) -> str:
    """Say which faults there were, the most frequent first; empty without any."""
    faults = [*count.failed.most_common(), *count.unsent.most_common()]
    return ", ".join(f"{number} {reason}" for reason, number in faults)


def _round(value_ms: float | None) -> float | None:
    return None if value_ms is None else round(value_ms, 3)
