"""Draws the clips and pictures that tests decode. Every frame carries its number, readable after coding.

A clip is described by `Clip` and written by `draw_clip`; `read_index` gives a decoded frame's number back.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.frame import VideoFrame

from tests.scheduling import ordinary_priority

BITS = 12  # frame numbers up to 4095
_TICKS = 90_000

Painter = Callable[[int, np.ndarray], None]  # frame number, displayed RGB [H, W, 3] to paint on


@dataclass(frozen=True)
class Clip:
    """What to draw. ``width`` and ``height`` are those of the displayed picture, before the pixel shape."""

    width: int = 320
    height: int = 240
    frames: int = 50
    rate: int = 25
    codec: str = "libx264"
    pixel_format: str = "yuv420p"
    keyframe_every: int = 12
    b_frames: int = 2
    rotation: int = 0  # clockwise turn that players must apply
    pixel_aspect: Fraction = Fraction(1)
    times_us: tuple[int, ...] | None = None  # presentation times for a variable rate, first 0
    cuts: tuple[int, ...] = ()  # frames at which the scene changes, each coded as a keyframe
    is_interlaced: bool = False
    options: dict[str, str] = field(default_factory=dict)
    container_options: dict[str, str] = field(default_factory=dict)
    format: str | None = None
    paint: Painter | None = None

    def times(self) -> list[int]:
        """Presentation time of each frame in microseconds."""
        if self.times_us is not None:
            return list(self.times_us)
        return [(i * 1_000_000 + self.rate // 2) // self.rate for i in range(self.frames)]


def scene(width: int, height: int, number: int) -> np.ndarray:
    """The background of scene ``number``: coarse colours, the same on every machine."""
    rng = np.random.default_rng(1000 + number)
    coarse = rng.integers(40, 216, (-(-height // 16), -(-width // 16), 3), dtype=np.uint8)
    return coarse.repeat(16, 0).repeat(16, 1)[:height, :width].copy()


def paint_index(rgb: np.ndarray, index: int) -> None:
    """Write ``index`` into the top left corner: one block per bit, low bit first, then a white end block."""
    side = _block(rgb)
    for bit in range(BITS):
        rgb[:side, bit * side : (bit + 1) * side] = 255 if index >> bit & 1 else 0
    rgb[:side, BITS * side : (BITS + 1) * side] = 255


def read_index(rgb: np.ndarray) -> int:
    """The number that `paint_index` wrote, from a decoded frame."""
    side = _block(rgb)
    inner = slice(side // 4, side - side // 4)
    levels = [
        rgb[inner, bit * side + side // 4 : (bit + 1) * side - side // 4].mean() for bit in range(BITS + 1)
    ]
    assert levels[BITS] > 128, "the end block is not white: not a drawn frame, or turned"
    return sum(1 << bit for bit in range(BITS) if levels[bit] > 128)


def _block(rgb: np.ndarray) -> int:
    return max(4, min(rgb.shape[0] // 3, rgb.shape[1] // (BITS + 2)))


def paste(rgb: np.ndarray, picture: np.ndarray, left: int, top: int) -> None:
    """Put a picture onto a frame, cut off at the borders."""
    height, width = rgb.shape[:2]
    shown = picture[: max(0, height - top), : max(0, width - left)]
    rgb[top : top + shown.shape[0], left : left + shown.shape[1]] = shown


def displayed_frame(clip: Clip, index: int) -> np.ndarray:
    """Frame ``index`` as a player shows it (with the clip's pixel shape not yet applied)."""
    number = sum(index >= cut for cut in clip.cuts)
    rgb = np.roll(scene(clip.width, clip.height, number), 2 * index, axis=1)
    if clip.paint is not None:
        clip.paint(index, rgb)
    paint_index(rgb, index)
    return rgb


def draw_clip(path: Path, clip: Clip | None = None, **changes: object) -> Path:
    """Write a clip; keyword arguments change fields of the `Clip`. The path's suffix names the format."""
    clip = replace(clip or Clip(), **changes)
    with (
        ordinary_priority(),
        av.open(str(path), "w", format=clip.format, container_options=clip.container_options) as out,
    ):
        stream = _add_stream(out, clip)
        for index, time_us in enumerate(clip.times()):
            coded = np.ascontiguousarray(np.rot90(displayed_frame(clip, index), clip.rotation // 90))
            frame = VideoFrame.from_ndarray(coded, format="rgb24").reformat(format=clip.pixel_format)
            frame.pts = time_us * _TICKS // 1_000_000
            frame.time_base = Fraction(1, _TICKS)
            frame.pict_type = 1 if index in clip.cuts else 0
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


def draw_two_streams(path: Path, second: Clip | None = None, **changes: object) -> Path:
    """Write a file with two video streams: a `Clip` with the changes, and behind it ``second``, 160 x 120."""
    first = replace(Clip(), **changes)
    clips = first, second or replace(first, width=160, height=120)
    with ordinary_priority(), av.open(str(path), "w", format=first.format) as out:
        streams = [_add_stream(out, clip) for clip in clips]
        for clip, stream in zip(clips, streams, strict=True):
            for index, time_us in enumerate(clip.times()):
                frame = VideoFrame.from_ndarray(displayed_frame(clip, index), format="rgb24")
                frame = frame.reformat(format=clip.pixel_format)
                frame.pts, frame.time_base = time_us * _TICKS // 1_000_000, Fraction(1, _TICKS)
                out.mux(stream.encode(frame))
            out.mux(stream.encode())
    return path


def _add_stream(out: av.container.OutputContainer, clip: Clip) -> av.VideoStream:
    turned = clip.rotation in (90, 270)
    stream = out.add_stream(clip.codec, rate=clip.rate)
    stream.width, stream.height = (clip.height, clip.width) if turned else (clip.width, clip.height)
    stream.pix_fmt = clip.pixel_format
    stream.time_base = Fraction(1, _TICKS)
    stream.codec_context.time_base = Fraction(1, _TICKS)
    stream.codec_context.gop_size = clip.keyframe_every
    if clip.b_frames >= 0 and clip.codec in ("libx264", "libx265"):
        stream.codec_context.max_b_frames = clip.b_frames
    if clip.pixel_aspect != 1:
        stream.codec_context.sample_aspect_ratio = clip.pixel_aspect
    stream.codec_context.options = _codec_options(clip) | clip.options
    if clip.rotation:
        stream.set_display_rotation(-clip.rotation)
    return stream


def _codec_options(clip: Clip) -> dict[str, str]:
    if clip.codec == "libx264":
        options = {"preset": "ultrafast", "crf": "18", "threads": "1", "sc_threshold": "0"}
        if clip.b_frames > 0:
            options["preset"] = "veryfast"
        options["forced-idr"] = "1"
        if clip.is_interlaced:
            options["flags"] = "+ilme+ildct"
            options["x264-params"] = "tff=1"
        return options
    if clip.codec == "libx265":
        return {"preset": "ultrafast", "crf": "18", "x265-params": "log-level=none:pools=1:frame-threads=1"}
    if clip.codec in ("libvpx", "libvpx-vp9"):
        return {"deadline": "realtime", "cpu-used": "8", "crf": "20", "b": "2M", "threads": "1"}
    if clip.codec == "libsvtav1":
        return {"preset": "12", "crf": "30", "svtav1-params": "lp=1"}
    return {}


# Colour ----------------------------------------------------------------------------------------------------

# Weights of red and blue in luma: ITU-R BT.601-7, BT.709-6, BT.2020-2.
LUMA_WEIGHTS = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722), "bt2020": (0.2627, 0.0593)}
_MATRIX_CODES = {"bt601": 6, "bt709": 1, "bt2020": 9}
TRANSFER_CODES = {"pq": 16, "hlg": 18, "bt709": 1}


def rgb_to_yuv(rgb: np.ndarray, matrix: str, *, is_full: bool, bits: int) -> np.ndarray:
    """Code values float64 [3, H, W] of R'G'B' values 0 to 255, by the definition of the matrix."""
    red, blue = LUMA_WEIGHTS[matrix]
    r, g, b = (rgb[..., i] / 255.0 for i in range(3))
    luma = red * r + (1 - red - blue) * g + blue * b
    chroma = np.stack([(b - luma) / (2 * (1 - blue)), (r - luma) / (2 * (1 - red))])
    scale = 1 << (bits - 8)
    if is_full:
        top = (1 << bits) - 1
        return np.stack([luma * top, chroma[0] * top + 128 * scale, chroma[1] * top + 128 * scale])
    return np.stack([16 + 219 * luma, 128 + 224 * chroma[0], 128 + 224 * chroma[1]]) * scale


def patch_board(colours: np.ndarray, side: int = 64, columns: int = 8) -> np.ndarray:
    """RGB picture of flat patches ``colours`` [n, 3], row by row."""
    rows = -(-len(colours) // columns)
    board = np.zeros((rows * columns, 3), np.uint8)
    board[: len(colours)] = colours
    return board.reshape(rows, columns, 3).repeat(side, 0).repeat(side, 1)


def patch_centres(picture: np.ndarray, count: int, side: int = 64, columns: int = 8) -> np.ndarray:
    """Mean colour float64 [count, 3] of the middle of each patch."""
    inner = slice(side // 4, side - side // 4)
    cells = picture.reshape(picture.shape[0] // side, side, columns, side, 3)
    return cells[:, inner, :, inner].mean(axis=(1, 3)).reshape(-1, 3)[:count]


def draw_patches(
    path: Path,
    colours: np.ndarray,
    *,
    matrix: str,
    is_full: bool,
    bits: int = 8,
    codec: str = "libx264",
    is_declared: bool = True,
    transfer: str | None = None,
    frames: int = 3,
) -> Path:
    """Write a clip of flat colour patches, coded with this matrix, range and depth, nearly without loss."""
    board = patch_board(colours)
    planes = np.round(rgb_to_yuv(board, matrix, is_full=is_full, bits=bits)).clip(0, (1 << bits) - 1)
    height, width = board.shape[:2]
    form = "yuv420p" if bits == 8 else "yuv420p10le"
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, form
        context = stream.codec_context
        context.color_range = 2 if is_full else 1
        if is_declared:
            context.colorspace = _MATRIX_CODES[matrix]
        if transfer is not None:
            context.color_trc = TRANSFER_CODES[transfer]
            context.color_primaries = 9
        quality = {"libx265": {"x265-params": "log-level=none:pools=1"}, "libx264": {"threads": "1"}}[codec]
        context.options = {"crf": "1", "preset": "ultrafast", **quality}
        for index in range(frames):
            frame = yuv_frame(planes, form)
            frame.pts, frame.time_base = index, Fraction(1, 25)
            frame.color_range = context.color_range
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


def yuv_frame(planes: np.ndarray, form: str) -> VideoFrame:
    """A 4:2:0 frame of code values [3, H, W]; chroma is taken at every second pixel."""
    dtype = np.uint8 if form == "yuv420p" else np.uint16
    frame = VideoFrame(planes.shape[2], planes.shape[1], form)
    for number, plane in enumerate(frame.planes):
        values = planes[number] if number == 0 else planes[number, ::2, ::2]
        rows = np.zeros((plane.height, plane.line_size // np.dtype(dtype).itemsize), dtype)
        rows[:, : plane.width] = values
        plane.update(rows.tobytes())
    return frame


# Pictures --------------------------------------------------------------------------------------------------


def encode_picture(rgb: np.ndarray, codec: str, options: dict[str, str] | None = None) -> bytes:
    """JPEG (mjpeg), PNG (png) or WebP (libwebp) bytes of an RGB or RGBA picture."""
    forms = {"mjpeg": "yuvj444p", "png": "rgb24", "libwebp": "yuv420p"}
    context = av.CodecContext.create(codec, "w")
    context.width, context.height = rgb.shape[1], rgb.shape[0]
    context.pix_fmt = "rgba" if rgb.shape[2] == 4 else forms[codec]
    context.time_base = Fraction(1, 25)
    context.options = {"qmin": "1", "qmax": "1"} if codec == "mjpeg" else dict(options or {})
    frame = VideoFrame.from_ndarray(
        np.ascontiguousarray(rgb), format="rgba" if rgb.shape[2] == 4 else "rgb24"
    )
    frame = frame.reformat(format=context.pix_fmt, dst_color_range=2 if codec == "mjpeg" else None)
    packets = [*context.encode(frame), *context.encode(None)]
    return b"".join(bytes(packet) for packet in packets)


def with_exif_orientation(jpeg: bytes, orientation: int) -> bytes:
    """A JPEG with an EXIF block that holds nothing but the orientation."""
    entry = (0x0112).to_bytes(2, "little") + (3).to_bytes(2, "little") + (1).to_bytes(4, "little")
    entry += orientation.to_bytes(4, "little")
    tiff = b"II*\x00" + (8).to_bytes(4, "little") + (1).to_bytes(2, "little") + entry + bytes(4)
    block = b"Exif\x00\x00" + tiff
    return jpeg[:2] + b"\xff\xe1" + (len(block) + 2).to_bytes(2, "big") + block + jpeg[2:]


def variable_times(counts: Sequence[int], steps_us: Sequence[int]) -> tuple[int, ...]:
    """Times of frames that follow each other ``counts[i]`` times at a distance of ``steps_us[i]``."""
    steps = [step for count, step in zip(counts, steps_us, strict=True) for _ in range(count)]
    return tuple(int(t) for t in np.concatenate([[0], np.cumsum(steps[:-1])]))
