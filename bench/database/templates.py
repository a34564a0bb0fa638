"""Real jobs, each taken through every function that a fleet calls, as patterns for a million rows."""

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from bench.work import ClipSet, cut_heads, make_clips, write_clip
from engine.backends.select import default_threads
from engine.bundle import DEFAULT_MODEL, load_bundle
from engine.limits import Limits
from engine.policy import choose_policy
from engine.probe import Probe, probe_video
from engine.sampling import cut_shards, plan_samples
from engine.sandbox.handle import Sandbox
from engine.screen import (
    ScanSettings,
    ScanTools,
    describe_model,
    fingerprint_tools,
    open_tools,
    screen_shard,
)
from engine.watch import StageClock
from fakesieve.jobs.claim import Taker, claim_shard
from fakesieve.jobs.fan_out import Prepared, fan_out, reject_job
from fakesieve.jobs.finish import finish_only_shard
from fakesieve.jobs.limits import JobLimits
from fakesieve.jobs.relay import Credit, relay_doorbells
from fakesieve.jobs.rows import Claim, ShardKey
from fakesieve.jobs.store import JobStore
from fakesieve.jobs.submit import NewJob, submit_video
from fakesieve.reasons import Reason
from fakesieve.records.analyses import AnalysisRecord
from workers.plan_json import plan_to_json, probe_to_json
from workers.scoring import ScoredBy, score_job
from workers.shard_result import ShardResult

CLIPS = ClipSet("A", 6, 10, 640, 360)
OWNER, LEASE_S = "bench", 60.0
TAKER = Taker(OWNER, LEASE_S)
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Screened:
    """One clip after its pixels were looked at: everything that the rows of its job are made from."""

    prepared: Prepared
    probe: Probe
    result: ShardResult
    by: ScoredBy

    def copy(self, content: str) -> "Screened":
        """Return the same findings in a video of other bytes."""
        sha256 = hashlib.sha256(content.encode()).hexdigest()
        return replace(self, prepared=replace(self.prepared, sha256=sha256))

    def score(self, tenant_id: str, video_id: str, results: Sequence[ShardResult]) -> AnalysisRecord:
        """Join the evidence as the last worker of a job does."""
        return score_job(tenant_id, video_id, self.probe, results, self.by)


class Steps:
    """How long each step of the jobs took, in milliseconds, in the order in which they were taken."""

    def __init__(self) -> None:
        self.spent_ms: dict[str, list[float]] = {}

    def take(self, name: str, work: Callable[[], Answer]) -> Answer:
        """Do a step and note its time."""
        begun = time.perf_counter()
        answer = work()
        self.spent_ms.setdefault(name, []).append(1000 * (time.perf_counter() - begun))
        return answer


def screen_clips(folder: Path) -> list[Screened]:
    """Scan the clips: six with one or two faces and, last, one without."""
    paths = make_clips((CLIPS,), folder)[CLIPS.name]
    empty = folder / "nobody.mp4"
    if not empty.exists():
        heads = [replace(head, alpha=np.zeros_like(head.alpha)) for head in cut_heads()]
        write_clip(empty, CLIPS, heads, seed=99)
    bundle = load_bundle(DEFAULT_MODEL)
    settings = ScanSettings(policy=choose_policy(bundle.name, bundle.thresholds))
    with Sandbox.start() as sandbox:
        tools = open_tools(bundle, sandbox, engine="onnxruntime", threads=default_threads())
        by = ScoredBy(
            describe_model(tools),
            fingerprint_tools(tools, settings),
            bundle.calibration,
            settings.scoring,
            settings.policy,
        )
        return [_screen(path, tools, settings, by) for path in (*paths, empty)]


def _screen(path: Path, tools: ScanTools, settings: ScanSettings, by: ScoredBy) -> Screened:
    probe = probe_video(path, Limits(), tools.sandbox)
    (plan,) = cut_shards(plan_samples(probe, settings.sampling), probe, settings.sampling)
    clock = StageClock()
    evidence = screen_shard(
        path, probe, plan, tools.detector, tools.backend, tools.sandbox, settings=settings, clock=clock
    )
    prepared = Prepared(
        probe.sha256,
        probe.size_bytes,
        probe_to_json(probe),
        by.fingerprint,
        (plan_to_json(plan),),
        (float(len(plan.targets)),),
        by.policy,
    )
    spent = {stage: ms for stage, ms in clock.timings_ms.items() if stage != "total"}
    return Screened(prepared, probe, ShardResult(evidence, spent, 0.5), by)


class Runner:
    """Takes jobs from their submission to their end, with all that a fleet does but pixels and messages."""

    def __init__(self, store: JobStore, steps: Steps | None = None) -> None:
        self._store, self._steps, self._credit = store, steps or Steps(), Credit()

    def run(self, screened: Screened, new: NewJob) -> str:
        """Return the id of the job, which has succeeded."""
        store, take = self._store, self._steps.take
        job_id = take("submit", lambda: submit_video(store, new)).job_id
        self._relay()
        claim = self._claim("claim to prepare", ShardKey(job_id, 0))
        fanned = take("fan out", lambda: fan_out(store, claim, screened.prepared, taker=TAKER))
        held = fanned.following
        assert held is not None
        assert held.video_id is not None
        record = screened.score(new.tenant_id, held.video_id, [screened.result])
        take("end the job", lambda: finish_only_shard(store, held, record))
        return job_id

    def reject(self, new: NewJob) -> str:
        """Return the id of a job whose object was no video."""
        job_id = submit_video(self._store, new).job_id
        self._relay()
        claim = self._claim("claim to prepare", ShardKey(job_id, 0))
        reject_job(self._store, claim, Reason.NOT_VIDEO, "the file is text", "submit videos")
        return job_id

    def _relay(self) -> None:
        def ring() -> None:
            relayed = relay_doorbells(self._store, lambda _: None, self._credit, JobLimits())
            self._credit = relayed.credit

        self._steps.take("relay", ring)

    def _claim(self, step: str, key: ShardKey) -> Claim:
        claim = self._steps.take(step, lambda: claim_shard(self._store, key, OWNER, LEASE_S))
        assert isinstance(claim, Claim), claim
        return claim
