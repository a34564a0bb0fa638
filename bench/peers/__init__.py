"""Other ways to screen a video, written from their published plans."""
