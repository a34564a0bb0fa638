"""What a page has said that a class erases at once, sent along by its form, and whether that still holds.

On a busy tenant the count of videos over a time differs each time somebody counts: some come to their end
meanwhile, others are erased. So a page counts as of one instant, which its form names, and the form is
looked at as of that same instant: what has aged into it since is none of the difference, as every class
erases what comes to its end. It is refused where a video has come into it in any other way, even if another
left, and never because some have left.

The form is not signed. Whoever sends it may set the class over ``/v1`` without being told anything, and the
token of the form keeps others from sending it for them: what is checked is that nobody is taken by surprise.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from api.pages.forms import Form
from api.pages.retention_words import check_said
from api.problems import Problem
from fakesieve.erasure.foresight import Mark, Reach, foresee, has_joined, mark_now
from fakesieve.reasons import Reason

SAID_S = 3600
"""So long the form of a page may be sent: what ages into what it said meanwhile is little."""
_AGAIN = "load the page again, and look at what it says now"
_DIGITS_MAX = 18


def write_said(reach: Reach, mark: Mark) -> Mapping[str, str]:
    """Return the fields by which a form tells what its page has said, and as of when."""
    return {
        "due": str(reach.due.videos),
        "more": "" if reach.due.is_whole else "yes",
        "time": mark.time.isoformat(),
        "act": str(mark.sequence),
    }


def check_foreseen(session: Session, tenant_id: str, given: Form, name: str, keep_s: int | None) -> None:
    """Raise ``Problem`` (STATE_CONFLICT) where a class would erase what a page has not said of it.

    To be called under ``lock_classes``, so that what is true here is true when the class changes.
    """
    mark = _read_mark(given)
    if mark is None:
        seen = "no page has said what this erases; nothing has changed"
        raise Problem(Reason.STATE_CONFLICT, seen, hint=_AGAIN)
    now = mark_now(session, tenant_id).time
    if not timedelta(0) <= now - mark.time <= timedelta(seconds=SAID_S):
        seen = f"what the page has said held for {SAID_S // 60} minutes; nothing has changed"
        raise Problem(Reason.STATE_CONFLICT, seen, hint=_AGAIN)
    due = foresee(session, name, keep_s, mark.time).due
    if given.read("more") != "yes":  # where it said 'at least', that holds of any number
        check_said(given, due.videos)
    if has_joined(session, tenant_id, name, keep_s, mark):
        seen = "this would erase videos at once that have come to the class since; nothing has changed"
        raise Problem(Reason.STATE_CONFLICT, seen, hint=_AGAIN)


def _read_mark(given: Form) -> Mark | None:
    time, act = given.read("time"), given.read("act")
    if not (act.isascii() and act.isdecimal() and len(act) <= _DIGITS_MAX):
        return None
    try:
        found = datetime.fromisoformat(time)
    except ValueError:
        return None
    return None if found.tzinfo is None else Mark(found, int(act))
