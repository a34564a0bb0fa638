"""Retention classes: how long each keeps, and what setting or removing one erases, said before it is done."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC
from enum import StrEnum
from typing import Annotated

from fastapi import Path, Query, Request, Response
from sqlalchemy.orm import Session

from api.pages.foreseen import SAID_S, check_foreseen, write_said
from api.pages.forms import Form, FormDep
from api.pages.notices import DoneDep, go_back
from api.pages.people import Person, PersonDep
from api.pages.retention_words import Unit, read_class, split_keep, write_count, write_keep
from api.pages.router import PageRouter, PageTransaction, require_role
from api.pages.templates import render
from api.problems import Problem, not_found
from fakesieve.erasure.foresight import (
    Count,
    count_by_class,
    count_leaving,
    find_keep,
    foresee,
    list_due,
    mark_now,
)
from fakesieve.erasure.removal import remove_class
from fakesieve.erasure.retention import check_stays, list_classes, lock_classes, set_class
from fakesieve.reasons import Reason
from fakesieve.records.erasure import DEFAULT_CLASS, RetentionClass
from fakesieve.records.video_names import name_videos
from fakesieve.values.people import UserRole

PLACE = "/videos/retention"
SHOWN = 10
"""Videos that are erased at once and are named."""
_ADMIN = [require_role(UserRole.ADMIN)]
_NOTICES = {
    "set": "The class holds from now on.",
    "removed": "The class is gone. Its videos are kept by the default one, where there is one.",
    "removing": "The class keeps nothing any more and is gone once its videos have left it. They are kept by "
    "the default one, where there is one.",
}
_Text = Annotated[str, Query(max_length=100)]
_Name = Annotated[str, Path(max_length=100)]

router = PageRouter()


class Kind(StrEnum):
    """What is to become of a class."""

    NEW = "new"
    CHANGED = "changed"
    REMOVED = "removed"


@dataclass(frozen=True)
class Change:
    """For how long the videos of a class are kept now and then; None is without an end."""

    kind: Kind
    name: str
    before_s: int | None
    after_s: int | None
    form: Mapping[str, str] = field(default_factory=dict[str, str])


@router.get(PLACE, dependencies=_ADMIN)
def show_classes(request: Request, session: PageTransaction, done: DoneDep, name: _Text = "") -> Response:
    """Show all classes and how many videos each holds; ``name`` fills the form with one that is there."""
    lines = list_classes(session)
    counts, leaving = count_by_class(session), count_leaving(session)
    stay = [line for line in lines if line.remove_time is None]
    changed = next((line for line in stay if line.name == name), None)
    return render(
        request,
        "retention.html",
        lines=[(line, write_keep(line.keep_s)) for line in lines],
        counts={each: write_count(count) for each, count in counts.items()},
        leaving={each: write_count(count) for each, count in leaving.items()},
        is_one=counts[DEFAULT_CLASS] == Count(1, is_whole=True),
        default=DEFAULT_CLASS,
        has_default=any(line.name == DEFAULT_CLASS for line in stay),
        name=name,
        keep=split_keep(changed.keep_s) if changed else (90, Unit.DAYS),
        units=tuple(Unit),
        notice=done.say(_NOTICES),
    )


@router.get(f"{PLACE}/set", dependencies=_ADMIN)
def ask_set(
    request: Request,
    person: PersonDep,
    session: PageTransaction,
    name: _Text = "",
    keep: _Text = "",
    unit: _Text = "",
) -> Response:
    """Ask whether a class is to keep videos so long, and say what that erases."""
    given = {"name": name, "keep": keep, "unit": unit}
    of, keep_s = read_class(Form({field: (text,) for field, text in given.items()}))
    check_stays(_load(session, person, of))
    before = find_keep(session, person.tenant_id, of)
    kind = Kind.NEW if before is None else Kind.CHANGED
    return _ask(request, session, person, Change(kind, of, before, keep_s, given))


@router.post(f"{PLACE}/set", dependencies=_ADMIN)
def take_set(form: FormDep, person: PersonDep, session: PageTransaction) -> Response:
    """Make a class, or change how long it keeps, if that erases no more at once than the page has said."""
    name, keep_s = read_class(form)
    lock_classes(session, person.tenant_id)
    check_foreseen(session, person.tenant_id, form, name, keep_s)
    set_class(session, person.tenant_id, person.id, name, keep_s)
    return go_back(person, PLACE, "set")


@router.get(f"{PLACE}/{{class_name}}/remove", dependencies=_ADMIN)
def ask_removal(class_name: _Name, request: Request, person: PersonDep, session: PageTransaction) -> Response:
    """Ask whether a class is to be removed, and say what keeps its videos then, or erases them."""
    check_stays(_load(session, person, class_name))
    before, after = _find_change(session, person, class_name)
    given = {"after": _name_after(after)}
    return _ask(request, session, person, Change(Kind.REMOVED, class_name, before, after, given))


@router.post(f"{PLACE}/{{class_name}}/remove", dependencies=_ADMIN)
def take_removal(class_name: _Name, form: FormDep, person: PersonDep, session: PageTransaction) -> Response:
    """Remove a class, if that erases no more at once than the page has said."""
    lock_classes(session, person.tenant_id)
    found = _load(session, person, class_name)
    if found is not None and found.remove_time is not None:  # the button was pressed twice
        return go_back(person, PLACE, "removing")
    _, after = _find_change(session, person, class_name)
    if form.read("after") != _name_after(after):
        seen = f"the class {DEFAULT_CLASS}, which would keep the videos, has changed; nothing was removed"
        raise Problem(Reason.STATE_CONFLICT, seen, hint="load the page again, and look at what it says now")
    check_foreseen(session, person.tenant_id, form, class_name, after)
    is_gone = remove_class(session, person.tenant_id, person.id, class_name)
    return go_back(person, PLACE, "removed" if is_gone else "removing")


def _load(session: Session, person: Person, name: str) -> RetentionClass | None:
    return session.get(RetentionClass, (person.tenant_id, name), populate_existing=True)


def _find_change(session: Session, person: Person, name: str) -> tuple[int, int | None]:
    """Return how long a class keeps its videos, and how long they are kept once it is removed."""
    before = find_keep(session, person.tenant_id, name)
    if before is None:
        raise not_found("retention class", name)
    after = None if name == DEFAULT_CLASS else find_keep(session, person.tenant_id, DEFAULT_CLASS)
    return before, after


def _name_after(keep_s: int | None) -> str:
    """Return for how long videos are kept after a removal, as its form says that its page has said it."""
    return "" if keep_s is None else str(keep_s)


def _ask(request: Request, session: Session, person: Person, change: Change) -> Response:
    mark = mark_now(session, person.tenant_id)
    reach = foresee(session, change.name, change.after_s, mark.time)
    due = list_due(session, change.name, change.after_s, mark.time, SHOWN)
    return render(
        request,
        "retain.html",
        change=change,
        before=write_keep(change.before_s),
        after=write_keep(change.after_s),
        is_default=change.name == DEFAULT_CLASS,
        reach=reach,
        as_of=mark.time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
        said_minutes=SAID_S // 60,
        fields={**change.form, **write_said(reach, mark)},
        write_count=write_count,
        due=due,
        names=name_videos(session, due),
    )
