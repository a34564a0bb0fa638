"""Choices, limits and drafts that rows and the wire share; the standard library is all that they need."""
