"""Many short clips, no two of the same bytes: a fleet would answer the second from the first."""

import hashlib
import itertools
from fractions import Fraction
from pathlib import Path

import av

from bench.work import FPS, ClipSet, Head, cut_heads, draw_frames

CLIP = ClipSet("F", 1, 3, 426, 240)
# Drawn frames to one that is kept. Of six, 13 are a clip: the shorter a shard, the more its share of overhead
# shows. Of two, 38 are, of which 32 are looked at, as of any real clip of half a minute or less.
FRAME_EVERY = 6


def make_short_clips(
    count: int, folder: Path, *, frame_every: int = FRAME_EVERY, seed: int = 1
) -> list[Path]:
    """Draw the clips that are not in the folder yet; names carry a digest of how they are drawn."""
    drawing = repr((CLIP, frame_every, FPS, seed))
    place = folder / f"fleet-{hashlib.sha256(drawing.encode()).hexdigest()[:8]}"
    place.mkdir(parents=True, exist_ok=True)
    paths = [place / f"{number:05}.mp4" for number in range(count)]
    missing = [(number, path) for number, path in enumerate(paths) if not path.exists()]
    heads = cut_heads() if missing else []
    for number, path in missing:
        write_short_clip(path, heads, seed * 1_000_000 + number, frame_every)
    return paths


def write_short_clip(path: Path, heads: list[Head], seed: int, frame_every: int) -> None:
    """Draw and encode one clip; appears under its name only when whole."""
    part = path.with_suffix(".part.mp4")
    with av.open(str(part), "w") as out:
        stream = out.add_stream("libx264", rate=Fraction(FPS, frame_every))
        stream.width, stream.height, stream.pix_fmt = CLIP.width, CLIP.height, "yuv420p"
        stream.options = {"preset": "veryfast", "crf": "26"}
        for rgb in itertools.islice(draw_frames(CLIP, heads, seed), 0, None, frame_every):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        out.mux(stream.encode(None))
    part.rename(path)
