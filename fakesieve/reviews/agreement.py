"""How far people agree: decisions that a second opinion was given on, held against it."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session, aliased

from fakesieve.records.reviews import ReviewItem
from fakesieve.values.reviews import Disposition, ReviewKind, ReviewState

PAIRS_MIN = 20
"""With fewer pairs kappa says nothing: one of them moves it by a tenth."""


@dataclass(frozen=True)
class Pair:
    """Two people's words on the same analysis, and how often it was these two. ``first`` was said before."""

    queue_id: str
    first_by: str
    second_by: str
    first: Disposition
    second: Disposition
    count: int


@dataclass(frozen=True)
class Agreement:
    """How often two looks came to the same. ``by_chance`` is the share in which they would have anyway."""

    pairs: int
    same: int
    by_chance: float

    def __post_init__(self) -> None:
        if not 0 <= self.same <= self.pairs or not 0.0 <= self.by_chance <= 1.0:
            raise ValueError("pairs that agree are among all pairs, and chance is a share")

    @property
    def share(self) -> float | None:
        """Share of pairs that came to the same; None without a pair."""
        return self.same / self.pairs if self.pairs else None

    @property
    def kappa(self) -> float | None:
        """Cohen's kappa: 1 for whole agreement, 0 for that of chance, below for less.

        None with fewer than 20 pairs, and where chance alone makes all agree, as when everybody always says
        the same: nothing is then left to be measured.
        """
        if self.share is None or self.pairs < PAIRS_MIN or self.by_chance == 1.0:
            return None
        return (self.share - self.by_chance) / (1.0 - self.by_chance)


def list_pairs(session: Session) -> Sequence[Pair]:
    """Return all decisions of the tenant at hand that stand and have a second opinion that stands.

    Whoever has passed an item on has said nothing that another could agree with.
    """
    first, second = aliased(ReviewItem), aliased(ReviewItem)
    keys = (first.queue_id, first.decided_by, second.decided_by, first.disposition, second.disposition)
    rows = session.execute(
        select(*keys, func.count())
        .join(second, second.parent_id == first.id)
        .where(
            second.kind == ReviewKind.SECOND_OPINION,
            first.state == ReviewState.DECIDED,
            first.disposition != Disposition.ESCALATED,
            second.state == ReviewState.DECIDED,
            second.disposition != Disposition.ESCALATED,
            first.made_for.is_(None),
        )
        .group_by(*keys)
    )
    return [Pair(*row) for row in rows]


def measure(pairs: Iterable[Pair]) -> Agreement:
    """Return how far first and second looks agree, whoever made them."""
    firsts, seconds = Counter[Disposition](), Counter[Disposition]()
    same = 0
    for pair in pairs:
        firsts[pair.first] += pair.count
        seconds[pair.second] += pair.count
        same += pair.count if pair.first is pair.second else 0
    total = firsts.total()
    chance = sum(firsts[each] * seconds[each] for each in Disposition) / (total * total) if total else 0.0
    return Agreement(total, same, chance)


def measure_queues(pairs: Sequence[Pair]) -> Mapping[str, Agreement]:
    """Return the agreement in each queue that has pairs."""
    queues = dict.fromkeys(pair.queue_id for pair in pairs)
    return {queue: measure(pair for pair in pairs if pair.queue_id == queue) for queue in queues}


def measure_people(pairs: Sequence[Pair]) -> Mapping[str, Agreement]:
    """Return for each person how far they and the others who looked at the same agree."""
    people = dict.fromkeys(who for pair in pairs for who in (pair.first_by, pair.second_by))
    return {who: measure(pair for pair in pairs if who in (pair.first_by, pair.second_by)) for who in people}
