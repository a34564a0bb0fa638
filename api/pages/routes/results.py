"""The results: a filter in words, an order, and pages of lines that lead to the review pages."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlencode

from fastapi import Query, Request, Response
from sqlalchemy.orm import Session

from api.dependencies import ServicesDep
from api.pages.people import PersonDep
from api.pages.router import PageRouter, PageTransaction
from api.pages.routes.views import list_links
from api.pages.templates import render
from api.pagination import TOKEN_LETTERS_MAX, read_token, sign_token
from api.problems import Problem
from fakesieve.errors import FleetError
from fakesieve.filters.check import read_filter
from fakesieve.filters.order import read_order
from fakesieve.reasons import Reason
from fakesieve.records.analysis_lists import (
    AnalysisQuery,
    list_analyses,
    read_position,
    write_position,
)
from fakesieve.records.review_known import count_left_out
from fakesieve.records.saved_views import ViewPage
from fakesieve.records.video_names import name_videos
from fakesieve.values.analysis_lines import AnalysisLine

LINES = 50
FILTER_LETTERS_MAX = 4000
ORDERS: Mapping[str, str] = {
    "create_time desc": "newest first",
    "create_time": "oldest first",
    "score desc": "highest score first",
    "score": "lowest score first",
    "coverage.ratio": "least coverage first",
    "duration_us desc": "longest first",
}
EXAMPLES = (
    ('verdict="likely_manipulated"', "flagged"),
    ('verdict="likely_manipulated" AND disposition="confirmed_authentic"', "flagged and cleared by people"),
    ("score>=0.5 AND score<0.9", "in the middle"),
    ("tracks.regions.mouth>0.5", "the mouth stands out"),
    ("coverage.ratio<0.5", "half of it unseen"),
    ('outcome="no_face"', "no face"),
    ('jobs.file="clip*"', "files whose names begin with clip"),
)

router = PageRouter()


@dataclass(frozen=True)
class Found:
    """What a filter found: a page of lines, or why it could not be read."""

    lines: list[AnalysisLine]
    token: str | None = None
    fault: FleetError | None = None


@router.get("/results")
def show_results(
    request: Request,
    person: PersonDep,
    services: ServicesDep,
    session: PageTransaction,
    asked: Annotated[str, Query(alias="filter", max_length=FILTER_LETTERS_MAX)] = "",
    order: Annotated[str, Query(max_length=100)] = "create_time desc",
    page: Annotated[str, Query(max_length=TOKEN_LETTERS_MAX)] = "",
) -> Response:
    """Show a page of results. A filter that cannot be read is shown with what is wrong with it."""
    if order not in ORDERS:
        raise Problem(Reason.INVALID_REQUEST, "there is no such order")
    binding = json.dumps([person.tenant_id, "results page", asked, order])
    found = _find(session, person.tenant_id, asked, order, (page, binding, services.token_key))
    more = None if found.token is None else urlencode({"filter": asked, "order": order, "page": found.token})
    return render(
        request,
        "results.html",
        status=200 if found.fault is None else 422,
        lines=found.lines,
        names=name_videos(session, [line.video_id for line in found.lines]),
        fault=found.fault,
        asked=asked,
        order=order,
        orders=ORDERS,
        examples=[(text, words, urlencode({"filter": text})) for text, words in EXAMPLES],
        more=more,
        is_first=not page,
        kept=count_left_out(session),
        links=list_links(session, person, ViewPage.RESULTS),
    )


def _find(session: Session, tenant_id: str, asked: str, order: str, place: tuple[str, str, bytes]) -> Found:
    """Return a page. Raises ``Problem`` (INVALID_PAGE_TOKEN)."""
    token, binding, key = place
    try:
        wanted, by = read_filter(asked or None), read_order(order)
        after = read_position(by, read_token(key, token, binding)) if token else None
        with session.begin_nested():  # what is stopped leaves the transaction to the rest of the page
            query = AnalysisQuery(tenant_id, wanted, by, after, LINES + 1, with_words=True)
            lines = list_analyses(session, query)
    except FleetError as fault:
        if fault.reason is not Reason.INVALID_FILTER:
            raise
        return Found([], fault=fault)
    shown = lines[:LINES]
    more = sign_token(key, write_position(shown[-1].position), binding) if len(lines) > LINES else None
    return Found(shown, more)
