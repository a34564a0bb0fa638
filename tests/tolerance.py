"""Every tolerance of the test suite, once, with the reason for its size."""

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
