"""Failures of the object store, each for one object, so that many can happen side by side."""

import time
from collections.abc import Callable

from fakesieve.jobs.states import JobState
from fakesieve.reasons import Reason
from tests.chaos.driver import WAIT_S, Driver
from tests.flaky_s3 import Fault, Kind

Settle = Callable[[], None]
"""What is asked once the failure is over: it waits for the end and notes what was met."""


def _break(d: Driver, fault: Fault, *, state: JobState = JobState.SUCCEEDED, reason: Reason | None = None):
    """Submit a clip whose object fails in this way; return the job."""
    ref = d.upload()
    fault.path_part = ref.key
    d.stack.flaky_s3.add(fault)
    return d.submit(ref=ref, state=state, reason=reason)


def r21_errors(d: Driver, for_s: float, *, is_everywhere: bool) -> Settle:
    """The store answers SlowDown for a while, then 500 to a third of all requests; one object fails longer.

    Where all requests fail each host leaves the store alone for a while, which holds up all other work.
    """
    s3 = d.stack.flaky_s3
    some_fail = Fault(Kind.STATUS, status=500, share=0.3)
    refs = [d.upload(), d.upload()]
    all_fail = Fault(Kind.STATUS, status=503, path_part="" if is_everywhere else refs[0].key)
    with s3.failing(all_fail):
        jobs = [_fail_once_too_often(d), *[d.submit(ref=ref) for ref in refs]]
        d.wait(lambda: all_fail.n_done > 0, "a request to the store")
        time.sleep(for_s)
    s3.add(some_fail)

    def settle() -> None:
        d.wait(lambda: d.has_ended(*jobs), "the end of what met an outage of the store", 2 * WAIT_S)
        while some_fail.n_done == 0:  # the share is drawn
            d.wait_ended(d.submit())
        some_fail.share = 0.0
        d.note("R21 requests answered 503", all_fail.n_done > 0)
        d.note("R21 a third answered 500", some_fail.n_done > 0)
        # An attempt that ends for another reason, as its host was killed, has used up some of the failures.
        was_given_back = _was_given_back(d, jobs[0]) or d.retry(lambda: _fail_again(d)) == 1
        d.note("R21 shard given back for the store's sake", was_given_back)
        d.tell("R21", f"{all_fail.n_done} requests answered 503 in {for_s:.0f} s")

    return settle


def _fail_once_too_often(d: Driver) -> str:
    """Submit a clip whose object fails more often than the five tries of one attempt."""
    return _break(d, Fault(Kind.STATUS, status=503, count=6))


def _fail_again(d: Driver) -> bool:
    job_id = _fail_once_too_often(d)
    d.wait_ended(job_id)
    return _was_given_back(d, job_id)


def _was_given_back(d: Driver, job_id: str) -> bool:
    query = "SELECT count(*) FROM attempt WHERE job_id = :job AND reason = 'OBJECT_STORE_UNAVAILABLE'"
    return d.ask(query, job=job_id)[0][0] > 0


def r22_slow(d: Driver) -> Settle:
    """A body that stops in the middle, and one that drips."""
    stall, slow = Fault(Kind.STALL, count=1), Fault(Kind.SLOW, rate=1000, count=1)
    jobs = [_break(d, stall), _break(d, slow)]

    def settle() -> None:
        d.wait_ended(*jobs)
        d.note("R22 body stalled", stall.n_done > 0)
        d.note("R22 body dripped at 1 kB/s", slow.n_done > 0)

    return settle


def r23_truncated(d: Driver, times: int) -> Settle:
    """A body that ends in the middle of what was announced."""
    faults = [Fault(Kind.TRUNCATE, count=2) for _ in range(times)]
    jobs = [_break(d, fault) for fault in faults]

    def settle() -> None:
        d.wait_ended(*jobs)
        d.note("R23 body truncated", all(fault.n_done == 2 for fault in faults))

    return settle


def r24_flipped(d: Driver) -> Settle:
    """One bit turned on the way: once, and each time."""
    once, ever = Fault(Kind.FLIP, count=1), Fault(Kind.FLIP)
    jobs = [_break(d, once), _break(d, ever, state=JobState.FAILED, reason=Reason.CORRUPT)]

    def settle() -> None:
        d.wait_ended(*jobs)
        d.note("R24 a bit was turned once", once.n_done == 1)
        d.note("R24 a bit was turned each time", ever.n_done > 1)

    return settle


def r25_replaced(d: Driver) -> Settle:
    """Another video lies under the key when the work begins."""
    ref = d.upload()
    other = d.stack.folder / "clips" / f"other-{ref.key}"
    other.write_bytes(d.clips["short"].copy(d.chance))

    def swap() -> None:
        d.stack.objects.upload(other, ref.bucket, ref.key)

    swapped = d.stack.flaky_s3.add(Fault(Kind.CALL, path_part=ref.key, call=swap, count=1))
    job_id = d.submit(ref=ref, state=JobState.FAILED, reason=Reason.SOURCE_CHANGED)

    def settle() -> None:
        d.wait_ended(job_id)
        d.note("R25 object replaced before it was read", swapped.n_done == 1)

    return settle


def r26_late(d: Driver) -> Settle:
    """An object that is shown late."""
    late = Fault(Kind.STATUS, status=404, code="NoSuchKey", count=2)  # shown after 2 and 8 s
    job_id = _break(d, late)

    def settle() -> None:
        d.wait_ended(job_id)
        d.note("R26 object shown late", late.n_done > 0)

    return settle


def r26_missing(d: Driver) -> Settle:
    """An object that is never shown."""
    never = Fault(Kind.STATUS, status=404, code="NoSuchKey")
    job_id = _break(d, never, state=JobState.FAILED, reason=Reason.SOURCE_NOT_FOUND)

    def settle() -> None:
        d.wait_ended(job_id)
        looked = d.ask(
            "SELECT count(*), extract(epoch FROM max(end_time) - min(start_time)) FROM attempt"
            " WHERE job_id = :job AND reason = 'SOURCE_NOT_FOUND'",
            job=job_id,
        )[0]
        d.note("R26 object never shown", never.n_done > 1)
        d.note("R26 object never shown was given time to come", looked[0] > 1)
        d.tell("R26", f"never shown: {never.n_done} requests in {looked[0]} attempts and {looked[1]:.0f} s")

    return settle
