"""Under what light and how a face is held before a camera: drawn once for a real face and its forgery.

The training faces are press and web pictures, upright and in plain light. Streams show coloured lamps from
one side, cameras out of balance, smoothed noise and tilted heads. A network that has not seen those on real
faces takes them for traces of forgery.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from engine.arrays import F32, U8

Box = tuple[float, float, float, float]
Gains = tuple[float, float, float]


@dataclass(frozen=True)
class Scene:
    """One drawn scene; ones and zeros mean that nothing is done."""

    gains: Gains = (1.0, 1.0, 1.0)  # of red, green and blue: the camera's white balance
    gamma: float = 1.0
    saturation: float = 1.0  # 0: grey
    lamp: Gains = (1.0, 1.0, 1.0)  # of red, green and blue on the side that the lamp shines on
    lamp_angle: float = 0.0  # radians, direction to the lamp in the picture
    smoothing: float = 0.0  # range of the bilateral filter in grey levels, as cameras smooth their noise
    tilt_deg: float = 0.0
    stretch: float = 1.0  # width over height, of pixels that are not square

    def light(self, picture: U8) -> U8:
        """Return the picture, RGB [H, W, 3], in this light."""
        if self.smoothing:
            picture = np.asarray(cv2.bilateralFilter(picture, 5, self.smoothing, 3), np.uint8)
        gain = self._gain_map(*picture.shape[:2])
        lit = np.clip(picture.astype(np.float32) / 255.0 * gain, 0.0, 1.0) ** np.float32(self.gamma)
        grey = lit @ np.array([0.299, 0.587, 0.114], np.float32)
        lit = grey[..., None] + (lit - grey[..., None]) * np.float32(self.saturation)
        return (np.clip(lit, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)

    def hold(self, picture: U8, mask: F32, box: Box) -> tuple[U8, F32]:
        """Return picture [H, W, 3] and mask [H, W], tilted and stretched about the middle of the box."""
        if not self.tilt_deg and self.stretch == 1.0:
            return picture, mask
        height, width = picture.shape[:2]
        middle = (box[0] + box[2] / 2, box[1] + box[3] / 2)
        matrix = np.asarray(cv2.getRotationMatrix2D(middle, self.tilt_deg, 1.0), np.float64)
        matrix[0] *= self.stretch
        matrix[0, 2] += (1.0 - self.stretch) * middle[0]
        size = (width, height)
        held = cv2.warpAffine(picture, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
        moved = cv2.warpAffine(mask, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
        return np.asarray(held, np.uint8), np.asarray(moved, np.float32)

    def _gain_map(self, height: int, width: int) -> F32:
        """Gain by pixel and channel [H, W, 3]: the lamp's on its side, falling off to none on the other."""
        ys, xs = np.mgrid[0:height, 0:width].astype(np.float32)
        across = (xs / max(width - 1, 1) - 0.5) * np.cos(self.lamp_angle)
        down = (ys / max(height - 1, 1) - 0.5) * np.sin(self.lamp_angle)
        share = np.clip(0.5 + across + down, 0.0, 1.0)[..., None]
        lamp = np.array(self.lamp, np.float32)
        return ((1.0 + (lamp - 1.0) * share) * np.array(self.gains, np.float32)).astype(np.float32)


def draw_scene(rng: np.random.Generator, strength: float = 1.0) -> Scene:
    """Draw a scene; with ``strength`` 0 nothing happens, with 1 most scenes differ from the picture's own."""
    return Scene(
        gains=_draw_gains(rng, 0.1) if rng.random() < 0.5 * strength else (1.0, 1.0, 1.0),
        gamma=float(np.exp(rng.normal(0, 0.2))) if rng.random() < 0.5 * strength else 1.0,
        saturation=_draw_saturation(rng) if rng.random() < 0.4 * strength else 1.0,
        lamp=_draw_gains(rng, 0.25) if rng.random() < 0.35 * strength else (1.0, 1.0, 1.0),
        lamp_angle=float(rng.uniform(0, 2 * np.pi)),
        smoothing=float(rng.uniform(8, 40)) if rng.random() < 0.25 * strength else 0.0,
        tilt_deg=float(rng.normal(0, 9)) if rng.random() < 0.6 * strength else 0.0,
        stretch=float(np.exp(rng.normal(0, 0.05))) if rng.random() < 0.3 * strength else 1.0,
    )


def _draw_gains(rng: np.random.Generator, spread: float) -> Gains:
    red, green, blue = (float(gain) for gain in np.exp(rng.normal(0, spread, 3)))
    return red, green, blue


def _draw_saturation(rng: np.random.Generator) -> float:
    return 0.0 if rng.random() < 0.08 else float(rng.uniform(0.4, 1.5))
