"""How commands reach a fleet: over its database, or over its API."""

from collections.abc import Mapping


def is_remote(environment: Mapping[str, str]) -> bool:
    """Whether commands go through the API: its address is known, and the database's is not."""
    return bool(environment.get("FAKESIEVE_API_URL")) and not environment.get("FAKESIEVE_DATABASE_URL")
