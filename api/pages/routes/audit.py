"""The audit log: who did what, page by page, and whether its chain of hashes is whole."""

import re
from typing import Annotated

from fastapi import Query, Request, Response
from sqlalchemy.orm import Session

from api.dependencies import ServicesDep
from api.pages.audit_words import AuditRow, Names, say_check, write_row
from api.pages.paging import LINES, PageToken, Paging, open_paging
from api.pages.people import PersonDep
from api.pages.router import PageRouter, PageTransaction, require_role
from api.pages.templates import render
from api.problems import Problem
from api.routes.feedback import SEQUENCE_MAX
from fakesieve.people.accounts import name_people
from fakesieve.reasons import Reason
from fakesieve.records.audit import CHECK_MAX, AuditLine, check_chain, list_audit
from fakesieve.records.blind import find_kept
from fakesieve.records.tenants import name_keys
from fakesieve.reviews.entries import find_analyses
from fakesieve.values.people import UserRole

_ADMIN = [require_role(UserRole.ADMIN)]
_SHA256 = re.compile(r"[0-9a-f]{64}")

router = PageRouter()


@router.get("/audit", dependencies=_ADMIN)
def show_audit(
    request: Request,
    person: PersonDep,
    services: ServicesDep,
    session: PageTransaction,
    subject: Annotated[str, Query(max_length=100)] = "",
    token: PageToken = "",
) -> Response:
    """Show who did what, newest first; of one thing alone where its id is named."""
    wanted = subject.strip()
    paging = open_paging(services, person, "audit", {"subject": wanted} if wanted else {}, token)
    lines = list_audit(session, subject=wanted or None, before=_read_number(paging), limit=LINES + 1)
    shown, more = paging.cut(lines, lambda line: (line.sequence,))
    return render(
        request,
        "audit.html",
        rows=_write_rows(session, list(shown)),
        subject=wanted,
        more=more,
    )


@router.get("/audit/check", dependencies=_ADMIN)
def show_check(
    request: Request,
    person: PersonDep,
    session: PageTransaction,
    after: Annotated[str | None, Query(max_length=20)] = None,
    kept: Annotated[str, Query(max_length=100)] = "",
) -> Response:
    """Ask from where the chain is to be checked; recompute a piece of it where the address says that."""
    noted = kept.strip().lower()
    begin = _read_begin(after or "", noted)
    found = None if after is None else check_chain(session, person.tenant_id, after=begin)
    findings = [] if found is None else say_check(found, begin, noted)
    return render(
        request,
        "audit_check.html",
        after=begin,
        noted=noted,
        found=found,
        findings=findings,
        is_fine=all(each.is_fine for each in findings),
        limit=CHECK_MAX,
    )


def _write_rows(session: Session, lines: list[AuditLine]) -> list[AuditRow]:
    actors = {line.actor for line in lines}
    subjects = {line.subject for line in lines}
    analyses = find_analyses(session, subjects)
    names = Names(
        {**name_people(session, actors), **name_keys(session, actors)},
        analyses,
        frozenset(find_kept(session, subjects | set(analyses.values()))),
    )
    return [write_row(line, names) for line in lines]


def _read_number(paging: Paging) -> int | None:
    return None if paging.position is None else int(paging.position[0] or 0)


def _read_begin(text: str, noted: str) -> int:
    """Return the number of the entry to begin behind. Raises ``Problem`` (INVALID_REQUEST)."""
    given = text.strip() or "0"
    if not (given.isascii() and given.isdecimal() and int(given) <= SEQUENCE_MAX):
        raise Problem(Reason.INVALID_REQUEST, "the number of an entry is a whole number, and not below 0")
    if noted and not _SHA256.fullmatch(noted):
        raise Problem(Reason.INVALID_REQUEST, "a hash has 64 hexadecimal digits")
    if noted and int(given) == 0:
        raise Problem(Reason.INVALID_REQUEST, "a hash is held against an entry: give its number, too")
    return int(given)
