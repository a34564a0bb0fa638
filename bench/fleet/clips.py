"""Many short clips, no two of the same bytes: a fleet would answer the second from the first."""

import hashlib
import itertools
from pathlib import Path

import av

from bench.work import FPS, ClipSet, Head, cut_heads, draw_frames

# Small on purpose: the shorter a shard, the more its share of overhead shows.
CLIP = ClipSet("F", 1, 3, 426, 240)
FRAME_EVERY = 6  # drawn frames to one that is kept: 12 or 13 of them are a clip
RATE = 4


def make_short_clips(count: int, folder: Path, seed: int = 1) -> list[Path]:
    """Draw the clips that are not in the folder yet; names carry a digest of how they are drawn."""
    drawing = repr((CLIP, FRAME_EVERY, RATE, FPS, seed))
    place = folder / f"fleet-{hashlib.sha256(drawing.encode()).hexdigest()[:8]}"
    place.mkdir(parents=True, exist_ok=True)
    paths = [place / f"{number:05}.mp4" for number in range(count)]
    missing = [(number, path) for number, path in enumerate(paths) if not path.exists()]
    heads = cut_heads() if missing else []
    for number, path in missing:
        write_short_clip(path, heads, seed * 1_000_000 + number)
    return paths


def write_short_clip(path: Path, heads: list[Head], seed: int) -> None:
    """Draw and encode one clip; appears under its name only when whole."""
    part = path.with_suffix(".part.mp4")
    with av.open(str(part), "w") as out:
        stream = out.add_stream("libx264", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = CLIP.width, CLIP.height, "yuv420p"
        stream.options = {"preset": "veryfast", "crf": "26"}
        for rgb in itertools.islice(draw_frames(CLIP, heads, seed), 0, None, FRAME_EVERY):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        out.mux(stream.encode(None))
    part.rename(path)
