"""A tenant's change of policy over a long history: tried, and applied in one transaction."""

from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.orm import Session, sessionmaker

from engine.policy import PRESETS, Policy
from fakesieve.database import Database
from fakesieve.policy_changes import Change, change_policy
from fakesieve.records.policy_sql import Preview, preview_policy

HISTORY = 100_000  # analyses of the tenant that is asked about, as near to it as there is one
GOAL_MS = 2000.0  # for so many analyses, at the 99th percentile
Result = TypeVar("Result")


class OpenTransaction(Database):
    """Runs all work in a transaction that is open already, whose tenant it sees, so that it can be undone."""

    def __init__(self, session: Session) -> None:
        super().__init__(session.get_bind(), sessionmaker())
        object.__setattr__(self, "session", session)

    def run_transaction(self, work: Callable[[Session], Result], *, tenant_id: str | None) -> Result:
        """Run ``work`` once; a conflict is not tried again."""
        del tenant_id
        return work(self.session)


def preview_change(session: Session, tenant_id: str) -> Preview:
    """Say what a stricter policy would change."""
    return preview_policy(session, tenant_id, PRESETS["strict"])


def apply_near(session: Session, tenant_id: str) -> Change:
    """Judge all history with a policy that moves few verdicts, step by step as an answer of the API does."""
    return _apply(session, tenant_id, PRESETS["strict"])


def apply_far(session: Session, tenant_id: str) -> Change:
    """The same with one that moves many of them."""
    return _apply(session, tenant_id, PRESETS["balanced"])


def _apply(session: Session, tenant_id: str, policy: Policy) -> Change:
    return change_policy(OpenTransaction(session), tenant_id, policy, actor="bench")
