"""The few clips of a chaos run, and any number of copies with other bytes and the same pictures."""

import random
import struct
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from tests.assets import astronaut
from tests.media import draw_clip

_SIDE = 320  # the smallest at which half of it is a face that is judged


@dataclass(frozen=True)
class ChaosClip:
    """One clip: how many shards its job has, and its bytes."""

    name: str
    n_shards: int
    data: bytes

    def copy(self, chance: random.Random) -> bytes:
        """The same clip as another content: a free box with a random text at its end, which players skip."""
        nonce = chance.randbytes(16)
        return self.data + struct.pack(">I", 8 + len(nonce)) + b"free" + nonce


def draw_clips(folder: Path) -> dict[str, ChaosClip]:
    """Draw them: eight samples, forty-eight, and five minutes of few frames in three shards."""
    second_us = 1_000_000
    times = {
        "short": tuple(i * second_us // 4 for i in range(8)),
        "long": tuple(i * second_us for i in range(48)),
        "sharded": tuple(i * 20 * second_us for i in range(16)),
    }
    shards = {"short": 1, "long": 1, "sharded": 3}
    return {
        name: ChaosClip(name, shards[name], _draw(folder / f"{name}.mp4", times_us, seed).read_bytes())
        for seed, (name, times_us) in enumerate(times.items())
    }


def _draw(path: Path, times_us: tuple[int, ...], seed: int) -> Path:
    """A face that drifts over noise."""
    face = cv2.resize(astronaut()[:240, 100:340], (_SIDE // 2, _SIDE // 2), interpolation=cv2.INTER_AREA)
    ground = np.random.default_rng(seed).integers(60, 120, (_SIDE, _SIDE, 3), dtype=np.uint8)

    def paint(index: int, rgb: np.ndarray) -> None:
        left = 12 + (index + 7 * seed) % 60
        rgb[:] = ground
        rgb[24 : 24 + _SIDE // 2, left : left + _SIDE // 2] = face

    frames = len(times_us)
    return draw_clip(path, width=_SIDE, height=_SIDE, frames=frames, times_us=times_us, paint=paint)
