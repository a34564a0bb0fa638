"""The log of everything that was said: decisions, skips, what was taken back, and callers' feedback."""

from functools import partial

from fastapi import Request, Response

from api.dependencies import ServicesDep
from api.files import send_file
from api.pages.paging import LINES, PageToken, open_paging
from api.pages.people import PersonDep
from api.pages.review_words import write_entry
from api.pages.router import PageRouter, PageTransaction, name_viewer, prove_person
from api.pages.templates import render
from api.routes.reviews import write_entries_csv
from api.writing_reviews import write_entry as write_answer
from fakesieve.people.accounts import name_people
from fakesieve.records.tenants import Caller
from fakesieve.reviews.entries import list_entries, page_entries
from fakesieve.values.reviews import EntryKind

router = PageRouter()


@router.get("/decisions")
def show_log(
    request: Request,
    person: PersonDep,
    services: ServicesDep,
    session: PageTransaction,
    kind: EntryKind | None = None,
    token: PageToken = "",
) -> Response:
    """Show what was said, newest first."""
    asked = {} if kind is None else {"kind": kind.value}
    paging = open_paging(services, person, "decisions", asked, token)
    kinds = tuple(EntryKind) if kind is None else (kind,)
    entries = list_entries(session, kinds=kinds, before=paging.time_and_id, limit=LINES + 1)
    shown, more = paging.cut(entries, lambda line: (line.create_time.isoformat(), line.id))
    names = name_people(session, {entry.reviewer for entry in shown})
    return render(
        request,
        "decisions.html",
        lines=[(entry, write_entry(entry, names)) for entry in shown],
        kinds=tuple(EntryKind),
        kind=kind,
        more=more,
    )


@router.get("/decisions.csv")
def send_log(request: Request, person: PersonDep, services: ServicesDep) -> Response:
    """Send all that was said as a file, skips too, newest first."""
    found = page_entries(services.database, person.tenant_id, name_viewer(person))
    lines = write_entries_csv(write_answer(entry) for entry in found)
    return send_file(
        request,
        lambda: (line.encode() for line in lines),
        Caller(person.id, person.tenant_id, frozenset()),
        services,
        prove=partial(prove_person, request, services, person),
        media_type="text/csv; charset=utf-8",
        name="decisions.csv",
    )
