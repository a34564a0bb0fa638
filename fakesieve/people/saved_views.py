"""Saved filters of the console's lists: a person keeps, shares and removes their own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import delete, func, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from fakesieve.errors import RequestRefused
from fakesieve.ids import IdPrefix, new_id
from fakesieve.reasons import Reason
from fakesieve.records.saved_views import NAME_LETTERS_MAX, SavedView, ViewPage
from fakesieve.texts import is_storable

VIEWS_MAX = 100
QUERY_FIELDS_MAX, QUERY_LETTERS_MAX = 20, 5000


@dataclass(frozen=True)
class ViewDraft:
    """A list under a name. ``query`` holds the parameters of its address."""

    page: ViewPage
    name: str
    query: Mapping[str, str] = field(default_factory=dict[str, str])
    is_shared: bool = False

    def __post_init__(self) -> None:
        if not 1 <= len(self.name) <= NAME_LETTERS_MAX or not self.name.isprintable():
            raise ValueError(f"a saved filter has a name of 1 to {NAME_LETTERS_MAX} printable letters")
        letters = sum(len(name) + len(value) for name, value in self.query.items())
        if len(self.query) > QUERY_FIELDS_MAX or letters > QUERY_LETTERS_MAX:
            raise ValueError(f"a saved filter has up to {QUERY_LETTERS_MAX} letters")
        if not all(is_storable(value) for value in self.query.values()):
            raise ValueError("a saved filter holds no NUL")


@dataclass(frozen=True)
class ViewLine:
    """A saved filter as a person sees it."""

    id: str
    name: str
    query: Mapping[str, str]
    is_shared: bool
    is_own: bool


def save_view(session: Session, tenant_id: str, user_id: str, draft: ViewDraft) -> None:
    """Keep a filter; one of the same name takes its place. Raises RequestRefused (QUOTA_EXCEEDED)."""
    is_same = (SavedView.page == draft.page) & (SavedView.name == draft.name)
    mine = select(func.count()).select_from(SavedView).where(SavedView.user_id == user_id, ~is_same)
    if (session.scalar(mine) or 0) >= VIEWS_MAX:
        seen = f"you have {VIEWS_MAX} saved filters already"
        raise RequestRefused(Reason.QUOTA_EXCEEDED, seen, "remove one that you do not need")
    row = insert(SavedView).values(
        id=new_id(IdPrefix.VIEW),
        tenant_id=tenant_id,
        user_id=user_id,
        page=draft.page,
        name=draft.name,
        query=dict(draft.query),
        is_shared=draft.is_shared,
    )
    kept = {"query": row.excluded.query, "is_shared": row.excluded.is_shared}
    session.execute(row.on_conflict_do_update(index_elements=["user_id", "page", "name"], set_=kept))


def list_views(session: Session, user_id: str, page: ViewPage) -> Sequence[ViewLine]:
    """Return a person's own filters of a list and those that others share, by name."""
    view = SavedView
    wanted = select(view).where(view.page == page, or_(view.user_id == user_id, view.is_shared))
    rows = session.scalars(wanted.order_by(view.name, view.id).limit(2 * VIEWS_MAX))
    return [
        ViewLine(
            row.id,
            row.name,
            {name: str(value) for name, value in row.query.items()},
            row.is_shared,
            row.user_id == user_id,
        )
        for row in rows
    ]


def remove_view(session: Session, user_id: str, view_id: str) -> None:
    """Remove one's own filter. Raises RequestRefused (NOT_FOUND)."""
    gone = delete(SavedView).where(SavedView.id == view_id, SavedView.user_id == user_id)
    if session.scalar(gone.returning(SavedView.id)) is None:
        raise RequestRefused(Reason.NOT_FOUND, f"you have no saved filter {view_id}")
