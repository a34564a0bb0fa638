"""One way to drive any job store in a test: make work, do it, and let time pass without waiting."""

from collections.abc import Callable
from dataclasses import dataclass, field

from engine.policy import PRESETS
from engine.results import Coverage, Outcome, VideoScore, VideoVerdict
from fakesieve.jobs.claim import claim_shard
from fakesieve.jobs.fan_out import FanOut, Prepared, fan_out
from fakesieve.jobs.finish import Finish, finish_job, finish_shard, score_key
from fakesieve.jobs.limits import JobLimits
from fakesieve.jobs.relay import Credit, relay_doorbells
from fakesieve.jobs.rows import Claim, HostBeat, Refusal, ShardKey, Waiting
from fakesieve.jobs.states import Lane
from fakesieve.jobs.store import JobStore
from fakesieve.jobs.submit import NewJob, submit_video
from fakesieve.objects import VideoRef
from fakesieve.records.analyses import AnalysisRecord
from fakesieve.records.models import ModelFacts

LEASE_S = 60.0
LIMITS = JobLimits()
MEDIA = {"container": "mp4", "duration_us": 2_000_000, "width": 320, "height": 240}


def make_sha(name: str) -> str:
    """A stand-in for the hash of a file's bytes: the same for the same name."""
    return name.encode().hex().ljust(64, "0")[:64]


def make_analysis(tenant_id: str, video_id: str, fingerprint: str = "fp1") -> AnalysisRecord:
    """The analysis of a video without faces: the smallest there is."""
    coverage = Coverage(50, 2, 2, 0, 0, 0, (), 0, 2_000_000)
    score = VideoScore(Outcome.NO_FACE, None, None, None, (), (), coverage)
    policy = PRESETS["balanced"]
    verdict = VideoVerdict(None, policy.name, policy.version, policy.low, policy.high, None, ())
    model = ModelFacts("lv-compact", "a" * 64, "onnxruntime", "f32")
    return AnalysisRecord(tenant_id, video_id, fingerprint, model, score, policy, verdict)


class CutOff:
    """A store whose caller dies after so many transactions."""

    def __init__(self, store: JobStore, runs: int) -> None:
        self._store, self._left = store, runs

    def run(self, work: Callable) -> object:
        if not self._left:
            raise ConnectionError("cut off")
        self._left -= 1
        return self._store.run(work)


@dataclass
class JobCase:
    """A store with two tenants, and the steps of a worker."""

    store: JobStore
    tenants: tuple[str, str]
    pass_time: Callable[[float], None]  # lets so many seconds pass on the store's clock
    list_places: Callable[[str], list[tuple[str, str | None]]]  # keys and ETags where a video was seen
    credit: Credit = field(default_factory=Credit)

    def submit(self, name: str = "clip", tenant: int = 0, **changes) -> str:
        source = VideoRef("videos", f"{name}.mp4", etag="e1", size_bytes=1000)
        return submit_video(self.store, NewJob(self.tenants[tenant], source, **changes)).job_id

    def claim(self, job_id: str, index: int = 0, owner: str = "host-1") -> Claim | Refusal:
        return claim_shard(self.store, ShardKey(job_id, index), owner, LEASE_S, LIMITS)

    def prepare(
        self, job_id: str, shards: int = 1, content: str | None = None, source: VideoRef | None = None
    ) -> FanOut:
        plans = tuple({"shard": n} for n in range(1, shards + 1))
        prepared = Prepared(make_sha(content or job_id), 1000, MEDIA, "fp1", plans, source=source)
        return fan_out(self.store, self.claim(job_id), prepared).outcome

    def screen(self, job_id: str, index: int) -> Finish:
        return finish_shard(self.store, self.claim(job_id, index), f"evidence {index}".encode()).outcome

    def score(self, job_id: str) -> bool:
        job = self.read_job(job_id)
        return finish_job(self.store, job_id, make_analysis(job.tenant_id, job.video_id))

    def finish(self, job_id: str, content: str | None = None) -> None:
        """Run a whole job."""
        assert self.prepare(job_id, content=content) is FanOut.FANNED
        claim = self.claim(job_id, 1)
        assert finish_shard(self.store, claim, b"evidence").outcome is Finish.LAST
        assert isinstance(self.claim(job_id, score_key(claim).index), Claim)
        assert self.score(job_id)

    def read_job(self, job_id: str):
        return self.store.run(lambda tx: tx.read_job(job_id))

    def read_shard(self, job_id: str, index: int = 0):
        return self.store.run(lambda tx: tx.read_shard(ShardKey(job_id, index)))

    def offer_slots(self, slots: int, owner: str = "host-1", *, is_draining: bool = False) -> None:
        beat = HostBeat(owner, slots, is_draining, name="one", version="1")
        self.store.run(lambda tx: tx.beat_host(beat))

    def relay(self, ring: Callable[[Waiting], None] | None = None) -> list[ShardKey]:
        """Take one turn of the relay and return what it rang, in order."""
        rung: list[ShardKey] = []

        def note(waiting: Waiting) -> None:
            if ring is not None:
                ring(waiting)
            rung.append(waiting.key)

        self.credit = relay_doorbells(self.store, note, self.credit, LIMITS).credit
        return rung

    def list_waiting(self) -> list[ShardKey]:
        return [waiting.key for waiting in self.store.run(lambda tx: tx.list_waiting(1000))]

    def lanes_ringing(self) -> dict[Lane, int]:
        return dict(self.store.run(lambda tx: tx.count_ringing(LIMITS.doorbell_wait_s)))
