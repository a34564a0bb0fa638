"""Pages of the console's lists. A position travels in a signed token, bound to the list and its filter."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, TypeVar
from urllib.parse import urlencode

from fastapi import Query

from api.pages.people import Person
from api.pagination import TOKEN_LETTERS_MAX, Key, read_token, sign_token
from api.services import Services

LINES = 50
Line = TypeVar("Line")
PageToken = Annotated[str, Query(alias="page", max_length=TOKEN_LETTERS_MAX)]


@dataclass(frozen=True)
class Paging:
    """Where a page of a list begins. ``position`` is the key of the line before it; None is the beginning."""

    position: tuple[Key, ...] | None
    asked: Mapping[str, str]
    binding: str
    token_key: bytes

    @property
    def time_and_id(self) -> tuple[datetime, str] | None:
        """The position of a list that is ordered by time and id."""
        if self.position is None:
            return None
        time, line_id = self.position
        return datetime.fromisoformat(str(time)), str(line_id)

    def cut(
        self, lines: Sequence[Line], place: Callable[[Line], Sequence[Key]]
    ) -> tuple[Sequence[Line], str | None]:
        """Return the page of a list that was asked for one line more, and the query of the next page.

        None at the end of the list. ``place`` gives the position of a line.
        """
        shown = lines[:LINES]
        if len(lines) <= LINES:
            return shown, None
        token = sign_token(self.token_key, place(shown[-1]), self.binding)
        return shown, urlencode(dict(self.asked) | {"page": token})


def open_paging(
    services: Services, person: Person, name: str, asked: Mapping[str, str], token: str
) -> Paging:
    """Read the token of a list of this name and filter. Raises ``Problem`` (INVALID_PAGE_TOKEN)."""
    binding = json.dumps([person.tenant_id, f"{name} page", dict(asked)], sort_keys=True)
    position = read_token(services.token_key, token, binding) if token else None
    return Paging(position, asked, binding, services.token_key)
