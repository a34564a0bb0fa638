"""Probes as looking at a file would give them, made from the times of their frames."""

from collections.abc import Sequence

import numpy as np

from engine.container import Container, MediaKind
from engine.probe import Probe
from engine.results import MediaWarning


def make_video_probe(
    frames_us: Sequence[int] | np.ndarray,
    keyframes_us: Sequence[int] = (0,),
    *,
    duration_us: int | None = None,
    size: tuple[int, int] = (320, 240),
    warnings: Sequence[MediaWarning] = (),
) -> Probe:
    """An upright H.264 video in MP4; it ends 40 ms after its last frame unless told otherwise."""
    times = np.asarray(frames_us, dtype=np.int64)
    return Probe(
        kind=MediaKind.VIDEO,
        container=Container.MP4,
        codec="h264",
        pixel_format="yuv420p",
        coded_width=size[0],
        coded_height=size[1],
        width=size[0],
        height=size[1],
        rotation=0,
        sample_aspect_ratio=(1, 1),
        duration_us=int(times[-1]) + 40_000 if duration_us is None else duration_us,
        frame_count=len(times),
        keyframes_us=tuple(keyframes_us),
        time_base=(1, 90_000),
        is_variable_rate=False,
        is_hdr=False,
        is_interlaced=False,
        color_matrix="bt709",
        color_range="limited",
        color_transfer="bt709",
        has_audio=True,
        stream_count=2,
        attached_pictures=0,
        size_bytes=123_456,
        sha256="ef" * 32,
        bit_rate=800_000,
        warnings=tuple(warnings),
        frames_us=times,
    )
