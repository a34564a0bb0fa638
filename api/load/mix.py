"""What a load test asks for: reads that a key with ``results:read`` may send, all kinds equally often."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice

import httpx2

from api.client import Client
from api.schemas.keys import RateOut
from fakesieve.scopes import Scope

PAGE_SIZE = 50
FLAGGED = "verdict = likely_manipulated"


class Kind(StrEnum):
    """A kind of request."""

    NEWEST = "newest"
    """A page of the newest analyses."""
    FLAGGED = "flagged"
    """A page of those that a filter finds: what is likely manipulated."""
    ANALYSIS = "analysis"
    """One analysis by id, with its faces and spans."""
    JOBS = "jobs"
    """A page of the newest jobs."""


@dataclass(frozen=True)
class Mix:
    """The requests, which are sent in turn: one of each kind, and of a kind with several the next of them.

    Attributes:
        requests: of each kind that is asked for; they are GETs and may be sent again and again.
        left_out: why a kind is not asked for.
        rate: how often the key may ask.
    """

    requests: Mapping[Kind, tuple[httpx2.Request, ...]]
    left_out: Mapping[Kind, str]
    rate: RateOut

    def choose(self, number: int) -> tuple[Kind, httpx2.Request]:
        """Return the request with this number, counted from 0."""
        turn, place = divmod(number, len(self.requests))
        kind = tuple(self.requests)[place]
        several = self.requests[kind]
        return kind, several[turn % len(several)]


def plan_mix(client: Client) -> Mix:
    """Ask the API what the key may do and which analyses there are, and choose the requests.

    Raises ApiProblem (MISSING_SCOPE) for a key without ``results:read``, and as the client otherwise does.
    """
    scopes, rate = client.whoami().scopes, client.limits().rate
    ids = [each.id for each in islice(client.results.iter(page_size=PAGE_SIZE), PAGE_SIZE)]
    analyses, jobs = "/v1/analyses", "/v1/jobs"
    build = client.sender.build
    requests: dict[Kind, tuple[httpx2.Request, ...]] = {
        Kind.NEWEST: (build("GET", analyses, {"page_size": PAGE_SIZE}),),
        Kind.FLAGGED: (build("GET", analyses, {"page_size": PAGE_SIZE, "filter": FLAGGED}),),
    }
    left_out = dict[Kind, str]()
    if ids:
        requests[Kind.ANALYSIS] = tuple(build("GET", f"{analyses}/{each}", {"view": "full"}) for each in ids)
    else:
        left_out[Kind.ANALYSIS] = "there is no analysis"
    if Scope.JOBS_READ in scopes:
        requests[Kind.JOBS] = (build("GET", jobs, {"page_size": PAGE_SIZE}),)
    else:
        left_out[Kind.JOBS] = f"the key lacks {Scope.JOBS_READ}"
    return Mix(requests, left_out, rate)
