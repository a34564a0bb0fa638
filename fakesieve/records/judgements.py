"""The verdict on an analysis that holds, with the policy that gave it."""

from dataclasses import dataclass

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from fakesieve.records.analysis_tables import Verdict
from fakesieve.records.policies import PolicyVersion
from fakesieve.records.standings import Standing
from fakesieve.records.table import ID_TYPE


@dataclass(frozen=True)
class Judgement:
    """The verdict that holds, and the policy that gave it."""

    verdict: Verdict
    policy: PolicyVersion


# Built once: that takes longer than running it.
_WANTED = (
    select(Verdict, PolicyVersion)
    .join(PolicyVersion, PolicyVersion.id == Verdict.policy_id)
    .join(
        Standing,
        (Standing.analysis_id == Verdict.analysis_id) & (Standing.policy_id == Verdict.policy_id),
    )
    .where(Verdict.analysis_id == bindparam("analysis", type_=ID_TYPE))
)


def load_judgement(session: Session, analysis_id: str) -> Judgement:
    """Return the judgement that holds of an analysis, which always has one."""
    verdict, policy = session.execute(_WANTED, {"analysis": analysis_id}).one()
    return Judgement(verdict, policy)
