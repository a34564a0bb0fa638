"""What the review page says of what is stored: sentences, spans, facts and the table of base rates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from engine.output import words
from engine.results import (
    EvidenceReason,
    FaceRegion,
    MediaWarning,
    SegmentKind,
    VerdictValue,
)
from fakesieve.records.analysis_rows import read_missing
from fakesieve.records.analysis_tables import Analysis, FaceTrack, Segment
from fakesieve.records.evidence import Evidence, MapFacts
from fakesieve.records.face_quality import FaceQuality
from fakesieve.records.table import JsonObject
from fakesieve.records.videos import Source, Video
from fakesieve.reviews.entries import Entry
from fakesieve.values.reviews import Disposition, EntryKind, ReasonCode

# Of Okabe and Ito, as in the overlay that 'scan' draws; every face has its number beside its colour.
TRACK_COLOURS = ("#56b4e9", "#f0e442", "#009e73", "#cc79a7", "#e69f00")
TONES: Mapping[VerdictValue | None, str] = {
    VerdictValue.LIKELY_MANIPULATED: "high",
    VerdictValue.INCONCLUSIVE: "middle",
    VerdictValue.NO_MANIPULATION_FOUND: "low",
    None: "none",
}
DISPOSITIONS: Mapping[Disposition, str] = {
    Disposition.CONFIRMED_MANIPULATED: "manipulated",
    Disposition.CONFIRMED_AUTHENTIC: "authentic",
    Disposition.INCONCLUSIVE: "inconclusive",
    Disposition.ESCALATED: "pass it on to somebody else",
}
REASONS: Mapping[ReasonCode, str] = {
    ReasonCode.VISIBLE_ARTEFACTS: "artefacts are visible",
    ReasonCode.INCONSISTENT_MOTION: "the motion does not hold together",
    ReasonCode.LIPS_AND_SOUND_DISAGREE: "lips and sound disagree",
    ReasonCode.ORIGINAL_FOUND: "the original was found",
    ReasonCode.DISCLOSED: "whoever published it says that it is made",
    ReasonCode.SOURCE_VERIFIED: "the source was verified",
    ReasonCode.NO_SIGN_FOUND: "no sign was found",
    ReasonCode.KNOWN_FALSE_ALARM: "a known false alarm, such as make-up or a filter",
    ReasonCode.QUALITY_TOO_LOW: "the quality is too low",
    ReasonCode.NEEDS_EXPERT: "it needs an expert",
    ReasonCode.CONFLICT_OF_INTEREST: "conflict of interest",
    ReasonCode.OTHER: "other: see the comment",
}
_ENTRIES: Mapping[EntryKind, str] = {
    EntryKind.DECISION: "decided",
    EntryKind.BLIND: "before the score was shown said",
    EntryKind.SKIP: "skipped",
    EntryKind.UNDO: "took a decision back",
    EntryKind.FEEDBACK: "reported",
}
BASE_RATES = (0.01, 0.001, 0.0001)
FALSE_ALARMS = (0.01, 0.001, 0.0001)
FOUND = 0.8
"""Share of forgeries that is found, assumed for the table of base rates."""
CARD_LINES_MAX, CARD_LETTERS_MAX = 30, 600


@dataclass(frozen=True)
class BaseRateRow:
    """What share of flagged videos is forged, at one share of forged among all, by rate of false alarms."""

    forged: str
    shares: tuple[float, ...]


@dataclass(frozen=True)
class SpanLine:
    """A span as the table shows it."""

    start_us: int
    end_us: int
    kind: SegmentKind
    track: int | None
    what: str
    score_max: float | None


@dataclass(frozen=True)
class TrackLine:
    """A face as the strip shows it; regions by falling share."""

    ordinal: int
    id: str
    start_us: int
    end_us: int
    score: float | None
    scored_count: int
    frame_count: int
    peak_pts_us: tuple[int, ...]
    regions: tuple[tuple[str, float], ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class EntryLine:
    """A row of the history."""

    create_time: object
    who: str
    what: str
    comment: str | None
    is_undone: bool


def make_base_rates() -> list[BaseRateRow]:
    """Return the table, by Bayes' rule with ``FOUND``."""
    return [
        BaseRateRow(
            f"1 in {round(1 / forged):,}",
            tuple(FOUND * forged / (FOUND * forged + alarm * (1 - forged)) for alarm in FALSE_ALARMS),
        )
        for forged in BASE_RATES
    ]


def say_headline(evidence: Evidence) -> str:
    """Return the verdict in words, or why there is none."""
    value = evidence.judgement.verdict.value
    if value is None:
        return f"no verdict: {words.OUTCOMES[evidence.analysis.outcome]}"
    return words.VERDICTS[value]


def say_why(evidence: Evidence) -> list[str]:
    """Return the sentences behind a verdict: its reasons, the gaps of the evidence, what the file is like."""
    analysis = evidence.analysis
    sentences = [words.VERDICT_REASONS[each] for each in evidence.judgement.verdict.reasons]
    sentences += [f"{words.EVIDENCE[EvidenceReason(each)].capitalize()}." for each in analysis.reasons]
    sentences += [
        f"{count:,} {'face was' if count == 1 else 'faces were'} left out: "
        f"{words.EVIDENCE[EvidenceReason(reason)]}."
        for reason, count in sorted(analysis.faces_rejected.items())
    ]
    sentences += [f"Not decoded: {words.say_missing(each)}." for each in read_missing(analysis) or ()]
    sentences += [f"{words.WARNINGS[MediaWarning(each)].capitalize()}." for each in analysis.warnings]
    for track in evidence.tracks:
        if track.ordinal == analysis.peak_track and track.patch_persistence is not None:
            share = words.format_share(track.patch_persistence)
            sentences.append(f"Suspicious cells of face {track.ordinal} overlap by {share} between samples.")
    return sentences


def list_warnings(analysis: Analysis) -> list[str]:
    """Return what is unusual about the file, shortly."""
    return [str(MediaWarning(each)).replace("_", " ") for each in analysis.warnings]


def list_spans(segments: Sequence[Segment]) -> list[SpanLine]:
    """Return all spans in order of time."""
    lines = [
        SpanLine(each.start_us, each.end_us, each.kind, each.ordinal, _say_span(each), each.score_max)
        for each in segments
    ]
    return sorted(lines, key=lambda line: (line.start_us, line.track is not None, line.track or 0))


def list_tracks(tracks: Sequence[FaceTrack], *, is_hidden: bool) -> list[TrackLine]:
    """Return the faces, the highest score first; by their numbers where an order would tell the scores."""
    lines = [
        TrackLine(
            ordinal=track.ordinal,
            id=track.id,
            start_us=track.start_us,
            end_us=track.end_us,
            score=track.score,
            scored_count=track.scored_count,
            frame_count=track.frame_count,
            peak_pts_us=tuple(track.peak_pts_us),
            regions=_name_regions(track.regions),
            reasons=tuple(words.EVIDENCE[EvidenceReason(each)] for each in track.reasons),
        )
        for track in tracks
    ]
    if is_hidden:
        return sorted(lines, key=lambda line: line.ordinal)
    return sorted(lines, key=lambda line: (-1.0 if line.score is None else -line.score - 1, line.ordinal))


def say_quality(quality: FaceQuality | None) -> str:
    """Return in a sentence what the samples of a face were like, as far as that is stored."""
    if quality is None:
        return "How large it was and why samples were left out is no longer stored."
    said = [] if quality.size_px is None else [f"about {quality.size_px:.0f} px"]
    said.append(f"found with {quality.confidence:.2f}")
    text = f"Median of {quality.sample_count:,} samples: {', '.join(said)}."
    if quality.left_out:
        why = (f"{count:,} {words.EVIDENCE[reason]}" for reason, count in quality.left_out.items())
        text += f" Left out: {', '.join(why)}."
    return text


def list_card(card: JsonObject | None) -> list[tuple[str, str]]:
    """Return what is known of the model as pairs of words, as far as it is plain."""
    found: Mapping[str, object] = card or {}
    inner = cast("Mapping[str, object]", found["card"] if isinstance(found.get("card"), dict) else {})
    lines = [
        (name, str(value)[:CARD_LETTERS_MAX])
        for name, value in {**found, **inner}.items()
        if isinstance(value, str | int | float)
    ]
    return lines[:CARD_LINES_MAX]


def list_missing(card: JsonObject | None) -> list[str]:
    """Return what a reader has to know of a model and its card does not say."""
    return words.find_silent(key for key, _ in list_card(card))


def list_video_facts(video: Video, sources: Sequence[Source]) -> list[tuple[str, str]]:
    """Return the facts of the file as pairs of words."""
    facts = [("SHA-256", video.content_sha256), ("size", f"{video.size_bytes:,} bytes")]
    if video.container is not None:
        facts.append(("container, codec", f"{video.container}, {video.codec or 'unknown'}"))
    if video.width is not None and video.height is not None:
        facts.append(("picture", f"{video.width} × {video.height}"))
    if video.duration_us is not None:
        facts.append(("length", words.format_clock(video.duration_us)))
    if video.external_id is not None:
        facts.append(("your id", video.external_id))
    return [*facts, *(("seen at", f"s3://{source.bucket}/{source.key}") for source in sources[:10])]


def say_maps(maps: Sequence[MapFacts]) -> str:
    """Return what one cell of the maps is, or that there are none."""
    if not maps:
        return "No patch maps are stored for this analysis."
    grid, crop = maps[0].grid, maps[0].crop_size
    return (
        f"Each block is one of {grid} × {grid} cells of the model's own grid, about {crop / grid:.0f} pixels "
        f"of a crop of {crop}. It says where to look, not what exactly was changed. Only samples have maps."
    )


def write_entry(entry: Entry, names: Mapping[str, str]) -> EntryLine:
    """Return a row of the history. Who acted with a key is named by the key's id."""
    what = _ENTRIES[entry.kind]
    if entry.disposition is not None:
        what += f" {DISPOSITIONS[entry.disposition]}"
    if entry.category is not None:
        what += f" {entry.category.value.replace('_', ' ')}"
    if entry.reason_code is not None:
        what += f", {REASONS[entry.reason_code]}"
    for track in entry.tracks:
        what += f"; face {track.ordinal}: {DISPOSITIONS[track.disposition]}"
    who = names.get(entry.reviewer, entry.reviewer)
    return EntryLine(entry.create_time, who, what, entry.comment, entry.is_undone)


def _name_regions(regions: Mapping[str, float]) -> tuple[tuple[str, float], ...]:
    ordered = sorted(regions.items(), key=lambda pair: -pair[1])
    return tuple((words.REGIONS[FaceRegion(region)], share) for region, share in ordered)


def _say_span(span: Segment) -> str:
    if span.kind is SegmentKind.CUT:
        return "cut"
    if span.reason is not None:
        return f"not scored: {words.EVIDENCE[span.reason]}"
    parts = ", ".join(words.REGIONS[FaceRegion(region)] for region in span.regions)
    return f"suspicious: {parts}" if parts else "suspicious"
