"""Rows F30 and F56 to F62: faces turned, crowded, small, blurred, altered, late, cut up and still."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import cv2
import numpy as np
from skimage import data

from tests.hostile_recipes.boxes import fast_start
from tests.hostile_recipes.drawing import U8, Encoding, encode
from tests.hostile_recipes.recipe import Recipe, of_bytes
from tests.hostile_recipes.spoiled_mp4 import flip_bits, half_the_media

# Head and shoulders in scikit-image's portrait of Eileen Collins (public domain); the face is 96 px wide.
HEAD = (slice(0, 256), slice(96, 352))
FACE_SHARE = 96 / 256
SLOW = Encoding(rate=5, codec_options={"crf": "18"})


@cache
def head(size_px: int) -> U8:
    """Return the head [S, S, 3] whose face is about 0.375 of the side."""
    shrink = cv2.INTER_AREA if size_px < 256 else cv2.INTER_CUBIC
    return cv2.resize(data.astronaut()[HEAD], (size_px, size_px), interpolation=shrink)


def background(width: int, height: int, seed: int) -> U8:
    """Return a smooth coloured background [H, W, 3] that differs with its seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)


def paste(picture: U8, patch: U8, left: int, top: int) -> U8:
    """Return a copy of the picture with the patch at a place inside it."""
    result = picture.copy()
    result[top : top + patch.shape[0], left : left + patch.shape[1]] = patch
    return result


def _one_person(count: int, *, moves: bool = True) -> Iterator[U8]:
    scene = background(480, 360, 1)
    for n in range(count):
        yield paste(scene, head(256), 80 + (n % 40 if moves else 0), 60)


def _turned() -> bytes:
    """Return a clip stored lying on its side with the note to turn it by 90 degrees for display."""
    pictures = (np.ascontiguousarray(np.rot90(p)) for p in _one_person(40))
    return encode(pictures, replace(SLOW, display_rotation=-90))


def _crowd(columns: int, rows: int, head_px: int) -> bytes:
    """Return two pictures of as many heads."""
    row = np.concatenate([head(head_px)[:, :: 1 if n % 2 else -1] for n in range(columns)], axis=1)
    picture = np.concatenate([row] * rows, axis=0)
    return encode([np.ascontiguousarray(picture)] * 2, SLOW)


def _small_face() -> bytes:
    scene = background(640, 360, 2)
    return encode((paste(scene, head(56), 200 + 2 * n, 150) for n in range(40)), SLOW)


def _blurred() -> bytes:
    scene = paste(background(1024, 768, 3), head(768), 128, 0)
    blurred = cv2.GaussianBlur(scene, (0, 0), 20)
    return encode((np.roll(blurred, 4 * n, axis=1) for n in range(40)), SLOW)


def _three_people() -> bytes:
    """Return three heads side by side; the one in the middle wears a mirrored, darkened face."""
    altered = head(240).copy()
    source = head(240)[::, ::-1].astype(np.float32) * (0.75, 0.9, 1.1)
    mask = np.zeros((240, 240, 1), np.float32)
    cv2.ellipse(mask, (120, 115), (38, 52), 0, 0, 360, 1.0, -1)
    mask = cv2.GaussianBlur(mask, (0, 0), 3)[..., None]
    altered = (altered * (1 - mask) + np.clip(source, 0, 255) * mask).astype(np.uint8)
    scene = background(800, 320, 4)
    people = (head(240), altered, np.ascontiguousarray(head(240)[:, ::-1]))

    def pictures() -> Iterator[U8]:
        for n in range(40):
            picture = scene
            for place, person in enumerate(people):
                picture = paste(picture, person, 20 + 260 * place, 40 + n % 4)
            yield picture

    return encode(pictures(), SLOW)


def _late_face() -> bytes:
    """Return 20 s of which only the last shows a person."""
    scene = background(480, 360, 5)
    pictures = (paste(scene, head(256), 100, 60) if n >= 95 else scene for n in range(100))
    return encode(pictures, SLOW)


def _slide(number: int) -> U8:
    """Return a picture of a background and a head of its own colours, mirrored every other time."""
    tint = np.random.default_rng(300 + number).uniform(0.45, 1.25, 3)
    face = np.clip(head(256)[:, :: 1 - 2 * (number % 2)] * tint, 0, 255).astype(np.uint8)
    return paste(background(480, 360, 100 + number), face, 100, 60)


def _slide_show() -> bytes:
    """Return 40 pictures of which each is a shot of its own, with a head at the same place in all."""
    how = replace(SLOW, rate=2, codec_options={"crf": "18", "g": "1"})
    return encode((_slide(n) for n in range(40)), how)


def _person_in_two_seconds() -> bytes:
    """Return 50 frames of a person, keys each 25, as the plain clip has them, index in front."""
    how = Encoding(codec_options={"crf": "18", "g": "25"})
    return fast_start(encode(_one_person(50), how))


def _late_damage() -> bytes:
    """Return the same clip with bits flipped in its second half only."""
    data = _person_in_two_seconds()
    return flip_bits(data, len(data) * 6 // 10, len(data), 0.001, 12)


RECIPES: tuple[Recipe, ...] = (
    of_bytes("F10b", "half_person.mp4", lambda: half_the_media(_person_in_two_seconds())),
    of_bytes("F12b", "flipped_person.mp4", _late_damage),
    of_bytes("F15", "one_frame.mp4", lambda: encode(_one_person(1), SLOW)),
    of_bytes("F30", "turned.mp4", _turned),
    of_bytes("F56", "crowd.mp4", lambda: _crowd(20, 10, 128)),
    of_bytes("F56b", "company.mp4", lambda: _crowd(12, 6, 160)),
    of_bytes("F57", "small_face.mp4", _small_face),
    of_bytes("F58", "blurred.mp4", _blurred),
    of_bytes("F59", "three_people.mp4", _three_people),
    of_bytes("F60", "late_face.mp4", _late_face),
    of_bytes("F61", "slide_show.mp4", _slide_show),
    of_bytes("F62", "still.mp4", lambda: encode(_one_person(50, moves=False), SLOW)),
)
