"""What a picture suffers on its way to a platform: resizing, blur, noise, JPEG and video compression.

A ``Degradation`` is drawn once and applied to a real picture and its forgery alike, so that nothing but
the forgery tells the two apart.
"""

from dataclasses import dataclass
from fractions import Fraction

import av
import cv2
import numpy as np
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from engine.arrays import U8
from engine.training.colour import add_grain, sharpen

_INTERPOLATIONS = (cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC)


@dataclass(frozen=True)
class Degradation:
    """One drawn chain of alterations; zero or ``None`` means that the step is left out."""

    scale: float  # size of the picture as a share of the original
    interpolation: int
    blur_sigma: float
    sharpening: float  # amount of unsharp masking, as cameras and editors add it before they compress
    noise_sigma: float
    noise_seed: int
    jpeg_quality: int | None
    video_crf: int | None
    video_frames: int  # 1: an intra frame; more: the last of some predicted frames
    video_preset: str
    brightness: float  # added grey levels
    contrast: float  # factor about the mean


def draw_degradation(side_px: float, rng: np.random.Generator, strength: float = 1.0) -> Degradation:
    """Draw a chain for a face whose longer box side is ``side_px``; ``strength`` 0 gives almost none."""
    smallest = min(1.0, 56.0 / max(side_px, 1.0))
    shrink = rng.random() < 0.45 * strength
    video = rng.random() < 0.5 * strength
    return Degradation(
        scale=float(rng.uniform(smallest, 1.0)) if shrink else 1.0,
        interpolation=int(rng.choice(_INTERPOLATIONS)),
        blur_sigma=float(rng.uniform(0.3, 1.4)) if rng.random() < 0.15 * strength else 0.0,
        sharpening=float(rng.uniform(0.3, 2.0)) if rng.random() < 0.5 * strength else 0.0,
        noise_sigma=float(rng.uniform(1.0, 6.0)) if rng.random() < 0.2 * strength else 0.0,
        noise_seed=int(rng.integers(0, 2**31)),
        jpeg_quality=int(rng.integers(40, 98))
        if rng.random() < (0.2 if video else 0.45) * strength
        else None,
        video_crf=int(rng.integers(14, 36)) if video else None,
        video_frames=int(rng.choice((1, 2, 2, 3))),
        video_preset=str(rng.choice(("superfast", "veryfast", "fast"))),
        brightness=float(rng.uniform(-25, 25)) if rng.random() < 0.3 * strength else 0.0,
        contrast=float(rng.uniform(0.8, 1.25)) if rng.random() < 0.3 * strength else 1.0,
    )


def degrade_picture(picture: U8, chain: Degradation) -> U8:
    """Apply a chain to an RGB picture [H, W, 3]; the result has ``chain.scale`` times its size."""
    out = picture
    if chain.brightness or chain.contrast != 1.0:
        mean = float(out.mean())
        shifted = (out.astype(np.float32) - mean) * chain.contrast + mean + chain.brightness
        out = np.clip(shifted, 0, 255).astype(np.uint8)
    if chain.scale < 1.0:
        size = (max(16, round(out.shape[1] * chain.scale)), max(16, round(out.shape[0] * chain.scale)))
        out = np.asarray(cv2.resize(out, size, interpolation=chain.interpolation), np.uint8)
    if chain.blur_sigma:
        out = np.asarray(cv2.GaussianBlur(out, (0, 0), chain.blur_sigma), np.uint8)
    if chain.sharpening:
        out = sharpen(out, chain.sharpening)
    if chain.noise_sigma:
        out = add_grain(out, chain.noise_sigma, np.random.default_rng(chain.noise_seed))
    if chain.video_crf is not None:
        out = compress_as_video(out, chain.video_crf, chain.video_frames, chain.video_preset)
    if chain.jpeg_quality is not None:
        out = compress_as_jpeg(out, chain.jpeg_quality)
    return out


def compress_as_jpeg(picture: U8, quality: int) -> U8:
    """Encode and decode an RGB picture as JPEG (4:2:0)."""
    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    coded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    decoded = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)
    return np.ascontiguousarray(decoded[..., ::-1])


def compress_as_video(picture: U8, crf: int, frames: int, preset: str) -> U8:
    """Encode an RGB picture with H.264 and decode it again.

    With ``frames`` over 1 the picture comes last, after slightly shifted copies of itself, so that it is
    predicted from them as most frames of a video are. Odd sides are padded by one pixel for 4:2:0.
    """
    height, width = picture.shape[:2]
    padding = ((0, height % 2), (0, width % 2), (0, 0))
    even: U8 = np.pad(picture, padding, mode="edge")
    encoder = _encoder(even.shape[1], even.shape[0], crf, preset)
    packets: list[Packet[VideoStream]] = []
    for index in range(frames):
        shift = frames - 1 - index
        shown = np.roll(even, (shift, 2 * shift), (0, 1)) if shift else even
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(shown), format="rgb24")
        frame.pts = index
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    decoder = av.CodecContext.create("h264", "r")
    assert isinstance(decoder, VideoCodecContext)
    decoder.thread_count = 1
    decoded = [frame for packet in packets for frame in decoder.decode(packet)]
    decoded += decoder.decode(None)
    shown = np.asarray(decoded[-1].to_ndarray(format="rgb24"), np.uint8)
    return np.ascontiguousarray(shown[:height, :width])


def _encoder(width: int, height: int, crf: int, preset: str) -> VideoCodecContext:
    encoder = av.CodecContext.create("libx264", "w")
    assert isinstance(encoder, VideoCodecContext)
    encoder.width, encoder.height = width, height
    encoder.pix_fmt = "yuv420p"
    encoder.time_base = Fraction(1, 25)
    encoder.thread_count = 1
    encoder.options = {
        "crf": str(crf),
        "preset": preset,
        "tune": "zerolatency",
        "x264-params": "log-level=none",
    }
    return encoder
