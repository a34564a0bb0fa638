"""Mismatches between a pasted face and its surroundings: colour, frequency content, sharpness."""

import cv2
import numpy as np

from engine.arrays import F32, U8

_SHRINK = (cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_NEAREST)
_ENLARGE = (cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4)


def shift_colour(picture: U8, strength: float, rng: np.random.Generator) -> U8:
    """Shift channels, hue, saturation, brightness and contrast of an RGB picture [H, W, 3]."""
    out = picture.astype(np.float32)
    out += rng.uniform(-20, 20, 3).astype(np.float32) * strength
    mean = out.mean()
    out = (out - mean) * (1 + rng.uniform(-0.15, 0.15) * strength) + mean + rng.uniform(-18, 18) * strength
    shifted = np.clip(out, 0, 255).astype(np.uint8)
    hsv = np.asarray(cv2.cvtColor(shifted, cv2.COLOR_RGB2HSV), np.int16)
    hsv[..., 0] = (hsv[..., 0] + int(rng.integers(-6, 7) * strength)) % 180
    hsv[..., 1] = np.clip(hsv[..., 1] * (1 + rng.uniform(-0.25, 0.25) * strength), 0, 255)
    return np.asarray(cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2RGB), np.uint8)


def lose_detail(picture: U8, strength: float, rng: np.random.Generator) -> U8:
    """Take away or fake fine detail as a generator of limited resolution does; RGB [H, W, 3]."""
    height, width = picture.shape[:2]
    kind = rng.integers(0, 6)
    if kind <= 2:
        factor = 1 + rng.uniform(0.15, 1.6) * strength
        small = (max(8, int(width / factor)), max(8, int(height / factor)))
        low = cv2.resize(picture, small, interpolation=int(rng.choice(_SHRINK)))
        return np.asarray(cv2.resize(low, (width, height), interpolation=int(rng.choice(_ENLARGE))), np.uint8)
    if kind == 3:
        blurred = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.4, 1.6) * strength + 0.05)
        return np.asarray(blurred, np.uint8)
    if kind == 4:
        smooth = cv2.bilateralFilter(picture, 5, 20 + 40 * rng.random() * strength, 5)
        return np.asarray(smooth, np.uint8)
    return sharpen(picture, rng.uniform(0.3, 1.5) * strength)


def sharpen(picture: U8, amount: float) -> U8:
    """Unsharp masking with radius 1.2 px."""
    soft = cv2.GaussianBlur(picture, (0, 0), 1.2)
    return np.asarray(cv2.addWeighted(picture, 1 + amount, soft, -amount, 0), np.uint8)


def transfer_colour(source: U8, target: U8, mask: F32) -> U8:
    """Give ``source`` the mean and spread of ``target`` in CIELAB where ``mask`` > 0.5.

    All are [H, W(, 3)]. Reinhard et al., Color Transfer between Images, 2001 (there in l-alpha-beta).
    """
    inside = mask > 0.5
    if int(inside.sum()) < 16:
        return source
    a = cv2.cvtColor(source, cv2.COLOR_RGB2LAB).astype(np.float32)
    b = cv2.cvtColor(target, cv2.COLOR_RGB2LAB).astype(np.float32)
    mean_a, std_a = a[inside].mean(0), a[inside].std(0) + 1e-3
    mean_b, std_b = b[inside].mean(0), b[inside].std(0) + 1e-3
    gain = np.clip(std_b / std_a, 0.5, 2.0)
    out = (a - mean_a) * gain + mean_b
    return np.asarray(cv2.cvtColor(np.clip(out, 0, 255).astype(np.uint8), cv2.COLOR_LAB2RGB), np.uint8)


def add_grain(picture: U8, sigma: float, rng: np.random.Generator) -> U8:
    """Add Gaussian noise of standard deviation ``sigma`` grey levels."""
    noise = rng.standard_normal(picture.shape, np.float32) * np.float32(sigma)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)
