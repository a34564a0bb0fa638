"""Filters and orders of results as people write them: text to a checked tree. Pure; no database here."""
