"""Models: what each is used for, its card, how two of them differ, and what they are used for changed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import Path, Query, Request, Response
from sqlalchemy.orm import Session

from api.pages.forms import FormDep
from api.pages.notices import DoneDep, go_back
from api.pages.people import Person, PersonDep
from api.pages.review_words import list_card, list_missing
from api.pages.router import PageRouter, PageTransaction, require_role
from api.pages.templates import render
from api.problems import Problem, not_found
from fakesieve.model_changes import change_alias
from fakesieve.model_changes import go_back as go_back_to
from fakesieve.reasons import Reason
from fakesieve.records.model_comparisons import BINS, Comparison, PairCell, compare_models
from fakesieve.records.model_lists import ModelLine, WayBack, find_model_line, find_way_back, list_models
from fakesieve.records.review_known import count_left_out
from fakesieve.records.video_names import name_videos
from fakesieve.values.models import ModelAlias
from fakesieve.values.people import UserRole

FLIPS_SHOWN = 50
SIDE = 10
"""Pixels of a cell of the square of scores."""
_ADMIN = [require_role(UserRole.ADMIN)]
_NOTICES = {
    "promoted": "It is used so from now on.",
    "same": "It was used so already; nothing has changed.",
}
ModelName = Annotated[str, Path(max_length=100)]
ModelQuery = Annotated[str, Query(max_length=100)]

router = PageRouter()


@dataclass(frozen=True)
class Square:
    """One cell of the square as it is drawn: its area tells how many videos it holds."""

    x: float
    y: float
    side: float
    count: int
    is_flip: bool


@router.get("/models")
def show_models(
    request: Request,
    person: PersonDep,
    session: PageTransaction,
    done: DoneDep,
    back: Annotated[ModelAlias | None, Query()] = None,
    left: ModelQuery = "",
) -> Response:
    """Show all models and what the tenant uses them for; behind a roll-back, which model ``left`` its use."""
    lines = list_models(session, person.tenant_id)
    used = {alias: line for line in lines for alias in line.aliases}
    ways = ((alias, find_way_back(session, person.tenant_id, alias)) for alias in used)
    by_id = {line.id: line for line in lines}
    return render(
        request,
        "models.html",
        lines=lines,
        uses=tuple(ModelAlias),
        used=used,
        before={alias: by_id[way.to_id] for alias, way in ways if way is not None},
        notice=done.say(_NOTICES),
        back=back if done.act == "back" and back in used else None,
        left=by_id.get(left),
    )


@router.get("/models/compare")
def show_comparison(
    request: Request,
    person: PersonDep,
    session: PageTransaction,
    base: ModelQuery = ModelAlias.CHAMPION.value,
    other: ModelQuery = ModelAlias.CHALLENGER.value,
) -> Response:
    """Hold two models against each other on the videos that both have judged."""
    lines = list_models(session, person.tenant_id)
    first, second = _pick(lines, base), _pick(lines, other)
    found: Comparison | None = None
    if first is not None and second is not None and first.id != second.id:
        found = compare_models(session, person.tenant_id, first.id, second.id, flips_max=FLIPS_SHOWN)
    return render(
        request,
        "compare.html",
        lines=lines,
        base=first,
        other=second,
        asked=(base, other),
        found=found,
        squares=place_cells(found.cells) if found else (),
        width=BINS * SIDE,
        kept=count_left_out(session),
        names=name_videos(session, [flip.video_id for flip in found.flips]) if found else {},
    )


@router.get("/models/rollback", dependencies=_ADMIN)
def ask_roll_back(
    request: Request, person: PersonDep, session: PageTransaction, alias: ModelAlias
) -> Response:
    """Ask whether the model before is to be used again, and say which that is."""
    way = find_way_back(session, person.tenant_id, alias)
    line = None if way is None else _find(session, person, way.to_id)
    return _ask(request, person, session, alias, line, way=way)


@router.post("/models/rollback", dependencies=_ADMIN)
def take_roll_back(form: FormDep, person: PersonDep, session: PageTransaction) -> Response:
    """Use the model before again, if it is the one that the page has named."""
    alias = form.read_choice("alias", ModelAlias)
    way = go_back_to(session, person.tenant_id, alias, actor=person.id)
    if form.read("expected") != _name_way(way):  # what was written is undone with the transaction
        raise Problem(
            Reason.STATE_CONFLICT,
            f"the {alias.value} has changed since the page asked; nothing was done",
            hint="load the page again, and look at what it says now",
        )
    return go_back(person, "/models", "back", query={"back": alias.value, "left": way.from_id})


@router.get("/models/{model}")
def show_model(model: ModelName, request: Request, person: PersonDep, session: PageTransaction) -> Response:
    """Show one model with its card."""
    line = _find(session, person, model)
    return render(
        request,
        "model.html",
        line=line,
        card=list_card(line.card),
        missing=list_missing(line.card),
        uses=tuple(ModelAlias),
    )


@router.get("/models/{model}/promote", dependencies=_ADMIN)
def ask_promotion(
    model: ModelName, request: Request, person: PersonDep, session: PageTransaction, alias: ModelAlias
) -> Response:
    """Ask whether a model is to be used so, and say what it has judged otherwise than the one used now."""
    return _ask(request, person, session, alias, _find(session, person, model), is_back=False)


@router.post("/models/{model}/promote", dependencies=_ADMIN)
def take_promotion(model: ModelName, form: FormDep, person: PersonDep, session: PageTransaction) -> Response:
    """Use a model so from now on."""
    line, alias = _find(session, person, model), form.read_choice("alias", ModelAlias)
    is_new = change_alias(session, person.tenant_id, line, alias, actor=person.id)
    return go_back(person, "/models", "promoted" if is_new else "same")


def _ask(
    request: Request,
    person: Person,
    session: Session,
    alias: ModelAlias,
    line: ModelLine | None,
    *,
    way: WayBack | None = None,
    is_back: bool = True,
) -> Response:
    """Ask whether a model is to be used so; None is one to go back to that is not there."""
    now = find_model_line(session, person.tenant_id, alias.value)
    found = None
    if line is not None and now is not None and now.id != line.id:
        found = compare_models(session, person.tenant_id, now.id, line.id, flips_max=0)
    return render(
        request,
        "promote.html",
        alias=alias,
        line=line,
        now=now,
        found=found,
        is_back=is_back,
        expected="" if way is None else _name_way(way),
        kept=count_left_out(session),
    )


def _name_way(way: WayBack) -> str:
    return f"{way.from_id} {way.to_id}"


def place_cells(cells: Sequence[PairCell]) -> list[Square]:
    """Return the cells as squares whose area grows with the count, the fullest one filling its place."""
    most = max((cell.count for cell in cells), default=1)
    return [_place(cell, most) for cell in cells]


def _place(cell: PairCell, most: int) -> Square:
    side = max(2.0, SIDE * (cell.count / most) ** 0.5)
    margin = (SIDE - side) / 2
    x, y = cell.base_bin * SIDE + margin, (BINS - 1 - cell.other_bin) * SIDE + margin
    return Square(x, y, side, cell.count, cell.flip_count > 0)


def _pick(lines: Sequence[ModelLine], name: str) -> ModelLine | None:
    return next((line for line in lines if name == line.id or name in line.aliases), None)


def _find(session: Session, person: Person, name: str) -> ModelLine:
    line = find_model_line(session, person.tenant_id, name)
    if line is None:
        raise not_found("model", name)
    return line
