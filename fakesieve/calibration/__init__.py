"""Calibration from decisions, in the standard library."""
