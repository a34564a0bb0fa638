"""Work of a job that was planned for another pipeline than its host runs, as in a roll-out."""

from dataclasses import replace

from fakesieve.jobs.finish import load_evidence
from fakesieve.jobs.rows import HostBeat, HostModel, ShardKey
from fakesieve.jobs.states import JobState, ShardState
from fakesieve.reasons import Reason
from tests.workers.test_work import prepare_only, read, read_shard, submit, wait
from workers import work
from workers.work import answer_doorbell


def test_job_of_another_pipeline_is_given_back(fleet, face_clip, monkeypatch):
    job_id = submit(fleet, face_clip)
    monkeypatch.setattr(fleet.place.screener, "by", fleet.place.screener.by)
    prepare_only(fleet, job_id, monkeypatch)
    monkeypatch.setattr(fleet.place.screener, "by", replace(fleet.place.screener.by, fingerprint="another"))
    answer_doorbell(fleet.place, ShardKey(job_id, 1))
    row = read_shard(fleet, job_id, 1)
    assert (row.state, row.attempts, row.is_delayed) == (ShardState.PENDING, 0, True)
    assert row.last_reason is Reason.ENGINE_UNAVAILABLE


def test_job_whose_pipeline_is_gone_is_planned_anew(fleet, face_clip, monkeypatch):
    job_id = submit(fleet, face_clip)
    prepare_only(fleet, job_id, monkeypatch)
    by = replace(fleet.place.screener.by, fingerprint="the next release")
    monkeypatch.setattr(fleet.place.screener, "by", by)
    for _ in range(4):
        fleet.answer_all()
        wait(fleet, 16.0)
    fleet.answer_all()
    job = read(fleet, job_id)
    assert (job.state, job.fingerprint) == (JobState.SUCCEEDED, "the next release")
    assert [topic for topic, _ in fleet.store.events] == ["job.succeeded"]
    assert fleet.store.violations == []


def test_an_outage_and_one_new_host_throw_no_evidence_away(fleet, face_clip, monkeypatch):
    job_id = submit(fleet, face_clip)
    prepare_only(fleet, job_id, monkeypatch)
    answer_doorbell(fleet.place, ShardKey(job_id, 1))
    for _ in range(4):
        claim = work.claim_shard(fleet.store, ShardKey(job_id, 2), "hst_old", 60.0)
        assert work.release_shard(fleet.store, claim, Reason.OBJECT_STORE_UNAVAILABLE, 0.0, refund=True)
    by = fleet.place.screener.by
    others = HostBeat("hst_old", 99, model=HostModel(by.model_facts, by.fingerprint))
    fleet.store.run(lambda tx: tx.beat_host(others))
    monkeypatch.setattr(fleet.place.screener, "by", replace(by, fingerprint="the next release"))
    answer_doorbell(fleet.place, ShardKey(job_id, 2))
    job, row = read(fleet, job_id), read_shard(fleet, job_id, 2)
    assert (job.state, job.fingerprint, job.n_done) == (JobState.RUNNING, by.fingerprint, 1)
    assert (row.state, row.last_reason) == (ShardState.PENDING, Reason.ENGINE_UNAVAILABLE)
    assert len(load_evidence(fleet.store, job_id)) == 1
