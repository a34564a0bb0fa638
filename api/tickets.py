"""What binds the answer of an identity provider to the browser that was sent there."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from fakesieve.people.provider import Identity, RoleRules


class ProviderAway(Exception):
    """The provider does not answer, or not as one does."""


@dataclass(frozen=True)
class Ticket:
    """Three values that nobody can guess: ``verifier`` is that of PKCE."""

    state: str
    nonce: str = field(repr=False)
    verifier: str = field(repr=False)

    @classmethod
    def make(cls) -> "Ticket":
        """Return a new one."""
        return cls(secrets.token_urlsafe(32), secrets.token_urlsafe(32), secrets.token_urlsafe(48))


class ProviderClient(Protocol):
    """What leads people to an identity provider and reads its answers: ``api/provider.py``."""

    def begin(self, ticket: Ticket) -> str:
        """Return the address to send a browser to. Raises ProviderAway."""
        ...

    def finish(self, ticket: Ticket, answer: Mapping[str, str]) -> Identity:
        """Return who has signed in. Raises ProviderAway, and RequestRefused (UNAUTHENTICATED)."""
        ...


@dataclass(frozen=True)
class SignInProvider:
    """The identity provider of an installation, whose people it signs in, and what they may do."""

    client: ProviderClient
    tenant: str
    roles: RoleRules
    label: str
