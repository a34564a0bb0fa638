"""Lists whose submission is cut off, sent again or too large, on Postgres and in memory."""

import pickle
from collections.abc import Callable

import pytest
from sqlalchemy import text

from fakesieve.errors import RequestRefused
from fakesieve.jobs.cancel import cancel_batch, cancel_job, retry_job, retry_jobs
from fakesieve.jobs.finish import fail_job
from fakesieve.jobs.limits import JobLimits
from fakesieve.jobs.reconcile import BATCH_SAMPLE_MIN, BatchPace, _settle, reconcile, settle_batches
from fakesieve.jobs.rows import BatchRow, UnsettledBatch
from fakesieve.jobs.states import BatchEnd, BatchState, JobState
from fakesieve.jobs.submit import (
    PLACES_S,
    BatchEnded,
    NewBatch,
    NewJob,
    SubmittedBatch,
    submit_batch,
    submit_video,
)
from fakesieve.objects import VideoRef
from fakesieve.reasons import Reason
from tests.fakes import MemoryJobStore
from tests.job_cases import LIMITS, CutOff, JobCase

IDLE_S = LIMITS.batch_idle_s


@pytest.fixture(autouse=True)
def two_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fakesieve.jobs.submit._JOBS_AT_ONCE", 2)


def send(case: JobCase, size: int, key: str | None = "list", runs: int | None = None) -> SubmittedBatch:
    """Submit a list; with ``runs`` the caller dies after so many transactions."""
    jobs = [NewJob(case.tenants[0], VideoRef("videos", f"{n}.mp4")) for n in range(size)]
    store = case.store if runs is None else CutOff(case.store, runs)
    return submit_batch(store, NewBatch(case.tenants[0], "list", idempotency_key=key), jobs)


def cut_off(case: JobCase) -> str:
    """Submit a list of six of which two come, and return the batch."""
    with pytest.raises(ConnectionError):
        send(case, 6, runs=2)
    return list_jobs(case)[0][1]


def list_jobs(case: JobCase) -> list[tuple[str, str, JobState]]:
    """Return id, batch and state of all jobs, oldest first."""
    if isinstance(case.store, MemoryJobStore):
        return [(job.id, job.draft.batch_id, job.state) for job in case.store.jobs.values()]
    query = text("SELECT id, batch_id, state FROM job ORDER BY id")
    return [tuple(row) for row in case.store.run(lambda tx: tx.session.execute(query).all())]


def read_end(case: JobCase, batch_id: str) -> tuple[BatchState, BatchEnd | None]:
    if isinstance(case.store, MemoryJobStore):
        batch = case.store.batches[batch_id]
        return batch.state, batch.end_reason
    query = text("SELECT state, end_reason FROM batch WHERE id = :id")
    state, end = case.store.run(lambda tx: tx.session.execute(query, {"id": batch_id}).one())
    return BatchState(state), None if end is None else BatchEnd(end)


def set_quota(case: JobCase, jobs_max: int) -> None:
    if isinstance(case.store, MemoryJobStore):
        case.store.quotas[case.tenants[0]] = jobs_max
        return
    sql = text("UPDATE tenant SET jobs_max = :n WHERE id = :id")
    case.store.run(lambda tx: tx.session.execute(sql, {"n": jobs_max, "id": case.tenants[0]}))


def test_a_batch_whose_submission_was_cut_off_fails_after_an_hour(case: JobCase) -> None:
    batch_id = cut_off(case)
    jobs = [job_id for job_id, _, _ in list_jobs(case)]
    assert len(jobs) == 2
    for job_id in jobs:
        case.finish(job_id)
    case.pass_time(IDLE_S - 60)
    assert reconcile(case.store, LIMITS).settled == 0
    assert read_end(case, batch_id) == (BatchState.OPEN, None)
    case.pass_time(120)
    assert reconcile(case.store, LIMITS).settled == 1
    assert read_end(case, batch_id) == (BatchState.FAILED, BatchEnd.SUBMISSION_CUT_OFF)
    assert reconcile(case.store, LIMITS).settled == 0


def test_a_batch_that_never_got_a_job_ends_too(case: JobCase) -> None:
    with pytest.raises(ConnectionError):
        send(case, 4, runs=1)
    case.pass_time(IDLE_S + 1)
    assert reconcile(case.store, LIMITS).settled == 1


def test_a_batch_that_was_cut_off_waits_for_the_jobs_that_it_has(case: JobCase) -> None:
    batch_id = cut_off(case)
    case.pass_time(IDLE_S + 1)
    assert reconcile(case.store, LIMITS).settled == 0
    for job_id, _, _ in list_jobs(case):
        cancel_job(case.store, job_id)
    assert reconcile(case.store, LIMITS).settled == 1
    assert read_end(case, batch_id) == (BatchState.FAILED, BatchEnd.SUBMISSION_CUT_OFF)


def test_a_batch_whose_list_never_came_whole_is_open_again_by_a_retry(case: JobCase) -> None:
    batch_id = cut_off(case)
    jobs = [job_id for job_id, _, _ in list_jobs(case)]
    for job_id in jobs:
        fail_job(case.store, job_id, Reason.CORRUPT, "broken")
    case.pass_time(IDLE_S + 1)
    reconcile(case.store, LIMITS)
    assert retry_jobs(case.store, case.tenants[0], jobs) == 2
    assert read_end(case, batch_id) == (BatchState.OPEN, None)
    for job_id in jobs:
        case.finish(job_id, content=job_id)
    reconcile(case.store, LIMITS)
    assert read_end(case, batch_id) == (BatchState.FAILED, BatchEnd.SUBMISSION_CUT_OFF)  # 2 of 6


def test_how_long_is_waited_is_set(case: JobCase) -> None:
    with pytest.raises(ConnectionError):
        send(case, 4, runs=1)
    case.pass_time(61)
    assert reconcile(case.store, JobLimits(batch_idle_s=60.0)).settled == 1


def test_a_list_sent_again_in_time_is_completed(case: JobCase) -> None:
    batch_id = cut_off(case)
    case.pass_time(IDLE_S - 60)
    done = send(case, 6)
    assert (done.batch_id, [each.is_new for each in done.jobs]) == (batch_id, [False] * 2 + [True] * 4)
    for job_id, _, _ in list_jobs(case):
        cancel_job(case.store, job_id)
    reconcile(case.store, LIMITS)
    assert read_end(case, batch_id) == (BatchState.CANCELLED, BatchEnd.JOBS_ENDED)


def test_a_list_sent_again_too_late_is_refused_with_its_batch(case: JobCase) -> None:
    batch_id = cut_off(case)
    for job_id, _, _ in list_jobs(case):
        case.finish(job_id)
    case.pass_time(IDLE_S + 1)
    reconcile(case.store, LIMITS)
    with pytest.raises(BatchEnded, match=rf"{batch_id} has ended \(failed\).*new key") as caught:
        send(case, 6)
    assert (caught.value.reason, caught.value.batch_id) == (Reason.IDEMPOTENCY_CONFLICT, batch_id)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    assert len(list_jobs(case)) == 2


@pytest.mark.parametrize("size", [3, 4])
def test_a_batch_that_has_ended_takes_no_more_jobs(case: JobCase, size: int) -> None:
    done = send(case, 2)
    for each in done.jobs:
        case.finish(each.job_id, content=each.job_id)
    reconcile(case.store, LIMITS)
    with pytest.raises(BatchEnded):
        send(case, size)
    assert [state for _, _, state in list_jobs(case)] == [JobState.SUCCEEDED] * 2
    again = send(case, 2)
    assert (again.batch_id, [each.is_new for each in again.jobs]) == (done.batch_id, [False] * 2)
    with pytest.raises(RequestRefused, match="takes no more jobs") as caught:
        case.submit("late", batch_id=done.batch_id)
    assert caught.value.reason is Reason.STATE_CONFLICT


def test_a_batch_that_is_cancelled_while_it_is_taken_in_gets_no_further_job(case: JobCase) -> None:
    class CancelOnTheWay(CutOff):
        def run(self, work):
            if not self._left:
                cancel_batch(case.store, list_jobs(case)[0][1])
            self._left -= 1
            return self._store.run(work)

    jobs = [NewJob(case.tenants[0], VideoRef("videos", f"{n}.mp4")) for n in range(6)]
    with pytest.raises(RequestRefused, match="has ended \\(cancelled\\)") as caught:
        submit_batch(CancelOnTheWay(case.store, 2), NewBatch(case.tenants[0], "list"), jobs)
    assert caught.value.reason is Reason.STATE_CONFLICT
    assert [state for _, _, state in list_jobs(case)] == [JobState.CANCELLED] * 2


def test_a_batch_that_failed_too_often_says_so(case: JobCase) -> None:
    jobs = [NewJob(case.tenants[0], VideoRef("videos", f"{n}.mp4")) for n in range(BATCH_SAMPLE_MIN + 2)]
    done = submit_batch(case.store, NewBatch(case.tenants[0], "list", max_failure_rate=0.5), jobs)
    for each in done.jobs[:BATCH_SAMPLE_MIN]:
        fail_job(case.store, each.job_id, Reason.NOT_VIDEO, "seen")
    reconcile(case.store, LIMITS)
    assert read_end(case, done.batch_id) == (BatchState.FAILED, BatchEnd.FAILURE_RATE)


def test_a_batch_whose_jobs_failed_too_often_before_it_was_looked_at_says_so_too(case: JobCase) -> None:
    jobs = [NewJob(case.tenants[0], VideoRef("videos", f"{n}.mp4")) for n in range(BATCH_SAMPLE_MIN)]
    done = submit_batch(case.store, NewBatch(case.tenants[0], "list", max_failure_rate=0.5), jobs)
    for each in done.jobs:
        fail_job(case.store, each.job_id, Reason.NOT_VIDEO, "seen")
    reconcile(case.store, LIMITS)
    assert read_end(case, done.batch_id) == (BatchState.FAILED, BatchEnd.FAILURE_RATE)


def test_a_batch_whose_jobs_end_while_it_is_looked_at_ended_by_them(case: JobCase) -> None:
    batch_id = send(case, 2).batch_id
    seen = UnsettledBatch(batch_id, BatchState.RUNNING, 0.5, has_live_jobs=True)
    for job_id, _, _ in list_jobs(case):
        case.finish(job_id, content=job_id)
    assert _settle(case.store, seen, BatchPace())
    assert read_end(case, batch_id) == (BatchState.SUCCEEDED, BatchEnd.JOBS_ENDED)


class AddOnTheWay:
    """A store that takes the rest of a list in when its batch has been counted."""

    def __init__(self, case: JobCase, add: Callable[[], object]) -> None:
        self._store, self._add = case.store, [add]

    def run(self, work: Callable) -> object:
        answer = self._store.run(work)
        if isinstance(answer, BatchRow) and self._add:
            self._add.pop()()
        return answer


@pytest.mark.parametrize("is_cancelled", [False, True])
def test_a_batch_that_gets_a_job_while_it_is_judged_goes_on(case: JobCase, is_cancelled: bool) -> None:
    batch_id = send(case, 2).batch_id
    for job_id, _, _ in list_jobs(case):
        if is_cancelled:
            cancel_job(case.store, job_id)
        else:
            case.finish(job_id, content=job_id)
    adding = AddOnTheWay(case, lambda: send(case, 3))
    assert settle_batches(adding, BatchPace(), IDLE_S) == 0
    assert read_end(case, batch_id) == (BatchState.RUNNING, None)
    (late,) = (job_id for job_id, _, state in list_jobs(case) if state == JobState.QUEUED)
    case.finish(late, content=late)
    assert reconcile(case.store, LIMITS).settled == 1
    state = BatchState.SUCCEEDED_WITH_ERRORS if is_cancelled else BatchState.SUCCEEDED
    assert list_told(case) == [(batch_id, state)]


def test_a_list_over_the_quota_is_refused_whole(case: JobCase) -> None:
    set_quota(case, 5)
    case.submit("other")
    with pytest.raises(RequestRefused) as caught:
        send(case, 5)
    assert caught.value.reason is Reason.QUOTA_EXCEEDED
    assert len(list_jobs(case)) == 1
    assert case.store.run(lambda tx: tx.list_unsettled_batches(10)) == []
    assert len(send(case, 4).jobs) == 4


def test_what_is_there_already_is_not_counted_twice(case: JobCase) -> None:
    set_quota(case, 6)
    batch_id = cut_off(case)
    assert send(case, 6).batch_id == batch_id
    assert [each.is_new for each in send(case, 6).jobs] == [False] * 6


def test_the_places_of_a_list_on_its_way_are_nobody_elses(case: JobCase) -> None:
    set_quota(case, 6)
    cut_off(case)
    with pytest.raises(RequestRefused) as caught:
        case.submit("other")
    assert caught.value.reason is Reason.QUOTA_EXCEEDED
    with pytest.raises(RequestRefused):
        send(case, 1, key="another list")
    assert len(list_jobs(case)) == 2
    assert case.submit("of another tenant", tenant=1)
    assert len(send(case, 6).jobs) == 6


def test_places_of_a_list_that_was_cut_off_are_free_after_a_minute(case: JobCase) -> None:
    set_quota(case, 6)
    cut_off(case)
    case.pass_time(PLACES_S + 1)
    case.submit("other")
    with pytest.raises(RequestRefused) as caught:
        send(case, 6)
    assert caught.value.reason is Reason.QUOTA_EXCEEDED
    assert len(list_jobs(case)) == 3


def test_places_are_kept_for_as_long_as_jobs_come(case: JobCase) -> None:
    set_quota(case, 6)

    class Slow:
        """A store whose every transaction comes half a minute after the one before."""

        def run(self, work):
            case.pass_time(PLACES_S / 2)
            return case.store.run(work)

    jobs = [NewJob(case.tenants[0], VideoRef("videos", f"{n}.mp4")) for n in range(6)]
    assert len(submit_batch(Slow(), NewBatch(case.tenants[0], "list"), jobs).jobs) == 6


@pytest.mark.parametrize("is_cancelled", [True, False])
def test_a_list_that_is_over_keeps_no_places(case: JobCase, is_cancelled: bool) -> None:
    set_quota(case, 4)
    if is_cancelled:
        with pytest.raises(ConnectionError):
            send(case, 4, runs=2)
        cancel_batch(case.store, list_jobs(case)[0][1])
    else:
        send(case, 2)
    for number in range(2):
        case.submit(f"other {number}")


def test_of_a_list_with_known_jobs_the_others_need_places(case: JobCase) -> None:
    set_quota(case, 3)
    known = NewJob(case.tenants[0], VideoRef("videos", "a.mp4"), idempotency_key="a")
    submit_video(case.store, known)
    new = [NewJob(case.tenants[0], VideoRef("videos", f"{n}.mp4"), idempotency_key=n) for n in "bc"]
    done = submit_batch(case.store, NewBatch(case.tenants[0], "list"), [known, *new])
    assert [each.is_new for each in done.jobs] == [False, True, True]
    with pytest.raises(RequestRefused):
        case.submit("one more")


def list_told(case: JobCase) -> list[tuple[str, str]]:
    """Return batch and state of every ``batch.completed``."""
    if isinstance(case.store, MemoryJobStore):
        told = [subject for topic, subject in case.store.events if topic == "batch.completed"]
        return [(batch_id, case.store.batches[batch_id].state) for batch_id in told]
    query = text(
        "SELECT data ->> 'batch_id', data ->> 'state' FROM event"
        " WHERE type = 'batch.completed' AND tenant_id = :id AND data ? 'end_reason'"
    )
    found = case.store.run(lambda tx: tx.session.execute(query, {"id": case.tenants[0]}).all())
    return [tuple(row) for row in found]


def test_an_end_is_told_once(case: JobCase) -> None:
    batch_id = cut_off(case)
    for job_id, _, _ in list_jobs(case):
        cancel_job(case.store, job_id)
    case.pass_time(IDLE_S + 1)
    for _ in range(3):
        reconcile(case.store, LIMITS)
    with pytest.raises(BatchEnded):
        send(case, 6)
    reconcile(case.store, LIMITS)
    assert list_told(case) == [(batch_id, "failed")]


def test_what_is_retried_takes_no_place_of_a_list_that_is_on_its_way(case: JobCase) -> None:
    failed = [case.submit(f"failed-{n}") for n in range(2)]
    for job_id in failed:
        fail_job(case.store, job_id, Reason.CORRUPT, "broken")
    set_quota(case, 6)
    with pytest.raises(ConnectionError):
        send(case, 6, runs=2)  # two are live, four places are kept
    with pytest.raises(RequestRefused, match="QUOTA_EXCEEDED"):
        retry_job(case.store, failed[0])
    with pytest.raises(RequestRefused, match="QUOTA_EXCEEDED"):
        retry_jobs(case.store, case.tenants[0], failed)
    assert [case.read_job(job_id).state for job_id in failed] == [JobState.FAILED] * 2
    assert sum(job.is_new for job in send(case, 6).jobs) == 4  # the list comes whole
    set_quota(case, 7)
    with pytest.raises(RequestRefused, match="QUOTA_EXCEEDED"):
        retry_jobs(case.store, case.tenants[0], failed)  # all of them or none
    assert retry_jobs(case.store, case.tenants[0], failed[:1]) == 1
    assert retry_jobs(case.store, case.tenants[0], failed[:1]) == 0
