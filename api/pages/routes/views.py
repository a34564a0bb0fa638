"""Saved filters: kept from a list under a name, and removed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from fastapi import Response
from fastapi.responses import RedirectResponse
from sqlalchemy.orm import Session

from api.pages.forms import Form, FormDep
from api.pages.people import Person, PersonDep
from api.pages.router import PageRouter, PageTransaction
from api.problems import Problem
from fakesieve.people.saved_views import ViewDraft, list_views, remove_view, save_view
from fakesieve.reasons import Reason
from fakesieve.records.saved_views import ViewPage

FIELDS: Mapping[ViewPage, Sequence[str]] = {
    ViewPage.RESULTS: ("filter", "order"),
    ViewPage.QUEUE: (
        "queue", "state", "said", "verdict", "score_min", "score_max", "coverage_max", "region", "age_h",
        "disputed",
    ),
}  # fmt: skip
"""Parameters of an address that a saved filter holds; whatever else a form brings is left out."""

router = PageRouter()


@dataclass(frozen=True)
class ViewLink:
    """A saved filter as a list shows it."""

    id: str
    name: str
    address: str
    is_shared: bool
    is_own: bool


@router.post("/views")
def take_view(form: FormDep, person: PersonDep, session: PageTransaction) -> Response:
    """Keep a filter under a name and go back to its list."""
    page = form.read_choice("page", ViewPage)
    query = {name: form.read(name) for name in FIELDS[page] if form.read(name)}
    try:
        draft = ViewDraft(page, form.read("name"), query, form.read("shared") == "yes")
    except ValueError as fault:
        raise Problem(Reason.INVALID_REQUEST, str(fault)) from fault
    save_view(session, person.tenant_id, person.id, draft)
    return RedirectResponse(write_address(page, query), 303)


@router.post("/views/{view_id}/remove")
def drop_view(view_id: str, form: FormDep, person: PersonDep, session: PageTransaction) -> Response:
    """Remove one's own filter and go back to the list."""
    remove_view(session, person.id, view_id)
    return RedirectResponse(write_address(form.read_choice("page", ViewPage), _read_back(form)), 303)


def list_links(session: Session, person: Person, page: ViewPage) -> list[ViewLink]:
    """Return the filters that a person may open."""
    return [
        ViewLink(view.id, view.name, write_address(page, view.query), view.is_shared, view.is_own)
        for view in list_views(session, person.id, page)
    ]


def write_address(page: ViewPage, query: Mapping[str, str]) -> str:
    """Return where a filter leads: always a list of ours, whatever the query says."""
    kept = {name: query[name] for name in FIELDS[page] if name in query}
    if page is ViewPage.RESULTS:
        return f"/results?{urlencode(kept)}"
    queue_id = kept.pop("queue", "")
    is_plain = queue_id.isascii() and queue_id.replace("_", "").isalnum()
    return f"/queue/{queue_id}?{urlencode(kept)}" if is_plain else "/queue"


def _read_back(form: Form) -> Mapping[str, str]:
    return {"queue": form.read("queue")} if form.read("queue") else {}
