"""Every tolerance of the test suite, once, with the reason for its size."""

from math import log

FLOAT64_SUMS = 1e-9
"""Sums of some hundred float64 numbers of size 10 in another order; rounding stays below 1e-12."""

FALSE_ALARM_RATIO = 2.0
"""Goal of the score's correction: false alarms by number of people and by duration within this factor."""

FITTED_SLOPE = 0.05
"""Slope and intercept of a logistic fit on 5,000 to 20,000 labels; their standard error is below 0.025."""

LAYER_F32 = 2e-5
"""One layer in float32 against float64: rounding of sums of some hundred products of size 1."""

REFERENCE_F32 = 1e-4
"""lv-xception from a checkpoint against the reference, on logits of size 1; its own float32 noise is 3e-5."""

ENGINES_F32 = 1e-4
"""Two engines in float32 over the same crops: they sum in different orders (measured 1e-6)."""

BF16_LOGITS = 0.15
"""lv-compact with random weights in bfloat16, 8 bits of mantissa over some 50 layers (measured 0.04)."""

CROP_PX = 1e-4
"""Crop coordinates up to some hundred pixels in float32: one part in ten million of them."""

AREA_F32 = 1e-6
"""Means of pixels in float32, of size 1: a few roundings of 1e-7."""

MTCNN_NETS = 1e-5
"""One network of the detector against the original: sums in another order (measured 2e-6)."""

MTCNN_BOX_PX = 2.0
"""Boxes and points against facenet-pytorch: 1e-4 px where no candidate changes sides, and up to one pixel
where two candidates of nearly equal score do."""

DETECTION_SHARE = 1e-5
"""Boxes as shares of the picture, found in another batch or by more threads: sums in another order."""

POSE_DEGREES = 0.01
"""Angles read back from points in float32 pixels; the formulas are exact for a turn about one axis."""

COLOUR_LEVELS = 3
"""8-bit levels between a drawn colour and its decoded one: quantised YUV (1), the fast scaler (2)."""

TICK_US = 1000
"""Times in Matroska are whole milliseconds; every other container is exact to a microsecond."""

ENCODED_LEVELS = 4
"""8-bit levels of a flat colour through our own H.264 or JPEG: limited-range 4:2:0 and quantisation."""

ENCODED_BLOCK_LEVELS = 20
"""The same for blocks of some 20 px in a strong colour on grey, whose colour bleeds over their edges."""

FLEET_SCORE = 1e-6
"""Scores of the fleet against those of a scan: the same network over other batches (measured 0 to 2e-7)."""


def peak_correction(count: int, scale: float) -> float:
    """Return the most, in logits, by which ``soft_peak`` of ``count`` items lies below their maximum."""
    return scale * log(count)
