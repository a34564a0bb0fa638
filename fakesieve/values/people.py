"""What people of a tenant may do."""

from enum import StrEnum


class UserRole(StrEnum):
    """What a person may do: each role may do what the ones before it may."""

    VIEWER = "viewer"  # read results
    REVIEWER = "reviewer"  # claim and decide
    ADMIN = "admin"  # keys, webhooks, policies, erasure, people
