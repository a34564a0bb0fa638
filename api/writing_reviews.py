"""From reviews of ``fakesieve`` to shapes on the wire."""

from collections.abc import Mapping
from typing import cast

from pydantic import JsonValue

from api.schemas.reviews import (
    AuditOut,
    CalibrationOut,
    EntryOut,
    FeedbackOut,
    FindingOut,
    QueueCounts,
    QueueOut,
    ReviewOut,
    RuleBody,
    TrackOut,
)
from fakesieve.calibration.fit import Method
from fakesieve.records.audit import AuditLine
from fakesieve.records.calibrations import CalibrationFit
from fakesieve.records.reviews import ReviewDecision, ReviewQueue
from fakesieve.reviews.entries import Entry
from fakesieve.reviews.values import ReviewView
from fakesieve.values.reviews import QueueRule, ReviewState


def write_queue(queue: ReviewQueue, counts: Mapping[ReviewState, int]) -> QueueOut:
    """Return a queue and how many items of it are in each state."""
    return QueueOut(
        id=queue.id,
        name=queue.name,
        rule=_write_rule(QueueRule.from_json(queue.rule)),
        order=queue.order,
        is_blind=queue.is_blind,
        is_active=queue.is_active,
        lease_s=queue.lease_s,
        second_opinion_rate=queue.second_opinion_rate,
        known_share=queue.known_share,
        items=QueueCounts(**{state.value: rows for state, rows in counts.items()}),
        create_time=queue.create_time,
    )


def _write_rule(rule: QueueRule) -> RuleBody:
    form = rule.to_json()
    form["tags"] = [{"name": name, "value": value} for name, value in rule.tags]
    return RuleBody.model_validate(form)


def write_review(view: ReviewView) -> ReviewOut:
    """Return an item; its finding only where it may be seen."""
    found = view.finding
    return ReviewOut(
        id=view.id,
        queue_id=view.queue_id,
        analysis_id=view.analysis_id,
        video_id=view.video_id,
        kind=view.kind,
        parent_id=view.parent_id,
        state=view.state,
        is_blind=view.is_blind,
        is_hidden=found is None,
        finding=None
        if found is None
        else FindingOut(outcome=found.outcome, score=found.score, verdict=found.verdict),
        claimed_by=view.claimed_by,
        claim_until=view.claim_until,
        disposition=view.disposition,
        decision_id=view.decision_id,
        decided_by=view.decided_by,
        decide_time=view.decide_time,
        statement=view.statement,
        create_time=view.create_time,
    )


def write_entry(entry: Entry) -> EntryOut:
    """Return one thing that somebody said."""
    return EntryOut(
        id=entry.id,
        kind=entry.kind,
        review_id=entry.item_id,
        analysis_id=entry.analysis_id,
        video_id=entry.video_id,
        reviewer=entry.reviewer,
        disposition=entry.disposition,
        reason_code=entry.reason_code,
        policy_ref=entry.policy_ref,
        comment=entry.comment,
        automated_means=entry.automated_means,
        category=entry.category,
        is_blind=entry.is_blind,
        is_undone=entry.is_undone,
        seconds_spent=entry.seconds_spent,
        tracks=[
            TrackOut(ordinal=track.ordinal, disposition=track.disposition, reason_code=track.reason_code)
            for track in entry.tracks
        ],
        create_time=entry.create_time,
    )


def write_feedback(entry: ReviewDecision) -> FeedbackOut:
    """Return what a caller said of a result."""
    assert entry.category is not None
    return FeedbackOut(
        id=entry.id,
        analysis_id=entry.analysis_id,
        category=entry.category,
        comment=entry.comment,
        create_time=entry.create_time,
    )


def write_calibration(fit: CalibrationFit) -> CalibrationOut:
    """Return a fit."""
    return CalibrationOut(
        id=fit.id,
        model_id=fit.model_id,
        method=Method(fit.method),
        slope=fit.slope,
        intercept=fit.intercept,
        prior=fit.prior,
        n=fit.n,
        n_manipulated=fit.n_manipulated,
        ece_before=fit.ece_before,
        ece_after=fit.ece_after,
        ece_interval=(fit.ece_low, fit.ece_high),
        created_by=fit.created_by,
        create_time=fit.create_time,
    )


def write_audit(line: AuditLine) -> AuditOut:
    """Return one act."""
    return AuditOut(
        sequence=line.sequence,
        actor=line.actor,
        action=line.action,
        subject=line.subject,
        details=cast("dict[str, JsonValue]", dict(line.details)),
        sha256=line.sha256,
        create_time=line.create_time,
    )
