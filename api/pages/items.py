"""Which item of review a person has before them at an analysis, and what they may do with it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from sqlalchemy.orm import Session

from api.pages.people import Person
from fakesieve.records.blind import is_kept
from fakesieve.reviews.claim import find_free
from fakesieve.reviews.items import ItemFilter, list_items
from fakesieve.reviews.values import UNDO_S, ReviewView
from fakesieve.values.people import UserRole
from fakesieve.values.reviews import ReviewKind, ReviewState


class Mode(StrEnum):
    """What the bar of decisions offers."""

    NOTHING = "nothing"
    CLAIM = "claim"
    BLIND = "blind"
    DECIDE = "decide"
    DECIDED = "decided"
    HELD = "held"
    WAITS = "waits"  # theirs, but another item of the video is to be judged blindly first
    OTHERS = "others"  # free, and only for those who have not judged the analysis before
    SKIPPED = "skipped"  # so many people have passed over it that it is offered to nobody


@dataclass(frozen=True)
class Before:
    """The item that counts for a person, if there is one, and what they may do.

    ``again`` has each look at the item that was asked for already, by its kind.
    """

    item: ReviewView | None
    mode: Mode
    is_kept: bool = False
    again: Mapping[ReviewKind, ReviewView] = field(default_factory=dict[ReviewKind, ReviewView])

    @property
    def is_hidden(self) -> bool:
        """Whether they have yet to say what they see, here or at another item, and so must see no score."""
        return self.is_kept or self.mode in (Mode.BLIND, Mode.WAITS)

    @property
    def may_undo(self) -> bool:
        """Whether the decision is so new that whoever made it may take it back, give or take our clocks."""
        if self.item is None or self.item.decide_time is None:
            return False
        return datetime.now(UTC) - self.item.decide_time < timedelta(seconds=UNDO_S)

    @property
    def may_ask(self) -> bool:
        """Whether a second opinion may be asked for: once, and of no second look."""
        is_first = self.item is not None and self.item.parent_id is None
        return is_first and self._is_unasked(ReviewKind.SECOND_OPINION)

    @property
    def may_appeal(self) -> bool:
        """Whether somebody may object to the decision: once."""
        return self._is_unasked(ReviewKind.APPEAL)

    @property
    def waiting(self) -> list[ReviewView]:
        """The looks of somebody else that are not decided yet."""
        return [each for each in self.again.values() if each.state is not ReviewState.DECIDED]

    def _is_unasked(self, kind: ReviewKind) -> bool:
        return self.mode is Mode.DECIDED and self.item is not None and kind not in self.again


def find_item(session: Session, analysis_id: str, person: Person) -> Before:
    """Return the item that a person has before them: theirs, else one to take, else what was decided."""
    if not person.may(UserRole.REVIEWER):
        return Before(None, Mode.NOTHING)
    items = list_items(session, ItemFilter(analysis_id=analysis_id))
    free = find_free(session, [item.id for item in items], person.id)
    found = _find_own(items, person) or _find_free(items, free) or _find_decided(items)
    if found is None:
        found = _find_others(items)
    again = {} if found.item is None else {i.kind: i for i in items if i.parent_id == found.item.id}
    return replace(found, is_kept=is_kept(session, analysis_id), again=again)


def _find_own(items: Sequence[ReviewView], person: Person) -> Before | None:
    for item in items:
        if item.state is ReviewState.CLAIMED and item.claimed_by == person.id:
            if item.finding is not None:
                return Before(item, Mode.DECIDE)
            return Before(item, Mode.BLIND if item.is_blind else Mode.WAITS)
    return None


def _find_free(items: Sequence[ReviewView], free: Collection[str]) -> Before | None:
    return next((Before(item, Mode.CLAIM) for item in items if item.id in free), None)


# Of several items of one analysis, that which is nearest to an answer is told.
_MODES = {
    ReviewState.CLAIMED: Mode.HELD,
    ReviewState.OPEN: Mode.OTHERS,
    ReviewState.SKIPPED: Mode.SKIPPED,
    ReviewState.DECIDED: Mode.DECIDED,
}
_WHERE_IT_WAITS = tuple(_MODES)


def _find_others(items: Sequence[ReviewView]) -> Before:
    if not items:
        return Before(None, Mode.NOTHING)
    found = min(items, key=lambda item: _WHERE_IT_WAITS.index(item.state))
    return Before(found, _MODES[found.state])


def _find_decided(items: Sequence[ReviewView]) -> Before | None:
    decided = [item for item in items if item.state is ReviewState.DECIDED]
    newest = max(decided, key=lambda item: item.decide_time or item.create_time, default=None)
    return None if newest is None else Before(newest, Mode.DECIDED)
