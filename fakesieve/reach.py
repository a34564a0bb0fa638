"""How commands reach a fleet: over its database, or over its API."""

from collections.abc import Mapping

from fakesieve.errors import SetupRefused
from fakesieve.reasons import Reason

_HINT = (
    "load the settings of a fleet: . DIR/env, which 'fakesieve up --dir DIR' has written; or, with the"
    " address of an API and a key of it, set FAKESIEVE_API_URL and FAKESIEVE_API_KEY"
)


def is_remote(environment: Mapping[str, str]) -> bool:
    """Whether commands go through the API: its address is known, and the database's is not."""
    return bool(environment.get("FAKESIEVE_API_URL")) and not environment.get("FAKESIEVE_DATABASE_URL")


def check_reach(environment: Mapping[str, str]) -> None:
    """Raise SetupRefused (INVALID_SETTINGS) where neither way is open."""
    if not environment.get("FAKESIEVE_DATABASE_URL") and not environment.get("FAKESIEVE_API_URL"):
        seen = "FAKESIEVE_DATABASE_URL is not set, nor is FAKESIEVE_API_URL"
        raise SetupRefused(Reason.INVALID_SETTINGS, seen, _HINT)
