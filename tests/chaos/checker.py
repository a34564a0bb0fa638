"""What a chaos run must leave behind, asked of the database: each accepted job ended once, and rightly.

``lost``: a job that was accepted is not there. ``dup``: something that exists once is there twice.
``phantom``: a row of which nobody knows. ``stale``: a write under an old fence. ``wrong``: another end or
another score than without the faults, or a count that does not add up. ``stuck``: not ended, or waiting for
something that will not come.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from sqlalchemy import text
from sqlalchemy.orm import Session

from fakesieve.jobs.limits import JobLimits
from fakesieve.jobs.sql.invariants import find_violations
from fakesieve.jobs.states import JobState
from fakesieve.reasons import Reason
from fakesieve.records.analyses import AnalysisRecord, load_analysis
from tests.tolerance import FLEET_SCORE

_ENDS = "('job.succeeded', 'job.failed', 'job.cancelled', 'job.expired')"
_FAULT_OF = {"I1": "lost", "I2": "dup", "I4": "stuck", "I5": "stale", "I6": "stuck"}


@dataclass(frozen=True)
class Expected:
    """How a job must end: with the score of its clip, or in another state for a reason.

    Of a clip that was not seen as a whole the score is not compared.
    """

    clip: str
    state: JobState = JobState.SUCCEEDED
    reason: Reason | None = None
    is_whole: bool = True


@dataclass
class Report:
    """What was found, by kind, in words; and which failures were met."""

    lost: list[str] = field(default_factory=list)
    dup: list[str] = field(default_factory=list)
    phantom: list[str] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    sometimes: dict[str, bool] = field(default_factory=dict)

    @property
    def line(self) -> str:
        """The one line of a run."""
        kinds = [each.name for each in fields(self) if each.name != "sometimes"]
        counts = " ".join(f"{kind}={len(getattr(self, kind))}" for kind in kinds)
        return f"{counts} sometimes={sum(self.sometimes.values())}/{len(self.sometimes)}"

    @property
    def is_clean(self) -> bool:
        """Whether nothing broke and everything was met."""
        kinds = [each.name for each in fields(self) if each.name != "sometimes"]
        return not any(getattr(self, kind) for kind in kinds) and all(self.sometimes.values())

    def describe(self) -> str:
        """All that is wrong, a line each."""
        found = [
            f"{each.name}: {what}"
            for each in fields(self)
            if each.name != "sometimes"
            for what in getattr(self, each.name)
        ]
        return "\n".join(found + [f"never met: {name}" for name, was in self.sometimes.items() if not was])


def check(
    session: Session,
    acked: Mapping[str, Expected],
    golden: Mapping[str, AnalysisRecord],
    limits: JobLimits,
) -> Report:
    """Compare what lies in the database with what was accepted, and each score with the calm one.

    Args:
        session: of the fleet, which sees all tenants.
        acked: every job whose submission was answered, by id, and how it must have ended.
        golden: the analysis of each clip from before any fault, by the clip's name.
        limits: those that the fleet runs with.
    """
    report = Report()
    for violation in find_violations(session, limits, list(acked)):
        getattr(report, _FAULT_OF.get(violation.name, "wrong")).append(str(violation))
    _count_ends(session, report)
    _find_phantoms(session, acked, report)
    _compare_ends(session, acked, golden, report)
    return report


def _count_ends(session: Session, report: Report) -> None:
    """A job that has ended has told so once, in the transaction of its end."""
    rows = session.execute(
        text(
            "SELECT job.id, job.state, count(told.job_id) FROM job LEFT JOIN ("
            f" SELECT job_id FROM outbox WHERE topic IN {_ENDS} UNION ALL"  # a sender moves it to the events
            f" SELECT data ->> 'job_id' FROM event WHERE type IN {_ENDS}"
            ") AS told ON told.job_id = job.id GROUP BY job.id"
        )
    )
    for job_id, state, n_ends in rows:
        if JobState(state).is_terminal and n_ends == 0:
            report.wrong.append(f"{job_id} is {state} and no event says so")
        if n_ends > int(JobState(state).is_terminal):
            report.dup.append(f"{job_id} is {state} and has {n_ends} events of an end")
        if not JobState(state).is_terminal:
            report.stuck.append(f"{job_id} is {state}")


def _find_phantoms(session: Session, acked: Mapping[str, Expected], report: Report) -> None:
    for job_id in session.execute(text("SELECT id FROM job")).scalars():
        if job_id not in acked:
            report.phantom.append(f"nobody was told of {job_id}")
    unowned = text(
        "SELECT id FROM analysis WHERE NOT EXISTS"
        " (SELECT FROM job WHERE job.analysis_id = analysis.id AND job.state = 'succeeded')"
        " UNION ALL SELECT analysis_id FROM verdict WHERE NOT EXISTS"
        " (SELECT FROM job WHERE job.analysis_id = verdict.analysis_id)"
        " UNION ALL SELECT job_id FROM usage WHERE NOT EXISTS"
        " (SELECT FROM job WHERE job.id = usage.job_id AND job.state = 'succeeded')"
    )
    for found in session.execute(unowned).scalars():
        report.phantom.append(f"{found} belongs to no job that succeeded")


def _compare_ends(
    session: Session, acked: Mapping[str, Expected], golden: Mapping[str, AnalysisRecord], report: Report
) -> None:
    rows = session.execute(text("SELECT id, state, error_reason, error_message, analysis_id FROM job"))
    for job_id, state, reason, message, analysis_id in rows:
        expected = acked.get(job_id)
        if expected is None or not JobState(state).is_terminal:
            continue
        if (state, reason) != (expected.state, expected.reason):
            wanted = f"{expected.state} {expected.reason}"
            report.wrong.append(f"{job_id} is {state} {reason}, not {wanted}: {message}")
        elif analysis_id is not None and expected.is_whole:
            found = compare_scores(load_analysis(session, analysis_id), golden[expected.clip])
            if found:
                report.wrong.append(f"{job_id}, {expected.clip}: {found}")


def compare_scores(found: AnalysisRecord, golden: AnalysisRecord) -> str:
    """Say how an analysis differs from that of the same pictures in calm; nothing if it does not."""
    if (found.outcome, found.verdict.value) != (golden.outcome, golden.verdict.value):
        return f"{found.outcome} {found.verdict.value}, not {golden.outcome} {golden.verdict.value}"
    pairs = [("raw", found.score.raw, golden.score.raw)]
    pairs.append(("calibrated", found.score.calibrated, golden.score.calibrated))
    ours, theirs = _frame_scores(found), _frame_scores(golden)
    if len(ours) != len(theirs):
        return f"{len(ours)} faces, not {len(theirs)}"
    pairs += [("a face", a, b) for a, b in zip(ours, theirs, strict=True)]
    for name, a, b in pairs:
        if (a is None) != (b is None) or (a is not None and b is not None and abs(a - b) > FLEET_SCORE):
            return f"{name} has {a}, not {b}"
    return ""


def _frame_scores(record: AnalysisRecord) -> list[float | None]:
    return [frame.score for track in record.score.tracks for frame in track.frames]
