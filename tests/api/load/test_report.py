"""What a load test tells people and programs: no figure of the answered alone where others were given up."""

from array import array
from collections import Counter

from api.load.mix import Kind, Mix
from api.load.pace import Course, Schedule
from api.load.report import NAMES, list_rows, write_course
from api.load.tally import Count, NoAnswer
from api.schemas.keys import RateOut

SCHEDULE = Schedule(10, 10, timeout_s=10)
MIX = Mix({}, {}, RateOut(burst=1, per_s=1))


def _course(count: Count) -> Course:
    return Course({Kind.NEWEST: count}, 10.0, is_interrupted=False)


def _tell(course: Course) -> dict[str, object]:
    """Return the row of all kinds, by the names of its columns."""
    *_, whole = list_rows(MIX, SCHEDULE, course)
    return dict(zip(NAMES, whole, strict=True))


def test_a_quantile_among_time_outs_is_told_as_a_lower_bound() -> None:
    course = _course(Count(sent=100, failed=Counter({NoAnswer.TIMEOUT: 2}), waits_ms=array("d", [1.0] * 98)))
    told = _tell(course)
    assert [told[name] for name in ("p50 ms", "p90 ms", "p99 ms", "max ms")] == [
        "1.0",
        "1.0",
        ">10 s",
        ">10 s",
    ]
    whole = write_course(MIX, SCHEDULE, course)["all"]
    assert [whole[name] for name in ("p50_ms", "p90_ms", "p99_ms", "max_ms")] == [1.0, 1.0, None, None]
    assert whole["failed"] == {"TIMEOUT": 2}


def test_where_nothing_was_answered_for_another_reason_there_is_no_bound() -> None:
    told = _tell(_course(Count(sent=5, refused=3, failed=Counter({NoAnswer.UNREACHABLE: 2}))))
    assert [told[name] for name in ("p50 ms", "p99 ms", "max ms")] == [None, None, None]
