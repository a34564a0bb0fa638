"""Limits of policies and of what a preview shows of them."""

NAME_LENGTH_MAX = 64
MOVED_MAX = 1000
OWN = "-"
"""In place of a policy: those that models bring, each judging what its model has scored."""
