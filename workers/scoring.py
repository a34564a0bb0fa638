"""From the evidence of all shards of a job to the record of its analysis, in the steps of a scan."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engine.arrays import F64
from engine.calibrate import Calibration
from engine.evidence import ShardEvidence, merge_shards
from engine.faces.link import link_tracks
from engine.policy import Policy, decide
from engine.probe import Probe
from engine.results import VideoScore
from engine.scan_result import ModelUse
from engine.score import ScoringParams, score_video, share_regions
from engine.watch import Stage, StageClock
from fakesieve.records.analyses import AnalysisRecord, TrackMaps
from fakesieve.records.models import ModelFacts
from workers.shard_result import ShardResult, add_timings


@dataclass(frozen=True)
class ScoredBy:
    """The pipeline and the policy by which jobs are scored."""

    model: ModelUse
    fingerprint: str
    calibration: Calibration | None
    scoring: ScoringParams
    policy: Policy

    @property
    def model_facts(self) -> ModelFacts:
        """The model as records name it."""
        model = self.model
        return ModelFacts(model.name, model.weights_sha256, model.engine, model.precision)


def score_job(
    tenant_id: str, video_id: str, probe: Probe, results: Sequence[ShardResult], by: ScoredBy
) -> AnalysisRecord:
    """Join the evidence, score it, decide, and pack the patch maps.

    ``results`` are in the order of their plans. Raises ValueError if they do not belong together.
    """
    clock = StageClock()
    with clock.measure(Stage.SCORE):
        shards = [result.evidence for result in results]
        evidence = merge_shards(shards, link_tracks(shards))
        score = score_video(
            evidence,
            duration_us=probe.duration_us,
            kind=probe.kind,
            calibration=by.calibration,
            params=by.scoring,
            frame_count=probe.frame_count,
        )
        verdict = decide(score, by.policy)
    timings_ms = add_timings(list(results))
    timings_ms[Stage.SCORE.value] = clock.timings_ms[Stage.SCORE.value]
    return AnalysisRecord(
        tenant_id=tenant_id,
        video_id=video_id,
        fingerprint=by.fingerprint,
        model=by.model_facts,
        score=score,
        policy=by.policy,
        verdict=verdict,
        maps=pack_maps(evidence, score, share_regions(evidence, by.scoring.for_kind(probe.kind))),
        warnings=tuple(dict.fromkeys((*probe.warnings, *evidence.warnings))),
        timings_ms=timings_ms,
    )


def pack_maps(evidence: ShardEvidence, score: VideoScore, shares: F64) -> tuple[TrackMaps, ...]:
    """Return the patch maps of every track that has a scored face, compressed track by track.

    ``shares`` [n, R] are those of ``share_regions``, a row for each face of the evidence.
    """
    scored = evidence.is_scored
    packed: list[TrackMaps] = []
    for track in score.tracks:
        rows = np.flatnonzero((evidence.track == track.ordinal) & scored)
        if not len(rows):
            continue
        matrices = evidence.to_frame[rows].reshape(len(rows), 6).astype(float)
        packed.append(
            TrackMaps(
                ordinal=track.ordinal,
                pts_us=tuple(evidence.pts_us[rows].tolist()),
                grid=evidence.patches.shape[1],
                crop_size=evidence.crop_size,
                to_frame=tuple((a, b, c, d, e, f) for a, b, c, d, e, f in matrices.tolist()),
                packed=zlib.compress(evidence.patches[rows].tobytes(), 6),
                regions=zlib.compress(np.rint(255 * shares[rows]).astype(np.uint8).tobytes(), 6),
            )
        )
    return tuple(packed)
