"""One video from a path to a verdict: probe, plan, decode, find, crop, predict, score, decide.

``screen_shard`` is what a worker runs for one shard; ``scan_video`` is the whole way in one process.
"""

from dataclasses import dataclass, field
from pathlib import Path

from engine.backends.late import LateBackend
from engine.backends.protocol import Backend
from engine.backends.select import choose_backend, is_late
from engine.bundle import ModelBundle
from engine.calibrate import Calibration
from engine.collect import CropQueue, EvidenceCollector
from engine.decode import DecodeReport, MissingFrame, decode_samples, warn_of
from engine.errors import EngineError, MediaRejected
from engine.evidence import ShardEvidence, merge_shards
from engine.faces.align import crop_faces
from engine.faces.detect import FaceDetector, load_detector
from engine.faces.link import link_tracks
from engine.faces.track import FaceTracker, track_faces
from engine.fingerprint import describe_pipeline, pipeline_fingerprint
from engine.limits import Limits
from engine.policy import DEFAULT_POLICY, Policy, decide, find_policy
from engine.predict import predict_faces
from engine.probe import Probe, probe_video
from engine.results import EvidenceReason, RejectReason
from engine.sampling import Sampling, ShardPlan, cut_shards, plan_samples
from engine.sandbox.handle import Sandbox
from engine.scan_result import ModelUse, ScanFault, ScanResult
from engine.score import ScoringParams, score_video
from engine.source import SourceIdentity, identify_source
from engine.watch import ScanWatcher, SilentWatcher, Stage, StageClock

_SOURCE_FAULTS = frozenset(
    {RejectReason.SOURCE_CHANGED, RejectReason.SOURCE_NOT_FOUND, RejectReason.SOURCE_ACCESS_DENIED}
)


@dataclass(frozen=True)
class ScanSettings:
    """What a scan can be told."""

    sampling: Sampling = field(default_factory=Sampling)
    limits: Limits = field(default_factory=Limits)
    scoring: ScoringParams = field(default_factory=ScoringParams)
    policy: Policy = field(default_factory=lambda: find_policy(DEFAULT_POLICY))
    decoder: str = "pyav"


@dataclass(frozen=True)
class ScanTools:
    """What a scan works with. One set serves one thread; the sandbox may be shared."""

    bundle: ModelBundle
    backend: Backend
    detector: FaceDetector
    sandbox: Sandbox
    calibration: Calibration | None = None


def open_tools(
    bundle: ModelBundle, sandbox: Sandbox, *, engine: str, threads: int, precision: str = "f32"
) -> ScanTools:
    """Load network and detector for one thread of scans. Raises BackendMissing or BundleInvalid.

    The default engine goes on loading while the first scan begins; it raises them there.
    """

    def load() -> Backend:
        return choose_backend(bundle, engine, threads, precision=precision)

    return ScanTools(
        bundle=bundle,
        backend=LateBackend(bundle, load) if is_late(engine, precision) else load(),
        detector=load_detector(threads=threads),
        sandbox=sandbox,
        calibration=bundle.calibration,
    )


def screen_shard(
    path: Path,
    probe: Probe,
    shard: ShardPlan,
    detector: FaceDetector,
    backend: Backend,
    sandbox: Sandbox,
    *,
    settings: ScanSettings | None = None,
    watcher: ScanWatcher | None = None,
    clock: StageClock | None = None,
) -> ShardEvidence:
    """Decode one shard, follow and score its faces. Raises MediaRejected if not one sample could be decoded.

    Memory is bounded by one group of frames, its crops and one batch, whatever the shard's length.
    """
    settings, clock, watcher = settings or ScanSettings(), clock or StageClock(), watcher or SilentWatcher()
    collector = EvidenceCollector(probe, backend.input_size, backend.grid)
    tracker, queue, done = FaceTracker(), CropQueue(backend.ladder[0]), 0
    targets, limits = shard.targets, settings.limits
    with decode_samples(
        path, probe, targets, sandbox=sandbox, decoder=settings.decoder, limits=limits
    ) as stream:
        while True:
            with clock.measure(Stage.DECODE):
                frames = next(stream, None)
            if frames is None:
                break
            with clock.measure(Stage.DETECT):
                tracks = track_faces(frames, detector, tracker)
            with clock.measure(Stage.CROP):
                crops = crop_faces(frames, tracks, backend.input_size)
                collector.add_group(frames, tracks, crops)
                queue.put(crops)
            with clock.measure(Stage.PREDICT):
                if batch := queue.take():
                    collector.add_predictions(predict_faces(batch, backend))
            done += len(frames)
            watcher.on_samples(done, len(targets), collector.faces)
    if stream.report.failure is not None:
        watcher.on_broken(stream.report.failure)
    with clock.measure(Stage.PREDICT):
        if batch := queue.take_rest():
            collector.add_predictions(predict_faces(batch, backend))
    return collector.build(stream.report, tracker.border_views)


def screen_video(
    path: Path,
    probe: Probe,
    tools: ScanTools,
    settings: ScanSettings,
    watcher: ScanWatcher,
    clock: StageClock,
) -> ShardEvidence:
    """Screen all shards of a video one after the other and join their evidence and tracks.

    A shard of which not one sample could be decoded does not take the others' evidence away: its samples
    count as missing. Raises MediaRejected if no shard of the video gave a sample, and if the file itself was
    changed or taken away: what was seen before is then no evidence of what it holds.
    """
    plan = plan_samples(probe, settings.sampling)
    shards = cut_shards(plan, probe, settings.sampling)
    found: list[ShardEvidence] = []
    faults: list[MediaRejected] = []  # of shards that gave nothing
    for shard in shards:
        before = _Offset(watcher, found, len(plan.targets))
        try:
            evidence = screen_shard(
                path,
                probe,
                shard,
                tools.detector,
                tools.backend,
                tools.sandbox,
                settings=settings,
                watcher=before,
                clock=clock,
            )
        except MediaRejected as fault:
            if fault.reason in _SOURCE_FAULTS:
                raise
            faults.append(fault)
            evidence = lose_shard(probe, shard, tools.backend, fault)
        found.append(evidence)
    if faults and len(faults) == len(shards):
        raise faults[0]
    for fault in faults:
        watcher.on_broken(fault)
    return merge_shards(found, link_tracks(found))


def lose_shard(probe: Probe, shard: ShardPlan, backend: Backend, fault: MediaRejected) -> ShardEvidence:
    """Return the evidence of a shard that gave no sample: each one missing, with what was seen."""
    detail = f"{fault.reason}: {fault.seen}"
    missing = tuple(MissingFrame(t.pts_us, EvidenceReason.NOT_DECODED, detail) for t in shard.targets)
    report = DecodeReport(len(missing), 0, missing, (warn_of(fault),), 0, 0)
    return EvidenceCollector(probe, backend.input_size, backend.grid).build(report)


class _Offset:
    """Adds what earlier shards did to what the current one reports."""

    def __init__(self, watcher: ScanWatcher, earlier: list[ShardEvidence], total: int) -> None:
        self._watcher = watcher
        self._done = sum(shard.decoded for shard in earlier)
        self._faces = sum(len(shard.track) for shard in earlier)
        self._total = total

    def on_stage(self, stage: Stage) -> None:
        self._watcher.on_stage(stage)

    def on_samples(self, done: int, total: int, faces: int) -> None:
        del total  # of the shard
        self._watcher.on_samples(self._done + done, self._total, self._faces + faces)

    def on_broken(self, fault: MediaRejected) -> None:
        self._watcher.on_broken(fault)


def scan_video(
    path: Path, tools: ScanTools, settings: ScanSettings | None = None, watcher: ScanWatcher | None = None
) -> ScanResult:
    """Scan one video or picture. An input that cannot be scanned gives a result with its fault, no error.

    Raises only what is no fault of the input or of the machine, and what ``open_tools`` left to a scan.
    """
    settings, watcher, clock = settings or ScanSettings(), watcher or SilentWatcher(), StageClock()
    probe: Probe | None = None
    try:
        watcher.on_stage(Stage.PROBE)
        with clock.measure(Stage.PROBE):
            probe = probe_video(path, settings.limits, tools.sandbox)
        watcher.on_stage(Stage.DECODE)
        evidence = screen_video(path, probe, tools, settings, watcher, clock)
        watcher.on_stage(Stage.SCORE)
        with clock.measure(Stage.SCORE):
            score = score_video(
                evidence,
                duration_us=probe.duration_us,
                kind=probe.kind,
                calibration=tools.calibration,
                params=settings.scoring,
                frame_count=probe.frame_count,
            )
            verdict = decide(score, settings.policy)
    except EngineError as fault:
        return fail_scan(path, tools, settings, fault, probe=probe, clock=clock)
    return ScanResult(
        path=path,
        source=SourceIdentity(probe.sha256, probe.size_bytes),
        model=describe_model(tools),
        policy=settings.policy,
        fingerprint=fingerprint_tools(tools, settings),
        timings_ms=clock.timings_ms,
        probe=probe,
        evidence=evidence,
        score=score,
        verdict=verdict,
    )


def fail_scan(
    path: Path,
    tools: ScanTools,
    settings: ScanSettings,
    fault: EngineError,
    *,
    probe: Probe | None = None,
    clock: StageClock | None = None,
) -> ScanResult:
    """Return the result of an input that could not be scanned, with all that is known of it."""
    if probe is None:
        source = identify_source(path, settings.limits.size_bytes)
    else:
        source = SourceIdentity(probe.sha256, probe.size_bytes)
    return ScanResult(
        path=path,
        source=source,
        model=describe_model(tools),
        policy=settings.policy,
        fingerprint=fingerprint_tools(tools, settings),
        timings_ms=(clock or StageClock()).timings_ms,
        probe=probe,
        fault=ScanFault(fault.reason, fault.seen, fault.hint),
    )


def describe_model(tools: ScanTools) -> ModelUse:
    """Return what names the model in results."""
    bundle, backend = tools.bundle, tools.backend
    return ModelUse(bundle.name, bundle.weights_sha256, backend.name, backend.precision)


def fingerprint_tools(tools: ScanTools, settings: ScanSettings) -> str:
    """Return the fingerprint of the pipeline that these tools and settings make."""
    parts = describe_pipeline(
        tools.bundle,
        tools.backend,
        tools.detector,
        settings.sampling,
        decoder=settings.decoder,
        limits=settings.limits,
        scoring=settings.scoring,
    )
    return pipeline_fingerprint(parts)
