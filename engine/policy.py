"""What a score means under a named, versioned policy. Standard library only, so that every reader may decide.

A policy is applied to stored scores and never moves one: the same score may be decided again under another
policy without decoding a frame. Two thresholds leave a middle in which the answer is "inconclusive".
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engine.results import EvidenceReason, Outcome, VerdictReason, VerdictValue, VideoScore, VideoVerdict

LOW_FPR = 0.10
HIGH_FPR = 0.01
"""A bundle's own policy: of the set that its thresholds were fitted on, one real input in 100 lies at or over
``high``, one in 10 at or above ``low``."""
_ROUNDING = 1e-9  # the mean of equal scores may lie a last bit above each of them


@dataclass(frozen=True)
class Threshold:
    """The score that a stated share of real inputs reaches, and how well that is known.

    Inputs are videos or single pictures, as the bundle's card says; a rate holds for inputs of that kind.
    """

    fpr_target: float
    threshold: float  # 0 to 1, on the scale of the score that a verdict uses
    upper_bound: float  # one-sided 95 % upper bound (Clopper-Pearson) of the false positive rate at threshold
    exceedances: int  # real inputs at or above the threshold
    count: int  # real inputs that it was fitted on
    extrapolated: bool  # fewer than 10 exceedances: the place of the threshold is a guess from the tail

    def __post_init__(self) -> None:
        for name in ("fpr_target", "threshold", "upper_bound"):
            value = getattr(self, name)
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"{name} is {value}, outside 0 to 1")
        if not 0 <= self.exceedances <= self.count:
            raise ValueError(f"{self.exceedances} exceedances of {self.count} videos")

    def to_json(self) -> dict[str, float | int | bool]:
        """Return the form that stands in a bundle's manifest."""
        return {
            "fpr_target": self.fpr_target,
            "threshold": self.threshold,
            "upper_bound": self.upper_bound,
            "exceedances": self.exceedances,
            "count": self.count,
            "extrapolated": self.extrapolated,
        }

    @classmethod
    def from_json(cls, form: Mapping[str, float | int | bool]) -> "Threshold":
        """Read the form of ``to_json``. Raises ValueError for missing fields or values out of range."""
        try:
            return cls(
                fpr_target=float(form["fpr_target"]),
                threshold=float(form["threshold"]),
                upper_bound=float(form["upper_bound"]),
                exceedances=int(form["exceedances"]),
                count=int(form["count"]),
                extrapolated=bool(form["extrapolated"]),
            )
        except KeyError as missing:
            raise ValueError(f"a threshold lacks {missing}") from missing


@dataclass(frozen=True)
class Policy:
    """Two thresholds on the score and what else a verdict asks for."""

    name: str
    version: int
    low: float  # below it: no manipulation found
    high: float  # at or above it: likely manipulated
    min_coverage: float = 0.1  # least share of the video's time with a scored face for "nothing found"
    min_peak_frames: int = 2  # frames that must reach their track's score for "likely manipulated"
    extrapolated: bool = False  # a threshold rests on fewer than 10 real inputs

    def __post_init__(self) -> None:
        if not self.name or self.version < 1:
            raise ValueError("a policy has a name and a version from 1")
        if not 0.0 < self.low <= self.high <= 1.0:
            raise ValueError(f"thresholds {self.low} and {self.high} are not 0 < low <= high <= 1")
        if not 0.0 <= self.min_coverage <= 1.0 or self.min_peak_frames < 1:
            raise ValueError("least coverage is a share, least peak frames a count from 1")


PRESETS: Mapping[str, Policy] = {
    "balanced": Policy("balanced", 1, low=0.30, high=0.70),
    "sensitive": Policy("sensitive", 1, low=0.15, high=0.50),
    "strict": Policy("strict", 1, low=0.50, high=0.90),
}
DEFAULT_POLICY = "balanced"


def find_policy(name: str) -> Policy:
    """Return a named preset. Raises ValueError with the known names."""
    try:
        return PRESETS[name]
    except KeyError:
        raise ValueError(f"no policy {name!r}; known: {', '.join(sorted(PRESETS))}") from None


def choose_policy(model: str, thresholds: Sequence[Threshold]) -> Policy:
    """Return the policy for a model: its own where thresholds were fitted for it, else the default preset."""
    fitted = {threshold.fpr_target for threshold in thresholds}
    if all(any(math.isclose(rate, known) for known in fitted) for rate in (LOW_FPR, HIGH_FPR)):
        return policy_from_thresholds(model, 1, thresholds)
    return PRESETS[DEFAULT_POLICY]


def policy_from_thresholds(name: str, version: int, thresholds: Sequence[Threshold]) -> Policy:
    """Make the policy of a bundle from the thresholds that were fitted for it on real inputs.

    Needs entries for the false positive rates ``LOW_FPR`` and ``HIGH_FPR``; raises ValueError without them.
    """
    low, high = (_at_rate(thresholds, rate) for rate in (LOW_FPR, HIGH_FPR))
    smallest = math.nextafter(0.0, 1.0)  # a threshold of 0 would let no video stay below it
    return Policy(
        name,
        version,
        low=max(smallest, min(low.threshold, high.threshold)),
        high=max(smallest, high.threshold),
        extrapolated=low.extrapolated or high.extrapolated,
    )


def _at_rate(thresholds: Sequence[Threshold], rate: float) -> Threshold:
    for threshold in thresholds:
        if math.isclose(threshold.fpr_target, rate):
            return threshold
    raise ValueError(f"no threshold was fitted for a false positive rate of {rate}")


def decide(score: VideoScore, policy: Policy) -> VideoVerdict:
    """Say what the policy makes of a score; ``value`` is null exactly when there is no score.

    The calibrated score is used where there is one, else the raw score with the reason ``UNCALIBRATED``. A
    picture, or a still shown as a video, is judged with the caveat ``SINGLE_PICTURE``.
    "No manipulation found" needs the whole video decoded and enough of its time with a scored face;
    "likely manipulated" needs more than one frame that carries the score.
    """
    if not score.outcome.has_score:
        return _verdict(None, policy, None, [VerdictReason.NO_EVIDENCE])
    used = score.raw if score.calibrated is None else score.calibrated
    assert used is not None
    value, reasons = _weigh(score, policy, used)
    if score.coverage.is_picture or EvidenceReason.STATIC_IMAGE in score.reasons:
        reasons.append(VerdictReason.SINGLE_PICTURE)
    if score.calibrated is None:
        reasons.append(VerdictReason.UNCALIBRATED)
    if policy.extrapolated:
        reasons.append(VerdictReason.EXTRAPOLATED_THRESHOLD)
    return _verdict(value, policy, used, reasons)


def _weigh(score: VideoScore, policy: Policy, used: float) -> tuple[VerdictValue, list[VerdictReason]]:
    gaps = _find_gaps(score, policy)
    if used >= policy.high:
        reasons = [VerdictReason.HIGH_TRACK_SCORE, *gaps]
        if _is_single_peak(score, policy):
            return VerdictValue.INCONCLUSIVE, [*reasons, VerdictReason.SINGLE_FRAME_PEAK]
        return VerdictValue.LIKELY_MANIPULATED, reasons
    if used >= policy.low:
        return VerdictValue.INCONCLUSIVE, [VerdictReason.SCORE_BETWEEN_THRESHOLDS, *gaps]
    value = VerdictValue.INCONCLUSIVE if gaps else VerdictValue.NO_MANIPULATION_FOUND
    return value, [VerdictReason.LOW_TRACK_SCORES, *gaps]


def _find_gaps(score: VideoScore, policy: Policy) -> list[VerdictReason]:
    """Say why "nothing found" could not be said: too little was scored, or something of it is missing."""
    gaps: list[VerdictReason] = []
    if score.coverage.ratio < policy.min_coverage:
        gaps.append(VerdictReason.LOW_COVERAGE)
    if score.outcome is Outcome.PARTIALLY_SCORED:
        gaps.append(VerdictReason.PARTIAL_EVIDENCE)
    return gaps


def _is_single_peak(score: VideoScore, policy: Policy) -> bool:
    """Whether fewer frames than the policy asks for reach the score of the leading track."""
    reaching = count_peak_frames(score)
    return reaching is not None and reaching < policy.min_peak_frames


def count_peak_frames(score: VideoScore) -> int | None:
    """Return how many frames reach the score of the leading track; None where that says nothing.

    Frames that agree lie on both sides of their track's score; when one alone lies above, it made the score.
    A face that was seen in a single frame, as in a picture, is exempt.
    """
    peak = next((track for track in score.tracks if track.ordinal == score.peak_track), None)
    if peak is None or peak.score is None or peak.scored_count < 2:
        return None
    least = peak.score - _ROUNDING
    return sum(frame.score is not None and frame.score >= least for frame in peak.frames)


def _verdict(
    value: VerdictValue | None, policy: Policy, used: float | None, reasons: Sequence[VerdictReason]
) -> VideoVerdict:
    return VideoVerdict(value, policy.name, policy.version, policy.low, policy.high, used, tuple(reasons))
