"""Tests of values that people choose."""
