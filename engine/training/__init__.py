"""Trains the two-stream network on forgeries that it makes itself. Nothing that screens imports this."""
