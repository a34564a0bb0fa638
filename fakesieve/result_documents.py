"""Results out of the database as documents: the job, what its bytes are, and the analysis if there is one."""

from dataclasses import dataclass

from sqlalchemy.orm import Session

from engine.result_forms import JsonObject
from fakesieve.documents import VideoFacts, build_document, build_failed_document
from fakesieve.errors import RequestRefused
from fakesieve.ids import IdPrefix
from fakesieve.job_forms import form_error, form_job
from fakesieve.reasons import Reason
from fakesieve.records.analyses import AnalysisRecord, load_analysis
from fakesieve.records.job_lists import find_job_of_analysis, load_job
from fakesieve.records.videos import load_video
from fakesieve.values.job_lines import JobDetail


@dataclass(frozen=True)
class Result:
    """An ended job and what it led to; without an analysis the job says why. ``name`` was asked for."""

    name: str
    job: JobDetail
    video: VideoFacts
    record: AnalysisRecord | None


def read_result(session: Session, name: str) -> Result:
    """Return the result of a job or of an analysis.

    Raises RequestRefused where the tenant has none such, or the job has not ended.
    """
    job = _find_job(session, name)
    if not job.line.state.is_terminal:
        raise RequestRefused(
            Reason.STATE_CONFLICT,
            f"{job.line.id} has not ended, it is {job.line.state.value}",
            f"wait for it: fakesieve watch {job.line.id}",
        )
    analysis_id = job.line.analysis_id
    record = None if analysis_id is None else load_analysis(session, analysis_id)
    return Result(name, job, _find_video(session, job), record)


def _find_job(session: Session, name: str) -> JobDetail:
    is_analysis = name.startswith(f"{IdPrefix.ANALYSIS}_")
    job_id = find_job_of_analysis(session, name) if is_analysis else name
    job = None if job_id is None else load_job(session, job_id)
    if job is None:
        noun = "analysis" if is_analysis else "job"
        raise RequestRefused(Reason.NOT_FOUND, f"there is no {noun} {name}")
    return job


def _find_video(session: Session, job: JobDetail) -> VideoFacts:
    line = job.line
    video = None if line.video_id is None else load_video(session, line.video_id)
    if video is None:
        return VideoFacts(line.source.uri, None, line.source.size_bytes, job.media)
    return VideoFacts(line.source.uri, video.content_sha256, video.size_bytes, job.media or video.media)


def build_form(found: Result, *, with_patches: bool = False) -> JsonObject:
    """Return the document of a result, as ``fakesieve scan`` prints it with the job beside it."""
    line = found.job.line
    job = form_job(line, found.job.attempt_count)
    if found.record is not None:
        return build_document(found.video, found.record, job, with_patches=with_patches)
    return build_failed_document(found.video, job, form_error(line), found.job.fingerprint)
