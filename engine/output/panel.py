"""The strip below an overlay's picture: verdict, scores over time, and where the video is now."""

import cv2
import numpy as np

from engine.arrays import U8
from engine.output.drawing import (
    BLACK,
    GREY,
    HOT,
    WHITE,
    Colour,
    draw_dashed,
    draw_text,
    hatch,
    text_width,
    track_colour,
)
from engine.output.timeline import Lane, Timeline, build_timeline
from engine.output.words import OUTCOMES, VERDICTS, format_clock, format_score
from engine.scan_result import ScanResult

BACKGROUND: Colour = (22, 24, 28)
_DIM: Colour = (95, 100, 108)
_PLOT_PX = 84
_MARGIN_PX = 8
_LABEL_PX = 11  # between two labels of levels: what is nearer cannot be read
_CAVEAT = "a reason to look closer, not proof"


def describe_verdict(result: ScanResult) -> str:
    """Return verdict and score in one ASCII line, the outcome where there is no verdict."""
    score, verdict = result.score, result.verdict
    if score is None or verdict is None or verdict.value is None:
        return OUTCOMES[result.outcome]
    kind = "score" if score.calibrated is None else "probability"
    line = f"{VERDICTS[verdict.value]}: {kind} {format_score(verdict.score_used)}"
    if score.interval is not None:
        line += f" [{format_score(score.interval[0])}-{format_score(score.interval[1])}]"
    return line


class TimePanel:
    """Draws the strip; all but the cursor and the clock is drawn once."""

    def __init__(self, result: ScanResult, width: int) -> None:
        self._timeline = build_timeline(result)
        self._scale = 0.4 if width < 900 else 0.5
        self._row_px = round(40 * self._scale)
        self.height = 2 * (self._row_px // 2) + _PLOT_PX + self._row_px + 2 * _MARGIN_PX
        self.height += self.height % 2
        self._top = self._row_px + _MARGIN_PX
        self._left = _MARGIN_PX + text_width("0.00 ", self._scale)
        self._right = width - _MARGIN_PX
        self._base = np.empty((self.height, width, 3), np.uint8)
        self._base[:] = BACKGROUND
        self._draw_words(result)
        self._draw_plot(self._timeline)

    def draw(self, strip: U8, time_us: int) -> None:
        """Draw the strip of [height, width, 3] for a time."""
        strip[:] = self._base
        clock = f"{format_clock(time_us)} / {format_clock(self._timeline.duration_us)}"
        width = text_width(clock, self._scale)
        draw_text(strip, clock, (self._right - width, self._row_px - 2), self._scale, WHITE)
        x = self._x(time_us)
        strip[self._top - 3 : self._top + _PLOT_PX + 4, max(0, x - 1) : x + 2] = BLACK
        strip[self._top - 3 : self._top + _PLOT_PX + 4, x] = WHITE

    def _x(self, time_us: int) -> int:
        return self._left + round(self._timeline.place(time_us, self._right - self._left - 1))

    def _y(self, score: float) -> int:
        return self._top + round((1.0 - score) * (_PLOT_PX - 1))

    def _draw_words(self, result: ScanResult) -> None:
        draw_text(self._base, describe_verdict(result), (_MARGIN_PX, self._row_px - 2), self._scale, WHITE)
        foot = f"fakesieve, model {result.model.name}: {_CAVEAT}"
        place = (_MARGIN_PX, self.height - _MARGIN_PX)
        ascii_foot = foot.encode("ascii", "replace").decode("ascii")
        draw_text(self._base, ascii_foot, place, 0.8 * self._scale, GREY)

    def _draw_plot(self, timeline: Timeline) -> None:
        bottom = self._top + _PLOT_PX
        self._base[self._top : bottom, self._left : self._right] = (34, 37, 43)
        for span in timeline.excluded:
            hatch(self._base, self._x(span.start_us), self._top, self._x(span.end_us), bottom)
        for lane in timeline.lanes:
            for span in lane.suspicious:
                self._base[bottom + 1 : bottom + 4, self._x(span.start_us) : self._x(span.end_us)] = HOT
        for cut_us in timeline.cuts_us:
            draw_dashed(self._base, (self._x(cut_us), self._top), (self._x(cut_us), bottom), GREY, dash_px=2)
        labelled: list[int] = []
        for score in dict.fromkeys((timeline.low, timeline.high)):
            self._draw_level(score, f"{score:.2f}", labelled, is_threshold=True)
        for score in (0.0, 1.0):
            self._draw_level(score, f"{score:.0f}", labelled, is_threshold=False)
        for lane in timeline.lanes:
            self._draw_lane(lane)

    def _draw_level(self, score: float, label: str, labelled: list[int], *, is_threshold: bool) -> None:
        """Draw a level across the plot, and its label unless one of ``labelled`` is too near."""
        y = self._y(score)
        if is_threshold:
            draw_dashed(self._base, (self._left, y), (self._right - 1, y), WHITE)
        else:
            self._base[y, self._left : self._right] = _DIM
        if all(abs(y - other) >= _LABEL_PX for other in labelled):
            labelled.append(y)
            place = (_MARGIN_PX, min(self._top + _PLOT_PX, y + 4))
            draw_text(self._base, label, place, 0.8 * self._scale, GREY)

    def _draw_lane(self, lane: Lane) -> None:
        colour = track_colour(lane.ordinal)
        for run in lane.runs():
            points = np.array([(self._x(time), self._y(score)) for time, score in run], np.int32)
            cv2.polylines(self._base, [points], False, colour, 2, cv2.LINE_AA)  # noqa: FBT003 - OpenCV's "closed"
            for x, y in points.tolist():
                cv2.circle(self._base, (x, y), 2, colour, cv2.FILLED, cv2.LINE_AA)
