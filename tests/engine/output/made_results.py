"""Scan results as the pipeline would give them, made from a few logits; no file and no network."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from engine.bundle import GRAPH, WEIGHTS, ModelBundle
from engine.container import Container, MediaKind
from engine.evidence import ShardEvidence
from engine.policy import decide, find_policy
from engine.probe import Probe
from engine.results import EvidenceReason, MediaWarning, RejectReason
from engine.scan_result import ModelUse, ScanFault, ScanResult
from engine.score import score_video
from engine.source import SourceIdentity
from tests.engine.made_evidence import CROP, FRAME, GRID, Cell, make_evidence
from tests.engine.made_probe import make_video_probe

FORGED_LOGITS = tuple([-3.0] * 10 + [3.0] * 12 + [-3.0] * 10)
MODEL = ModelUse("made", "ab" * 32, "onnxruntime", "f32")
BUNDLE = ModelBundle(
    Path("made"), "made", "lv-compact", CROP, GRID, False, {WEIGHTS: "ab" * 32, GRAPH: "cd" * 32}
)


def make_probe(
    *,
    kind: MediaKind = MediaKind.VIDEO,
    duration_us: int = 32_000_000,
    warnings: Sequence[MediaWarning] = (),
    size: tuple[int, int] = FRAME,
) -> Probe:
    """A probe of an H.264 video of 25 frames a second with a keyframe each second, or of a JPEG."""
    if kind is MediaKind.VIDEO:
        times, keys = range(0, duration_us, 40_000), range(0, duration_us, 1_000_000)
        return make_video_probe(times, keys, duration_us=duration_us, size=size, warnings=warnings)
    still = make_video_probe([0], duration_us=0, size=size, warnings=warnings)
    return replace(still, kind=kind, container=Container.JPEG, codec="mjpeg")


def finish_result(evidence: ShardEvidence, probe: Probe, path: Path = Path("clips/made.mp4")) -> ScanResult:
    """Score and decide as a scan does."""
    score = score_video(
        evidence, duration_us=probe.duration_us, kind=probe.kind, frame_count=probe.frame_count
    )
    policy = find_policy("balanced")
    return ScanResult(
        path=path,
        source=SourceIdentity(probe.sha256, probe.size_bytes),
        model=MODEL,
        policy=policy,
        fingerprint="12" * 32,
        timings_ms={
            "probe": 3,
            "decode": 40,
            "detect": 50,
            "crop": 1,
            "predict": 60,
            "score": 2,
            "total": 160,
        },
        probe=probe,
        evidence=evidence,
        score=score,
        verdict=decide(score, policy),
    )


def make_result(
    tracks: Mapping[int, Sequence[Cell]] | None = None,
    *,
    path: Path = Path("clips/made.mp4"),
    **changes: object,
) -> ScanResult:
    """A video of 32 s, by default with one face that is forged from second 10 to 22."""
    evidence = make_evidence(
        {0: FORGED_LOGITS} if tracks is None else tracks,
        patches=forged_patches(FORGED_LOGITS) if tracks is None else None,
        **changes,
    )
    return finish_result(evidence, make_probe(warnings=evidence.warnings), path)


def forged_patches(logits: Sequence[float]) -> dict[tuple[int, int], np.ndarray]:
    """Maps of track 0: the four middle cells hot where the logit is positive."""
    hot = np.full((GRID, GRID), 10, np.uint8)
    hot[2:4, 2:4] = 240
    return {(0, place): hot for place, logit in enumerate(logits) if logit > 0}


def make_picture_result() -> ScanResult:
    """A still picture with one face."""
    return finish_result(
        make_evidence({0: [1.5]}, times_us=[0]), make_probe(kind=MediaKind.PICTURE), Path("made.jpg")
    )


def make_faceless_result() -> ScanResult:
    """A video without a face."""
    times = [500_000 + 1_000_000 * place for place in range(32)]
    return finish_result(make_evidence({}, times_us=times), make_probe())


def make_failed_result(path: Path = Path("broken.mp4")) -> ScanResult:
    """An input that is no video."""
    return ScanResult(
        path=path,
        source=SourceIdentity("aa" * 32, 11),
        model=MODEL,
        policy=find_policy("balanced"),
        fingerprint="12" * 32,
        timings_ms={"probe": 1, "total": 1},
        fault=ScanFault(
            RejectReason.NOT_VIDEO, "the first bytes are those of no known media", "give a video"
        ),
    )


def all_results() -> dict[str, ScanResult]:
    """One result of every shape that a document can have."""
    blurred = EvidenceReason.TOO_BLURRED
    return {
        "forged": make_result(),
        "partly": make_result({0: FORGED_LOGITS, 1: [blurred] * 32}, missing_us=[40_000_000]),
        "short": make_result({0: [1.0] * 3}),
        "cuts": make_result({0: FORGED_LOGITS}, cuts_us=[10_500_000]),
        "picture": make_picture_result(),
        "no face": make_faceless_result(),
        "failed": make_failed_result(),
    }
