"""What a policy makes of a score."""

import math
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.policy import (
    DEFAULT_POLICY,
    PRESETS,
    Policy,
    Threshold,
    choose_policy,
    decide,
    find_policy,
    policy_from_thresholds,
)
from engine.results import (
    Coverage,
    EvidenceReason,
    FrameScore,
    Outcome,
    TrackScore,
    VerdictReason,
    VerdictValue,
    VideoScore,
)

POLICY = Policy("test", 3, low=0.3, high=0.7)


def make_score(
    raw: float | None,
    *,
    calibrated: float | None = None,
    outcome: Outcome = Outcome.SCORED,
    frames: list[float] | None = None,
    coverage: float = 1.0,
) -> VideoScore:
    values = [raw] * 8 if frames is None else frames
    shown = tuple(
        FrameScore(i, (0, 0, 1, 1), v, None, None, None if v is not None else EvidenceReason.TOO_DARK)
        for i, v in enumerate(values)
    )
    scored = outcome if raw is not None else Outcome.INSUFFICIENT_EVIDENCE
    track = TrackScore(0, 0, 8, scored, raw, shown, (), ())
    held = Coverage(8, 8, 8, 8, 8, 8, (), int(1000 * coverage), 1000)
    return VideoScore(
        outcome, raw, calibrated, None, (track,), (), held, peak_track=None if raw is None else 0
    )


@pytest.mark.parametrize(
    ("score", "value", "reason"),
    [
        (0.0, VerdictValue.NO_MANIPULATION_FOUND, VerdictReason.LOW_TRACK_SCORES),
        (0.2999, VerdictValue.NO_MANIPULATION_FOUND, VerdictReason.LOW_TRACK_SCORES),
        (0.3, VerdictValue.INCONCLUSIVE, VerdictReason.SCORE_BETWEEN_THRESHOLDS),
        (0.6999, VerdictValue.INCONCLUSIVE, VerdictReason.SCORE_BETWEEN_THRESHOLDS),
        (0.7, VerdictValue.LIKELY_MANIPULATED, VerdictReason.HIGH_TRACK_SCORE),
        (1.0, VerdictValue.LIKELY_MANIPULATED, VerdictReason.HIGH_TRACK_SCORE),
    ],
)
def test_thresholds_divide_the_scores(score: float, value: VerdictValue, reason: VerdictReason) -> None:
    verdict = decide(make_score(score, calibrated=score), POLICY)
    assert (verdict.value, verdict.reasons, verdict.score_used) == (value, (reason,), score)
    assert (verdict.policy, verdict.policy_version, verdict.low, verdict.high) == ("test", 3, 0.3, 0.7)


@pytest.mark.parametrize("outcome", [o for o in Outcome if not o.has_score])
def test_no_score_is_no_verdict(outcome: Outcome) -> None:
    verdict = decide(make_score(None, outcome=outcome), POLICY)
    assert (verdict.value, verdict.score_used, verdict.reasons) == (None, None, (VerdictReason.NO_EVIDENCE,))


def test_calibrated_score_decides_where_there_is_one() -> None:
    verdict = decide(make_score(0.9, calibrated=0.1), POLICY)
    assert (verdict.value, verdict.score_used) == (VerdictValue.NO_MANIPULATION_FOUND, 0.1)


def test_raw_score_is_marked_as_uncalibrated() -> None:
    assert decide(make_score(0.9), POLICY).reasons == (
        VerdictReason.HIGH_TRACK_SCORE,
        VerdictReason.UNCALIBRATED,
    )


@pytest.mark.parametrize(
    ("outcome", "coverage", "gap"),
    [
        (Outcome.SCORED, 0.05, VerdictReason.LOW_COVERAGE),
        (Outcome.PARTIALLY_SCORED, 1.0, VerdictReason.PARTIAL_EVIDENCE),
    ],
)
def test_gaps_in_the_evidence_never_end_in_nothing_found(
    outcome: Outcome, coverage: float, gap: VerdictReason
) -> None:
    verdict = decide(make_score(0.1, calibrated=0.1, outcome=outcome, coverage=coverage), POLICY)
    assert verdict.value is VerdictValue.INCONCLUSIVE
    assert verdict.reasons == (VerdictReason.LOW_TRACK_SCORES, gap)


def test_high_score_stands_in_thin_coverage_and_says_so() -> None:
    verdict = decide(make_score(0.9, calibrated=0.9, coverage=0.05), POLICY)
    assert verdict.value is VerdictValue.LIKELY_MANIPULATED
    assert verdict.reasons == (VerdictReason.HIGH_TRACK_SCORE, VerdictReason.LOW_COVERAGE)


def test_one_frame_alone_accuses_nobody() -> None:
    verdict = decide(make_score(0.8, calibrated=0.8, frames=[0.999] + [0.3] * 7), POLICY)
    assert verdict.value is VerdictValue.INCONCLUSIVE
    assert VerdictReason.SINGLE_FRAME_PEAK in verdict.reasons


def test_equal_frames_are_not_one_frame_alone_for_a_last_bit() -> None:
    verdict = decide(make_score(0.8, frames=[math.nextafter(0.8, 0.0)] * 8), POLICY)
    assert verdict.value is VerdictValue.LIKELY_MANIPULATED


def test_a_picture_and_a_still_are_judged_with_a_caveat() -> None:
    video = make_score(0.8)
    picture = replace(video, coverage=Coverage(1, 1, 1, 1, 1, 1, (), 0, 0))
    still = replace(video, reasons=(EvidenceReason.STATIC_IMAGE,))
    assert VerdictReason.SINGLE_PICTURE not in decide(video, POLICY).reasons
    for one in (picture, still):
        verdict = decide(one, POLICY)
        assert verdict.value is VerdictValue.LIKELY_MANIPULATED
        assert VerdictReason.SINGLE_PICTURE in verdict.reasons


def test_picture_may_be_judged_by_its_one_frame() -> None:
    assert decide(make_score(0.8, frames=[0.8]), POLICY).value is VerdictValue.LIKELY_MANIPULATED


def test_extrapolated_threshold_is_told() -> None:
    verdict = decide(make_score(0.9, calibrated=0.9), replace(POLICY, extrapolated=True))
    assert VerdictReason.EXTRAPOLATED_THRESHOLD in verdict.reasons


@given(st.floats(0, 1), st.floats(0, 1))
def test_higher_score_never_gives_a_milder_verdict(one: float, other: float) -> None:
    order = [VerdictValue.NO_MANIPULATION_FOUND, VerdictValue.INCONCLUSIVE, VerdictValue.LIKELY_MANIPULATED]
    low, high = sorted([one, other])
    values = [decide(make_score(s, calibrated=s), POLICY).value for s in (low, high)]
    assert order.index(values[0]) <= order.index(values[1])


@pytest.mark.parametrize(
    "wrong",
    [
        {"low": 0.8},
        {"low": 0.0},
        {"high": 1.1},
        {"min_coverage": 1.5},
        {"min_peak_frames": 0},
        {"name": ""},
        {"version": 0},
    ],
)
def test_policy_that_makes_no_sense_cannot_be_made(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"."):
        replace(POLICY, **wrong)


def test_presets_are_found_by_name() -> None:
    assert find_policy(DEFAULT_POLICY) is PRESETS["balanced"]
    with pytest.raises(ValueError, match="balanced, sensitive, strict"):
        find_policy("nice")


def make_threshold(rate: float, threshold: float, *, extrapolated: bool = False) -> Threshold:
    return Threshold(rate, threshold, min(1.0, 2 * rate), int(1000 * rate), 1000, extrapolated)


def test_policy_of_a_bundle_takes_its_thresholds_from_real_videos() -> None:
    thresholds = [make_threshold(0.05, 0.4), make_threshold(0.01, 0.6), make_threshold(0.1, 0.2)]
    policy = policy_from_thresholds("lv", 2, thresholds)
    assert (policy.name, policy.version, policy.low, policy.high) == ("lv", 2, 0.2, 0.6)
    assert not policy.extrapolated
    extrapolated = [make_threshold(0.1, 0.2), make_threshold(0.01, 0.6, extrapolated=True)]
    assert policy_from_thresholds("lv", 2, extrapolated).extrapolated


def test_bundle_without_the_needed_rates_has_no_policy() -> None:
    with pytest.raises(ValueError, match="no threshold"):
        policy_from_thresholds("lv", 1, [make_threshold(0.1, 0.2)])


def test_model_with_thresholds_of_its_own_is_judged_by_them() -> None:
    own = [make_threshold(0.1, 0.2), make_threshold(0.01, 0.6)]
    assert choose_policy("lv", own) == Policy("lv", 1, 0.2, 0.6)
    assert choose_policy("lv", own[:1]) is PRESETS[DEFAULT_POLICY]


def test_threshold_survives_its_json_form() -> None:
    threshold = make_threshold(0.05, 0.4)
    assert Threshold.from_json(threshold.to_json()) == threshold
    form = threshold.to_json()
    del form["count"]
    with pytest.raises(ValueError, match="count"):
        Threshold.from_json(form)


def test_deciding_needs_the_standard_library_alone() -> None:
    program = (
        "import sys, engine.policy;"
        "heavy = {'numpy', 'torch', 'cv2', 'av', 'onnxruntime'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
