"""What the tests of the workers share: short clips with a real face, and a host in this process."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
import structlog

from engine.bundle import ModelBundle, load_bundle
from engine.policy import choose_policy
from engine.sampling import Sampling
from engine.sandbox.handle import Sandbox
from engine.screen import ScanSettings
from fakesieve.jobs.limits import JobLimits
from fakesieve.jobs.rows import ShardKey
from fakesieve.jobs.states import Lane
from fakesieve.object_stores.folder import FolderObjects
from fakesieve.records.analyses import AnalysisRecord
from tests.assets import astronaut
from tests.fakes import MemoryJobStore
from tests.job_stores import job_database
from tests.media import draw_clip
from workers.leases import Leases
from workers.metrics import FleetMetrics
from workers.relay import Relay
from workers.scratch import Scratch
from workers.screener import Screener, ScreenerRules, open_screener
from workers.tracing import SilentTracer
from workers.work import answer_doorbell
from workers.workplace import Workplace

__all__ = ["job_database"]

BUCKET = "videos"


def draw_face(path: Path, *, seed: int = 0, frames: int = 75, rate: int = 25, side: int = 320) -> Path:
    """A clip in which the astronaut drifts over noise; ``seed`` moves her, so that clips differ."""
    face = cv2.resize(astronaut()[:240, 100:340], (side // 2, side // 2), interpolation=cv2.INTER_AREA)
    ground = np.random.default_rng(seed).integers(60, 120, (side, side, 3), dtype=np.uint8)

    def paint(index: int, rgb: np.ndarray) -> None:
        left = 20 + (index + 7 * seed) % 60
        rgb[:] = ground
        rgb[40 : 40 + side // 2, left : left + side // 2] = face

    return draw_clip(path, width=side, height=side, frames=frames, rate=rate, paint=paint)


@pytest.fixture(scope="session", autouse=True)
def _unshown_logs() -> Iterator[None]:
    """Without it structlog draws each traceback with all variables, which takes seconds."""
    structlog.configure(
        processors=[structlog.processors.JSONRenderer(default=str)],
        logger_factory=structlog.ReturnLoggerFactory(),
    )
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def bundle() -> ModelBundle:
    return load_bundle()


@pytest.fixture(scope="session")
def face_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seconds with a face, four shards by the settings of ``screener``."""
    return draw_face(tmp_path_factory.mktemp("clips") / "face.mp4")


@pytest.fixture(scope="session")
def settings(bundle: ModelBundle) -> ScanSettings:
    return ScanSettings(
        sampling=Sampling(shard_us=1_000_000), policy=choose_policy(bundle.name, bundle.thresholds)
    )


@pytest.fixture(scope="session")
def screener(bundle: ModelBundle, settings: ScanSettings) -> Iterator[Screener]:
    rules = ScreenerRules(engine="onnxruntime", slots=2, threads=1, slab_wait_s=60.0)
    opened = open_screener(bundle, Sandbox.start(), rules, FleetMetrics(), settings=settings)
    yield opened
    opened.close()


class RememberingStore(MemoryJobStore):
    """A job store in memory that keeps the analyses which were given to it."""

    def __init__(self, read_clock: Callable[[], float]) -> None:
        super().__init__(read_clock)
        self.records: list[AnalysisRecord] = []
        store_analysis = self.tx.store_analysis

        def remember(analysis: AnalysisRecord) -> tuple[str, bool]:
            self.records.append(analysis)
            return store_analysis(analysis)

        self.tx.store_analysis = remember


class SteppedClock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class WaitingDoorbells:
    """A broker that keeps doorbells until a test answers them."""

    def __init__(self) -> None:
        self.waiting: list[ShardKey] = []
        self.lanes: dict[ShardKey, Lane] = {}

    def ring(self, key: ShardKey, lane: Lane) -> None:
        self.waiting.append(key)
        self.lanes[key] = lane

    def count_held(self) -> Counter[Lane]:
        return Counter(self.lanes[key] for key in self.waiting)


@dataclass(frozen=True)
class SmallFleet:
    """One host, a relay and their stores in this process; nothing happens but by a call."""

    place: Workplace
    store: RememberingStore
    clock: SteppedClock
    objects: FolderObjects
    relay: Relay
    doorbells: WaitingDoorbells

    def answer_all(self) -> None:
        """Relay and answer until nothing is left to ring."""
        while self.relay.take_turn() or self.doorbells.waiting:
            if self.doorbells.waiting:
                answer_doorbell(self.place, self.doorbells.waiting.pop(0))


@pytest.fixture
def fleet(tmp_path: Path, screener: Screener) -> Iterator[SmallFleet]:
    clock = SteppedClock()
    store, objects, doorbells = (
        RememberingStore(clock),
        FolderObjects(tmp_path / "objects"),
        WaitingDoorbells(),
    )
    objects.make_bucket(BUCKET)
    limits, metrics = JobLimits(), FleetMetrics()
    with Scratch(tmp_path / "scratch", objects, limit_bytes=1 << 30, free_bytes_min=0) as scratch:
        place = Workplace(
            store=store,
            owner="hst_test",
            limits=limits,
            leases=Leases(store, "hst_test", limits.lease_s),
            scratch=scratch,
            screener=screener,
            metrics=metrics,
            tracer=SilentTracer(),
        )
        relay = Relay(store, doorbells, limits, metrics)
        yield SmallFleet(place, store, clock, objects, relay, doorbells)
