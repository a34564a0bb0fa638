"""Values that check themselves, moves between states, and pure judgements."""

from datetime import UTC, datetime

import pytest

from fakesieve.jobs.claim import explain_refusal
from fakesieve.jobs.ends import describe_exhaustion, failed_by
from fakesieve.jobs.fan_out import Prepared
from fakesieve.jobs.limits import JobLimits
from fakesieve.jobs.reconcile import judge_batch
from fakesieve.jobs.rows import BatchRow, Fault, HostBeat, JobEnd, JobRow, Refusal, ShardKey, ShardRow
from fakesieve.jobs.states import (
    JOB_MOVES,
    LIVE_STATES,
    RETRY_STATES,
    SHARD_MOVES,
    BatchState,
    JobState,
    Lane,
    ShardState,
    WorkKind,
)
from fakesieve.jobs.submit import NewBatch, NewJob
from fakesieve.objects import VideoRef
from fakesieve.reasons import Reason

SOURCE = VideoRef("b", "k")
SHA = "a" * 64


def make_shard(**changes) -> ShardRow:
    values = {
        "key": ShardKey("job_1", 1),
        "kind": WorkKind.SCREEN,
        "state": ShardState.PENDING,
        "fence": 3,
        "attempts": 1,
        "deliveries": 1,
        "is_lease_over": False,
        "is_delayed": False,
    }
    return ShardRow(**values | changes)


def make_job(state: JobState = JobState.RUNNING) -> JobRow:
    return JobRow("job_1", "ten_a", state, Lane.BULK, SOURCE, 1, 0, 0, datetime(2026, 1, 1, tzinfo=UTC))


def test_every_state_has_its_moves() -> None:
    assert set(JOB_MOVES) == set(JobState)
    assert set(SHARD_MOVES) == set(ShardState)


def test_what_ended_stays_but_for_a_retry() -> None:
    for state in set(JobState) - LIVE_STATES:
        assert state.is_terminal
        assert JOB_MOVES[state] == ({JobState.QUEUED} if state in RETRY_STATES else set())


@pytest.mark.parametrize(
    "make",
    [
        lambda: ShardKey("job_1", -1),
        lambda: HostBeat("host", 0),
        lambda: JobLimits(lease_s=0),
        lambda: JobLimits(max_attempts=0),
        lambda: JobLimits(max_attempts=9, max_deliveries=8),
        lambda: JobEnd(JobState.RUNNING),
        lambda: JobEnd(JobState.FAILED),
        lambda: JobEnd(JobState.SUCCEEDED),
        lambda: JobEnd(JobState.SUCCEEDED, Reason.INTERNAL, analysis_id="ana_1"),
        lambda: JobEnd(JobState.CANCELLED, Reason.INTERNAL, analysis_id="ana_1"),
        lambda: Prepared("short", 1, {}, "fp", ({},)),
        lambda: Prepared(SHA, 0, {}, "fp", ({},)),
        lambda: Prepared(SHA, 1, {}, "", ({},)),
        lambda: Prepared(SHA, 1, {}, "fp", ()),
        lambda: Prepared(SHA, 1, {}, "fp", ({},), costs=(1.0, 2.0)),
        lambda: Prepared(SHA, 1, {}, "fp", ({},), source=VideoRef("videos", "clip.mp4")),
        lambda: NewJob("", SOURCE),
        lambda: NewJob("ten_a", SOURCE, deadline_s=0.0),
        lambda: NewJob("ten_a", SOURCE, idempotency_key=""),
        lambda: NewJob("ten_a", SOURCE, external_id="x" * 201),
        lambda: NewBatch("ten_a", "list", max_failure_rate=1.5),
    ],
)
def test_values_that_cannot_be_are_refused(make) -> None:
    with pytest.raises(ValueError, match=r"."):
        make()


def test_the_same_request_has_the_same_hash_whatever_its_deadline() -> None:
    first, second = NewJob("ten_a", SOURCE), NewJob("ten_a", SOURCE, deadline_s=5.0, batch_id="bat_1")
    assert first.request_hash == second.request_hash
    assert first.request_hash != NewJob("ten_a", SOURCE, lane=Lane.BULK).request_hash


@pytest.mark.parametrize(
    ("shard", "job", "refusal"),
    [
        (None, make_job(), Refusal.UNKNOWN),
        (make_shard(), None, Refusal.UNKNOWN),
        (make_shard(state=ShardState.DONE), make_job(JobState.CANCELLED), Refusal.DONE),
        (make_shard(), make_job(JobState.CANCELLED), Refusal.ENDED),
        (make_shard(state=ShardState.LEASED), make_job(), Refusal.HELD),
        (make_shard(attempts=3), make_job(), Refusal.EXHAUSTED),
        (make_shard(deliveries=50), make_job(), Refusal.EXHAUSTED),
        (make_shard(is_delayed=True), make_job(), Refusal.NOT_YET),
        (make_shard(), make_job(), Refusal.ENDED),  # past its deadline
    ],
)
def test_a_refusal_says_why(shard: ShardRow | None, job: JobRow | None, refusal: Refusal) -> None:
    assert explain_refusal(shard, job, JobLimits()) is refusal


def test_exhaustion_tells_the_last_fault_if_there_is_one() -> None:
    lost = describe_exhaustion(make_shard(attempts=3, last_reason=Reason.LEASE_LOST))
    assert lost.reason is Reason.ATTEMPTS_EXHAUSTED
    crashed = describe_exhaustion(
        make_shard(attempts=3, last_reason=Reason.DECODER_CRASHED, last_message="signal 11")
    )
    assert crashed.reason is Reason.DECODER_CRASHED
    assert crashed.message == "shard 1 gave up after 3 attempts: signal 11"


def test_a_failure_always_has_a_hint() -> None:
    assert failed_by(Fault(Reason.NO_SPACE)).hint == Reason.NO_SPACE.hint
    assert failed_by(Fault(Reason.NO_SPACE, "seen", "own")).hint == "own"


OK, BAD, LATE, LIVE, GONE = (
    JobState.SUCCEEDED,
    JobState.FAILED,
    JobState.EXPIRED,
    JobState.RUNNING,
    JobState.CANCELLED,
)


@pytest.mark.parametrize(
    ("counts", "state", "rate", "answer"),
    [
        ({}, BatchState.RUNNING, 1.0, BatchState.SUCCEEDED),
        ({}, BatchState.OPEN, 1.0, None),
        ({OK: 5}, BatchState.OPEN, 1.0, None),
        ({OK: 5}, BatchState.RUNNING, 1.0, BatchState.SUCCEEDED),
        ({OK: 5, LIVE: 1}, BatchState.RUNNING, 1.0, None),
        ({OK: 5, BAD: 1}, BatchState.RUNNING, 1.0, BatchState.SUCCEEDED_WITH_ERRORS),
        ({OK: 5, GONE: 1}, BatchState.RUNNING, 1.0, BatchState.SUCCEEDED_WITH_ERRORS),
        ({OK: 1, BAD: 5, LATE: 1, GONE: 3}, BatchState.RUNNING, 1.0, BatchState.SUCCEEDED_WITH_ERRORS),
        ({BAD: 5, LATE: 1}, BatchState.RUNNING, 1.0, BatchState.FAILED),
        ({BAD: 9, GONE: 1}, BatchState.RUNNING, 1.0, BatchState.FAILED),
        ({LATE: 1, GONE: 9}, BatchState.RUNNING, 1.0, BatchState.FAILED),
        ({GONE: 5}, BatchState.RUNNING, 1.0, BatchState.CANCELLED),
        ({GONE: 5, LIVE: 1}, BatchState.RUNNING, 1.0, None),
        ({OK: 9, BAD: 10, LIVE: 99}, BatchState.RUNNING, 0.1, None),  # too few to judge by
        ({OK: 10, BAD: 10, LIVE: 99}, BatchState.RUNNING, 0.5, None),
        ({OK: 10, BAD: 9, LATE: 2, LIVE: 99}, BatchState.OPEN, 0.5, BatchState.FAILED),
    ],
)
def test_a_batch_is_judged_by_its_counts(
    counts: dict[JobState, int], state: BatchState, rate: float, answer: BatchState | None
) -> None:
    assert judge_batch(BatchRow("bat_1", "ten_a", state, rate, counts)) is answer
