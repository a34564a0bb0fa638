"""The scanned video with what was found drawn on it: faces, patch maps in place, and scores over time.

Every frame of the source (at most 30 a second) at its own time and upright. A sampled face has a solid box
and its map; between samples the box is interpolated, dashed, and the map fades out.
"""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from engine.arrays import U8
from engine.container import MediaKind
from engine.limits import Limits
from engine.output.drawing import GREY, PatchMap, draw_box, draw_patch_map, draw_tag, track_colour
from engine.output.encode import VideoWriter, encode_jpeg
from engine.output.files import write_whole
from engine.output.frames import plan_frames, read_frames
from engine.output.panel import BACKGROUND, TimePanel, describe_verdict
from engine.output.paths import FacePath, FaceState
from engine.output.timeline import build_timeline
from engine.output.words import EVIDENCE, format_score
from engine.sandbox.handle import Sandbox
from engine.scan_result import ScanResult

MOST_HZ = 30.0
_LONGEST_SIDE_PX = 1280
_LEAST_WIDTH_PX = 480  # the strip's words need it

Progress = Callable[[int, int], None]
"""Told how many frames are done, of how many."""


def overlay_name(result: ScanResult, stem: str) -> str:
    """Return the file name of an overlay: a video for a video, a picture for a picture."""
    is_picture = result.probe is not None and result.probe.kind is MediaKind.PICTURE
    return f"{stem}.overlay.{'jpg' if is_picture else 'mp4'}"


def write_overlay(
    result: ScanResult, path: Path, sandbox: Sandbox, limits: Limits, progress: Progress | None = None
) -> None:
    """Write the overlay of a scan without a fault. Raises MediaRejected or Unavailable."""
    assert result.probe is not None
    if result.probe.kind is MediaKind.PICTURE:
        ((_, rgb),) = read_frames(result, plan_frames(result.probe), sandbox, limits)
        write_whole(path, encode_jpeg(OverlayPainter(result).paint_picture(rgb), quality=90))
        return
    painter = OverlayPainter(result)
    targets = plan_frames(result.probe, MOST_HZ)
    with VideoWriter(path, painter.width, painter.height) as writer:
        for done, (time_us, rgb) in enumerate(read_frames(result, targets, sandbox, limits), start=1):
            writer.write(painter.paint(rgb, time_us), time_us, result.probe.frame_us)
            if progress is not None:
                progress(done, len(targets))


class OverlayPainter:
    """Paints frames of one scan, one at a time; the returned canvas is painted over by the next call."""

    def __init__(self, result: ScanResult) -> None:
        assert result.probe is not None
        assert result.score is not None
        self._result = result
        self._slack_us = result.probe.frame_us // 2
        self._paths = [FacePath(result, track) for track in result.score.tracks]
        self._excluded = build_timeline(result).excluded
        width, height = result.probe.width, result.probe.height
        self._zoom = min(_LONGEST_SIDE_PX / max(width, height), max(1.0, _LEAST_WIDTH_PX / width))
        self._picture_size = _even(width * self._zoom), _even(height * self._zoom)
        self._panel = TimePanel(result, self._picture_size[0])
        self.width = self._picture_size[0]
        self.height = self._picture_size[1] + self._panel.height
        self._canvas = np.empty((self.height, self.width, 3), np.uint8)
        self._canvas[:] = BACKGROUND

    def paint(self, rgb: U8, time_us: int) -> U8:
        """Return the canvas [height, width, 3] for a frame [H, W, 3] of the source and its time."""
        picture = self._canvas[: self._picture_size[1]]
        picture[:] = self._resize(rgb)
        states = [path.at(time_us, sample_slack_us=self._slack_us) for path in self._paths]
        self._draw_faces(picture, [state for state in states if state is not None])
        self._draw_exclusion(picture, time_us)
        self._panel.draw(self._canvas[self._picture_size[1] :], time_us)
        return self._canvas

    def paint_picture(self, rgb: U8) -> U8:
        """Return a still picture with its faces, and the verdict in words below instead of a strip."""
        canvas = np.empty((self._picture_size[1] + 28, self.width, 3), np.uint8)
        canvas[:] = BACKGROUND
        picture = canvas[: self._picture_size[1]]
        picture[:] = self._resize(rgb)
        states = [path.at(0, sample_slack_us=self._slack_us) for path in self._paths]
        self._draw_faces(picture, [state for state in states if state is not None])
        draw_tag(canvas, describe_verdict(self._result), (8, len(canvas) - 4), (255, 255, 255))
        return canvas

    def _resize(self, rgb: U8) -> U8:
        if (rgb.shape[1], rgb.shape[0]) == self._picture_size:
            return rgb
        how = cv2.INTER_AREA if self._zoom < 1 else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(rgb, self._picture_size, interpolation=how), np.uint8)

    def _draw_faces(self, picture: U8, states: list[FaceState]) -> None:
        for state in states:
            if state.shown is not None:
                draw_patch_map(picture, self._zoom_map(state.shown), state.strength)
        for state in states:  # above all maps, so that no label is covered
            self._draw_label(picture, state)

    def _draw_exclusion(self, picture: U8, time_us: int) -> None:
        """Say in the corner why nothing is scored here: a clean picture must not pass for a clean bill."""
        for span in self._excluded:
            if span.start_us <= time_us < span.end_us and span.reason is not None:
                draw_tag(picture, f"not scored: {EVIDENCE[span.reason]}", (8, picture.shape[0] - 6), GREY)

    def _zoom_map(self, shown: PatchMap) -> PatchMap:
        return PatchMap(shown.patches, shown.to_frame * np.float32(self._zoom), shown.crop_size)

    def _draw_label(self, picture: U8, state: FaceState) -> None:
        height, width = picture.shape[:2]
        box = state.box * np.array([width, height, width, height], np.float64)
        sample = state.sample
        colour = GREY if sample.score is None else track_colour(state.ordinal)
        draw_box(picture, box, colour, is_between=state.is_between)
        said = (
            format_score(sample.score) if sample.exclude_reason is None else EVIDENCE[sample.exclude_reason]
        )
        draw_tag(
            picture, f"#{state.ordinal} {said}", (round(float(box[0])), round(float(box[1])) - 2), colour
        )


def _even(length: float) -> int:
    """Return an even whole length near the given one: 4:2:0 has half the colour samples."""
    return max(2, 2 * round(length / 2))
