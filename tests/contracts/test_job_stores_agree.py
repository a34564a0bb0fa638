"""The store that is simulated and the one on Postgres give the same answers to the same random work.

What ten thousand seeds show of the one in memory holds for the other only as far as the two agree.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest

from fakesieve.database import Database
from fakesieve.jobs.cancel import cancel_job, retry_job
from fakesieve.jobs.claim import Taker, extend_claims, release_shard
from fakesieve.jobs.fan_out import Fanned, Prepared, fan_out, reject_job
from fakesieve.jobs.finish import Finished, finish_job, finish_only_shard, finish_shard, load_evidence
from fakesieve.jobs.reconcile import reconcile
from fakesieve.jobs.rows import Claim, ShardKey
from fakesieve.jobs.sql.invariants import find_violations
from fakesieve.jobs.states import JobState, Lane, ShardState, WorkKind
from fakesieve.jobs.submit import NewJob, submit_video
from fakesieve.objects import VideoRef
from fakesieve.reasons import Reason
from tests.job_cases import LEASE_S, LIMITS, MEDIA, JobCase, make_analysis, make_sha
from tests.job_stores import make_memory_case, make_sql_case, take_back_time

STEPS = 80
SEEDS = 12
# No sum of a few of them is a lease, a delay or a deadline: the real database is always a moment late.
SPANS_S = (1.1, 21.3, LEASE_S + 1.7, LIMITS.doorbell_wait_s + 1.3)
LATE_S = 0.1  # by which the real database's clock may be ahead; on a busy machine it would be seconds


class Walk:
    """One random walk over one store. Jobs and claims are told by their numbers, as ids differ."""

    def __init__(self, case: JobCase) -> None:
        self.case = case
        self.jobs: list[str] = []
        self.claims: list[Claim] = []
        self.steps: tuple[Callable[[Random], object], ...] = (
            self.submit,
            self.claim,
            self.claim,
            self.claim,
            self.finish,
            self.finish,
            self.finish,
            self.release,
            self.reject,
            self.extend,
            self.end_or_retry,
            self.wait,
            self.relay,
            self.reconcile,
        )

    def submit(self, random: Random) -> object:
        kind = random.randrange(5)
        source = VideoRef("videos", f"{kind}.mp4")
        new = NewJob(
            self.case.tenants[kind % 2],
            source,
            Lane.BULK if kind == 1 else Lane.STANDARD,
            idempotency_key=f"key-{kind}",
            deadline_s=100.0 if kind in (2, 4) else 90_000.0,
        )
        done = submit_video(self.case.store, new)
        if done.is_new:
            self.jobs.append(done.job_id)
        return self.jobs.index(done.job_id), done.is_new

    def claim(self, random: Random) -> object:
        job, index, owner = random.random(), random.randrange(4), f"host-{random.randrange(2)}"
        if not self.jobs:
            return None
        job_id = self.jobs[int(job * len(self.jobs))]
        if random.random() < 0.8:
            index = next((n for n in range(5) if self.is_open(job_id, n)), index)
        found = self.case.claim(job_id, index, owner)
        if not isinstance(found, Claim):
            return found
        self.claims.append(found)
        numbers = (found.fence, found.attempt, found.deliveries, found.n_shards)
        return found.kind, numbers, found.source, found.plan

    def is_open(self, job_id: str, index: int) -> bool:
        shard = self.case.read_shard(job_id, index)
        return shard is not None and shard.state is ShardState.PENDING

    def pick(self, random: Random) -> Claim | None:
        """Mostly the newest claim; else any, current or not."""
        which = random.random()
        if self.claims and random.random() < 0.7:
            return self.claims[-1]
        return self.claims[int(which * len(self.claims))] if self.claims else None

    def finish(self, random: Random) -> object:
        claim, shards = self.pick(random), random.randrange(1, 4)
        taker = Taker(f"host-{random.randrange(2)}", LEASE_S) if random.random() < 0.5 else None
        is_short = random.random() < 0.7
        if claim is None:
            return None
        if claim.kind is WorkKind.PREPARE:
            plans = tuple({"n": n} for n in range(shards))
            content = f"content-{int(claim.source.key[0]) % 3}"
            read = replace(claim.source, etag=content, size_bytes=1)
            prepared = Prepared(make_sha(content), 1, MEDIA, "fp1", plans, source=read)
            return self.note(fan_out(self.case.store, claim, prepared, taker=taker))
        analysis = make_analysis(claim.tenant_id, claim.video_id)
        if claim.kind is WorkKind.SCREEN and claim.n_shards == 1 and is_short:
            return finish_only_shard(self.case.store, claim, analysis)
        if claim.kind is WorkKind.SCREEN:
            return self.note(finish_shard(self.case.store, claim, b"%d" % claim.fence, taker))
        return finish_job(self.case.store, claim.key.job_id, analysis)

    def note(self, ended: Fanned | Finished) -> object:
        """Keep the claim that came with the end of a piece of work."""
        if ended.following is None:
            return ended.outcome
        self.claims.append(ended.following)
        return ended.outcome, ended.following.kind, ended.following.fence, ended.following.attempt

    def release(self, random: Random) -> object:
        claim, delay_s, refund = self.pick(random), random.choice([0.0, 30.0]), random.random() < 0.5
        if claim is None:
            return None
        return release_shard(self.case.store, claim, Reason.NO_SPACE, delay_s, refund=refund)

    def reject(self, random: Random) -> object:
        claim = self.pick(random)
        if claim is None or random.random() < 0.6:
            return None
        return reject_job(self.case.store, claim, Reason.NOT_VIDEO, "seen")

    def extend(self, random: Random) -> object:
        lost = extend_claims(self.case.store, "host-1", self.claims[-4:], LEASE_S)
        return sorted((self.jobs.index(key.job_id), key.index) for key in lost)

    def end_or_retry(self, random: Random) -> object:
        job, is_end = random.random(), random.random() < 0.4
        if not self.jobs:
            return None
        job_id = self.jobs[int(job * len(self.jobs))]
        return (cancel_job if is_end else retry_job)(self.case.store, job_id)

    def wait(self, random: Random) -> object:
        self.case.pass_time(random.choice(SPANS_S))
        return None

    def relay(self, random: Random) -> object:
        self.case.offer_slots(100)  # room for all: which of many comes first is another test
        return sorted((self.jobs.index(key.job_id), key.index) for key in self.case.relay())

    def reconcile(self, random: Random) -> object:
        return reconcile(self.case.store, LIMITS)

    def describe(self) -> list[object]:
        """Everything that both stores can say of all jobs, without ids and times."""
        told: list[object] = []
        for job_id in self.jobs:
            job = self.case.read_job(job_id)
            shards = [self.case.read_shard(job_id, index) for index in range(5)]
            told.append(
                (
                    job.state,
                    job.n_shards,
                    job.n_done,
                    job.fence,
                    job.reason,
                    job.reused_analysis,
                    job.analysis_id is None,
                    job.source,
                    [] if job.video_id is None else self.case.list_places(job.video_id),
                    load_evidence(self.case.store, job_id),
                    [
                        (
                            shard.state,
                            shard.fence,
                            shard.attempts,
                            shard.deliveries,
                            shard.is_delayed,
                            shard.is_lease_over,
                        )
                        for shard in shards
                        if shard is not None
                    ],
                )
            )
        told.append(sorted((self.jobs.index(key.job_id), key.index) for key in self.case.list_waiting()))
        return told


@pytest.mark.parametrize("seed", range(SEEDS))
def test_both_stores_walk_the_same_way(job_database: Database, seed: int) -> None:
    walks = [Walk(make_memory_case()), Walk(make_sql_case(job_database))]
    chooser, clock_s = Random(seed), time.monotonic()
    for step in range(STEPS):
        which, draw = chooser.randrange(len(walks[0].steps)), chooser.random()
        if (late_s := time.monotonic() - clock_s) > LATE_S:
            take_back_time(job_database, late_s)  # the clock in memory stands still between two steps
            clock_s += late_s
        answers = [walk.steps[which](Random(draw)) for walk in walks]
        assert answers[0] == answers[1], f"step {step}: {walks[0].steps[which].__name__}"
    assert walks[0].describe() == walks[1].describe()
    violations = walks[1].case.store.run(lambda tx: find_violations(tx.session, LIMITS))
    assert {violation.name for violation in violations} <= {"I6", "I4"}  # the reconciler comes when it comes


def test_the_walks_see_every_kind_of_work() -> None:
    seen = set()
    for seed in range(SEEDS):
        walk, chooser = Walk(make_memory_case()), Random(seed)
        for _ in range(STEPS):
            which, draw = chooser.randrange(len(walk.steps)), chooser.random()
            walk.steps[which](Random(draw))
        seen |= {claim.kind for claim in walk.claims} | {walk.case.read_job(j).state for j in walk.jobs}
    assert seen >= set(WorkKind)
    assert seen >= {JobState.FAILED, JobState.CANCELLED, JobState.EXPIRED, JobState.SUCCEEDED}


def test_keys_sort_by_job_and_index() -> None:
    assert sorted([ShardKey("b", 0), ShardKey("a", 2), ShardKey("a", 1)])[0] == ShardKey("a", 1)
