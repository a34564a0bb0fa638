"""Turns a video file into a located, scored verdict. Knows no database, queue, HTTP or environment."""
