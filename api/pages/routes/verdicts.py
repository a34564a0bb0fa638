"""What a verdict means: the models that make it, what is known of their errors, and base rates."""

from fastapi import Request, Response

from api.pages.people import PersonDep
from api.pages.review_words import list_card, list_missing, make_base_rates
from api.pages.router import PageRouter, PageTransaction
from api.pages.templates import render
from engine.output import words
from fakesieve.records.model_lists import ModelLine, list_models
from fakesieve.records.policies import show_active_policy

router = PageRouter()


@router.get("/verdicts")
def show_meaning(request: Request, person: PersonDep, session: PageTransaction) -> Response:
    """Say what every page with a verdict leaves to this one."""
    lines = list_models(session, person.tenant_id)
    used = pick_used(lines)
    return render(
        request,
        "verdicts.html",
        used=[(line, list_card(line.card), list_missing(line.card)) for line in used],
        others=[line for line in lines if line not in used],
        verdicts=words.VERDICTS,
        judging=show_active_policy(session, person.tenant_id),
        base_rates=make_base_rates(),
    )


def pick_used(lines: list[ModelLine]) -> list[ModelLine]:
    """Return the models that the tenant uses or that hosts run; all of them where nobody says which."""
    return [line for line in lines if line.aliases or line.hosts] or lines
