"""Faces in sampled frames: found, followed within shots, judged for quality, and cropped by one rule."""
