"""The scores of a video over time as lanes, one for each face, for overlay and report."""

from bisect import bisect_left
from dataclasses import dataclass

from engine.results import EvidenceReason, FaceRegion, SegmentKind, TrackScore
from engine.scan_result import ScanResult

MOST_LANES = 12


@dataclass(frozen=True)
class Span:
    """A part of a lane: suspicious if ``reason`` is None, else not scored for that reason."""

    start_us: int
    end_us: int
    reason: EvidenceReason | None = None
    regions: tuple[FaceRegion, ...] = ()


@dataclass(frozen=True)
class Lane:
    """One face over time."""

    ordinal: int
    start_us: int
    end_us: int
    score: float | None
    points: tuple[tuple[int, float], ...]  # time and score of its scored samples
    suspicious: tuple[Span, ...]
    excluded: tuple[Span, ...]
    planned_us: tuple[int, ...]  # all samples of the video, decoded or missing

    def runs(self) -> list[list[tuple[int, float]]]:
        """Return the points in runs of neighbouring samples: a line must not cross what was not scored."""
        runs: list[list[tuple[int, float]]] = []
        last = -1
        for time, score in self.points:
            place = bisect_left(self.planned_us, time)
            if not runs or place > last + 1:
                runs.append([])
            runs[-1].append((time, score))
            last = place
        return runs


@dataclass(frozen=True)
class Timeline:
    """All lanes of a video, the spans in which no face was scored, cuts and thresholds."""

    duration_us: int
    lanes: tuple[Lane, ...]
    hidden: int  # tracks beyond the most lanes
    excluded: tuple[Span, ...]
    cuts_us: tuple[int, ...]
    low: float
    high: float

    def place(self, time_us: int, width: float) -> float:
        """Return where a time lies on an axis of that width."""
        return width * min(1.0, max(0.0, time_us / max(1, self.duration_us)))


def build_timeline(result: ScanResult, most_lanes: int = MOST_LANES) -> Timeline:
    """Return the timeline of a scan; of many tracks those with the highest scores, then the longest."""
    assert result.score is not None
    assert result.probe is not None
    score = result.score
    order = sorted(score.tracks, key=_rank)
    kept = sorted(order[:most_lanes], key=lambda track: track.ordinal)
    planned = _planned_times(result)
    last_us = max((segment.end_us for segment in score.segments), default=0)
    return Timeline(
        duration_us=max(result.probe.duration_us, last_us),
        lanes=tuple(_build_lane(result, track, planned) for track in kept),
        hidden=len(order) - len(kept),
        excluded=_find_spans(result, None, SegmentKind.EXCLUDED),
        cuts_us=tuple(s.start_us for s in score.segments if s.kind is SegmentKind.CUT),
        low=result.policy.low,
        high=result.policy.high,
    )


def _rank(track: TrackScore) -> tuple[bool, float, int]:
    return track.score is None, -(track.score or 0.0), -len(track.frames)


def _planned_times(result: ScanResult) -> tuple[int, ...]:
    evidence = result.evidence
    if evidence is None:
        return ()
    return tuple(sorted({*evidence.samples_us.tolist(), *(item.pts_us for item in evidence.missing)}))


def _build_lane(result: ScanResult, track: TrackScore, planned_us: tuple[int, ...]) -> Lane:
    return Lane(
        ordinal=track.ordinal,
        start_us=track.start_us,
        end_us=track.end_us,
        score=track.score,
        points=tuple((frame.pts_us, frame.score) for frame in track.frames if frame.score is not None),
        suspicious=_find_spans(result, track.ordinal, SegmentKind.SUSPICIOUS),
        excluded=_find_spans(result, track.ordinal, SegmentKind.EXCLUDED),
        planned_us=planned_us,
    )


def _find_spans(result: ScanResult, ordinal: int | None, kind: SegmentKind) -> tuple[Span, ...]:
    assert result.score is not None
    return tuple(
        Span(segment.start_us, segment.end_us, segment.reason, segment.regions)
        for segment in result.score.segments
        if segment.kind is kind and segment.track == ordinal
    )
