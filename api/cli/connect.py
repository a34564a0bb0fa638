"""How commands reach the API: the client of the environment, and its refusals in their words."""

import os
from collections.abc import Generator
from contextlib import contextmanager

from pydantic import ValidationError

from api.client import Client
from fakesieve.errors import RequestRefused
from fakesieve.reasons import Reason


@contextmanager
def open_client() -> Generator[Client]:
    """Give a client of the API that the environment names, and close it after the block.

    Raises RequestRefused where there is no key (UNAUTHENTICATED), or where something that was given is
    wrong before it was sent; SetupRefused without an address.
    """
    if os.environ.get("FAKESIEVE_API_URL") and not os.environ.get("FAKESIEVE_API_KEY"):
        hint = "set it to a key of the API; 'fakesieve keys create' makes one"
        raise RequestRefused(Reason.UNAUTHENTICATED, "FAKESIEVE_API_KEY is not set", hint)
    try:
        with Client() as client:
            yield client
    except ValidationError as fault:
        raise RequestRefused(Reason.INVALID_REQUEST, _describe(fault)) from fault


def _describe(fault: ValidationError) -> str:
    """Say what is wrong, without the values: one may be a secret."""
    parts = [
        ": ".join([*(str(part) for part in each["loc"]), each["msg"].removeprefix("Value error, ")])
        for each in fault.errors(include_input=False, include_url=False)
    ]
    return "; ".join(parts)
