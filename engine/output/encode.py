"""Write pictures as an H.264 video or as a JPEG."""

from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import cv2
import numpy as np
from av.error import FFmpegError
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from av.video.stream import VideoStream

from engine.arrays import U8
from engine.output.files import discard_partial, name_partial, unwritable

MICROSECONDS = 1_000_000


class VideoWriter:
    """Writes frames at their own times to an H.264 MP4; the file appears whole at the end or not at all.

    BT.709, limited range, 4:2:0, tagged as such, index before the pictures. Raises Unavailable
    (OUTPUT_FAILED) if the file cannot be written.
    """

    def __init__(
        self,
        path: Path,
        width: int,
        height: int,
        *,
        crf: int = 21,
        preset: str = "veryfast",
        threads: int = 2,
        comment: str = "",
    ) -> None:
        if min(width, height) < 2 or width % 2 or height % 2:
            raise ValueError(f"4:2:0 needs even sides, not {width}x{height}")
        self._path, self._partial = path, name_partial(path)
        self._size = width, height
        self._last_us = -1
        try:
            # As a URL of a file: of a folder such as 'a:b' FFmpeg takes the beginning for a protocol.
            place = f"file:{self._partial.absolute()}"
            self._container = av.open(place, "w", format="mp4", options={"movflags": "+faststart"})
            self._stream = self._container.add_stream("libx264", rate=30)
            if comment:
                self._container.metadata["comment"] = comment
        except (FFmpegError, OSError) as fault:
            discard_partial(self._partial)
            raise unwritable(path, fault.strerror or str(fault)) from fault
        _set_up(self._stream, width, height, {"crf": str(crf), "preset": preset}, threads)

    def write(self, rgb: U8, pts_us: int, duration_us: int = 0) -> None:
        """Append one frame, RGB [height, width, 3]; times rise from frame to frame."""
        if rgb.shape != (self._size[1], self._size[0], 3) or rgb.dtype != np.uint8:
            raise ValueError(f"a frame of {rgb.shape} {rgb.dtype} in a video of {self._size}")
        if pts_us <= self._last_us:
            raise ValueError(f"the frame at {pts_us} us follows one at {self._last_us} us")
        self._last_us = pts_us
        frame = VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24").reformat(
            format="yuv420p",
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
        )
        frame.pts, frame.time_base, frame.duration = pts_us, self._stream.codec_context.time_base, duration_us
        try:
            self._container.mux(self._stream.encode(frame))
        except (FFmpegError, OSError) as fault:
            raise unwritable(self._path, fault.strerror or str(fault)) from fault

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None and self._last_us >= 0:
                self._container.mux(self._stream.encode(None))
            self._container.close()
            if kind is None:
                self._partial.replace(self._path)
        except (FFmpegError, OSError) as broken:
            if kind is None:
                raise unwritable(self._path, broken.strerror or str(broken)) from broken
        finally:
            discard_partial(self._partial)


def _set_up(stream: VideoStream, width: int, height: int, options: dict[str, str], threads: int) -> None:
    context = stream.codec_context
    context.width, context.height, context.pix_fmt = width, height, "yuv420p"
    # Microseconds, so that the times of the source are kept exactly whatever its own time base is.
    context.time_base = stream.time_base = Fraction(1, MICROSECONDS)
    context.thread_count = threads
    context.options = options
    context.color_range = ColorRange.MPEG
    context.colorspace = Colorspace.ITU709
    context.color_primaries = ColorPrimaries.BT709
    context.color_trc = ColorTrc.BT709


def encode_jpeg(rgb: U8, quality: int = 82) -> bytes:
    """Return RGB [H, W, 3] as JPEG bytes."""
    done, data = cv2.imencode(
        ".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    assert done, "OpenCV encodes any 8 bit picture"
    return data.tobytes()
