"""The verdict on an analysis that holds, with the policy by which it does."""

from dataclasses import dataclass

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from engine.results import VerdictReason, VideoVerdict
from fakesieve.records.policies import PolicyVersion
from fakesieve.records.rulings import POLICY_IN_FORCE
from fakesieve.records.standings import Standing
from fakesieve.records.table import ID_TYPE


@dataclass(frozen=True)
class Judgement:
    """The verdict that holds, and the policy by which it does."""

    verdict: VideoVerdict
    policy: PolicyVersion


# Built once: that takes longer than running it.
_WANTED = (
    select(Standing.verdict, Standing.score, Standing.verdict_reasons, PolicyVersion)
    .join(PolicyVersion, PolicyVersion.id == POLICY_IN_FORCE)
    .where(Standing.analysis_id == bindparam("analysis", type_=ID_TYPE))
)


def load_judgement(session: Session, analysis_id: str) -> Judgement:
    """Return the judgement that holds of an analysis, which always has one."""
    value, score, reasons, policy = session.execute(_WANTED, {"analysis": analysis_id}).one()
    verdict = VideoVerdict(
        value=value,
        policy=policy.name,
        policy_version=policy.version,
        low=policy.low,
        high=policy.high,
        score_used=score,
        reasons=tuple(VerdictReason(reason) for reason in reasons),
    )
    return Judgement(verdict, policy)
