"""The ten questions of docs/howto/query.md, each asked of rows that are made for it."""

import re
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from engine.policy import Policy
from engine.results import FaceRegion, Segment, SegmentKind, VideoScore
from fakesieve.jobs.states import JobState, WorkKind
from fakesieve.objects import VideoRef
from fakesieve.policy_changes import change_policy
from fakesieve.reasons import Reason
from fakesieve.records.jobs import Attempt, Job
from fakesieve.records.videos import record_source
from fakesieve.values.jobs import AttemptEnd
from tests.factories import SECOND_US, make_empty_score, make_score, make_track
from tests.fakesieve.cli.conftest import Fleet

PAGE = Path(__file__).parents[3] / "docs" / "howto" / "query.md"
QUESTIONS = {
    int(number): statement
    for number, statement in re.findall(r"^## (\d+)\. .*?^```sql\n(.*?)^```", PAGE.read_text(), re.M | re.S)
}


def ask(fleet: Fleet, number: int) -> list[dict[str, object]]:
    """Ask a question as the page has it, and return the rows of this test's tenant."""
    with fleet.database.transaction(tenant_id=fleet.tenant_id) as session:
        return [dict(row) for row in session.execute(text(QUESTIONS[number])).mappings()]


def with_spans(*spans: tuple[float, float, tuple[FaceRegion, ...]], faces: int = 1) -> VideoScore:
    """A score with suspicious spans, given in seconds, each of the next of so many faces."""
    segments = [
        Segment(
            round(start * SECOND_US),
            round(end * SECOND_US),
            SegmentKind.SUSPICIOUS,
            number % faces,
            0.9,
            0.8,
            regions=regions,
        )
        for number, (start, end, regions) in enumerate(spans)
    ]
    score = make_score(tracks=[make_track(ordinal) for ordinal in range(faces)])
    return replace(score, segments=tuple(segments))


def video_of(fleet: Fleet, job_id: str) -> str:
    video_id = fleet.read_job(job_id).video_id
    assert video_id is not None
    return video_id


def change_job(fleet: Fleet, job_id: str, **values: object) -> None:
    with fleet.database.transaction(tenant_id=fleet.tenant_id) as session:
        job = session.get_one(Job, job_id)
        for name, value in values.items():
            setattr(job, name, value)


def test_the_page_has_ten_questions() -> None:
    assert sorted(QUESTIONS) == list(range(1, 11))


def test_1_forged_mouths(fleet: Fleet) -> None:
    mouth, nose = (FaceRegion.MOUTH, FaceRegion.NOSE), (FaceRegion.NOSE,)
    long = fleet.add_result("long.mp4", with_spans((0, 1, mouth), (1, 2, nose), (2, 4, mouth)))
    fleet.add_result("short.mp4", with_spans((0, 2, mouth)))
    fleet.add_result("nose.mp4", with_spans((0, 3, nose)))
    fleet.add_result("two.mp4", with_spans((0, 1.5, mouth), (0.2, 1.8, mouth), faces=2))
    with fleet.database.transaction(tenant_id=fleet.tenant_id) as session:
        ref = VideoRef("videos", "long.mp4", etag="e1")
        record_source(session, tenant_id=fleet.tenant_id, video_id=video_of(fleet, long), ref=ref)
    assert ask(fleet, 1) == [{"video_id": video_of(fleet, long), "object": "videos/long.mp4", "seconds": 3}]


def test_2_outcomes_by_day(fleet: Fleet) -> None:
    days, videos = {datetime.now(UTC).date()}, Counter[tuple[object, object]]()
    for name in ("a", "b"):
        fleet.add_result(name)
    fleet.add_result("c", make_empty_score())
    for row in ask(fleet, 2):
        assert row["day"] in days | {datetime.now(UTC).date()}  # midnight may have passed
        videos[row["outcome"], row["verdict"]] += row["videos"]
    assert videos == {("partially_scored", "inconclusive"): 2, ("no_face", None): 1}


def test_3_what_waits(fleet: Fleet) -> None:
    old = fleet.add_job("old.mp4")
    fleet.add_job("new.mp4")
    fleet.add_result("done.mp4")
    change_job(fleet, old, create_time=datetime.now(UTC) - timedelta(minutes=10))
    (row,) = ask(fleet, 3)
    assert (row["lane"], row["state"], row["jobs"]) == ("standard", "queued", 2)
    assert 600 <= float(str(row["oldest_s"])) < 660


def test_4_failures_by_reason(fleet: Fleet) -> None:
    fleet.add_job("a", state=JobState.FAILED, reason=Reason.CORRUPT, message="cut off")
    newest = fleet.add_job("b", state=JobState.FAILED, reason=Reason.CORRUPT, message="no frames")
    fleet.add_job("c", state=JobState.EXPIRED, reason=Reason.DEADLINE_EXCEEDED)
    old = fleet.add_job("d", state=JobState.FAILED, reason=Reason.EMPTY)
    change_job(fleet, old, end_time=datetime.now(UTC) - timedelta(days=2))
    fleet.add_job("e", state=JobState.CANCELLED, reason=Reason.CANCELLED_BY_CALLER)
    rows = ask(fleet, 4)
    assert [(row["error_reason"], row["jobs"]) for row in rows] == [("CORRUPT", 2), ("DEADLINE_EXCEEDED", 1)]
    assert (rows[0]["example"], rows[0]["newest_job"]) == ("cut off", newest)


def test_5_copies(fleet: Fleet) -> None:
    twice, once = (video_of(fleet, fleet.add_result(name)) for name in ("twice", "once"))
    for video_id, key in ((twice, "a.mp4"), (twice, "b.mp4"), (once, "c.mp4")):
        with fleet.database.transaction(tenant_id=fleet.tenant_id) as session:
            ref = VideoRef("videos", key, etag="e1")
            record_source(session, tenant_id=fleet.tenant_id, video_id=video_id, ref=ref)
    again = VideoRef("videos", "c.mp4", etag="e2")  # the same bytes, written to the same place once more
    with fleet.database.transaction(tenant_id=fleet.tenant_id) as session:
        for video_id, ref in ((once, again), (twice, replace(again, key="a.mp4"))):
            record_source(session, tenant_id=fleet.tenant_id, video_id=video_id, ref=ref)
    (row,) = ask(fleet, 5)
    assert (row["video_id"], row["places"]) == (twice, 2)
    assert row["objects"] == ["videos/a.mp4", "videos/b.mp4"]


def test_6_peaks(fleet: Fleet) -> None:
    tracks = (make_track(0, (0.2, 0.3)), make_track(4, (0.5, 0.9, None)))
    score = replace(make_score(tracks=tracks), peak_track=4)
    job_id = fleet.add_result("two faces", score)
    fleet.add_result("none", make_empty_score())
    (row,) = ask(fleet, 6)
    assert (row["video_id"], row["face"], row["second"], row["score"]) == (video_of(fleet, job_id), 4, 1, 0.9)
    box = [int(str(row[name])) for name in ("left_px", "top_px", "width_px", "height_px")]
    assert box == [240, 90, 80, 180]  # 0.375, 0.25, 0.125 and 0.5 of 640 x 360


def test_7_one_face_of_several(fleet: Fleet) -> None:
    mixed = (make_track(0, (0.9,)), make_track(1, (0.1,)), make_track(2, (0.5,)), make_track(3, (0.95,)))
    job_id = fleet.add_result("mixed", make_score(tracks=mixed))
    fleet.add_result("all forged", make_score(tracks=(make_track(0, (0.9,)), make_track(1, (0.8,)))))
    assert ask(fleet, 7) == [
        {"video_id": video_of(fleet, job_id), "forged_faces": [0, 3], "other_faces": [1]}
    ]


def test_7_faces_are_told_apart_by_the_policy_in_force(fleet: Fleet) -> None:
    mixed = (make_track(0, (0.9,)), make_track(1, (0.5,)))
    fleet.add_result("mixed", make_score(tracks=mixed))
    assert ask(fleet, 7) == []
    own = Policy("own", 1, low=0.55, high=0.85)
    assert change_policy(fleet.database, fleet.tenant_id, own, actor="key_test").moved == 0
    assert [(row["forged_faces"], row["other_faces"]) for row in ask(fleet, 7)] == [([0], [1])]


def test_8_faces_without_a_score(fleet: Fleet) -> None:
    fleet.add_result("a", make_score(tracks=(make_track(0, (0.9, None, None)),)))
    fleet.add_result("b", make_score(tracks=(make_track(0, (0.9, None)),)))
    fleet.add_result("c", make_score(tracks=(make_track(0, (0.9,)),)))
    assert ask(fleet, 8) == [{"reason": "face_too_small", "faces": 3, "videos": 2}]


def with_peaks(used: float, *frames: float) -> VideoScore:
    """A score on whose calibrated value a verdict stands, of one face with these scores."""
    score = make_score(max(frames), tracks=(make_track(0, frames),))
    return replace(score, calibrated=used, interval=(used - 0.05, used + 0.05))


def test_9_another_threshold(fleet: Fleet) -> None:
    fleet.add_result("low", with_peaks(0.2, 0.2, 0.2))
    between = fleet.add_result("between", with_peaks(0.75, 0.75, 0.75))
    fleet.add_result("high", with_peaks(0.9, 0.9, 0.9))
    assert ask(fleet, 9) == [
        {
            "video_id": video_of(fleet, between),
            "now": "likely_manipulated",
            "score_used": 0.75,
            "threshold_now": 0.7,
        }
    ]


def test_9_a_score_that_one_frame_carries_is_inconclusive_on_either_side(fleet: Fleet) -> None:
    fleet.add_result("one frame", with_peaks(0.75, 0.75, 0.2))
    with fleet.database.transaction(tenant_id=fleet.tenant_id) as session:
        held = session.execute(text("SELECT peak_frames, verdict FROM standing")).one()
    assert tuple(held) == (1, "inconclusive")
    assert ask(fleet, 9) == []


def test_9_the_threshold_is_that_of_the_policy_in_force(fleet: Fleet) -> None:
    fleet.add_result("between", with_peaks(0.75, 0.75, 0.75))
    own = Policy("own", 1, low=0.3, high=0.72)
    assert change_policy(fleet.database, fleet.tenant_id, own, actor="key_test").moved == 0
    assert [(row["now"], row["threshold_now"]) for row in ask(fleet, 9)] == [("likely_manipulated", 0.72)]


def test_9_a_verdict_that_no_longer_holds_is_not_asked(fleet: Fleet) -> None:
    fleet.add_result("judged again", with_peaks(0.75, 0.75, 0.75))
    own = Policy("own", 1, low=0.3, high=0.8)
    change_policy(fleet.database, fleet.tenant_id, own, actor="key_test")
    with fleet.database.transaction(tenant_id=fleet.tenant_id) as session:
        given = session.execute(text("SELECT value FROM verdict ORDER BY create_time")).scalars().all()
    assert given == ["likely_manipulated", "inconclusive"]
    assert ask(fleet, 9) == []


def test_10_times_and_lost_attempts(fleet: Fleet) -> None:
    begin = datetime.now(UTC) - timedelta(hours=1)
    for place, wait_s in enumerate((1, 2, 9)):
        job_id = fleet.add_result(f"{place}.mp4")
        start = begin + timedelta(seconds=wait_s)
        change_job(fleet, job_id, create_time=begin, start_time=start, end_time=start + timedelta(seconds=20))
    with fleet.database.transaction(tenant_id=fleet.tenant_id) as session:
        for fence, end in enumerate((AttemptEnd.LOST, AttemptEnd.RELEASED, AttemptEnd.DONE), 1):
            attempt = Attempt(tenant_id=fleet.tenant_id, job_id=job_id, shard_index=1, kind=WorkKind.SCREEN)
            attempt.fence, attempt.number, attempt.owner, attempt.attempt_end = fence, fence, "host", end
            attempt.start_time, attempt.end_time = begin, begin + timedelta(seconds=15)
            session.add(attempt)
    (row,) = ask(fleet, 10)
    assert (row["lane"], row["jobs"], row["lost_attempts"]) == ("standard", 3, 1)
    numbers = [float(str(row[name])) for name in ("wait_p50_s", "wait_p95_s", "work_p50_s", "lost_s")]
    assert numbers == pytest.approx([2.0, 8.3, 20.0, 15.0])


def test_without_a_tenant_no_row_is_seen(fleet: Fleet) -> None:
    fleet.add_result("a")
    with fleet.database.transaction(tenant_id="") as session:
        assert session.execute(text(QUESTIONS[2])).all() == []
