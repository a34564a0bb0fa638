"""Models over HTTP: what they are used for, what flips between two, and scoring again."""

from collections.abc import Callable
from typing import TypeVar, cast

import pytest
from sqlalchemy import select, text

from fakesieve.database import Database
from fakesieve.embedded.postgres import SUPERUSER, PostgresServer
from fakesieve.errors import Unavailable
from fakesieve.jobs.sql.store import SqlJobStore, SqlJobTransaction
from fakesieve.jobs.submit import NewBatch, NewJob, SubmittedBatch, submit_batch, submit_video
from fakesieve.objects import VideoRef
from fakesieve.reasons import Reason
from fakesieve.records.audit import AuditSearch, list_audit
from fakesieve.records.jobs import Job
from tests.api.callers import Caller, make_caller, reason_of
from tests.api.model_stage import NEWER, NEWEST, Hosts, Ids, add_newest, add_video, list_jobs, list_videos
from tests.api.results import store_result
from tests.databases import opened
from tests.factories import MODEL, make_score

Result = TypeVar("Result")


def test_uses_are_the_tenants_own_and_go_back_step_by_step(acme: Caller, other: Caller, models: Ids) -> None:
    old, new = models["ab"], models["cd"]

    def roll_back() -> tuple[int, str]:
        answer = acme.post("/v1/models:rollback", {})
        return answer.status_code, answer.json().get("id", answer.json().get("reason"))

    assert acme.post(f"/v1/models/{old}:promote").json()["aliases"] == ["champion"]
    assert acme.post(f"/v1/models/{new}:promote", {"alias": "challenger"}).json()["aliases"] == ["challenger"]
    assert acme.post("/v1/models/challenger:promote").json()["aliases"] == ["champion", "challenger"]
    acme.post("/v1/models/champion:promote")  # it is already, so there is nothing to go back to
    acme.post(f"/v1/models/{old}:promote")
    assert [roll_back(), roll_back()] == [(200, new), (200, old)]
    assert roll_back() == (409, "STATE_CONFLICT")
    assert acme.get("/v1/models/champion").json()["id"] == old
    assert reason_of(other.get("/v1/models/champion")) == (404, "NOT_FOUND")
    assert reason_of(other.post("/v1/models:rollback")) == (409, "STATE_CONFLICT")
    assert reason_of(acme.get("/v1/models/shadow")) == (404, "NOT_FOUND")


def test_a_roll_back_names_both_models_before_and_after(acme: Caller, models: Ids) -> None:
    old, new = models["ab"], models["cd"]
    acme.post(f"/v1/models/{old}:promote")
    acme.post(f"/v1/models/{new}:promote")
    asked = acme.post("/v1/models:rollback", {"dry_run": True}).json()
    assert acme.get("/v1/models/champion").json()["id"] == new
    done = acme.post("/v1/models:rollback").json()
    assert [(each["id"], each["from_model"]["id"], each["is_done"]) for each in (asked, done)] == [
        (old, new, False),
        (old, new, True),
    ]
    assert (done["alias"], done["name"], done["from_model"]["name"]) == ("champion", MODEL.name, NEWER.name)
    assert done["aliases"] == ["champion"]


def test_a_host_tells_what_it_runs_and_its_card(hosts: Hosts, acme: Caller, models: Ids) -> None:
    assert acme.get(f"/v1/models/{models['cd']}").json()["card"] is None
    hosts("hst_1", NEWER)
    shown = acme.get(f"/v1/models/{models['cd']}").json()
    assert (shown["hosts"], shown["card"]) == (1, {"training data": "drawn by a test"})


def test_a_comparison_counts_and_names_flips(acme: Caller, other: Caller, models: Ids) -> None:
    asked = {"base": models["ab"], "other": models["cd"]}
    found = acme.get("/v1/models:compare", **asked).json()
    assert (found["videos"], found["flip_count"]) == (2, 0)  # both are inconclusive or without a score
    acme.post("/v1/policies", {"name": "split", "low": 0.1, "high": 0.4, "min_peak_frames": 1})
    acme.post("/v1/policies/split:apply")
    found = acme.get("/v1/models:compare", **asked).json()
    assert (found["videos"], found["flip_count"]) == (2, 1)
    flip = found["flips"][0]
    assert (flip["base"], flip["other"], flip["base_score"]) == ("likely_manipulated", "inconclusive", 0.49)
    assert found["mean_difference"] == pytest.approx(0.1 - 0.49)
    assert acme.get("/v1/models:compare", **asked, filter="outcome=no_face").json()["videos"] == 1
    assert other.get("/v1/models:compare", **asked).json()["videos"] == 0  # A06
    assert reason_of(acme.get("/v1/models:compare", **asked, filter="1=1")) == (422, "INVALID_FILTER")  # A15
    assert reason_of(acme.get("/v1/models:compare")) == (404, "NOT_FOUND")  # no champion yet


def test_scoring_again_says_what_it_would_do(acme: Caller, models: Ids) -> None:
    answer = acme.post("/v1/analyses:rescore", {"model": models["cd"], "dry_run": True})
    assert answer.status_code == 202
    assert answer.json() == {
        "object": "rescore",
        "model_id": models["cd"],
        "videos": 1,
        "unreachable": 0,
        "unreachable_video_ids": [],
        "live": 0,
        "is_whole": True,
        "hosts": 0,
        "other_hosts": 0,
        "can_run": False,
        "batch_id": None,
    }


def test_what_no_host_can_do_is_not_begun(
    module_database: Database, hosts: Hosts, acme: Caller, models: Ids
) -> None:
    asked = {"model": models["cd"]}
    alone = acme.post("/v1/analyses:rescore", asked)
    assert reason_of(alone) == (503, "ENGINE_UNAVAILABLE")
    assert "no running host" in alone.json()["detail"]
    hosts("hst_new", NEWER)
    hosts("hst_old", MODEL)
    mixed = acme.post("/v1/analyses:rescore", asked)
    assert reason_of(mixed) == (503, "ENGINE_UNAVAILABLE")
    assert "1 of 2 running hosts" in mixed.json()["detail"]
    with module_database.transaction(tenant_id=acme.tenant_id) as session:
        assert session.scalars(select(Job.id)).all() == []


def test_videos_are_scored_again_once_every_host_has_the_model(
    module_database: Database, hosts: Hosts, acme: Caller, models: Ids
) -> None:
    hosts("hst_new", NEWER)
    asked = {"model": models["cd"], "filter": "verdict:*", "lane": "standard"}
    answer = acme.post("/v1/analyses:rescore", asked).json()
    assert (answer["videos"], answer["can_run"]) == (1, True)
    with module_database.transaction(tenant_id=acme.tenant_id) as session:
        jobs = session.execute(select(Job.source_key, Job.external_id, Job.batch_id)).all()
        told = [(line.actor, line.details) for line in list_audit(session, AuditSearch(answer["batch_id"]))]
    assert [tuple(job) for job in jobs] == [("middle.mp4", "middle", answer["batch_id"])]
    assert told == [(acme.key_id, {"model_id": models["cd"], "jobs": 1})]


class CutOff:
    """A store that is gone after some transactions."""

    def __init__(self, store: SqlJobStore, runs: int) -> None:
        self._store, self._runs = store, runs

    def run(self, work: Callable[[SqlJobTransaction], Result]) -> Result:
        """Run ``work`` where the store is still there."""
        if self._runs == 0:
            raise Unavailable(Reason.DATABASE_UNAVAILABLE, "gone", "ask again")
        self._runs -= 1
        return self._store.run(work)


def test_a_rescore_that_was_cut_off_goes_on_in_its_batch(
    module_database: Database, hosts: Hosts, acme: Caller, models: Ids, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes what was counted and no more, whatever was scored or came meanwhile, and asks no new quota."""
    model = add_newest(acme, hosts)
    asked, headers = {"model": model}, {"Idempotency-Key": "again"}

    def cut_off(store: SqlJobStore, new: NewBatch, jobs: list[NewJob]) -> SubmittedBatch:
        return submit_batch(cast("SqlJobStore", CutOff(store, runs=2)), new, jobs)  # the batch and one step

    with monkeypatch.context() as patch:
        patch.setattr("fakesieve.jobs.submit._JOBS_AT_ONCE", 2)
        patch.setattr("api.rescoring.submit_batch", cut_off)
        assert reason_of(acme.post("/v1/analyses:rescore", asked, headers)) == (503, "DATABASE_UNAVAILABLE")
    begun = list_jobs(module_database, acme)
    assert len(begun) == 2
    with module_database.transaction(tenant_id=acme.tenant_id) as session:
        store_result(session, acme.tenant_id, begun[0].removesuffix(".mp4"), make_score(0.2), model=NEWEST)
        add_video(session, acme, "late")
    with module_database.transaction(tenant_id=None) as session:
        session.execute(text("UPDATE tenant SET jobs_max = 3 WHERE id = :id"), {"id": acme.tenant_id})
    answer = acme.post("/v1/analyses:rescore", asked, headers)
    assert (answer.status_code, answer.json()["videos"]) == (202, 3)
    assert sorted(list_jobs(module_database, acme)) == ["high.mp4", "middle.mp4", "none.mp4"]
    batch = acme.get(answer.headers["location"]).json()
    assert batch["id"] == answer.json()["batch_id"]
    assert (batch["state"], batch["counts"]["total"]) == ("running", 3)
    again = acme.post("/v1/analyses:rescore", asked, headers)
    assert again.json() == answer.json()


def test_a_rescore_whose_answer_was_lost_takes_nothing_twice(
    module_database: Database, hosts: Hosts, acme: Caller, models: Ids, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, headers = {"model": add_newest(acme, hosts), "videos_max": 2}, {"Idempotency-Key": "lost"}

    def lose(*_: object, **__: object) -> None:
        raise Unavailable(Reason.DATABASE_UNAVAILABLE, "gone", "ask again")

    with monkeypatch.context() as patch:
        patch.setattr("api.rescoring.note_act", lose)
        assert reason_of(acme.post("/v1/analyses:rescore", asked, headers)) == (503, "DATABASE_UNAVAILABLE")
    taken = list_jobs(module_database, acme)
    answer = acme.post("/v1/analyses:rescore", asked, headers).json()
    assert (answer["videos"], answer["live"]) == (2, 0)
    assert list_jobs(module_database, acme) == taken
    with module_database.transaction(tenant_id=acme.tenant_id) as session:
        told = [line.details["jobs"] for line in list_audit(session, AuditSearch(answer["batch_id"]))]
    assert told == [2]


def test_a_second_start_takes_what_the_first_has_not(
    module_database: Database, hosts: Hosts, acme: Caller, models: Ids
) -> None:
    asked = {"model": add_newest(acme, hosts), "videos_max": 2}
    counts: list[tuple[int, int]] = []
    for _ in range(3):
        answer = acme.post("/v1/analyses:rescore", asked).json()
        counts.append((answer["videos"], answer["live"]))
    assert counts == [(2, 0), (1, 2), (0, 3)]
    assert sorted(list_jobs(module_database, acme)) == ["high.mp4", "middle.mp4", "none.mp4"]


def test_videos_out_of_reach_are_named_and_do_not_stop_those_behind(
    module_database: Database, hosts: Hosts, acme: Caller, models: Ids
) -> None:
    asked = {"model": add_newest(acme, hosts), "videos_max": 1}
    (closed, _), (gone, name), (_, last) = sorted(list_videos(module_database, acme))
    with module_database.transaction(tenant_id=None) as session:
        session.execute(text("UPDATE source SET bucket = 'elsewhere' WHERE video_id = :id"), {"id": closed})
    first = acme.post("/v1/analyses:rescore", asked).json()
    assert (first["videos"], first["unreachable_video_ids"]) == (2, [closed])
    assert list_jobs(module_database, acme) == [f"{name}.mp4"]
    with module_database.transaction(tenant_id=None) as session:
        lost = "UPDATE job SET state = 'failed', end_time = now(), error_reason = 'SOURCE_NOT_FOUND'"
        session.execute(text(f"{lost} WHERE batch_id = :id"), {"id": first["batch_id"]})
    second = acme.post("/v1/analyses:rescore", asked).json()
    assert (second["videos"], second["unreachable"], second["unreachable_video_ids"]) == (
        3,
        2,
        [closed, gone],
    )
    assert list_jobs(module_database, acme) == [f"{name}.mp4", f"{last}.mp4"]


def test_a_video_that_is_submitted_again_is_in_reach_again(
    module_database: Database, hosts: Hosts, acme: Caller, models: Ids
) -> None:
    asked = {"model": add_newest(acme, hosts)}
    batch_id = acme.post("/v1/analyses:rescore", asked).json()["batch_id"]
    with module_database.transaction(tenant_id=None) as session:
        lost = "UPDATE job SET state = 'failed', end_time = now(), error_reason = 'SOURCE_CHANGED'"
        session.execute(text(f"{lost} WHERE batch_id = :id"), {"id": batch_id})
    ask = {**asked, "dry_run": True}
    assert acme.post("/v1/analyses:rescore", ask).json()["unreachable"] == 3
    found = NewJob(acme.tenant_id, VideoRef("videos", "high.mp4", None, "etag", 10))
    job_id = submit_video(SqlJobStore(module_database, acme.tenant_id), found).job_id
    assert acme.post("/v1/analyses:rescore", ask).json()["live"] == 1
    acme.post(f"/v1/jobs/{job_id}:cancel")
    answer = acme.post("/v1/analyses:rescore", ask).json()
    assert (answer["videos"], answer["unreachable"]) == (3, 2)


HELD = text(
    "SELECT DISTINCT locktype FROM pg_locks JOIN pg_stat_activity USING (pid)"
    " WHERE datname = current_database() AND state = 'idle in transaction' AND locktype <> 'virtualxid'"
)


def test_nothing_but_the_turn_is_held_while_a_rescore_is_submitted(
    postgres: PostgresServer,
    module_database_name: str,
    hosts: Hosts,
    acme: Caller,
    models: Ids,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hosts("hst_new", NEWER)
    seen = list[list[str]]()

    def look(store: SqlJobStore, new: NewBatch, jobs: list[NewJob]) -> SubmittedBatch:
        with opened(postgres, module_database_name, SUPERUSER) as all_seeing:
            held = all_seeing.run_transaction(lambda session: session.scalars(HELD).all(), tenant_id=None)
        seen.append(list(held))
        return submit_batch(store, new, jobs)

    monkeypatch.setattr("api.rescoring.submit_batch", look)
    assert acme.post("/v1/analyses:rescore", {"model": models["cd"]}).json()["videos"] == 1
    assert seen == [["advisory"]]


def test_a_video_outside_the_tenants_places_is_left_out(
    module_database: Database, hosts: Hosts, acme: Caller, models: Ids
) -> None:
    hosts("hst_new", NEWER)
    with module_database.transaction(tenant_id=None) as session:
        session.execute(text("UPDATE tenant SET places = '{}' WHERE id = :id"), {"id": acme.tenant_id})
    answer = acme.post("/v1/analyses:rescore", {"model": models["cd"]}).json()
    assert (answer["videos"], answer["unreachable"], answer["batch_id"]) == (1, 1, None)


def test_a05_each_act_has_its_scope(module_database: Database, acme: Caller, models: Ids) -> None:
    reader = make_caller(
        acme.client, module_database, tenant_id=acme.tenant_id, scopes=frozenset({"results:read"})
    )
    assert reason_of(reader.post(f"/v1/models/{models['ab']}:promote")) == (403, "MISSING_SCOPE")
    assert reason_of(reader.post("/v1/models:rollback")) == (403, "MISSING_SCOPE")
    assert reason_of(reader.post("/v1/analyses:rescore", {"model": "champion"})) == (403, "MISSING_SCOPE")
