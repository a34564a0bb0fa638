"""Choices of models."""

from enum import StrEnum


class ModelAlias(StrEnum):
    """What a tenant calls a model, for comparisons and orders to score again.

    None of the names changes which model hosts run (``FAKESIEVE_MODEL``) or which results are shown.
    """

    CHAMPION = "champion"  # the one in use, as the tenant says; comparisons begin with it
    CHALLENGER = "challenger"  # the one that may take its place
    SHADOW = "shadow"  # a third one to compare with
