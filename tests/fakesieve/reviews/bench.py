"""A desk whose queue shows known analyses, and who works at it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy.orm import Session

from fakesieve.database import Database
from fakesieve.ids import IdPrefix, new_id
from fakesieve.records.users import AppUser
from fakesieve.reviews.claim import claim_next
from fakesieve.reviews.decide import decide_item
from fakesieve.reviews.items import view_item
from fakesieve.reviews.known import declare_known
from fakesieve.reviews.queues import count_items
from fakesieve.values.people import UserRole
from fakesieve.values.reviews import (
    DecisionDraft,
    Disposition,
    KnownDraft,
    ReasonCode,
    ReviewState,
    Truth,
)
from tests.fakesieve.reviews.conftest import Desk, make_queue

ANA, BEN, LEAD = "usr_ana", "usr_ben", "usr_lead"
FAKE = DecisionDraft(Disposition.CONFIRMED_MANIPULATED, ReasonCode.VISIBLE_ARTEFACTS)
REAL = DecisionDraft(Disposition.CONFIRMED_AUTHENTIC, ReasonCode.NO_SIGN_FOUND)
FORGED = KnownDraft(Truth.CONFIRMED_MANIPULATED, "we made it")
Result = TypeVar("Result")


def always() -> float:
    return 0.0


def never() -> float:
    return 0.99


def make_person(database: Database, tenant_id: str, role: UserRole) -> str:
    """Add somebody who never signs in, and return their id."""
    with database.transaction(tenant_id=tenant_id) as session:
        person = AppUser(id=new_id(IdPrefix.USER), tenant_id=tenant_id, name="Ada", role=role)
        person.email = f"{person.id}@example.org"
        session.add(person)
        return person.id


@dataclass(frozen=True)
class Bench:
    """A desk whose queue shows known analyses; the last analysis is one."""

    desk: Desk
    queue_id: str
    known: str

    def as_(self, viewer: str | None, work: Callable[[Session], Result]) -> Result:
        with self.desk.database.transaction(tenant_id=self.desk.tenant_id, viewer=viewer) as session:
            return work(session)

    def claim(self, who: str, draw: Callable[[], float] = always) -> str | None:
        return self.as_(who, lambda session: claim_next(session, self.queue_id, who, draw=draw))

    def decide(self, who: str, item: str, draft: DecisionDraft = FAKE) -> str:
        return self.as_(who, lambda session: decide_item(session, item, who, draft))

    def shown(self, who: str | None, item: str) -> str:
        return self.as_(who, lambda session: view_item(session, item).analysis_id)

    def counts(self, who: str | None) -> dict[ReviewState, int]:
        return dict(self.as_(who, lambda session: count_items(session, [self.queue_id])[self.queue_id]))


def make_bench(desk: Desk, known: str | None = None, **options: object) -> Bench:
    queue_id = make_queue(desk.database, desk.tenant_id, name="trained", known_share=0.2, **options)
    bench = Bench(desk, queue_id, known or desk.analyses[-1])
    bench.as_(None, lambda s: declare_known(s, desk.tenant_id, bench.known, FORGED, actor=LEAD))
    return bench


def take(bench: Bench, who: str) -> str:
    """Give a reviewer their item of the known analysis."""
    item = bench.claim(who)
    assert item is not None
    assert bench.shown(who, item) == bench.known
    return item
