"""Erasure: which stores hold a video, clearing them, the receipt, and how long videos are kept."""
