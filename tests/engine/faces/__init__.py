"""Tests of finding, following, judging and cropping faces."""
