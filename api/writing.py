"""From lines of ``fakesieve`` to shapes on the wire."""

from collections.abc import Mapping
from datetime import datetime
from typing import cast

from api.pagination import Key
from api.problems import Problem
from api.schemas.job_logs import LogLineOut
from api.schemas.jobs import (
    AttemptOut,
    BatchOut,
    JobCounts,
    JobError,
    JobOut,
    Progress,
    ShardOut,
    SourceOut,
    Stage,
    WorkOut,
)
from api.schemas.uploads import FormOut, UploadOut, UploadState
from api.schemas.videos import VideoOut, VideoSourceOut
from fakesieve.erasure.retention import Kept
from fakesieve.jobs.states import JobState
from fakesieve.object_stores.s3 import PostForm
from fakesieve.objects import VideoRef
from fakesieve.reasons import Reason
from fakesieve.records.batch_lists import BatchLine
from fakesieve.records.uploads import Upload
from fakesieve.records.videos import Source, Video
from fakesieve.values.job_lines import JobDetail, JobLine
from fakesieve.values.job_log import LogLine


def read_before(position: tuple[Key, ...] | None) -> tuple[datetime, str] | None:
    """Return the position of lists that go by time and id; None for their beginning."""
    if position is None:
        return None
    try:
        time, line_id = position
        return datetime.fromisoformat(str(time)), str(line_id)
    except ValueError as fault:  # ours by its signature, of an older release
        raise Problem(Reason.INVALID_PAGE_TOKEN, "page_token is of another release") from fault


def write_job(line: JobLine) -> JobOut:
    """Return a job without its pieces of work."""
    fault = line.fault
    return JobOut(
        id=line.id,
        state=line.state,
        is_terminal=line.state.is_terminal,
        lane=line.lane,
        source=write_source(line.source, line.upload_name),
        progress=_write_progress(line),
        error=None
        if fault is None
        else JobError(
            reason=fault.reason, message=fault.message, hint=fault.hint, retryable=fault.reason.is_retryable
        ),
        batch_id=line.batch_id,
        external_id=line.external_id,
        video_id=line.video_id,
        analysis_id=line.analysis_id,
        reused_analysis=line.reused_analysis,
        attempts=line.attempts,
        next_retry_time=line.next_retry_time,
        create_time=line.create_time,
        start_time=line.start_time,
        end_time=line.end_time,
        deadline=line.deadline,
        trace_id=line.trace_id,
    )


def write_log_line(line: LogLine) -> LogLineOut:
    """Return a line of the log of a job. Which host it was is not told."""
    return LogLineOut(
        time=line.time,
        event=line.event,
        shard=line.shard,
        kind=line.kind,
        attempt=line.number,
        reason=line.reason,
        message=line.message,
    )


def write_detail(detail: JobDetail) -> JobOut:
    """Return a job with its pieces of work."""
    work = WorkOut(
        shards=[
            ShardOut(index=each.index, kind=each.kind, state=each.state, attempts=each.attempts)
            for each in detail.shards
        ],
        attempts=[
            AttemptOut(
                shard=each.shard,
                kind=each.kind,
                number=each.number,
                start_time=each.start_time,
                end_time=each.end_time,
                end=each.end,
                reason=each.reason,
                message=each.message,
            )
            for each in detail.attempts
        ],
    )
    return write_job(detail.line).model_copy(update={"work": work})


def write_source(ref: VideoRef, name: str | None = None) -> SourceOut:
    """Return the object that a job is about, with the name of its upload."""
    return SourceOut(
        uri=ref.uri,
        bucket=ref.bucket,
        key=ref.key,
        version_id=ref.version_id,
        etag=ref.etag,
        size_bytes=ref.size_bytes,
        name=name,
    )


def _write_progress(line: JobLine) -> Progress:
    percent = 100 * line.n_done // line.n_shards if line.n_shards else 0
    is_done = line.state is JobState.SUCCEEDED
    return Progress(
        stage=find_stage(line),
        done=line.n_done,
        total=line.n_shards,
        percent=100 if is_done else min(percent, 99),
    )


def find_stage(line: JobLine) -> Stage | None:
    """Return what is being done for a job; None unless it runs."""
    if line.state is not JobState.RUNNING:
        return None
    if line.n_shards == 0:
        return Stage.PROBING
    return Stage.SCORING if line.n_done < line.n_shards else Stage.AGGREGATING


def write_batch(line: BatchLine) -> BatchOut:
    """Return a batch with its counts."""
    counts, states = line.counts, line.counts.states
    return BatchOut(
        id=line.id,
        name=line.name,
        state=line.state,
        is_terminal=line.state.is_terminal,
        lane=line.lane,
        max_failure_rate=line.max_failure_rate,
        counts=JobCounts(
            total=counts.total,
            **{state.value: states.get(state, 0) for state in JobState},
            deduplicated=counts.reused,
        ),
        outcomes=dict(sorted(counts.outcomes.items())),
        errors=dict(sorted(counts.reasons.items())),
        progress_percent=100 * counts.ended // counts.total if counts.total else 0,
        deadline=counts.deadline,
        create_time=line.create_time,
        end_time=line.end_time,
        end_reason=line.end_reason,
    )


def write_upload(upload: Upload, now: datetime, form: PostForm | None = None) -> UploadOut:
    """Return an upload; with its form only where that was just made."""
    if upload.complete_time is not None:
        state = UploadState.COMPLETE
    else:
        state = UploadState.WAITING if now < upload.expire_time else UploadState.EXPIRED
    return UploadOut(
        id=upload.id,
        state=state,
        name=upload.name,
        content_type=upload.content_type,
        size_bytes=upload.size_bytes,
        size_bytes_max=upload.size_bytes_max,
        sha256=upload.sha256,
        form=None if form is None else FormOut(url=form.url, fields=dict(form.fields)),
        create_time=upload.create_time,
        expire_time=upload.expire_time,
        complete_time=upload.complete_time,
        purge_time=upload.purge_time,
    )


def write_video(
    video: Video,
    tags: Mapping[str, str],
    kept: Kept,
    sources: list[Source] | None = None,
) -> VideoOut:
    """Return a video, with the places where it was seen if they are given."""
    warnings = cast("list[str]", video.media.get("warnings") or [])
    return VideoOut(
        id=video.id,
        content_sha256=video.content_sha256,
        size_bytes=video.size_bytes,
        external_id=video.external_id,
        container=video.container,
        codec=video.codec,
        width=video.width,
        height=video.height,
        duration_us=video.duration_us,
        warnings=[str(warning) for warning in warnings],
        tags=dict(tags),
        retention_class=kept.class_name,
        hold_time=video.hold_time,
        expire_time=kept.end,
        sources=None if sources is None else [_write_video_source(source) for source in sources],
        create_time=video.create_time,
    )


def _write_video_source(source: Source) -> VideoSourceOut:
    return VideoSourceOut(
        kind=source.kind,
        uri=f"s3://{source.bucket}/{source.key}",
        version_id=source.version_id,
        etag=source.etag,
        first_seen_time=source.first_seen_time,
    )
