"""Lanes of a timeline: which faces, and what is drawn of them."""

from engine.output.charts import CHART_WIDTH, LEFT, build_chart, build_scale
from engine.output.timeline import build_timeline
from engine.results import EvidenceReason
from tests.engine.output.made_results import (
    FORGED_LOGITS,
    make_faceless_result,
    make_failed_result,
    make_result,
)

BLURRED = EvidenceReason.TOO_BLURRED


def test_a_forged_face_has_a_lane_with_its_span() -> None:
    timeline = build_timeline(make_result())
    (lane,) = timeline.lanes
    assert [(span.start_us, span.end_us) for span in lane.suspicious] == [(10_000_000, 22_000_000)]
    assert len(lane.points) == 32
    assert (timeline.low, timeline.high) == (0.3, 0.7)


def test_lines_do_not_cross_what_was_not_scored() -> None:
    cells = [1.0] * 10 + [BLURRED] * 5 + [1.0] * 10
    (lane,) = build_timeline(make_result({0: cells})).lanes
    assert [span.reason for span in lane.excluded] == [BLURRED]
    assert [len(run) for run in lane.runs()] == [10, 10]


def test_lines_do_not_cross_times_without_the_face() -> None:
    cells = [1.0] * 10 + [None] * 2 + [1.0] * 10
    lane = build_timeline(make_result({0: cells, 1: [1.0] * 22})).lanes[0]
    assert lane.excluded == ()
    assert [len(run) for run in lane.runs()] == [10, 10]


def test_of_many_faces_the_highest_are_shown_in_order_of_number() -> None:
    tracks = {place: [place / 10 - 1.0] * 8 for place in range(20)}
    timeline = build_timeline(make_result(tracks), most_lanes=3)
    assert [lane.ordinal for lane in timeline.lanes] == [17, 18, 19]
    assert timeline.hidden == 17


def test_faces_without_a_score_come_last() -> None:
    timeline = build_timeline(make_result({0: [BLURRED] * 9, 1: [-4.0] * 9}), most_lanes=1)
    assert [lane.ordinal for lane in timeline.lanes] == [1]


def test_without_a_face_the_whole_time_is_excluded() -> None:
    timeline = build_timeline(make_faceless_result())
    assert timeline.lanes == ()
    assert [(span.start_us, span.end_us, span.reason) for span in timeline.excluded] == [
        (0, 32_000_000, EvidenceReason.NO_FACE)
    ]


def test_the_chart_keeps_everything_on_its_axis() -> None:
    chart = build_chart(
        build_timeline(make_result({0: FORGED_LOGITS, 1: [BLURRED] * 32}, cuts_us=[10_500_000]))
    )
    places = [dot.x for lane in chart.lanes for dot in lane.dots]
    places += [tick.x for tick in chart.ticks] + [cut.x for cut in chart.cuts]
    assert min(places) >= LEFT
    assert max(places) <= CHART_WIDTH
    first = chart.lanes[0]
    assert first.high_y < first.low_y
    assert all(first.top <= dot.y <= first.top + first.height for dot in first.dots)
    assert chart.cuts[0].words == "cut at 0:10.5"
    assert chart.lanes[1].excluded[0].words == "0:00.0 to 0:32.0 not scored: too blurred"
    assert chart.lanes[1].excluded[0].label == "too blurred"


def test_ticks_stand_at_round_times() -> None:
    chart = build_chart(build_timeline(make_result()))
    assert [tick.words for tick in chart.ticks] == [
        f"0:{second:02d}.0" for second in (0, 5, 10, 15, 20, 25, 30)
    ]


def test_the_scale_needs_a_score() -> None:
    scale = build_scale(make_result())
    assert (scale.low, scale.high) == (30.0, 70.0)
    assert 70 < scale.interval[0] <= scale.interval[1] < 100
    assert build_scale(make_failed_result()) is None
    assert build_scale(make_faceless_result()) is None
