"""A tenant with three scored videos and a queue that takes all of them."""

import secrets
from dataclasses import dataclass

import pytest

from fakesieve.database import Database
from fakesieve.records.analyses import store_analysis
from fakesieve.reviews.queues import create_queue
from fakesieve.values.reviews import QueueDraft, QueueRule
from tests.factories import make_record, make_score, make_tenant, make_video
from tests.waiting import PATIENCE_S

SCORES = (0.9, 0.5, 0.98)
UNDO_S = "fakesieve.reviews.decide.UNDO_S"
"""Where it stands for how many seconds a decision can be taken back."""


@dataclass(frozen=True)
class Desk:
    """Ids of what a test works with; ``analyses`` in the order of their making."""

    database: Database
    tenant_id: str
    queue_id: str
    analyses: tuple[str, ...]


def make_analyses(database: Database, tenant_id: str, scores: tuple[float, ...] = SCORES) -> tuple[str, ...]:
    """Store a scored video for each score, each in a transaction of its own, and return the analyses."""
    made: list[str] = []
    for number, score in enumerate(scores):
        with database.transaction(tenant_id=tenant_id) as session:
            video_id = make_video(session, tenant_id, f"clip {number}")
            made.append(store_analysis(session, make_record(tenant_id, video_id, score=make_score(score)))[0])
    return tuple(made)


def make_queue(database: Database, tenant_id: str, **options: object) -> str:
    """Make a queue of everything unless told otherwise, and return its id."""
    values: dict[str, object] = {"name": "all", "rule": QueueRule(), **options}
    with database.transaction(tenant_id=tenant_id) as session:
        return create_queue(session, tenant_id, QueueDraft(**values), actor="usr_admin").id


@pytest.fixture
def long_undo(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a decision be taken back after ten seconds, too, in which a busy machine may stand still."""
    monkeypatch.setattr(UNDO_S, PATIENCE_S)


@pytest.fixture
def desk(module_database: Database) -> Desk:
    """A tenant of this test alone: tenants do not see each other, so a database for each is not needed."""
    tenant_id = make_tenant(module_database, f"tenant {secrets.token_hex(6)}")
    analyses = make_analyses(module_database, tenant_id)
    return Desk(module_database, tenant_id, make_queue(module_database, tenant_id), analyses)
