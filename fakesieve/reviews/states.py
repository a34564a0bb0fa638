"""Where an item may go from where it is: one table, which the statements and the tests both obey."""

from enum import StrEnum

from fakesieve.errors import RequestRefused
from fakesieve.reasons import Reason
from fakesieve.values.reviews import ReviewState


class Act(StrEnum):
    """What somebody does with an item."""

    CLAIM = "claim"
    RELEASE = "release"
    REVEAL = "reveal"
    DECIDE = "decide"
    SKIP = "skip"
    UNDO = "undo"
    REOPEN = "reopen"
    ASK_AGAIN = "ask_again"  # a second opinion or an appeal


# A skip leads back to ``open``, or to ``skipped`` when too many people have passed over the item.
MOVES: dict[tuple[ReviewState, Act], ReviewState] = {
    (ReviewState.OPEN, Act.CLAIM): ReviewState.CLAIMED,
    (ReviewState.CLAIMED, Act.CLAIM): ReviewState.CLAIMED,  # the holder's again, or one whose lease is over
    (ReviewState.CLAIMED, Act.RELEASE): ReviewState.OPEN,
    (ReviewState.CLAIMED, Act.REVEAL): ReviewState.CLAIMED,
    (ReviewState.CLAIMED, Act.DECIDE): ReviewState.DECIDED,
    (ReviewState.CLAIMED, Act.SKIP): ReviewState.OPEN,
    (ReviewState.DECIDED, Act.UNDO): ReviewState.CLAIMED,
    (ReviewState.DECIDED, Act.ASK_AGAIN): ReviewState.DECIDED,
    (ReviewState.SKIPPED, Act.REOPEN): ReviewState.OPEN,
}


def move(state: ReviewState, act: Act) -> ReviewState:
    """Return the state that an act leads to, or raise RequestRefused (STATE_CONFLICT)."""
    if (state, act) not in MOVES:
        raise RequestRefused(Reason.STATE_CONFLICT, f"an item that is {state} cannot be moved by '{act}'")
    return MOVES[state, act]
