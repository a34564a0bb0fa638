"""Many at once on the real database: one winner, exact counts, no deadlock that anybody sees."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TypeVar

import pytest
from sqlalchemy import text

from fakesieve.database import Database
from fakesieve.errors import RequestRefused
from fakesieve.jobs.cancel import cancel_job
from fakesieve.jobs.claim import extend_claims
from fakesieve.jobs.fan_out import FanOut, Prepared, fan_out
from fakesieve.jobs.finish import Finish, finish_only_shard, finish_shard
from fakesieve.jobs.reconcile import reconcile
from fakesieve.jobs.relay import Credit, relay_doorbells
from fakesieve.jobs.rows import Claim, JobEnd, Refusal
from fakesieve.jobs.sql.invariants import find_violations
from fakesieve.jobs.sql.store import SqlJobStore, SqlJobTransaction
from fakesieve.jobs.states import JobState
from fakesieve.jobs.submit import NewBatch, NewJob, Submitted, submit_batch, submit_video
from fakesieve.objects import VideoRef
from fakesieve.reasons import Reason
from tests.databases import wait_long_for_locks
from tests.job_cases import LEASE_S, LIMITS, MEDIA, JobCase, make_analysis, make_sha
from tests.job_stores import make_sql_case
from tests.waiting import PATIENCE_S, wait_until

Answer = TypeVar("Answer")
THREADS = 8


@pytest.fixture
def case(job_database: Database) -> JobCase:
    wait_long_for_locks(job_database)
    return make_sql_case(job_database)


def at_once(*calls: Callable[[], Answer]) -> list[Answer]:
    """Call all of them at the same moment, each in its own thread."""
    barrier = Barrier(len(calls))

    def wait_and_call(call: Callable[[], Answer]) -> Answer:
        barrier.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(wait_and_call, calls))


def assert_sound(case: JobCase) -> None:
    found = case.store.run(lambda tx: find_violations(tx.session, LIMITS))
    assert [str(each) for each in found] == []


def test_no_two_pass_the_last_place_of_a_quota_together(case: JobCase) -> None:
    case.store.run(lambda tx: tx.session.execute(text("UPDATE tenant SET jobs_max = 3")))
    new = [NewJob(case.tenants[0], VideoRef("videos", f"{n}.mp4")) for n in range(THREADS)]

    def submit(job: NewJob) -> bool:
        try:
            return submit_video(case.store, job).is_new
        except RequestRefused as fault:
            return fault.reason is not Reason.QUOTA_EXCEEDED

    for _ in range(3):
        done = at_once(*[lambda job=job: submit(job) for job in new])
        live = case.store.run(lambda tx: tx.session.scalar(text("SELECT count(*) FROM job")))
        assert live == 3
    assert sum(done) == 0
    assert submit(NewJob(case.tenants[1], VideoRef("videos", "other.mp4")))  # a tenant for itself


def submit_list(case: JobCase, name: str, size: int, key: str | None = None) -> int:
    """Submit a list and return how many of its jobs are new, none where the quota refuses it."""
    jobs = [NewJob(case.tenants[0], VideoRef("videos", f"{name}{n}.mp4")) for n in range(size)]
    try:
        done = submit_batch(case.store, NewBatch(case.tenants[0], "list", idempotency_key=key), jobs)
    except RequestRefused as fault:
        return 0 if fault.reason is Reason.QUOTA_EXCEEDED else -1
    return sum(each.is_new for each in done.jobs)


def test_of_two_lists_at_once_one_fits_and_comes_whole(
    case: JobCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fakesieve.jobs.submit._JOBS_AT_ONCE", 2)
    case.store.run(lambda tx: tx.session.execute(text("UPDATE tenant SET jobs_max = 10")))
    for round_ in range(5):
        names = [f"{round_}{name}" for name in "abcd"]
        done = at_once(*[lambda name=name: submit_list(case, name, 6) for name in names])
        assert sorted(done) == [0, 0, 0, 6]
        case.store.run(lambda tx: tx.session.execute(text("DELETE FROM job")))
    assert_sound(case)


def test_one_list_sent_twice_at_once_needs_its_places_once(
    case: JobCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fakesieve.jobs.submit._JOBS_AT_ONCE", 2)
    case.store.run(lambda tx: tx.session.execute(text("UPDATE tenant SET jobs_max = 12")))
    for key in "ab":
        done = at_once(*[lambda key=key: submit_list(case, key, 6, key) for _ in range(4)])
        assert sum(done) == 6


def test_a_submission_does_not_wait_for_that_of_another_tenant(case: JobCase, job_database: Database) -> None:
    """Else this would wait for itself."""
    case.store.run(lambda tx: tx.session.execute(text("UPDATE tenant SET jobs_max = 3")))
    with SqlJobStore(job_database).transaction() as tx:
        assert tx.count_over_quota(case.tenants[0]) == 0
        assert case.submit("of another tenant", tenant=1)


def test_one_of_many_screens_the_same_bytes(case: JobCase) -> None:
    jobs = [case.submit(f"{n}") for n in range(THREADS)]
    found = at_once(*[lambda job_id=job_id: case.prepare(job_id, content="same") for job_id in jobs])
    assert sorted(found) == [FanOut.FANNED, *[FanOut.WAITING] * (THREADS - 1)]
    assert_sound(case)


def test_one_of_many_gets_the_claim(case: JobCase) -> None:
    job_id = case.submit()
    answers = at_once(*[lambda n=n: case.claim(job_id, owner=f"host-{n}") for n in range(THREADS)])
    assert sum(isinstance(answer, Claim) for answer in answers) == 1
    assert answers.count(Refusal.HELD) == THREADS - 1
    assert case.read_shard(job_id).attempts == 1


def test_one_key_at_once_is_one_job(case: JobCase) -> None:
    new = NewJob(case.tenants[0], VideoRef("videos", "a.mp4"), idempotency_key="k")
    answers: list[Submitted] = at_once(*[lambda: submit_video(case.store, new)] * THREADS)
    assert len({answer.job_id for answer in answers}) == 1
    assert sum(answer.is_new for answer in answers) == 1
    assert len(case.list_waiting()) == 1


def test_of_shards_that_finish_at_once_one_is_last(case: JobCase) -> None:
    for _ in range(5):
        case.prepare(job_id := case.submit(), shards=THREADS)
        claims = [case.claim(job_id, n) for n in range(1, THREADS + 1)]
        answers = at_once(*[lambda c=c: finish_shard(case.store, c, b"e").outcome for c in claims])
        assert answers.count(Finish.LAST) == 1
        assert answers.count(Finish.DONE) == THREADS - 1
        assert case.read_job(job_id).n_done == THREADS
    assert_sound(case)


def test_one_of_many_finishes_the_job(case: JobCase) -> None:
    case.prepare(job_id := case.submit())
    case.screen(job_id, 1)
    assert at_once(*[lambda: case.score(job_id)] * 4).count(True) == 1
    assert_sound(case)


def test_relays_at_once_ring_each_doorbell_once(case: JobCase) -> None:
    jobs = {case.submit(f"{n}") for n in range(30)}
    case.offer_slots(40)
    rung: list[str] = []

    def relay() -> int:
        note = lambda waiting: rung.append(waiting.key.job_id)  # noqa: E731 - two words
        return relay_doorbells(case.store, note, Credit(), LIMITS).rung

    relayed = at_once(relay, relay, relay)
    left = relay()  # what each passed over because another one held it
    assert sum(relayed) + left == len(rung) == len(jobs)
    assert set(rung) == jobs


def test_reconcilers_at_once_take_each_lease_back_once(case: JobCase) -> None:
    jobs = [case.submit(f"{n}") for n in range(10)]
    for job_id in jobs:
        case.claim(job_id)
    case.pass_time(LEASE_S + 1)
    done = at_once(*[lambda: reconcile(case.store, LIMITS)] * 3)
    assert sum(each.taken_back for each in done) == len(jobs)
    assert len(case.list_waiting()) == len(jobs)
    assert_sound(case)


def while_locked(
    case: JobCase, hold: Callable[[SqlJobTransaction], object], call: Callable[[], Answer]
) -> Answer:
    """Return what ``call`` answers, which waits until what ``hold`` writes is committed."""
    count = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND "
        "wait_event_type = 'Lock'"
    )
    with ThreadPoolExecutor(1) as pool:
        with case.store.transaction() as tx:
            hold(tx)
            answer = pool.submit(call)
            wait_until(lambda: case.store.run(lambda other: other.session.scalar(count)), answer.done)
        return answer.result(PATIENCE_S)


def test_a_fan_out_that_waited_for_a_cancel_opens_no_shard(case: JobCase) -> None:
    claim = case.claim(job_id := case.submit())
    cancelled = JobEnd(JobState.CANCELLED, Reason.CANCELLED_BY_CALLER)
    prepared = Prepared(make_sha(job_id), 1000, MEDIA, "fp1", ({"shard": 1},))
    fanned = while_locked(
        case, lambda tx: tx.close_job(job_id, cancelled), lambda: fan_out(case.store, claim, prepared)
    )
    assert fanned.outcome is FanOut.STALE
    assert case.read_shard(job_id, 1) is None
    assert_sound(case)


def test_a_shard_that_waited_for_another_counts_it_too(case: JobCase) -> None:
    case.prepare(job_id := case.submit(), shards=2)
    first, second = case.claim(job_id, 1), case.claim(job_id, 2)
    finished = while_locked(
        case,
        lambda tx: tx.mark_and_count(first.key, first.fence, b"e"),
        lambda: finish_shard(case.store, second, b"e"),
    )
    assert finished.outcome is Finish.LAST
    assert case.read_job(job_id).n_done == 2
    assert_sound(case)


def test_an_only_shard_that_waited_for_a_cancel_ends_nothing(case: JobCase) -> None:
    case.prepare(job_id := case.submit())
    claim, job = case.claim(job_id, 1), case.read_job(job_id)
    cancelled = JobEnd(JobState.CANCELLED, Reason.CANCELLED_BY_CALLER)
    record = make_analysis(job.tenant_id, job.video_id)
    is_ended = while_locked(
        case, lambda tx: tx.close_job(job_id, cancelled), lambda: finish_only_shard(case.store, claim, record)
    )
    assert not is_ended
    assert case.read_job(job_id).state is JobState.CANCELLED
    told = text("SELECT array_agg(topic) FROM outbox WHERE job_id = :job AND topic <> 'doorbell'")
    assert case.store.run(lambda tx: tx.session.scalar(told, {"job": job_id})) == ["job.cancelled"]
    assert case.store.run(lambda tx: tx.session.scalar(text("SELECT count(*) FROM usage"))) == 0
    assert_sound(case)


def test_a_job_ends_once_whatever_waits_for_its_end(case: JobCase) -> None:
    case.prepare(job_id := case.submit())
    cancelled = JobEnd(JobState.CANCELLED, Reason.CANCELLED_BY_CALLER)
    ended = while_locked(
        case,
        lambda tx: tx.close_job(job_id, cancelled),
        lambda: case.store.run(lambda tx: tx.close_job(job_id, JobEnd(JobState.FAILED, Reason.INTERNAL))),
    )
    assert ended is None
    assert case.read_job(job_id).state is JobState.CANCELLED
    told = text("SELECT array_agg(topic) FROM outbox WHERE job_id = :job AND topic <> 'doorbell'")
    assert case.store.run(lambda tx: tx.session.scalar(told, {"job": job_id})) == ["job.cancelled"]


def test_cancel_and_finish_at_once_have_one_outcome(case: JobCase) -> None:
    for _ in range(5):
        case.prepare(job_id := case.submit(), shards=2)
        claims = [case.claim(job_id, n) for n in (1, 2)]
        at_once(
            lambda: cancel_job(case.store, job_id),
            *[lambda c=c: finish_shard(case.store, c, b"e").outcome for c in claims],
            lambda claims=claims: extend_claims(case.store, "host-1", claims, LEASE_S),
        )
        assert case.read_job(job_id).state is JobState.CANCELLED
    assert_sound(case)


def test_everything_at_once_leaves_everything_sound(case: JobCase) -> None:
    """Workers that share a host, a relay and two reconcilers beside them, until all jobs are done."""
    jobs = [case.submit(f"{n}", tenant=n % 2) for n in range(12)]

    def work(which: int) -> None:
        for job_id in jobs[which::3]:
            case.prepare(job_id, shards=3, content=f"same-{which}")
            for index in (1, 2, 3):
                if isinstance(claim := case.claim(job_id, index), Claim):
                    finish_shard(case.store, claim, b"e")
            case.score(job_id)

    def serve() -> None:
        for _ in range(10):
            case.offer_slots(4)
            relay_doorbells(case.store, lambda waiting: None, Credit(), LIMITS)
            reconcile(case.store, LIMITS)

    at_once(*[lambda n=n: work(n) for n in range(3)], serve, serve)
    assert {case.read_job(job_id).state for job_id in jobs} == {JobState.SUCCEEDED}
    assert_sound(case)
