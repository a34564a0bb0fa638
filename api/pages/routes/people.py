"""The people of an organisation, and what each of them may do."""

from fastapi import Request, Response

from api.dependencies import ServicesDep
from api.pages.forms import FormDep
from api.pages.notices import DoneDep, go_back
from api.pages.people import PersonDep
from api.pages.router import PageRouter, PageTransaction, require_role
from api.pages.templates import render
from api.problems import Problem
from fakesieve.people.accounts import change_role, list_users
from fakesieve.reasons import Reason
from fakesieve.values.people import UserRole

_ADMIN = [require_role(UserRole.ADMIN)]
_NOTICES = {"changed": "It holds from their next click on."}
_MAY = {
    UserRole.VIEWER: "look at everything",
    UserRole.REVIEWER: "review and upload as well",
    UserRole.ADMIN: "change policies, models, webhooks, keys, queues and roles, hold and erase videos too",
}

router = PageRouter()


@router.get("/people", dependencies=_ADMIN)
def show_people(
    request: Request, person: PersonDep, services: ServicesDep, session: PageTransaction, done: DoneDep
) -> Response:
    """Show who may sign in."""
    provider = services.provider
    return render(
        request,
        "people.html",
        lines=list_users(session, person.tenant_id),
        may=_MAY,
        by_provider=provider is not None and bool(provider.roles.by_group),
        notice=done.say(_NOTICES),
    )


@router.post("/people/{user_id}/role", dependencies=_ADMIN)
def take_role(user_id: str, form: FormDep, person: PersonDep, session: PageTransaction) -> Response:
    """Let somebody else do more or less."""
    if user_id == person.id:
        raise Problem(Reason.STATE_CONFLICT, "that is your own role", hint="ask another admin")
    change_role(session, person.tenant_id, user_id, form.read_choice("role", UserRole), actor=person.id)
    return go_back(person, "/people", "changed")
