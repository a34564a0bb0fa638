"""Orders to score again: what a key stands for, where a walk stops, and what somebody else has ended."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import cast

import httpx2
import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from fakesieve.database import Database
from fakesieve.embedded.postgres import SUPERUSER, PostgresServer
from fakesieve.errors import Unavailable
from fakesieve.filters.check import EVERYTHING
from fakesieve.jobs.sql.store import SqlJobStore, SqlJobTransaction
from fakesieve.jobs.submit import NewBatch, NewJob, SubmittedBatch, submit_batch
from fakesieve.reasons import Reason
from fakesieve.records.audit import AuditSearch, list_audit
from fakesieve.records.rescore_targets import Target, TargetWalk, hold_targets
from tests.api.callers import Caller, make_caller, reason_of
from tests.api.model_stage import Hosts, Ids, add_newest, list_jobs, list_videos
from tests.databases import opened
from tests.waiting import wait_until

PATH = "/v1/analyses:rescore"
CONFLICT = "IDEMPOTENCY_CONFLICT"


def lose(*_: object, **__: object) -> None:
    """Fail as where the database is gone."""
    raise Unavailable(Reason.DATABASE_UNAVAILABLE, "gone", "ask again")


@contextmanager
def answers_lost(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let calls fail once all of their jobs are there."""
    with monkeypatch.context() as patch:
        patch.setattr("api.rescoring.note_act", lose)
        yield


def change(database: Database, statement: str, **values: object) -> None:
    """Change rows of any tenant."""
    with database.transaction(tenant_id=None) as session:
        session.execute(text(statement), values)


def test_a_key_of_last_week_is_not_answered_with_the_batch_of_then(
    module_database: Database,
    hosts: Hosts,
    acme: Caller,
    models: Ids,
) -> None:
    asked, headers = {"model": add_newest(acme, hosts), "videos_max": 1}, {"Idempotency-Key": "nightly"}
    batch_id = acme.post(PATH, asked, headers).json()["batch_id"]
    change(module_database, "DELETE FROM idempotent_answer")
    change(module_database, "UPDATE batch SET create_time = now() - interval '49 hours'")
    answer = acme.post(PATH, asked, headers)
    assert reason_of(answer)[1] == CONFLICT
    assert f"'nightly' was used more than 48 hours ago, batch {batch_id}" in answer.json()["detail"]
    assert "new Idempotency-Key" in answer.json()["hint"]
    assert len(list_jobs(module_database, acme)) == 1
    with module_database.transaction(tenant_id=acme.tenant_id) as session:
        assert len(list(list_audit(session, AuditSearch(batch_id)))) == 1


def test_a_key_whose_answer_was_lost_stands_for_one_order(
    module_database: Database,
    hosts: Hosts,
    acme: Caller,
    models: Ids,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked, headers = {"model": add_newest(acme, hosts), "videos_max": 2}, {"Idempotency-Key": "one"}
    with answers_lost(monkeypatch):
        assert reason_of(acme.post(PATH, asked, headers)) == (503, "DATABASE_UNAVAILABLE")
    taken = list_jobs(module_database, acme)
    fewer = {**asked, "videos_max": 1}
    narrower = {**asked, "filter": "verdict:*"}
    older = {**asked, "model": models["cd"]}
    for changed in (fewer, narrower, older, {**asked, "lane": "standard"}):
        assert reason_of(acme.post(PATH, changed, headers))[1] == CONFLICT, changed
    else_ = make_caller(acme.client, module_database, tenant_id=acme.tenant_id)
    assert reason_of(else_.post(PATH, asked, headers))[1] == CONFLICT
    made = acme.post(f"/v1/keys/{acme.key_id}:rotate", {}).json()
    after = replace(acme, key_id=made["id"], secret=made["secret"])
    assert after.post(PATH, asked, headers).json()["videos"] == 2
    assert list_jobs(module_database, acme) == taken


def test_a_walk_past_many_videos_stops_and_says_that_more_may_fit(
    module_database: Database,
    hosts: Hosts,
    acme: Caller,
    models: Ids,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = {"model": add_newest(acme, hosts), "videos_max": 1}
    first, second, _ = sorted(video_id for video_id, _ in list_videos(module_database, acme))
    moved = "UPDATE source SET bucket = 'elsewhere' WHERE video_id IN (:first, :second)"
    change(module_database, moved, first=first, second=second)
    monkeypatch.setattr("fakesieve.records.rescore_targets.LOOKED_MAX", 2)
    stopped = acme.post(PATH, asked).json()
    assert (stopped["unreachable"], stopped["is_whole"], stopped["batch_id"]) == (2, False, None)
    monkeypatch.setattr("fakesieve.records.rescore_targets.LOOKED_MAX", 3)
    through = acme.post(PATH, asked).json()
    assert (through["videos"], through["is_whole"], through["batch_id"] is None) == (3, True, False)


def test_a_later_page_that_is_slow_ends_the_walk_and_not_the_call(
    postgres: PostgresServer,
    module_database_name: str,
    module_database: Database,
    hosts: Hosts,
    acme: Caller,
    models: Ids,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the first page took is not there for the second, which waits here for a lock."""
    model, now = add_newest(acme, hosts), 0.0
    monkeypatch.setattr("fakesieve.records.rescore_targets._PAGE", 1)
    monkeypatch.setattr("fakesieve.records.rescore_targets.monotonic", lambda: now)
    with module_database.transaction(tenant_id=acme.tenant_id) as session:
        before = session.scalar(text("SHOW statement_timeout"))
        walk = TargetWalk(session, acme.tenant_id, model, EVERYTHING)
        found = iter(walk)
        next(found)
        now = 14.8
        with opened(postgres, module_database_name, SUPERUSER) as beside:

            def lock_and_walk(other: Session) -> list[Target]:
                other.execute(text("LOCK TABLE standing IN ACCESS EXCLUSIVE MODE"))
                return list(found)

            assert beside.run_transaction(lock_and_walk, tenant_id=None) == []
        assert not walk.is_whole
        assert session.scalar(text("SHOW statement_timeout")) == before


def test_a_batch_that_somebody_has_ended_says_to_count_again(
    module_database: Database,
    hosts: Hosts,
    acme: Caller,
    models: Ids,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whether it is ended between two calls or between two steps of one: nobody has sent a list."""
    asked, headers = {"model": add_newest(acme, hosts)}, {"Idempotency-Key": "ended"}
    ended = "UPDATE batch SET state = 'cancelled', end_reason = 'cancelled', end_time = now(), places = 0"

    def end_first(store: SqlJobStore, new: NewBatch, jobs: list[NewJob]) -> SubmittedBatch:
        class EndsIt:
            runs = 0

            def run(self, work: Callable[[SqlJobTransaction], object]) -> object:
                self.runs += 1
                if self.runs == 3:  # the batch and one step are there
                    change(module_database, ended)
                return store.run(work)

        return submit_batch(cast("SqlJobStore", EndsIt()), new, jobs)

    with monkeypatch.context() as patch:
        patch.setattr("fakesieve.jobs.submit._JOBS_AT_ONCE", 1)
        patch.setattr("api.rescoring.submit_batch", end_first)
        during = acme.post(PATH, asked, headers)
    after = acme.post(PATH, asked, headers)
    assert (reason_of(during), reason_of(after)) == ((409, "STATE_CONFLICT"), (422, CONFLICT))
    for each in (during, after):
        assert "has ended (cancelled)" in each.json()["detail"]
        assert "count again and start anew" in each.json()["hint"]
    assert len(list_jobs(module_database, acme)) == 1


def test_the_rest_of_a_call_waits_for_the_month_like_any_new_job(
    module_database: Database,
    hosts: Hosts,
    acme: Caller,
    models: Ids,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A call that has all of its jobs and lost only its answer is answered all the same."""
    asked, cut, lost = {"model": add_newest(acme, hosts), "videos_max": 1}, "cut", "lost"
    with answers_lost(monkeypatch):
        acme.post(PATH, asked, {"Idempotency-Key": lost})
    with monkeypatch.context() as patch:
        patch.setattr("fakesieve.jobs.submit._submit_step", lose)
        assert reason_of(acme.post(PATH, asked, {"Idempotency-Key": cut})) == (503, "DATABASE_UNAVAILABLE")
    billed = (
        "INSERT INTO usage (tenant_id, job_id, analysis_id, n_shards, duration_ms)"
        " SELECT tenant_id, 'job_x', min(id), 1, 5 FROM analysis WHERE tenant_id = :id GROUP BY tenant_id"
    )
    change(module_database, billed, id=acme.tenant_id)
    change(module_database, "UPDATE tenant SET month_ms_max = 5 WHERE id = :id", id=acme.tenant_id)
    whole = acme.post(PATH, asked, {"Idempotency-Key": lost})
    rest = acme.post(PATH, asked, {"Idempotency-Key": cut})
    assert (whole.status_code, reason_of(rest)) == (202, (403, "QUOTA_EXCEEDED"))
    assert "billed this month" in rest.json()["detail"]
    assert len(list_jobs(module_database, acme)) == 1


def is_waited_for(database: Database) -> bool:
    """Whether a transaction of this database waits for a lock that only code asks for."""
    waiting = (
        "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database"
        " WHERE datname = current_database() AND locktype = 'advisory' AND NOT granted"
    )
    with database.transaction(tenant_id=None) as session:
        return session.execute(text(waiting)).scalar_one() > 0


@pytest.mark.parametrize("keys", [("first", "second"), (None, None)])
def test_two_starts_at_once_take_no_video_twice(
    module_database: Database,
    hosts: Hosts,
    acme: Caller,
    models: Ids,
    monkeypatch: pytest.MonkeyPatch,
    keys: tuple[str | None, str | None],
) -> None:
    first, second = ({} if key is None else {"Idempotency-Key": key} for key in keys)
    monkeypatch.setattr("fakesieve.records.rescore_targets.WAIT_MS", 50_000)
    asked, other = {"model": add_newest(acme, hosts)}, list[Future[httpx2.Response]]()

    def start_second_first(store: SqlJobStore, new: NewBatch, jobs: list[NewJob]) -> SubmittedBatch:
        if not other:  # the first has planned, and none of its jobs is there
            other.append(pool.submit(acme.post, PATH, {**asked, "videos_max": 2}, second))
            wait_until(lambda: is_waited_for(module_database) or other[0].done())
        return submit_batch(store, new, jobs)

    monkeypatch.setattr("api.rescoring.submit_batch", start_second_first)
    with ThreadPoolExecutor(1) as pool:
        taken = acme.post(PATH, asked, first).json()
        left = other[0].result().json()
    assert (taken["videos"], taken["live"], taken["batch_id"] is None) == (3, 0, False)
    assert (left["videos"], left["live"], left["batch_id"]) == (0, 3, None)
    jobs = list_jobs(module_database, acme)
    assert (len(jobs), len(set(jobs))) == (3, 3)


def test_a_start_that_another_one_holds_up_for_long_is_told_to_ask_again(
    module_database: Database,
    hosts: Hosts,
    acme: Caller,
    models: Ids,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Counting waits for nobody, and no other tenant does."""
    monkeypatch.setattr("fakesieve.records.rescore_targets.WAIT_MS", 50)
    asked, headers = {"model": add_newest(acme, hosts)}, {"Idempotency-Key": "patient"}
    with module_database.transaction(tenant_id=acme.tenant_id) as session:
        assert hold_targets(session, acme.tenant_id)
        held_up = acme.post(PATH, asked, headers)
        assert acme.post(PATH, {**asked, "dry_run": True}).json()["videos"] == 3
        with module_database.transaction(tenant_id=None) as of_another:
            assert hold_targets(of_another, "ten_other")
    assert reason_of(held_up) == (409, "REQUEST_IN_PROGRESS")
    assert held_up.headers["retry-after"] == "1"
    assert "another order of this organisation" in held_up.json()["detail"]
    assert list_jobs(module_database, acme) == []
    assert acme.post(PATH, asked, headers).json()["videos"] == 3
