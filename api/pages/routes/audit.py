"""The audit log: who did what, page by page, and whether its chain of hashes is whole."""

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
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
from fakesieve.records.audit import CHECK_MAX, AuditLine, AuditSearch, check_chain, list_audit
from fakesieve.records.blind import find_kept
from fakesieve.records.tenants import name_keys
from fakesieve.reviews.entries import find_analyses
from fakesieve.values.people import UserRole

_ADMIN = [require_role(UserRole.ADMIN)]
_SHA256 = re.compile(r"[0-9a-f]{64}")

Asked = Annotated[str, Query(max_length=100)]

router = PageRouter()


@router.get("/audit", dependencies=_ADMIN)
def show_audit(
    request: Request,
    person: PersonDep,
    services: ServicesDep,
    session: PageTransaction,
    *,
    token: PageToken = "",
    subject: Asked = "",
    actor: Asked = "",
    action: Asked = "",
    since: Asked = "",
    until: Asked = "",
) -> Response:
    """Show who did what, newest first; of one thing, person, kind of act or span of days if it is named."""
    given = {"subject": subject, "actor": actor, "action": action, "since": since, "until": until}
    asked = {name: text for name, value in given.items() if (text := value.strip())}
    paging = open_paging(services, person, "audit", asked, token)
    lines = list_audit(session, _read_search(asked), before=_read_number(paging), limit=LINES + 1)
    shown, more = paging.cut(lines, lambda line: (line.sequence,))
    return render(
        request, "audit.html", rows=_write_rows(session, list(shown)), fields=given, asked=asked, more=more
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


def _read_search(asked: Mapping[str, str]) -> AuditSearch:
    """Return what the fields ask for. Raises ``Problem`` (INVALID_REQUEST) for a day that is none."""
    last = _read_day(asked.get("until"))
    return AuditSearch(
        asked.get("subject"),
        asked.get("actor"),
        asked.get("action"),
        _read_day(asked.get("since")),
        None if last is None else last + timedelta(days=1),
    )


def _read_day(text: str | None) -> datetime | None:
    """Return the beginning of a day in UTC. Raises ``Problem`` (INVALID_REQUEST)."""
    if text is None:
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError:
        day = date.max
    if day == date.max:  # behind which there is no other
        raise Problem(Reason.INVALID_REQUEST, "a day is written as 2026-01-31")
    return datetime.combine(day, time(), UTC)


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
