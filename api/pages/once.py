"""Forms that are done once however often they are sent: by a number that the page gave them.

It is what an ``Idempotency-Key`` is over ``/v1``, and is kept in the same table.
"""

import json
import secrets
from collections.abc import Callable

from fastapi import Request, Response
from sqlalchemy.orm import Session

from api.idempotency import KEY_LETTERS_MAX, KeyedRequest, keep, replay
from api.pages.forms import Form
from api.pages.people import FORM_FIELD, Person
from api.problems import Problem
from fakesieve.reasons import Reason

FIELD = "once"
_LETTERS_MAX = KEY_LETTERS_MAX // 2


def make_number() -> str:
    """Return a number for one form of one page."""
    return secrets.token_urlsafe(16)


def name_form(person: Person, form: Form) -> str:
    """Return the key of what a form asks for. Raises ``Problem`` for a form without a number of ours."""
    number = form.read(FIELD)
    if not 1 <= len(number) <= _LETTERS_MAX or not (number.isascii() and number.isprintable()):
        raise Problem(
            Reason.INVALID_REQUEST,
            "the form has no number",
            hint="load the page again and send it from there",
        )
    return f"page:{person.id}:{number}"


def do_once(
    request: Request, session: Session, person: Person, form: Form, work: Callable[[], Response]
) -> Response:
    """Do what a form asks for, or answer as before where it was done. The answer is kept with the work.

    Raises ``Problem``: REQUEST_IN_PROGRESS while it is being done.
    """
    fields = {name: list(texts) for name, texts in form.fields.items() if name != FORM_FIELD}
    content = json.dumps([request.url.path, fields], sort_keys=True).encode()
    asked = KeyedRequest(person.tenant_id, person.id, name_form(person, form), content)
    before = _find_before(session, asked)
    if before is not None:
        return before
    answer = work()
    keep(request, session, asked, answer)
    return answer


def _find_before(session: Session, asked: KeyedRequest) -> Response | None:
    try:
        return replay(session, asked)
    except Problem as fault:
        if fault.reason is not Reason.REQUEST_IN_PROGRESS:
            raise
        # What a double click comes to: the key of the form says nothing to a person.
        seen = "this form was sent before and is being done"
        raise Problem(fault.reason, seen, hint="load this page again: it shows what came of it") from fault
