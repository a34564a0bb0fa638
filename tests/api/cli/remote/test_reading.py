"""What the API writes is what commands read back of it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from api.cli.remote.reading import read_analysis, read_detail, read_job, read_log_line
from api.writing import write_detail, write_job, write_log_line
from api.writing_results import write_line
from engine.results import EvidenceReason, MediaWarning, Outcome, VerdictReason, VerdictValue
from fakesieve.jobs.states import JobState, Lane, ShardState, WorkKind
from fakesieve.objects import VideoRef
from fakesieve.reasons import Reason
from fakesieve.values.analysis_lines import AnalysisLine, Untold
from fakesieve.values.job_lines import AttemptLine, JobDetail, JobFault, JobLine, ShardLine
from fakesieve.values.job_log import LogEvent, LogLine
from fakesieve.values.jobs import AttemptEnd
from fakesieve.values.reviews import Disposition

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
JOB = JobLine(
    id="job_00000000000000000000000001",
    state=JobState.RUNNING,
    lane=Lane.BULK,
    source=VideoRef("videos", "a b.mp4", "v1", "e1", 7),
    create_time=NOON,
    start_time=NOON + timedelta(seconds=1),
    end_time=None,
    deadline=NOON + timedelta(hours=1),
    n_shards=3,
    n_done=1,
    batch_id="bat_1",
    external_id="case 1",
    video_id="vid_1",
    analysis_id=None,
    reused_analysis=False,
    fault=None,
    attempts=2,
    next_retry_time=NOON + timedelta(minutes=5),
)
FAILED = replace(
    JOB,
    state=JobState.FAILED,
    end_time=NOON + timedelta(minutes=1),
    fault=JobFault(Reason.CORRUPT, None, "send it again"),
)
ANALYSIS = AnalysisLine(
    id="ana_1",
    video_id="vid_1",
    external_id=None,
    create_time=NOON,
    outcome=Outcome.PARTIALLY_SCORED,
    score_raw=0.9,
    score_calibrated=0.45,
    score_low=0.2,
    score_high=0.8,
    verdict=VerdictValue.INCONCLUSIVE,
    verdict_reasons=(VerdictReason.PARTIAL_EVIDENCE,),
    policy="strict@home",
    policy_version=12,
    low=0.3,
    high=0.7,
    coverage_ratio=0.5,
    scored_us=1,
    total_us=2,
    faces_scored=3,
    duration_us=2,
    reasons=(EvidenceReason.TOO_DARK,),
    warnings=(MediaWarning.HDR,),
    model_id="mdl_1",
    model="lv-compact",
    weights_sha256="0" * 64,
    engine="onnxruntime-cpu",
    precision="f32",
    fingerprint="f" * 64,
    tags=(("case", "1"),),
    disposition=Untold.UNTOLD,
    position=(),
)


@pytest.mark.parametrize("line", [JOB, FAILED], ids=["running", "failed"])
def test_a_job_comes_back_whole(line: JobLine) -> None:
    assert read_job(write_job(line)) == line


def test_a_job_comes_back_with_its_work_and_without_hosts() -> None:
    attempt = AttemptLine(
        shard=1,
        kind=WorkKind.SCREEN,
        number=2,
        owner="host-1",
        start_time=NOON,
        end_time=NOON + timedelta(seconds=5),
        end=AttemptEnd.FAILED,
        reason=Reason.DECODER_CRASHED,
        message="signal 9",
    )
    shard = ShardLine(1, WorkKind.SCREEN, ShardState.PENDING, attempts=2, deliveries=3, owner="host-1")
    detail = JobDetail(JOB, "f" * 64, {"kind": "video"}, (shard,), (attempt,))
    found = read_detail(write_detail(detail))
    assert found.line == JOB
    assert found.shards == (replace(shard, deliveries=None, owner=None),)
    assert found.attempts == (replace(attempt, owner=None),)
    assert found.attempt_count == detail.attempt_count == 2


@pytest.mark.parametrize(
    "line",
    [
        ANALYSIS,
        replace(ANALYSIS, score_low=None, score_high=None, external_id="case 1"),
        replace(ANALYSIS, disposition=None),
        replace(ANALYSIS, disposition=Disposition.ESCALATED),
    ],
    ids=["interval", "no interval", "nobody says anything", "people say something"],
)
def test_an_analysis_comes_back_whole(line: AnalysisLine) -> None:
    assert read_analysis(write_line(line)) == line


def test_a_line_of_the_log_comes_back_without_its_host() -> None:
    line = LogLine(NOON, LogEvent.ATTEMPT_LOST, 2, WorkKind.SCREEN, 3, "host-a", Reason.LEASE_LOST, "gone")
    assert read_log_line(write_log_line(line)) == replace(line, owner=None)
