"""Spans of a video that stand out, the time that samples stand for, and the scores over time."""

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from engine.arrays import F64, I64, Bool
from engine.evidence import NO_TRACK, ShardEvidence
from engine.regions import REGIONS
from engine.results import (
    EvidenceReason,
    FaceRegion,
    FrameScore,
    Segment,
    SegmentKind,
    TimeSeries,
    TrackScore,
)


@dataclass(frozen=True)
class SegmentParams:
    """When a span of a track is called suspicious, and which regions are named in it."""

    enter: float = 0.6  # face score, median of 3 samples, at which a span begins
    leave: float = 0.4  # and below which it ends
    min_samples: int = 3
    region_share: float = 0.25  # mean share of hot patches from which a region is named

    def __post_init__(self) -> None:
        if not 0.0 <= self.leave <= self.enter <= 1.0 or not 0.0 < self.region_share <= 1.0:
            raise ValueError("scores and shares lie in 0 to 1, and a span ends below where it begins")
        if self.min_samples < 1:
            raise ValueError("a span has at least one sample")


@dataclass(frozen=True)
class SampleCells:
    """The part of the video's time for which each planned sample stands: half way to its neighbours.

    The first and the last one reach to the ends of the video: the cells tile it.
    """

    times_us: I64  # [m] planned samples, decoded or missing, increasing
    start_us: I64  # [m]
    end_us: I64  # [m]

    def span(self, first_us: int, last_us: int) -> tuple[int, int]:
        """Return the span from the start of one sample's cell to the end of another's."""
        first, last = self.places((first_us, last_us))
        return int(self.start_us[first]), int(self.end_us[last])

    def places(self, times_us: Sequence[int]) -> list[int]:
        """Return the indices of samples that lie at these times."""
        return np.searchsorted(self.times_us, times_us).tolist()


def sample_cells(evidence: ShardEvidence, duration_us: int) -> SampleCells:
    """Cut the video's time among its planned samples, without a gap and without overlap."""
    missing = np.array([item.pts_us for item in evidence.missing], np.int64)
    times = np.unique(np.concatenate([evidence.samples_us, missing]))
    # The last frame starts before the video ends, but containers round: no cell may turn around.
    end_us = max(duration_us, int(times.max(initial=0)))
    edges = np.concatenate([[0], (times[1:] + times[:-1]) // 2, [end_us]])[: len(times) + 1].astype(np.int64)
    return SampleCells(times, edges[:-1], edges[1:])


def scored_time_us(evidence: ShardEvidence, cells: SampleCells) -> int:
    """Return the time of those samples in which at least one face was scored."""
    scored = np.unique(evidence.pts_us[evidence.is_scored])
    place = np.searchsorted(cells.times_us, scored)
    return int((cells.end_us - cells.start_us)[place].sum())


def find_suspicious(
    track: int,
    frames: Sequence[FrameScore],
    logit: F64,
    shares: F64,
    cells: SampleCells,
    params: SegmentParams,
) -> list[Segment]:
    """Return the suspicious spans of one track.

    ``frames``, ``logit`` [n] and ``shares`` [n, R] (hot patches by region) are its scored frames in order of
    time. The median of three samples lets no single wild frame open a span; two levels keep a score that
    wavers around one of them from cutting a span to pieces. Where the face was not scored in between, the
    span is interrupted: nobody looked there.
    """
    found: list[Segment] = []
    enter, leave = (float(np.log(p / (1.0 - p))) for p in (params.enter, params.leave))
    places = cells.places([frame.pts_us for frame in frames])
    runs = (run for run in _hysteresis(_median3(logit), enter, leave) if len(run) >= params.min_samples)
    for run in (part for whole in runs for part in _unbroken(whole, places)):
        scores = [score for i in run if (score := frames[i].score) is not None]
        start_us, end_us = cells.span(frames[run[0]].pts_us, frames[run[-1]].pts_us)
        found.append(
            Segment(
                start_us,
                end_us,
                SegmentKind.SUSPICIOUS,
                track=track,
                score_max=max(scores),
                score_mean=sum(scores) / len(scores),
                regions=name_regions(shares[run.start : run.stop].mean(axis=0), params.region_share),
            )
        )
    return found


def name_regions(shares: F64, least: float) -> tuple[FaceRegion, ...]:
    """Return the regions whose share of hot patches is at least ``least``, the highest first."""
    order: list[int] = np.argsort(-shares, kind="stable").tolist()
    return tuple(REGIONS[i] for i in order if shares[i] >= least)


def _median3(values: F64) -> F64:
    """Return the median of each value and its neighbours; at the ends that of the outermost three."""
    if len(values) < 3:
        return values
    inner = np.median(np.stack([values[:-2], values[1:-1], values[2:]]), axis=0)
    return np.concatenate([inner[:1], inner, inner[-1:]])


def _hysteresis(values: F64, enter: float, leave: float) -> Iterator[range]:
    """Yield the runs of indices that reach ``enter`` somewhere and stay at or above ``leave``."""
    start = 0
    for above, group in itertools.groupby(values, key=lambda value: bool(value >= leave)):
        run = list(group)
        if above and max(run) >= enter:
            yield range(start, start + len(run))
        start += len(run)


def _unbroken(run: range, places: Sequence[int]) -> Iterator[range]:
    """Yield the parts of a run that lie in neighbouring samples; ``places`` are the samples' numbers."""
    start = run.start
    for i in run:
        if i + 1 == run.stop or places[i + 1] != places[i] + 1:
            yield range(start, i + 1)
            start = i + 1


def _runs(marks: Iterable[EvidenceReason | None]) -> Iterator[tuple[EvidenceReason, range]]:
    """Yield the reason and the indices of each run of equal marks other than None."""
    start = 0
    for reason, group in itertools.groupby(marks):
        count = sum(1 for _ in group)
        if reason is not None:
            yield reason, range(start, start + count)
        start += count


def find_excluded(evidence: ShardEvidence, tracks: Sequence[TrackScore], cells: SampleCells) -> list[Segment]:
    """Return the spans without a score: of the whole picture, and of each track while it was in sight."""
    times: list[int] = cells.times_us.tolist()
    spans: list[tuple[int | None, int, int, EvidenceReason]] = [
        (None, times[run[0]], times[run[-1]], reason)
        for reason, run in _runs(_sample_reasons(evidence, cells))
    ]
    for track in tracks:
        seen_us = [frame.pts_us for frame in track.frames]
        places = cells.places(seen_us)
        for reason, run in _runs(frame.exclude_reason for frame in track.frames):
            parts = _unbroken(run, places)
            spans += [(track.ordinal, seen_us[part[0]], seen_us[part[-1]], reason) for part in parts]
    return [
        Segment(*cells.span(first, last), SegmentKind.EXCLUDED, track=track, reason=reason)
        for track, first, last, reason in spans
    ]


def rank_reasons(marks: Iterable[EvidenceReason | None]) -> tuple[EvidenceReason, ...]:
    """Return the reasons that occur, the most frequent first, equally frequent ones by name."""
    counts = Counter(mark for mark in marks if mark is not None)
    return tuple(sorted(counts, key=lambda reason: (-counts[reason], reason)))


def _sample_reasons(evidence: ShardEvidence, cells: SampleCells) -> list[EvidenceReason | None]:
    """Return for every planned sample why no face was scored in it, None where one was."""
    missing = {item.pts_us: item.reason for item in evidence.missing}
    found = dict(zip(evidence.samples_us.tolist(), evidence.faces_per_sample.tolist(), strict=True))
    rows: dict[int, list[EvidenceReason | None]] = {}
    for time, reason in zip(evidence.pts_us.tolist(), evidence.exclude, strict=True):
        rows.setdefault(time, []).append(reason)
    reasons: list[EvidenceReason | None] = []
    for time in cells.times_us.tolist():
        here = rows.get(time, [])
        if None in here:
            reasons.append(None)
        elif here:
            reasons.append(rank_reasons(here)[0])
        elif found.get(time, 0):
            reasons.append(EvidenceReason.FACE_CAP)
        elif time in found:
            reasons.append(EvidenceReason.NO_FACE)
        else:
            reasons.append(missing[time])
    return reasons


def find_cuts(evidence: ShardEvidence) -> list[Segment]:
    """Return the shot cuts as spans without length."""
    return [Segment(cut, cut, SegmentKind.CUT) for cut in evidence.cuts_us]


def build_time_series(evidence: ShardEvidence, frame_score: F64, segments: Sequence[Segment]) -> TimeSeries:
    """Return the highest face score of every decoded sample, and the spans of the whole picture without one.

    ``frame_score`` [n] is NaN where a face has no score.
    """
    scored: Bool = evidence.is_scored & (evidence.track != NO_TRACK)
    place = np.searchsorted(evidence.samples_us, evidence.pts_us[scored])
    best: list[float | None] = [None] * len(evidence.samples_us)
    track: list[int | None] = [None] * len(evidence.samples_us)
    # From the highest to the lowest, so that the first to claim a sample keeps it.
    for row in np.argsort(-frame_score[scored], kind="stable").tolist():
        sample = int(place[row])
        if best[sample] is None:
            best[sample] = float(frame_score[scored][row])
            track[sample] = int(evidence.track[scored][row])
    excluded = tuple(
        (segment.start_us, segment.end_us, segment.reason)
        for segment in segments
        if segment.kind is SegmentKind.EXCLUDED and segment.track is None and segment.reason is not None
    )
    return TimeSeries(tuple(evidence.samples_us.tolist()), tuple(best), tuple(track), excluded)
