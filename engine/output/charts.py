"""Where everything lies in the report's drawings: plain geometry, which the template writes as SVG."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from engine.output.drawing import track_colour
from engine.output.timeline import Lane, Span, Timeline
from engine.output.words import EVIDENCE, REGIONS, format_clock, format_score
from engine.scan_result import ScanResult

CHART_WIDTH = 1000.0
LEFT = 106.0  # of the plot, beside the labels
_LANE_HEIGHT = 76.0
_LANE_GAP = 14.0
_TOP = 30.0
_TICK_STEPS_S = (0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)
_MOST_TICKS = 11
_LETTER_WIDTH = 7.0


@dataclass(frozen=True)
class ChartSpan:
    """A part of a lane, with the words that a pointer over it shows."""

    x: float
    width: float
    words: str
    label: str = ""  # written on it where there is room


@dataclass(frozen=True)
class ChartDot:
    """One scored sample."""

    x: float
    y: float
    words: str


@dataclass(frozen=True)
class ChartLane:
    """One face over time."""

    ordinal: int
    top: float
    height: float
    colour: str
    score: str
    seen: ChartSpan  # while the face was in sight
    lines: tuple[str, ...]  # points of polylines
    dots: tuple[ChartDot, ...]
    suspicious: tuple[ChartSpan, ...]
    excluded: tuple[ChartSpan, ...]
    low_y: float
    high_y: float


@dataclass(frozen=True)
class TimeChart:
    """All lanes above one axis of time."""

    width: float
    height: float
    left: float
    bottom: float
    lanes: tuple[ChartLane, ...]
    excluded: tuple[ChartSpan, ...]
    cuts: tuple[ChartDot, ...]
    ticks: tuple[ChartDot, ...]


@dataclass(frozen=True)
class ScoreScale:
    """The score on a line from 0 to 1 with the thresholds, in percent of its length."""

    score: float
    low: float
    high: float
    interval: tuple[float, float] | None


def build_scale(result: ScanResult) -> ScoreScale | None:
    """Return the scale of a video's score; None without one."""
    verdict = result.verdict
    if verdict is None or verdict.score_used is None or result.score is None:
        return None
    interval = result.score.interval
    ends = None if interval is None else (100 * interval[0], 100 * interval[1])
    return ScoreScale(100 * verdict.score_used, 100 * verdict.low, 100 * verdict.high, ends)


def build_chart(timeline: Timeline) -> TimeChart:
    """Return the drawing of a timeline."""
    bottom = _TOP + len(timeline.lanes) * (_LANE_HEIGHT + _LANE_GAP)
    tops = [_TOP + place * (_LANE_HEIGHT + _LANE_GAP) for place in range(len(timeline.lanes))]
    return TimeChart(
        width=CHART_WIDTH,
        height=bottom + 26,
        left=LEFT,
        bottom=bottom,
        lanes=tuple(_lane(timeline, lane, top) for lane, top in zip(timeline.lanes, tops, strict=True)),
        excluded=_spans(timeline, timeline.excluded),
        cuts=tuple(
            ChartDot(_x(timeline, cut), 0.0, f"cut at {format_clock(cut)}") for cut in timeline.cuts_us
        ),
        ticks=_ticks(timeline),
    )


def describe_span(span: Span) -> str:
    """Return a span in words."""
    times = f"{format_clock(span.start_us)} to {format_clock(span.end_us)}"
    if span.reason is not None:
        return f"{times} not scored: {EVIDENCE[span.reason]}"
    regions = ", ".join(REGIONS[region] for region in span.regions)
    return f"{times} suspicious" + (f", most around: {regions}" if regions else "")


def hex_colour(ordinal: int) -> str:
    """Return the colour of a track for the web."""
    return "#" + "".join(f"{channel:02x}" for channel in track_colour(ordinal))


def _x(timeline: Timeline, time_us: int) -> float:
    return round(LEFT + timeline.place(time_us, CHART_WIDTH - LEFT - 12), 1)


def _spans(timeline: Timeline, spans: Sequence[Span]) -> tuple[ChartSpan, ...]:
    found: list[ChartSpan] = []
    for span in spans:
        shown = _span(timeline, span.start_us, span.end_us, describe_span(span))
        label = "" if span.reason is None else EVIDENCE[span.reason]
        has_room = shown.width > _LETTER_WIDTH * len(label) + 12
        found.append(replace(shown, label=label if has_room else ""))
    return tuple(found)


def _span(timeline: Timeline, start_us: int, end_us: int, words: str) -> ChartSpan:
    start, end = _x(timeline, start_us), _x(timeline, end_us)
    return ChartSpan(start, round(max(1.0, end - start), 1), words)


def _lane(timeline: Timeline, lane: Lane, top: float) -> ChartLane:
    def y(score: float) -> float:
        return round(top + (1.0 - score) * _LANE_HEIGHT, 1)

    def dot(time_us: int, score: float) -> ChartDot:
        words = f"{format_clock(time_us)} score {format_score(score)}"
        return ChartDot(_x(timeline, time_us), y(score), words)

    return ChartLane(
        ordinal=lane.ordinal,
        top=top,
        height=_LANE_HEIGHT,
        colour=hex_colour(lane.ordinal),
        score=format_score(lane.score),
        seen=_span(timeline, lane.start_us, lane.end_us, f"face {lane.ordinal} in sight"),
        lines=tuple(
            " ".join(f"{_x(timeline, time)},{y(score)}" for time, score in run) for run in lane.runs()
        ),
        dots=tuple(dot(time, score) for time, score in lane.points),
        suspicious=_spans(timeline, lane.suspicious),
        excluded=_spans(timeline, lane.excluded),
        low_y=y(timeline.low),
        high_y=y(timeline.high),
    )


def _ticks(timeline: Timeline) -> tuple[ChartDot, ...]:
    """Return round times along the axis, few enough to be read."""
    seconds = timeline.duration_us / 1e6
    step = next((step for step in _TICK_STEPS_S if seconds / step <= _MOST_TICKS), 7200)
    times = [round(place * step * 1e6) for place in range(int(seconds / step) + 1)]
    return tuple(ChartDot(_x(timeline, time), 0.0, format_clock(time)) for time in times)
