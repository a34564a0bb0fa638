"""From HDR code values to 8-bit sRGB: PQ or HLG with BT.2020 primaries in, what a plain screen shows out."""

import numpy as np
from numpy.typing import NDArray

from engine.arrays import F32, U8

CODE_BITS = 12

# BT.2020 to BT.709 primaries in linear light: ITU-R BT.2087-0, table 4, to four digits.
_GAMUT = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], dtype=np.float32
)
_LUMA = (0.2627, 0.678, 0.0593)  # of BT.2020
_WHITE_NITS = 203.0  # diffuse white of HDR: ITU-R BT.2408
_HLG_PEAK_NITS = 1000.0
_KNEE = 0.7
_STRIP_PIXELS = 1 << 16  # the float copies of a strip stay in the processor's cache: 35 ns a pixel, not 105


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
    # IEC 61966-2-1.
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.power(linear, 1 / 2.4) - 0.055)


_CODES = np.linspace(0, 1, 1 << CODE_BITS, dtype=np.float32)
_FINE = np.linspace(0, 1, 1 << 14, dtype=np.float32)
_TOP = np.float32(len(_FINE) - 1)
_LIGHT = {  # light of a code value: PQ in units of diffuse white, HLG as the camera saw it
    "pq": (_pq_to_nits(_CODES) / _WHITE_NITS).astype(np.float32),
    "hlg": _hlg_to_scene(_CODES).astype(np.float32),
}
_SRGB = np.round(255 * _srgb_curve(_FINE)).astype(np.uint8)
# The display's part of HLG for a peak of 1000 cd/m2: light times the scene's luma to 0.2 (BT.2100, table 5).
_HLG_GAIN = (np.power(_FINE, np.float32(0.2)) * np.float32(_HLG_PEAK_NITS / _WHITE_NITS)).astype(np.float32)


def compress_highlights(level: F32) -> F32:
    """Map light in units of diffuse white to 0..1: linear up to 0.7, then ever flatter, slope continuous."""
    headroom = np.float32(1 - _KNEE)
    above = np.maximum(level - np.float32(2 * _KNEE - 1), headroom)
    return np.where(level <= _KNEE, level, 1 - headroom * headroom / above).astype(np.float32)


def _weighted(parts: list[F32], weights: tuple[float, ...] | F32) -> F32:
    total = parts[0] * np.float32(weights[0])
    for part, weight in zip(parts[1:], weights[1:], strict=True):
        total += part * np.float32(weight)
    return total


def _tone_map_strip(codes: list[NDArray[np.uint16]], transfer: str, result: U8) -> None:
    light = [np.take(_LIGHT[transfer], code) for code in codes]
    if transfer == "hlg":
        luma = np.clip(_weighted(light, _LUMA) * _TOP, 0, _TOP)
        gain = np.take(_HLG_GAIN, luma.astype(np.uint16))
        light = [part * gain for part in light]
    narrow = [_weighted(light, row) for row in _GAMUT]
    peak = np.maximum(np.maximum(np.maximum(narrow[0], narrow[1]), narrow[2]), np.float32(1e-6))
    scale = compress_highlights(peak) / peak * _TOP
    for channel, part in enumerate(narrow):
        part *= scale  # noqa: PLW2901 - in place: another array would leave the cache
        np.clip(part, 0, _TOP, out=part)
        result[..., channel] = np.take(_SRGB, (part + np.float32(0.5)).astype(np.uint16))


def tone_map(
    red: NDArray[np.uint16], green: NDArray[np.uint16], blue: NDArray[np.uint16], transfer: str
) -> U8:
    """8-bit sRGB [H, W, 3] from planes [H, W] of 12-bit code values; ``transfer`` is 'pq' or 'hlg'.

    Diffuse white (203 cd/m2) lands at 85 % of the range in linear light; hue is kept by scaling the
    three components alike. Colours that sRGB does not have are cut to its border.
    """
    height, width = red.shape
    result = np.empty((height, width, 3), np.uint8)
    rows = max(1, _STRIP_PIXELS // width)
    for start in range(0, height, rows):
        strip = slice(start, start + rows)
        _tone_map_strip([red[strip], green[strip], blue[strip]], transfer, result[strip])
    return result
