"""What only Postgres does: rows of other tenants are hidden, attempts logged, jobs billed, ends announced."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from engine.policy import PRESETS
from fakesieve.database import Database
from fakesieve.errors import RequestRefused
from fakesieve.jobs.cancel import cancel_job, retry_job
from fakesieve.jobs.claim import claim_shard, extend_claims
from fakesieve.jobs.fan_out import FanOut, Prepared, fan_out
from fakesieve.jobs.rows import Claim, Refusal, ShardKey
from fakesieve.jobs.sql.store import SqlJobStore
from fakesieve.jobs.states import JobState
from fakesieve.jobs.submit import NewBatch, NewJob, submit_batch, submit_video
from fakesieve.objects import VideoRef
from fakesieve.reasons import Reason
from tests.job_cases import LEASE_S, MEDIA, JobCase, make_sha
from tests.job_stores import make_sql_case


@pytest.fixture
def case(job_database: Database) -> JobCase:
    return make_sql_case(job_database)


def store_of(database: Database, case: JobCase, tenant: int) -> SqlJobStore:
    return SqlJobStore(database, case.tenants[tenant])


def test_a_tenant_takes_in_and_ends_its_own_jobs(case: JobCase, job_database: Database) -> None:
    own = store_of(job_database, case, 0)
    job_id = submit_video(own, NewJob(case.tenants[0], VideoRef("b", "k"))).job_id
    assert cancel_job(own, job_id)
    assert retry_job(own, job_id)
    assert case.read_job(job_id).state is JobState.QUEUED


def test_another_tenants_job_is_not_there(case: JobCase, job_database: Database) -> None:
    job_id = case.submit(tenant=0)
    other = store_of(job_database, case, 1)
    assert other.run(lambda tx: tx.read_job(job_id)) is None
    assert not cancel_job(other, job_id)
    assert claim_shard(other, ShardKey(job_id, 0), "host-1", LEASE_S) is Refusal.UNKNOWN
    assert case.read_job(job_id).state is JobState.QUEUED


def test_a_tenant_submits_nothing_in_anothers_name(case: JobCase, job_database: Database) -> None:
    other = store_of(job_database, case, 1)
    with pytest.raises(ProgrammingError, match="row-level security"):
        submit_video(other, NewJob(case.tenants[0], VideoRef("b", "k")))


def test_an_unknown_tenant_is_refused(case: JobCase) -> None:
    with pytest.raises(RequestRefused) as caught:
        submit_video(case.store, NewJob("ten_none", VideoRef("b", "k")))
    assert caught.value.reason is Reason.NOT_FOUND


def test_the_log_of_attempts_tells_how_each_ended(case: JobCase, job_database: Database) -> None:
    job_id = case.submit()
    case.claim(job_id, owner="host-1")
    case.pass_time(LEASE_S + 1)
    claim = case.claim(job_id, owner="host-2")
    assert isinstance(claim, Claim)
    prepared = Prepared(make_sha("x"), 1, MEDIA, "fp1", ({},))
    assert fan_out(case.store, claim, prepared).outcome is FanOut.FANNED
    query = text("SELECT fence, number, owner, attempt_end, reason FROM attempt ORDER BY fence")
    with job_database.transaction(tenant_id=None) as session:
        rows = [tuple(row) for row in session.execute(query)]
    assert rows == [(1, 1, "host-1", "lost", "LEASE_LOST"), (2, 2, "host-2", "done", None)]


def test_a_scored_job_is_billed_with_its_length(case: JobCase, job_database: Database) -> None:
    case.finish(job_id := case.submit(), content="same")
    case.prepare(case.submit("again"), content="same")
    with job_database.transaction(tenant_id=None) as session:
        rows = session.execute(text("SELECT job_id, n_shards, duration_ms FROM usage")).all()
    assert [tuple(row) for row in rows] == [(job_id, 1, 2000)]


def test_every_end_writes_its_event(case: JobCase, job_database: Database) -> None:
    case.finish(first := case.submit("a"))
    cancel_job(case.store, second := case.submit("b"))
    query = text(
        "SELECT topic, job_id, payload ->> 'state' FROM outbox WHERE topic <> 'doorbell' ORDER BY id"
    )
    with job_database.transaction(tenant_id=None) as session:
        rows = [tuple(row) for row in session.execute(query)]
    assert rows == [("job.succeeded", first, "succeeded"), ("job.cancelled", second, "cancelled")]


def test_a_tenant_puts_no_job_into_anothers_batch(case: JobCase, job_database: Database) -> None:
    # A foreign key sees every tenant's rows; failures of the one would end the batch of the other.
    batch = NewBatch(case.tenants[1], "theirs")
    batch_id = submit_batch(case.store, batch, []).batch_id
    own = store_of(job_database, case, 0)
    for store in (own, case.store):
        with pytest.raises(RequestRefused) as caught:
            submit_video(store, NewJob(case.tenants[0], VideoRef("b", "k"), batch_id=batch_id))
        assert caught.value.reason is Reason.NOT_FOUND
    with pytest.raises(ValueError, match="another tenant"):
        submit_batch(case.store, batch, [NewJob(case.tenants[0], VideoRef("b", "k"))])


def test_a_locked_shard_keeps_no_other_lease_from_being_lengthened(
    case: JobCase, job_database: Database
) -> None:
    claims = [case.claim(case.submit(name)) for name in ("a", "b")]
    case.pass_time(LEASE_S / 2)
    lock = text("SELECT FROM shard WHERE job_id = :job_id FOR UPDATE")
    with job_database.transaction(tenant_id=None) as session:
        session.execute(lock, {"job_id": claims[0].key.job_id})  # as while its result is being stored
        assert extend_claims(case.store, "host-1", claims, LEASE_S) == frozenset()
    case.pass_time(LEASE_S / 2 + 1)
    assert [case.read_shard(each.key.job_id).is_lease_over for each in claims] == [True, False]


def test_a_reused_analysis_is_judged_by_the_policy_of_today(case: JobCase, job_database: Database) -> None:
    case.finish(case.submit(), content="same")
    for n in range(2):
        claim = case.claim(case.submit(f"again {n}"))
        prepared = Prepared(make_sha("same"), 1, MEDIA, "fp1", ({},), policy=PRESETS["strict"])
        assert fan_out(case.store, claim, prepared).outcome is FanOut.REUSED
    query = text("SELECT name FROM verdict JOIN policy ON policy.id = policy_id ORDER BY verdict.create_time")
    with job_database.transaction(tenant_id=None) as session:
        assert list(session.scalars(query)) == ["balanced", "strict"]
