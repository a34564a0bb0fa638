"""From decoded YUV of any matrix, range and depth to displayed 8-bit sRGB."""

from dataclasses import dataclass
from typing import TypeVar, cast

import numpy as np
from av.sidedata.sidedata import SideData
from av.sidedata.sidedata import Type as SideDataType
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from numpy.typing import NDArray

from engine.arrays import F32, U8
from engine.decoders.geometry import Orientation, orientation_from_matrix

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
        if colour.transfer in _HDR:
            rgb = tone_map(self._reformat(frame, colour, "rgb48le", np.uint16), colour.transfer)
        else:
            rgb = self._reformat(frame, colour, "rgb24", np.uint8)
        if frame.interlaced_frame:
            rgb = keep_first_field(rgb)
        return self._orientation.apply(rgb)

    def _reformat(self, frame: VideoFrame, colour: Colour, form: str, dtype: type[_Code]) -> NDArray[_Code]:
        width, height = self._size
        is_scaled = (width, height) != (frame.width, frame.height)
        plane = self._reformatter.reformat(
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
        ).planes[0]
        rows = np.frombuffer(memoryview(plane), dtype=dtype).reshape(height, -1)
        return rows[:, : width * 3].reshape(height, width, 3)


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


# BT.2020 to BT.709 primaries in linear light: ITU-R BT.2087-0, table 4, to four digits.
_GAMUT = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], dtype=np.float32
)
_WHITE_NITS = 203.0  # diffuse white of HDR: ITU-R BT.2408
_HLG_PEAK_NITS = 1000.0
_KNEE = 0.7
_STRIP_PIXELS = 1 << 18  # float copies of a whole 8K frame would need 400 MB each


def _pq_to_nits(code: F32) -> F32:
    # SMPTE ST 2084, equation 4.1.
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
    power = np.power(code, 1 / m2)
    return 10_000 * np.power(np.maximum(power - c1, 0) / (c2 - c3 * power), 1 / m1)


def _hlg_to_scene(code: F32) -> F32:
    # ARIB STD-B67 / BT.2100 table 5: the inverse of the camera's curve, 0 to 1.
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(code <= 0.5, code * code / 3, (np.exp((code - c) / a) + b) / 12)


def _srgb_curve(linear: F32) -> F32:
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.power(linear, 1 / 2.4) - 0.055)


_CODES = np.linspace(0, 1, 65536, dtype=np.float32)
_PQ_TABLE = (_pq_to_nits(_CODES) / _WHITE_NITS).astype(np.float32)
_HLG_TABLE = _hlg_to_scene(_CODES).astype(np.float32)
_SRGB_TABLE = np.round(255 * _srgb_curve(np.linspace(0, 1, 16384, dtype=np.float32))).astype(np.uint8)


def compress_highlights(level: F32) -> F32:
    """Map light in units of diffuse white to 0..1: linear up to 0.7, then ever flatter, slope continuous."""
    headroom = 1 - _KNEE
    bright = 1 - headroom * headroom / np.maximum(level - 2 * _KNEE + 1, headroom)
    return np.where(level <= _KNEE, level, bright).astype(np.float32)


def _tone_map_strip(code: NDArray[np.uint16], transfer: str) -> U8:
    if transfer == "pq":
        linear = _PQ_TABLE[code]
    else:
        scene = _HLG_TABLE[code]
        luma = scene @ np.array([0.2627, 0.678, 0.0593], dtype=np.float32)
        gain = np.power(np.maximum(luma, 1e-6), np.float32(0.2)) * np.float32(_HLG_PEAK_NITS / _WHITE_NITS)
        linear = scene * gain[..., None]
    linear = np.maximum(linear @ _GAMUT.T, 0)
    peak = np.maximum(linear.max(axis=-1, keepdims=True), np.float32(1e-6))
    linear *= compress_highlights(peak) / peak
    return _SRGB_TABLE[np.rint(linear * 16383).astype(np.int32).clip(0, 16383)]


def tone_map(code: NDArray[np.uint16], transfer: str) -> U8:
    """8-bit sRGB [H, W, 3] from 16-bit PQ or HLG code values [H, W, 3] with BT.2020 primaries.

    Diffuse white (203 cd/m2) lands at 85 % of the range in linear light; hue is kept by scaling the
    three components alike.
    """
    height, width = code.shape[:2]
    result = np.empty((height, width, 3), np.uint8)
    rows = max(1, _STRIP_PIXELS // width)
    for start in range(0, height, rows):
        result[start : start + rows] = _tone_map_strip(code[start : start + rows], transfer)
    return result
