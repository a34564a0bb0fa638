"""What a host screens with: the network in its process, the sandbox, detectors and the pipeline's name."""

import threading
from dataclasses import dataclass

from engine.backends.select import largest_batch
from engine.bundle import ModelBundle
from engine.errors import EngineError
from engine.faces.detect import FaceDetector, load_detector
from engine.policy import choose_policy
from engine.sandbox.handle import Sandbox
from engine.screen import ScanSettings, ScanTools, describe_model, fingerprint_tools
from fakesieve.jobs.rows import Claim
from fakesieve.jobs.states import Lane
from fakesieve.settings import LogFormat, LogLevel
from workers.inference import InferenceProcess, RestartRules
from workers.inference_start import make_launch
from workers.metrics import FleetMetrics
from workers.retry import WrongPipeline
from workers.scoring import ScoredBy

# A detector in a slot has one core; more threads would take those of the decoders and of the network.
DETECTOR_THREADS = 1
# One shard seldom sends more at once; on a GPU a slab holds the largest batch.
SLAB_CROPS_MIN = 8
# TensorRT builds its engine anew at each start.
TENSORRT, _BUILD_S = "onnxruntime-tensorrt", 900.0


@dataclass(frozen=True)
class ScreenerRules:
    """How the parts of a host are sized, and how they log."""

    engine: str = "auto"
    slots: int = 2
    threads: int = 1  # of the network on a CPU
    max_wait_s: float | None = None  # that a part of a batch waits for company; None as suits the engine
    slab_wait_s: float = 60.0  # that a shard waits for a slab before it is given back
    log_format: LogFormat = LogFormat.JSON
    log_level: LogLevel = LogLevel.INFO


class Screener:
    """One for a host, used by all of its slots. ``open_screener`` makes it, ``close`` ends it."""

    def __init__(
        self,
        bundle: ModelBundle,
        sandbox: Sandbox,
        process: InferenceProcess,
        settings: ScanSettings,
        rules: ScreenerRules,
    ) -> None:
        self.sandbox, self.process, self.settings, self.rules = sandbox, process, settings, rules
        self._detectors = threading.local()
        self.card = bundle.card
        with process.lend(Lane.STANDARD, rules.slab_wait_s) as backend:
            tools = ScanTools(bundle, backend, self.detector, sandbox, bundle.calibration)
            self.by = ScoredBy(
                model=describe_model(tools),
                fingerprint=fingerprint_tools(tools, settings),
                calibration=bundle.calibration,
                scoring=settings.scoring,
                policy=settings.policy,
            )

    @property
    def detector(self) -> FaceDetector:
        """The face detector of the calling thread, loaded at its first use."""
        found: FaceDetector | None = getattr(self._detectors, "own", None)
        if found is None:
            found = load_detector(threads=DETECTOR_THREADS)
            self._detectors.own = found
        return found

    def check_pipeline(self, claim: Claim) -> None:
        """Raise WrongPipeline if a job was planned for another pipeline: results must not be mixed."""
        if claim.fingerprint != self.by.fingerprint:
            raise WrongPipeline(
                f"the job was planned for pipeline {claim.fingerprint}, this host runs {self.by.fingerprint}"
            )

    def close(self) -> None:
        """End the inference process and the sandbox."""
        self.process.close()
        self.sandbox.close()


def open_screener(
    bundle: ModelBundle,
    sandbox: Sandbox,
    rules: ScreenerRules,
    metrics: FleetMetrics,
    *,
    settings: ScanSettings | None = None,
) -> Screener:
    """Start the inference process and name the pipeline. Raises EngineError if the network cannot be run."""
    crops = max(SLAB_CROPS_MIN, largest_batch(bundle, rules.engine))
    launch = make_launch(
        bundle,
        engine=rules.engine,
        threads=rules.threads,
        slots=rules.slots,
        crops=crops,
        max_wait_s=rules.max_wait_s,
        log_format=rules.log_format,
        log_level=rules.log_level,
    )
    process = InferenceProcess(
        bundle,
        launch,
        rules=RestartRules(start_s=_BUILD_S) if rules.engine == TENSORRT else None,
        on_answer=metrics.note_answer,
        on_ended=metrics.note_inference_end,
        on_failed=metrics.note_inference_failure,
    )
    try:
        process.start()
        policy = choose_policy(bundle.name, bundle.thresholds)
        return Screener(bundle, sandbox, process, settings or ScanSettings(policy=policy), rules)
    except EngineError:
        process.close()
        raise
