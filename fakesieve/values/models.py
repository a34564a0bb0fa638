"""Choices of models."""

from enum import StrEnum


class ModelAlias(StrEnum):
    """What a tenant uses a model for."""

    CHAMPION = "champion"  # whose results count
    CHALLENGER = "challenger"  # compared with the champion before it takes its place
    SHADOW = "shadow"  # looked at beside both, decides nothing
