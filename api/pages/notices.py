"""What was just done, told by the page that follows: signed, so that nobody's link can make a page say it."""

import hmac
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlencode

from fastapi import Depends, Query, Request, Response
from fastapi.responses import RedirectResponse

from api.pages.people import Person, PersonDep

NOTICE_S = 120
"""A page tells of what was done for so long; an address that was kept tells of nothing later."""
_LETTERS_MAX = 80


@dataclass(frozen=True)
class Done:
    """An act by its short name, empty for none, how many things it touched, and how many it left."""

    act: str = ""
    count: int = 0
    left: int = 0

    def say(self, sentences: Mapping[str, str]) -> str:
        """Return what a page says of the act, empty for one that it does not know."""
        return sentences.get(self.act, "").format(count=self.count, left=self.left)


def go_back(
    person: Person,
    path: str,
    act: str,
    count: int | None = None,
    query: Mapping[str, str] | None = None,
    *,
    left: int = 0,
) -> Response:
    """Lead a browser to a page that tells its person, and nobody else, what they have done."""
    counts = () if count is None else (count, left) if left else (count,)
    done = "-".join((act, *map(str, counts)))
    asked = {"done": done, "proof": _sign(person, path, done, int(time.time())), **(query or {})}
    return RedirectResponse(f"{path}?{urlencode(asked)}", 303)


def read_done(
    request: Request,
    person: PersonDep,
    done: Annotated[str, Query(max_length=_LETTERS_MAX)] = "",
    proof: Annotated[str, Query(max_length=_LETTERS_MAX)] = "",
) -> Done:
    """Return what the address says was done, if we have said so to this person's browser a moment ago."""
    begun, _, _ = proof.partition(".")
    if not (begun.isascii() and begun.isdecimal()) or abs(time.time() - int(begun)) > NOTICE_S:
        return Done()
    expected = _sign(person, request.url.path, done, int(begun))
    if not hmac.compare_digest(expected.encode(), proof.encode("utf-8", "replace")):
        return Done()
    act, *counts = done.split("-")
    return Done(act, *(int(count) for count in counts))


DoneDep = Annotated[Done, Depends(read_done)]


def _sign(person: Person, path: str, done: str, time_s: int) -> str:
    """Return a time and what only a holder of the session's token can make for it."""
    said = "\n".join(("fakesieve notice", path, done, str(time_s)))
    key = person.token.encode("utf-8", "replace")
    return f"{time_s}.{hmac.digest(key, said.encode('utf-8', 'replace'), 'sha256').hex()[:32]}"
