"""Keys of programs, and what the tenant has used of what it may use."""

from datetime import UTC, date, datetime, timedelta

from fastapi import Request, Response

from api.dependencies import ServicesDep
from api.pages.forms import Form, FormDep
from api.pages.notices import DoneDep, go_back
from api.pages.paging import LINES, PageToken, open_paging
from api.pages.people import PersonDep
from api.pages.router import PageRouter, PageTransaction, require_role
from api.pages.templates import render
from api.problems import Problem
from fakesieve.key_changes import OVERLAP_S, KeyDraft, create_tenant_key, end_key, find_key, renew_key
from fakesieve.reasons import Reason
from fakesieve.records.tenants import ApiKey, list_keys, load_quota
from fakesieve.records.usage_lists import DayUsed, list_usage
from fakesieve.scopes import Scope
from fakesieve.values.people import UserRole

DAYS = 31
_NOTICES = {"revoked": "The key works no more."}
_ADMIN = [require_role(UserRole.ADMIN)]
_SCOPES = {
    Scope.JOBS_WRITE: "upload, submit, cancel and retry",
    Scope.JOBS_READ: "see jobs and batches",
    Scope.RESULTS_READ: "read results",
    Scope.POLICIES_WRITE: "make and apply policies",
    Scope.MODELS_ADMIN: "promote models and roll back",
    Scope.REVIEW_READ: "see queues and what was decided",
    Scope.REVIEW_WRITE: "claim, decide and give feedback",
    Scope.REVIEW_ADMIN: "make and change queues, declare what is known for certain",
    Scope.WEBHOOKS_WRITE: "change webhooks",
    Scope.KEYS_ADMIN: "make, rotate and revoke keys",
    Scope.ERASE_WRITE: "delete and erase videos",
    Scope.HOLD_WRITE: "put videos under a legal hold, and lift it",
    Scope.USAGE_READ: "read usage",
}

router = PageRouter()


@router.get("/keys", dependencies=_ADMIN)
def show_keys(
    request: Request,
    person: PersonDep,
    services: ServicesDep,
    session: PageTransaction,
    done: DoneDep,
    token: PageToken = "",
) -> Response:
    """Show the keys, newest first, and the usage of the last month."""
    paging = open_paging(services, person, "keys", {}, token)
    lines = list_keys(session, paging.time_and_id, LINES + 1)
    shown, more = paging.cut(lines, lambda line: (line.create_time.isoformat(), line.id))
    used = list_usage(session, DAYS)
    return render(
        request,
        "keys.html",
        lines=[(key, say_state(key)) for key in shown],
        more=more,
        scopes=_SCOPES,
        quota=load_quota(session, person.tenant_id),
        days=fill_days(used, datetime.now(UTC).date()),
        peak=max((each.video_ms for each in used), default=0),
        rate=(services.settings.api_burst, services.settings.api_rate_per_s),
        notice=done.say(_NOTICES),
    )


@router.post("/keys", dependencies=_ADMIN)
def take_key(request: Request, form: FormDep, person: PersonDep, session: PageTransaction) -> Response:
    """Make a key and show it, this once."""
    draft = _read_draft(form)
    made = create_tenant_key(session, person.tenant_id, draft, actor=person.id)
    return render(
        request, "secret.html", secret=made.secret, what=f"the key {draft.name}", back="/keys", old=None
    )


@router.post("/keys/{key_id}/rotate", dependencies=_ADMIN)
def take_rotation(key_id: str, request: Request, person: PersonDep, session: PageTransaction) -> Response:
    """Make a key that takes over, and show it, this once."""
    name = find_key(session, key_id).name
    made = renew_key(session, person.tenant_id, key_id, actor=person.id)
    old = f"The key before works beside it for {OVERLAP_S // 3600} hours."
    return render(request, "secret.html", secret=made.secret, what=f"the key {name}", back="/keys", old=old)


@router.post("/keys/{key_id}/revoke", dependencies=_ADMIN)
def take_end(key_id: str, person: PersonDep, session: PageTransaction) -> Response:
    """End a key at once."""
    end_key(session, person.tenant_id, key_id, actor=person.id)
    return go_back(person, "/keys", "revoked")


def say_state(key: ApiKey) -> str:
    """Return whether a key works, in a word."""
    if key.revoke_time is not None:
        return "revoked"
    if key.expire_time is not None and key.expire_time <= datetime.now(UTC):
        return "expired"
    return "works"


def fill_days(used: list[DayUsed], today: date) -> list[DayUsed]:
    """Return a line for each day of the last month; on a day without one nothing was billed."""
    known = {each.day: each for each in used}
    days = [today - timedelta(days=back) for back in reversed(range(DAYS))]
    return [known.get(day, DayUsed(day, 0, 0)) for day in days]


def _read_draft(form: Form) -> KeyDraft:
    try:
        days = form.read("days")
        end = datetime.now(UTC) + timedelta(days=int(days)) if days else None
        scopes = frozenset(Scope(value) for value in form.fields.get("scope", ()))
        return KeyDraft(form.read("name"), scopes, end)
    except (ValueError, OverflowError) as fault:
        raise Problem(Reason.INVALID_REQUEST, str(fault)) from fault
