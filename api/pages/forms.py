"""What a form of a page sends: fields of text, read in one way only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, TypeVar, cast
from urllib.parse import parse_qsl

from fastapi import Depends, Request

from api.problems import Problem
from fakesieve.reasons import Reason
from fakesieve.texts import is_storable

BYTES_MAX = 64 << 10
FIELDS_MAX = 400
_TYPE = "application/x-www-form-urlencoded"
Choice = TypeVar("Choice", bound=StrEnum)


@dataclass(frozen=True)
class Form:
    """Fields by name, each with the texts that it was given."""

    fields: Mapping[str, Sequence[str]]

    def read(self, name: str) -> str:
        """Return the text of a field without spaces around it, empty where it was not given."""
        return self.fields.get(name, ("",))[0].strip()

    def read_choice(self, name: str, choices: type[Choice]) -> Choice:
        """Return one of a closed list. Raises ``Problem`` (INVALID_REQUEST) for anything else."""
        found = self.find_choice(name, choices)
        if found is None:
            raise Problem(Reason.INVALID_REQUEST, f"choose a value for {name}")
        return found

    def find_choice(self, name: str, choices: type[Choice]) -> Choice | None:
        """Return one of a closed list, None for an empty field. Raises ``Problem`` (INVALID_REQUEST)."""
        given = self.read(name)
        if not given:
            return None
        try:
            return choices(given)
        except ValueError as fault:
            raise Problem(Reason.INVALID_REQUEST, f"{name} is none of its choices") from fault


EMPTY = Form(MappingProxyType({}))


class UnreadForm(Problem):
    """A form that cannot be read, so that nothing of it can be shown again."""


async def read_form(request: Request) -> Form:
    """Read the body of a request as a form. Raises UnreadForm."""
    body = await request.body()
    if not body:
        return EMPTY
    if len(body) > BYTES_MAX:
        raise UnreadForm(Reason.REQUEST_TOO_LARGE, f"the form has more than {BYTES_MAX >> 10} KiB")
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _TYPE:
        raise UnreadForm(Reason.UNSUPPORTED_MEDIA_TYPE, f"a form is sent as {_TYPE}")
    if body.count(b"&") >= FIELDS_MAX:
        raise UnreadForm(Reason.INVALID_REQUEST, f"the form has more than {FIELDS_MAX} fields")
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict")
    except ValueError as fault:
        raise UnreadForm(Reason.INVALID_REQUEST, "the form cannot be read") from fault
    if not all(is_storable(part) for pair in pairs for part in pair):
        raise UnreadForm(Reason.INVALID_REQUEST, "the form holds NUL or half of a character")
    fields: dict[str, list[str]] = {}
    for name, value in pairs:
        fields.setdefault(name, []).append(value)
    return Form(MappingProxyType(fields))


def get_form(request: Request) -> Form:
    """Return the form of the request; ``PageRoute`` has read it before."""
    return cast("Form", getattr(request.state, "form", EMPTY))


def get_sent(request: Request) -> Form:
    """Return what was typed into a page of ours, to be shown again; empty where that is not sure.

    It may be more than ``get_form`` gives: the session for which the form was made may have ended.
    """
    return cast("Form", getattr(request.state, "sent", EMPTY))


FormDep = Annotated[Form, Depends(get_form)]
