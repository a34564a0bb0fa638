"""Limits of keys."""

NAME_LETTERS_MAX = 100
OVERLAP_S, OVERLAP_S_MAX = 86_400, 30 * 86_400
"""How long two keys work side by side when one takes over from the other."""
