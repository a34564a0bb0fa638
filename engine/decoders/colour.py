"""From decoded YUV of any matrix, range and depth to displayed 8-bit sRGB."""

from dataclasses import dataclass
from typing import TypeVar, cast

import numpy as np
from av.sidedata.sidedata import SideData
from av.sidedata.sidedata import Type as SideDataType
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.plane import VideoPlane
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from numpy.typing import NDArray

from engine.arrays import U8
from engine.decoders.geometry import Orientation, orientation_from_matrix
from engine.decoders.tone import tone_map

# ISO/IEC 23091-2 code points, as FFmpeg uses them. Two is "unspecified".
_MATRICES = {
    0: "rgb",
    1: "bt709",
    4: "fcc",
    5: "bt601",
    6: "bt601",
    7: "smpte240m",
    9: "bt2020",
    10: "bt2020",
}
_TRANSFERS = {
    1: "bt709", 4: "gamma22", 5: "gamma28", 6: "bt601", 7: "smpte240m", 8: "linear", 13: "srgb",
    14: "bt2020-10", 15: "bt2020-12", 16: "pq", 18: "hlg",
}  # fmt: skip
_RANGES = {1: "limited", 2: "full"}

_SCALERS = {
    "bt709": Colorspace.ITU709,
    "bt601": Colorspace.ITU601,
    "fcc": Colorspace.FCC,
    "smpte240m": Colorspace.SMPTE240M,
    "bt2020": Colorspace.BT2020,
}
_HDR = ("pq", "hlg")
_HIGH_DEFINITION_PX = 720  # rows from which an unspecified matrix is read as BT.709, below as BT.601

# FULL_CHR_H_INT: 8-bit 4:2:0 keeps the fast path (0.3 ms for 720p); 10 bit errs by 1 level instead of 3.
_PLAIN = Interpolation.BILINEAR | Interpolation.FULL_CHR_H_INT
# Interpolates chroma as libjpeg does (mean difference 0.3 levels, 3.4 without), at twenty times the cost.
_SMOOTH = Interpolation.BILINEAR | Interpolation.FULL_CHR_H_INT | Interpolation.ACCURATE_RND
_SCALED = Interpolation.BICUBIC | Interpolation.FULL_CHR_H_INT | Interpolation.ACCURATE_RND


@dataclass(frozen=True)
class Colour:
    """Matrix, range and transfer by name; 'unspecified' where the stream does not say."""

    matrix: str
    range: str
    transfer: str


def describe_colour(source: VideoFrame | VideoCodecContext) -> Colour:
    """What a frame or a stream says of its colour."""
    return Colour(
        _MATRICES.get(int(source.colorspace), "unspecified"),
        _RANGES.get(int(source.color_range), "unspecified"),
        _TRANSFERS.get(int(source.color_trc), "unspecified"),
    )


def is_hdr(source: VideoFrame | VideoCodecContext) -> bool:
    """Whether the transfer function is that of HDR: PQ or HLG."""
    return describe_colour(source).transfer in _HDR


def orientation_of(frame: VideoFrame) -> Orientation:
    """How a frame wants to be turned, from its display matrix."""
    try:
        # The stub asks for a string; PyAV itself keys by its enum.
        matrix = frame.side_data.get(SideDataType.DISPLAYMATRIX)  # pyright: ignore[reportCallIssue, reportArgumentType, reportUnknownVariableType]
    except ValueError:  # PyAV 18 refuses to list side data of a kind that it does not know
        return Orientation(round(-frame.rotation / 90) % 4 * 90)
    return orientation_from_matrix(bytes(cast("SideData", matrix))) if matrix is not None else Orientation()


_Code = TypeVar("_Code", np.uint8, np.uint16)


class FrameConverter:
    """Turns frames of one stream into RGB of one displayed size. Keeps the scaler between frames.

    ``is_chroma_smooth`` is for still pictures, which every other reader shows with interpolated chroma; for
    video the plain conversion is what training sees as well.
    """

    def __init__(
        self, width: int, height: int, orientation: Orientation, *, is_chroma_smooth: bool = False
    ) -> None:
        self._plain = _SMOOTH if is_chroma_smooth else _PLAIN
        self._size = (height, width) if orientation.swaps_sides else (width, height)
        self._orientation = orientation
        self._reformatter = VideoReformatter()

    def convert(self, frame: VideoFrame) -> U8:
        """U8 [height, width, 3] of the displayed picture; may be a view that is valid as long as used."""
        colour = describe_colour(frame)
        width, height = self._size
        if colour.transfer in _HDR:
            # Planes of this format stand in the order green, blue, red.
            green, blue, red = (_rows(p, np.uint16) for p in self._reformat(frame, colour, "gbrp12le"))
            rgb = tone_map(red, green, blue, colour.transfer)
        else:
            plane = _rows(self._reformat(frame, colour, "rgb24")[0], np.uint8)
            rgb = plane[:, : width * 3].reshape(height, width, 3)
        if frame.interlaced_frame:
            rgb = keep_first_field(rgb)
        return self._orientation.apply(rgb)

    def _reformat(self, frame: VideoFrame, colour: Colour, form: str) -> tuple[VideoPlane, ...]:
        width, height = self._size
        is_scaled = (width, height) != (frame.width, frame.height)
        return self._reformatter.reformat(
            frame,
            width=width,
            height=height,
            format=form,
            src_colorspace=_scaler_matrix(colour.matrix, frame.height),
            dst_colorspace=Colorspace.ITU709,
            src_color_range=_range_of(frame, colour.range),
            dst_color_range=ColorRange.JPEG,
            interpolation=_SCALED if is_scaled else self._plain,
            threads=1,
        ).planes


def _rows(plane: VideoPlane, dtype: type[_Code]) -> NDArray[_Code]:
    """A plane as [height, line]; lines of one byte a sample may be padded at their end."""
    rows = np.frombuffer(memoryview(plane), dtype=dtype).reshape(plane.height, -1)
    return rows if dtype is np.uint8 else rows[:, : plane.width]


def _scaler_matrix(matrix: str, height: int) -> Colorspace:
    if matrix in _SCALERS:
        return _SCALERS[matrix]
    return Colorspace.ITU709 if height >= _HIGH_DEFINITION_PX else Colorspace.ITU601


def _range_of(frame: VideoFrame, declared: str) -> ColorRange:
    if frame.format.is_rgb or frame.format.name.startswith(("yuvj", "gray", "ya", "pal", "mono")):
        return ColorRange.JPEG
    return ColorRange.JPEG if declared == "full" else ColorRange.MPEG


def keep_first_field(rgb: U8) -> U8:
    """The even rows of ``rgb`` [H, W, 3] as they are, odd rows as the mean of their neighbours.

    Two fields are two moments: woven together a moving face shows combs. One field is half as sharp but true.
    """
    field = rgb[::2]
    result = rgb.copy()
    below = np.concatenate([field[1:], field[-1:]])[: len(rgb[1::2])]
    above = field[: len(below)]
    result[1::2] = (above.astype(np.uint16) + below + 1) // 2
    return result
