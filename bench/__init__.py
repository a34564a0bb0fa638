"""Compares fakesieve with what people run today, on the same clips with the same weights in one run."""
