"""Every tolerance of the test suite, once, with the reason for its size."""

FLOAT64_SUMS = 1e-9
"""Sums of some hundred float64 numbers of size 10 in another order; rounding stays below 1e-12."""

FALSE_ALARM_RATIO = 2.0
"""Goal of the score's correction: false alarms by number of people and by duration within this factor."""

FITTED_SLOPE = 0.05
"""Slope and intercept of a logistic fit on 5,000 to 20,000 labels; their standard error is below 0.025."""
