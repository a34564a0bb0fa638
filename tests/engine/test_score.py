"""From evidence to a score or to the reason why there is none."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from engine.calibrate import Calibration, CalibrationMethod
from engine.container import MediaKind
from engine.evidence import MissingSample, ShardEvidence, merge_shards
from engine.results import (
    EvidenceReason,
    FaceRegion,
    MediaWarning,
    Outcome,
    SegmentKind,
    VideoScore,
)
from engine.score import ScoringParams, score_video
from tests.engine.made_evidence import GRID, Cell, make_evidence
from tests.tolerance import FLOAT64_SUMS, peak_correction

SECOND = 1_000_000
PARAMS = ScoringParams()
SMALL, BLURRED = EvidenceReason.FACE_TOO_SMALL, EvidenceReason.TOO_BLURRED

cells = st.one_of(
    st.floats(-12, 12, width=32), st.sampled_from([SMALL, BLURRED, EvidenceReason.EXTREME_POSE]), st.none()
)
tracks = st.dictionaries(st.integers(0, 4), st.lists(cells, min_size=1, max_size=24), max_size=4)


def score(evidence: ShardEvidence, **options: object) -> VideoScore:
    duration = int(evidence.samples_us.max(initial=0)) + SECOND // 2
    return score_video(evidence, duration_us=duration, kind=MediaKind.VIDEO, **options)


def to_logit(probability: float | None) -> float:
    assert probability is not None
    return math.log(probability / (1 - probability))


def repeat_after_end(evidence: ShardEvidence) -> ShardEvidence:
    """Return the evidence of the video followed by itself, as a tracker sees it: a cut and new tracks."""
    shift = int(evidence.samples_us.max()) + SECOND
    later = replace(
        evidence,
        pts_us=evidence.pts_us + shift,
        samples_us=evidence.samples_us + shift,
        cuts_us=(int(evidence.samples_us[0]) + shift,),
        missing=tuple(MissingSample(m.pts_us + shift, m.reason) for m in evidence.missing),
    )
    return merge_shards([evidence, later])


# The laws.


@given(tracks)
def test_no_score_without_enough_scored_frames(made: dict[int, list[Cell]]) -> None:
    result = score(make_evidence(made))
    longest = max((sum(isinstance(c, float) for c in row) for row in made.values()), default=0)
    assert (result.raw is not None) == (longest >= 8)
    assert result.outcome.has_score == (longest >= 8)
    for track in result.tracks:
        assert (track.score is not None) == (track.scored_count >= 8)
    if result.raw is None:
        assert result.reasons


@given(st.lists(st.floats(-12, 12, width=32), min_size=8, max_size=8), st.permutations(range(8)))
def test_permutation_of_frames_inside_a_window_changes_nothing(logit: list[float], order: list[int]) -> None:
    before = score(make_evidence({0: logit}))
    after = score(make_evidence({0: [logit[i] for i in order]}))
    assert (after.raw, after.interval, after.outcome) == (before.raw, before.interval, before.outcome)
    assert after.tracks[0].score == before.tracks[0].score


@given(tracks, st.randoms())
def test_order_of_rows_within_a_sample_does_not_show(made: dict[int, list[Cell]], random: object) -> None:
    names = list(made)
    random.shuffle(names)
    before, after = score(make_evidence(made)), score(make_evidence({name: made[name] for name in names}))
    assert (after.raw, after.interval) == (before.raw, before.interval)
    assert after.segments == before.segments


@given(
    st.lists(st.floats(0, 12, width=32), min_size=8, max_size=30),
    st.lists(st.floats(-12, 0, width=32), min_size=8, max_size=30),
    st.integers(0, 3),
)
def test_adding_a_clean_person_leaves_a_forged_ones_score_and_lowers_the_video_by_the_correction_at_most(
    forged: list[float], clean: list[float], others: int
) -> None:
    there = {0: forged} | {2 + i: clean[::-1] for i in range(others)}
    times = [SECOND * i for i in range(30)]
    before = score(make_evidence(there, times_us=times))
    after = score(make_evidence(there | {1: clean}, times_us=times))
    assert after.tracks[0] == before.tracks[0]
    n, scale = 1 + others, PARAMS.aggregation.track_scale
    allowed = peak_correction(n + 1, scale) - peak_correction(n, scale)
    assert to_logit(after.raw) >= to_logit(before.raw) - allowed - 1e-6
    assert after.peak_track == 0


@given(tracks)
def test_doubling_the_video_changes_the_score_by_at_most_a_hundredth(made: dict[int, list[Cell]]) -> None:
    evidence = make_evidence(made)
    assume(len(evidence.samples_us) > 0)
    once, twice = score(evidence), score(repeat_after_end(evidence))
    assert twice.outcome == once.outcome
    assert (twice.raw is None) == (once.raw is None)
    if once.raw is not None:
        assert twice.raw == pytest.approx(once.raw, abs=FLOAT64_SUMS)


@given(tracks)
def test_every_number_lies_in_zero_to_one(made: dict[int, list[Cell]]) -> None:
    result = score(make_evidence(made))
    numbers = [result.raw, *(result.interval or ()), *(t.score for t in result.tracks)]
    numbers += [f.score for t in result.tracks for f in t.frames]
    assert all(0.0 <= number <= 1.0 for number in numbers if number is not None)
    if result.raw is not None:
        assert result.interval is not None
        assert result.interval[0] <= result.raw <= result.interval[1]


# Outcomes.


def test_video_without_a_face_says_so() -> None:
    result = score(make_evidence({}, times_us=range(0, 10 * SECOND, SECOND)))
    assert (result.outcome, result.reasons) == (Outcome.NO_FACE, (EvidenceReason.NO_FACE,))
    assert [(s.kind, s.reason) for s in result.segments] == [(SegmentKind.EXCLUDED, EvidenceReason.NO_FACE)]
    assert (result.raw, result.calibrated, result.interval, result.peak_track) == (None,) * 4


@pytest.mark.parametrize("reason", [SMALL, BLURRED, EvidenceReason.TOO_DARK, EvidenceReason.EXTREME_POSE])
def test_faces_that_cannot_be_judged_give_their_reason(reason: EvidenceReason) -> None:
    result = score(make_evidence({0: [reason] * 20}))
    assert (result.outcome, result.reasons) == (Outcome.INSUFFICIENT_EVIDENCE, (reason,))
    assert result.tracks[0].reasons == (reason,)


def test_one_frame_is_too_few() -> None:
    result = score(make_evidence({0: [3.0]}))
    assert result.outcome is Outcome.INSUFFICIENT_EVIDENCE
    assert result.reasons == (EvidenceReason.TOO_FEW_FRAMES,)


def test_reasons_stand_in_order_of_their_number() -> None:
    result = score(make_evidence({0: [1.0, SMALL, BLURRED, SMALL, 2.0]}))
    assert result.reasons == (EvidenceReason.TOO_FEW_FRAMES, SMALL, BLURRED)


def test_short_track_beside_a_long_one_has_no_score_of_its_own() -> None:
    result = score(make_evidence({0: [-2.0] * 16, 1: [9.0] * 7}))
    assert result.outcome is Outcome.SCORED
    assert result.tracks[1].outcome is Outcome.INSUFFICIENT_EVIDENCE
    assert result.raw == result.tracks[0].score
    assert result.raw == pytest.approx(1 / (1 + math.exp(2)), abs=FLOAT64_SUMS)


def test_less_than_half_decoded_is_no_score() -> None:
    missing = [SECOND * (20 + i) for i in range(27)]
    result = score(make_evidence({0: [3.0] * 23}, missing_us=missing))
    assert result.outcome is Outcome.INSUFFICIENT_EVIDENCE
    assert result.reasons == (EvidenceReason.PARTIAL_DECODE,)
    assert result.tracks[0].score is None
    assert result.coverage.frames_decoded / result.coverage.frames_sampled == pytest.approx(0.46)


def test_less_than_all_decoded_is_a_partial_score() -> None:
    missing = [SECOND * (30 + i) for i in range(10)]
    result = score(make_evidence({0: [3.0] * 30}, missing_us=missing))
    assert (result.outcome, result.reasons) == (Outcome.PARTIALLY_SCORED, (EvidenceReason.PARTIAL_DECODE,))
    assert result.raw == pytest.approx(1 / (1 + math.exp(-3)), abs=FLOAT64_SUMS)
    excluded = [s for s in result.segments if s.kind is SegmentKind.EXCLUDED]
    assert [s.reason for s in excluded] == [EvidenceReason.NOT_DECODED]


@pytest.mark.parametrize("causes", [1, 8, 9, 40])
def test_every_sample_that_did_not_come_is_named_however_many_causes_there_are(causes: int) -> None:
    lost = [
        MissingSample(SECOND * (100 + i), EvidenceReason.NOT_DECODED, f"cause {i:02}") for i in range(causes)
    ]
    lost += [MissingSample(SECOND * (200 + i), EvidenceReason.NOT_DECODED, "cause 00") for i in range(5)]
    evidence = make_evidence({0: [3.0] * 60}, requested=60 + len(lost))
    groups = score(replace(evidence, missing=tuple(lost))).coverage.missing
    assert groups is not None
    assert len(groups) == min(causes, 8)
    assert sorted(time for group in groups for time in group.pts_us or ()) == [each.pts_us for each in lost]
    assert (groups[0].detail, groups[0].count, groups[0].last_us) == ("cause 00", 6, 204 * SECOND)
    if causes == 40:
        assert groups[-1].detail == "33 rarer causes, the first of them: cause 07"
        assert groups[-1].pts_us == tuple(SECOND * (100 + i) for i in range(7, 40))


def test_no_face_in_too_few_decoded_samples_is_not_called_no_face() -> None:
    evidence = make_evidence(
        {}, times_us=range(0, 4 * SECOND, SECOND), missing_us=[9 * SECOND + i for i in range(9)]
    )
    result = score(evidence)
    assert result.outcome is Outcome.INSUFFICIENT_EVIDENCE
    assert result.reasons == (EvidenceReason.PARTIAL_DECODE,)


def test_damaged_frames_never_give_a_clean_score() -> None:
    result = score(make_evidence({0: [-3.0] * 20}, warnings=[MediaWarning.CORRUPT_FRAMES]))
    assert (result.outcome, result.reasons) == (Outcome.PARTIALLY_SCORED, (EvidenceReason.PARTIAL_DECODE,))


def test_crowd_beyond_the_cap_is_partially_scored_and_counted() -> None:
    result = score(make_evidence({0: [-3.0] * 8, -1: [EvidenceReason.FACE_CAP] * 8}, extra_faces=5))
    assert (result.outcome, result.reasons) == (Outcome.PARTIALLY_SCORED, (EvidenceReason.FACE_CAP,))
    assert result.coverage.faces_rejected == ((EvidenceReason.FACE_CAP, 13),)
    assert [t.ordinal for t in result.tracks] == [0]


def test_still_shown_as_a_video_is_scored_and_flagged() -> None:
    result = score(make_evidence({0: [2.0] * 32}, warnings=[MediaWarning.STATIC_IMAGE]))
    assert (result.outcome, result.reasons) == (Outcome.SCORED, (EvidenceReason.STATIC_IMAGE,))


def test_the_frames_of_a_still_are_one_sample_and_give_no_interval() -> None:
    made = {0: [float(value) for value in np.random.default_rng(1).normal(1.0, 0.02, 32)]}
    moving, still = make_evidence(made), make_evidence(made, warnings=[MediaWarning.STATIC_IMAGE])
    assert score(moving).interval is not None
    assert score(still).interval is None
    assert score(still).raw == score(moving).raw


def test_picture_is_scored_from_one_frame_and_has_no_time() -> None:
    evidence = make_evidence({0: [2.0], 1: [-3.0], 2: [SMALL]}, times_us=[0])
    result = score_video(evidence, duration_us=0, kind=MediaKind.PICTURE)
    assert result.outcome is Outcome.SCORED
    assert result.tracks[0].score == pytest.approx(1 / (1 + math.exp(-2)), abs=FLOAT64_SUMS)
    assert result.tracks[2].reasons == (SMALL,)
    assert (result.interval, result.segments, result.peak_track) == (None, (), 0)
    assert result.coverage.ratio == 1.0


# Numbers and places.


def test_forged_seconds_are_found_in_a_clip_of_twenty() -> None:
    """32 samples over 20 s, forged from second 6 to 14, with noise on top."""
    random = np.random.default_rng(3)
    times = [int((i + 0.5) * 625_000) for i in range(32)]
    logit = [float(np.float32((3 if 6e6 <= t < 14e6 else -3) + random.normal(0, 1))) for t in times]
    result = score_video(
        make_evidence({0: logit}, times_us=times), duration_us=20 * SECOND, kind=MediaKind.VIDEO
    )
    assert result.raw is not None
    assert result.raw > 0.9
    (span,) = [s for s in result.segments if s.kind is SegmentKind.SUSPICIOUS]
    assert span.start_us == pytest.approx(6 * SECOND, abs=625_000)
    assert span.end_us == pytest.approx(14 * SECOND, abs=625_000)
    assert all(6e6 <= t < 14e6 for t in result.tracks[0].peak_pts_us)


def test_noise_alone_is_not_found() -> None:
    random = np.random.default_rng(4)
    result = score(make_evidence({0: [float(np.float32(x)) for x in random.normal(-3, 1.5, 200)]}))
    assert result.raw is not None
    assert result.raw < 0.2
    assert not [s for s in result.segments if s.kind is SegmentKind.SUSPICIOUS]


def test_calibration_gives_the_calibrated_score_and_its_interval() -> None:
    calibration = Calibration(CalibrationMethod.PLATT, 2.0, -1.0, 0.5, 600, "test")
    random = np.random.default_rng(2)
    evidence = make_evidence({0: [float(np.float32(x)) for x in random.normal(1, 0.5, 32)]})
    plain, calibrated = score(evidence), score(evidence, calibration=calibration)
    assert plain.calibrated is None
    assert calibrated.raw == plain.raw
    assert to_logit(calibrated.calibrated) == pytest.approx(2 * to_logit(plain.raw) - 1)
    assert calibrated.interval is not None
    assert calibrated.interval[0] < calibrated.calibrated < calibrated.interval[1]


def test_blurred_frames_count_less() -> None:
    sharp = make_evidence({0: [3.0] * 4 + [-3.0] * 4})
    weight = sharp.sharpness.copy()
    weight[4:] = 1.0
    assert to_logit(score(replace(sharp, sharpness=weight)).raw) > to_logit(score(sharp).raw) + 1


def test_regions_are_those_of_the_suspicious_frames() -> None:
    mouth = np.zeros((GRID, GRID), np.uint8)
    mouth[4:6, 2:5] = 255
    patches = {(0, i): mouth for i in range(4)}
    result = score(make_evidence({0: [2.0] * 4 + [-2.0] * 8}, patches=patches))
    regions = dict(result.tracks[0].regions)
    assert max(regions, key=regions.__getitem__) is FaceRegion.MOUTH
    assert regions[FaceRegion.LEFT_EYE] == 0.0
    frame = result.tracks[0].frames[0]
    assert (frame.patch_max, frame.patch_area) == (1.0, pytest.approx(6 / 49))
    assert result.tracks[0].patch_persistence == pytest.approx(3 / 4)  # 3 of 4 pairs agree, one half empty


def test_a_track_without_a_scored_frame_has_no_regions() -> None:
    (track,) = score(make_evidence({0: [BLURRED] * 10})).tracks
    assert (track.score, track.regions, track.patch_persistence) == (None, (), None)


def test_excluded_faces_keep_their_place_and_reason() -> None:
    result = score(make_evidence({0: [1.0] * 8 + [BLURRED] * 3 + [1.0] * 4}))
    spans = [
        (s.track, s.start_us, s.end_us, s.reason) for s in result.segments if s.kind is SegmentKind.EXCLUDED
    ]
    assert (0, 8 * SECOND, 11 * SECOND, BLURRED) in spans
    assert (None, 8 * SECOND, 11 * SECOND, BLURRED) in spans
    assert result.time_series is not None
    assert result.time_series.excluded == ((8 * SECOND, 11 * SECOND, BLURRED),)
    assert result.time_series.score[8] is None
    assert result.tracks[0].frames[8].exclude_reason is BLURRED


def spans_of(result: VideoScore, kind: SegmentKind, track: int | None) -> list[tuple[int, int]]:
    """Whole seconds of the spans of one kind and track."""
    found = [s for s in result.segments if s.kind is kind and s.track == track]
    return [(s.start_us // SECOND, s.end_us // SECOND) for s in found]


def test_no_span_is_called_suspicious_where_the_face_was_not_scored() -> None:
    forged = [3.0] * 4
    result = score(
        make_evidence({0: [*forged, BLURRED, BLURRED, *forged, None, None, *forged], 1: [-3.0] * 16})
    )
    assert spans_of(result, SegmentKind.SUSPICIOUS, 0) == [(0, 4), (6, 10), (12, 16)]
    assert spans_of(result, SegmentKind.EXCLUDED, 0) == [(4, 6)]


def test_a_track_is_not_called_excluded_while_it_was_out_of_sight() -> None:
    result = score(make_evidence({0: [SMALL, SMALL, None, None, SMALL] + [1.0] * 11, 1: [1.0] * 16}))
    assert spans_of(result, SegmentKind.EXCLUDED, 0) == [(0, 2), (4, 5)]


@given(tracks)
def test_spans_without_a_face_and_time_with_one_make_up_the_video(made: dict[int, list[Cell]]) -> None:
    result = score(make_evidence(made))
    assume(result.coverage.frames_sampled)
    excluded = sum(end - start for start, end, _ in result.time_series.excluded)
    assert excluded + result.coverage.scored_us == result.coverage.total_us


def test_time_series_shows_the_highest_face_and_whose_it_is() -> None:
    result = score(make_evidence({0: [1.0] * 8, 1: [-1.0] * 4 + [2.0] * 4}))
    assert result.time_series is not None
    assert result.time_series.track == (0,) * 4 + (1,) * 4
    assert result.time_series.score[0] == pytest.approx(1 / (1 + math.exp(-1)))


def test_coverage_counts_every_face_and_the_time_with_a_score() -> None:
    result = score(make_evidence({0: [1.0] * 8 + [SMALL] * 2, 1: [None] * 6 + [1.0] * 4}), frame_count=300)
    held = result.coverage
    assert (held.frames_in_video, held.frames_sampled, held.frames_decoded) == (300, 10, 10)
    assert (held.faces_detected, held.faces_scored) == (14, 12)
    assert held.faces_rejected == ((SMALL, 2),)
    assert (held.scored_us, held.total_us) == (10 * SECOND, 10 * SECOND)


def test_cuts_are_told() -> None:
    result = score(make_evidence({0: [1.0] * 8}, cuts_us=[4_500_000]))
    assert [(s.start_us, s.end_us) for s in result.segments if s.kind is SegmentKind.CUT] == [
        (4_500_000,) * 2
    ]


def test_scoring_is_deterministic() -> None:
    random = np.random.default_rng(9)
    evidence = make_evidence({i: [float(np.float32(x)) for x in random.normal(0, 2, 40)] for i in range(3)})
    assert score(evidence) == score(ShardEvidence.from_bytes(evidence.to_bytes()))
