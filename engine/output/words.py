"""The sentences for people: one for every member of the closed lists."""

import shlex
from collections.abc import Iterable, Mapping

from engine.output.names import escape_controls, escape_for_terminal, to_text
from engine.results import (
    EvidenceReason,
    FaceRegion,
    MediaWarning,
    MissingSamples,
    Outcome,
    VerdictReason,
    VerdictValue,
)

VERDICTS: Mapping[VerdictValue, str] = {
    VerdictValue.LIKELY_MANIPULATED: "likely manipulated",
    VerdictValue.INCONCLUSIVE: "inconclusive",
    VerdictValue.NO_MANIPULATION_FOUND: "no manipulation found",
}

OUTCOMES: Mapping[Outcome, str] = {
    Outcome.SCORED: "scored",
    Outcome.PARTIALLY_SCORED: "scored in part",
    Outcome.NO_FACE: "no face found",
    Outcome.INSUFFICIENT_EVIDENCE: "not enough to judge",
    Outcome.UNSCORABLE: "could not be read",
}

EVIDENCE: Mapping[EvidenceReason, str] = {
    EvidenceReason.NO_FACE: "no face in sight",
    EvidenceReason.FACE_TOO_SMALL: "face too small",
    EvidenceReason.TOO_BLURRED: "too blurred",
    EvidenceReason.TOO_DARK: "too dark",
    EvidenceReason.TOO_BRIGHT: "too bright",
    EvidenceReason.EXTREME_POSE: "turned too far",
    EvidenceReason.CUT_OFF: "cut off by the picture's edge",
    EvidenceReason.LOW_CONFIDENCE: "not surely a face",
    EvidenceReason.FACE_CAP: "more faces than are looked at",
    EvidenceReason.NOT_DECODED: "frame could not be decoded",
    EvidenceReason.TOO_FEW_FRAMES: "too few frames with a usable face",
    EvidenceReason.PARTIAL_DECODE: "part of the video could not be decoded",
    EvidenceReason.STATIC_IMAGE: "the picture never changes",
}

WARNINGS: Mapping[MediaWarning, str] = {
    MediaWarning.HDR: "high dynamic range: colours were mapped to the range that the model knows",
    MediaWarning.INTERLACED: "interlaced: moving edges may look forged",
    MediaWarning.VARIABLE_RATE: "variable frame rate",
    MediaWarning.BAD_TIMESTAMPS: "broken time stamps: times in the result may be off",
    MediaWarning.CORRUPT_FRAMES: "damaged frames: damage may look forged",
    MediaWarning.DECODE_BROKEN_OFF: "decoding was broken off: part of the video was not looked at",
    MediaWarning.RESOLUTION_CHANGE: "the resolution changes on the way",
    MediaWarning.ATTACHED_PICTURE: "carries an attached picture, which was not looked at",
    MediaWarning.SEVERAL_VIDEO_STREAMS: "has several video streams; only one was looked at",
    MediaWarning.EXTENSION_MISMATCH: "the file's extension does not fit its content",
    MediaWarning.DURATION_MISMATCH: "states another duration than it has",
    MediaWarning.FACE_CAP: "more faces at once than are looked at",
    MediaWarning.STATIC_IMAGE: "the picture never changes: possibly a still shown as a video",
}

VERDICT_REASONS: Mapping[VerdictReason, str] = {
    VerdictReason.HIGH_TRACK_SCORE: "A face scores at or above the upper threshold.",
    VerdictReason.LOW_TRACK_SCORES: "Every face that could be scored stays below the lower threshold.",
    VerdictReason.SCORE_BETWEEN_THRESHOLDS: "The score lies between the two thresholds.",
    VerdictReason.LOW_COVERAGE: "Only a small part of the video could be scored.",
    VerdictReason.PARTIAL_EVIDENCE: "Some of the video or some faces in it could not be looked at.",
    VerdictReason.NO_EVIDENCE: "There is no score: nothing in it could be judged.",
    VerdictReason.SINGLE_FRAME_PEAK: "The score rests on one frame alone.",
    VerdictReason.SINGLE_PICTURE: "The score rests on a single picture: no other moment bears it out.",
    VerdictReason.UNCALIBRATED: "The score is no probability: this model has no calibration.",
    VerdictReason.EXTRAPOLATED_THRESHOLD: "The thresholds rest on few real inputs and are a guess.",
}

REGIONS: Mapping[FaceRegion, str] = {
    FaceRegion.LEFT_EYE: "eye on the left",
    FaceRegion.RIGHT_EYE: "eye on the right",
    FaceRegion.NOSE: "nose",
    FaceRegion.MOUTH: "mouth",
    FaceRegion.CHEEKS_JAW: "cheeks and jaw",
    FaceRegion.FOREHEAD: "forehead",
    FaceRegion.BACKGROUND: "around the face",
}


def format_clock(time_us: int) -> str:
    """Return a time as ``m:ss.t`` or ``h:mm:ss.t``, rounded to tenths of a second."""
    tenths = (time_us + 50_000) // 100_000
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    clock = f"{rest // 10:02d}.{rest % 10}"
    return f"{hours}:{minutes:02d}:{clock}" if hours else f"{minutes}:{clock}"


CARD_SUBJECTS = ("training data", "error rates", "not shown to detect")
"""What whoever reads a verdict has to know of its model."""
CARD_SILENCE = "The card says nothing of it, so it is not known here."


def find_silent(subjects: Iterable[str]) -> list[str]:
    """Return what a card with these subjects says nothing of. Imported cards have `_` for a space."""
    known = {subject.replace("_", " ") for subject in subjects}
    return [subject for subject in CARD_SUBJECTS if subject not in known]


MISSING_TIMES_TOLD = 24
"""Times that a sentence lists; documents name all of them."""


def say_caution(model: str) -> str:
    """Return the line below verdicts without their model's card; ``model`` is its name or folder."""
    named = escape_for_terminal(shlex.quote(to_text(model)))
    return f"Triage for people to judge, no proof. Error rates: fakesieve model show {named}"


def say_missing(samples: MissingSamples) -> str:
    """Return in words how many samples are missing for one cause, when, and why."""
    first, last = format_clock(samples.first_us), format_clock(samples.last_us)
    if samples.count == 1:
        when = f"frame at {first}"
    elif samples.pts_us is None or samples.count > MISSING_TIMES_TOLD:
        when = f"frames from {first} to {last}"
    else:
        when = "frames at " + ", ".join(format_clock(time) for time in samples.pts_us)
    return f"{samples.count:,} {when}: {escape_controls(to_text(samples.detail))}"


def format_score(score: float | None) -> str:
    """Return a score with two digits, a dash where there is none. Never 0.00 or 1.00: no score is certain."""
    return "–" if score is None else f"{min(0.99, max(0.01, score)):.2f}"


def format_share(share: float) -> str:
    """Return a share as whole percent; not 0 or 100 unless it is exactly that."""
    percent = 100 * share if share in (0.0, 1.0) else min(99.0, max(1.0, 100 * share))
    return f"{percent:.0f} %"
