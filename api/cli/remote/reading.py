"""From shapes on the wire to the lines that commands print: the way back of ``api/writing.py``."""

import base64

from api.schemas.analyses import AnalysisOut, CoverageOut, MapsOut, SegmentOut, TrackOut
from api.schemas.job_logs import LogLineOut
from api.schemas.jobs import AttemptOut, JobOut, ShardOut
from engine.results import MissingSamples, Segment
from fakesieve.objects import VideoRef
from fakesieve.values.analysis_lines import AnalysisLine, Untold
from fakesieve.values.findings import Face, FaceMap, FaceMaps, Finding
from fakesieve.values.job_lines import AttemptLine, JobDetail, JobFault, JobLine, ShardLine
from fakesieve.values.job_log import LogLine
from fakesieve.values.reviews import Disposition


def read_job(job: JobOut) -> JobLine:
    """Return a job in short."""
    source, error = job.source, job.error
    return JobLine(
        id=job.id,
        state=job.state,
        lane=job.lane,
        source=VideoRef(source.bucket, source.key, source.version_id, source.etag, source.size_bytes),
        create_time=job.create_time,
        start_time=job.start_time,
        end_time=job.end_time,
        deadline=job.deadline,
        n_shards=job.progress.total,
        n_done=job.progress.done,
        batch_id=job.batch_id,
        external_id=job.external_id,
        video_id=job.video_id,
        analysis_id=job.analysis_id,
        reused_analysis=job.reused_analysis,
        fault=None if error is None else JobFault(error.reason, error.message, error.hint),
        attempts=job.attempts,
        next_retry_time=job.next_retry_time,
        upload_name=source.name,
    )


def read_detail(job: JobOut) -> JobDetail:
    """Return a job with its work, which is there in ``view=full``; hosts are not told over the API."""
    shards, attempts = ([], []) if job.work is None else (job.work.shards, job.work.attempts)
    return JobDetail(
        read_job(job),
        fingerprint=None,
        media=None,
        shards=tuple(_read_shard(each) for each in shards),
        attempts=tuple(_read_attempt(each) for each in attempts),
    )


def _read_shard(shard: ShardOut) -> ShardLine:
    return ShardLine(shard.index, shard.kind, shard.state, shard.attempts, deliveries=None, owner=None)


def _read_attempt(attempt: AttemptOut) -> AttemptLine:
    return AttemptLine(
        shard=attempt.shard,
        kind=attempt.kind,
        number=attempt.number,
        owner=None,
        start_time=attempt.start_time,
        end_time=attempt.end_time,
        end=attempt.end,
        reason=attempt.reason,
        message=attempt.message,
    )


def read_log_line(line: LogLineOut) -> LogLine:
    """Return a line of the log of a job; hosts are not told over the API."""
    return LogLine(
        line.time, line.event, line.shard, line.kind, line.attempt, None, line.reason, line.message
    )


def read_analysis(found: AnalysisOut) -> AnalysisLine:
    """Return an analysis in short. It has no position: pages are the API's."""
    low, high = found.score.interval or (None, None)
    policy, _, version = found.verdict.policy.rpartition("@")
    return AnalysisLine(
        id=found.id,
        video_id=found.video_id,
        external_id=found.external_id,
        create_time=found.create_time,
        outcome=found.outcome,
        score_raw=found.score.raw,
        score_calibrated=found.score.calibrated,
        score_low=low,
        score_high=high,
        verdict=found.verdict.value,
        verdict_reasons=tuple(found.verdict.reasons),
        policy=policy,
        policy_version=int(version),
        low=found.verdict.thresholds.low,
        high=found.verdict.thresholds.high,
        coverage_ratio=found.coverage.ratio,
        scored_us=found.coverage.scored_us,
        total_us=found.coverage.total_us,
        faces_scored=found.coverage.faces_scored,
        duration_us=found.duration_us,
        reasons=tuple(found.reasons),
        warnings=tuple(found.warnings),
        model_id=found.model.id,
        model=found.model.name,
        weights_sha256=found.model.weights_sha256,
        engine=found.model.engine,
        precision=found.model.precision,
        fingerprint=found.fingerprint,
        tags=tuple(found.tags.items()),
        disposition=_read_word(found),
        position=(),
    )


def _read_word(found: AnalysisOut) -> Disposition | Untold | None:
    return found.disposition if found.tells_words else Untold.UNTOLD


def read_finding(found: AnalysisOut) -> Finding:
    """Return an analysis with its faces and spans, which are there in ``view=full``."""
    line = read_analysis(found)
    return Finding(
        analysis_id=line.id,
        video=line.external_id or line.video_id,
        outcome=line.outcome,
        verdict=line.verdict,
        verdict_reasons=line.verdict_reasons,
        disposition=line.disposition,
        policy=found.verdict.policy,
        score=line.score,
        interval=found.score.interval,
        coverage_ratio=line.coverage_ratio,
        reasons=line.reasons,
        missing=_read_missing(found.coverage),
        faces=tuple(_read_face(each) for each in found.tracks or []),
        segments=tuple(_read_segment(each) for each in found.segments or []),
        model=line.model,
        engine=line.engine,
        precision=line.precision,
    )


def _read_missing(coverage: CoverageOut) -> tuple[MissingSamples, ...] | None:
    if coverage.missing is None:
        return None
    return tuple(
        MissingSamples(
            reason=each.reason,
            detail=each.detail,
            count=each.count,
            first_us=each.first_us,
            last_us=each.last_us,
            pts_us=None if each.pts_us is None else tuple(each.pts_us),
        )
        for each in coverage.missing
    )


def _read_face(track: TrackOut) -> Face:
    return Face(
        ordinal=track.ordinal,
        start_us=track.start_us,
        end_us=track.end_us,
        outcome=track.outcome,
        score=track.score,
        frame_count=track.frame_count,
        scored_count=track.scored_count,
        peak_pts_us=tuple(track.peak_pts_us),
        regions=tuple(track.regions.items()),
        has_maps=track.maps is not None,
    )


def _read_segment(segment: SegmentOut) -> Segment:
    return Segment(
        start_us=segment.start_us,
        end_us=segment.end_us,
        kind=segment.kind,
        track=segment.track,
        score_max=segment.score_max,
        score_mean=segment.score_mean,
        reason=segment.reason,
        regions=tuple(segment.regions),
    )


def read_maps(found: MapsOut) -> FaceMaps:
    """Return the patch maps of a face."""
    maps = tuple(FaceMap(each.pts_us, base64.b64decode(each.u8), each.to_frame) for each in found.maps)
    return FaceMaps(found.track, found.grid, found.crop_size, maps)
