"""From what reviewers decided to a calibration of a model: which decisions count, the fit, and its row."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session

from fakesieve.calibration.error import ErrorEstimate, estimate_ece, find_ece, judge_held_out, judge_raw
from fakesieve.calibration.fit import Labelled, Method, NotMonotone, fit_curve, to_logit
from fakesieve.errors import RequestRefused
from fakesieve.ids import IdPrefix, new_id
from fakesieve.reasons import Reason
from fakesieve.records.analysis_tables import Analysis
from fakesieve.records.audit import record_audit
from fakesieve.records.calibrations import CalibrationFit
from fakesieve.records.models import Model
from fakesieve.records.reviews import ReviewItem
from fakesieve.values.reviews import Disposition, ReviewState

COUNT_MIN = 100
COUNT_MIN_OF_EACH = 30
"""Fewer decisions than these are refused: the fit would follow chance."""
PLATT_COUNT = 500
"""From so many decisions on an intercept is fitted too, unless the caller says what it wants."""
SAMPLES_MAX = 5_000
_LABELS = {Disposition.CONFIRMED_MANIPULATED: True, Disposition.CONFIRMED_AUTHENTIC: False}


def load_samples(session: Session, model_id: str) -> list[Labelled]:
    """Return the newest decisions that stand on videos of a model: one a video, without those that doubt.

    Of a video that the model scored twice one score counts, else the same face would lie in a fit and in what
    it is held against. Callers' feedback is not among them: nobody has looked. Nor is what was said of items
    that were made for one person: they measure the person.
    """
    newest = (
        select(Analysis.video_id, ReviewItem.analysis_id, ReviewItem.disposition, Analysis.score_raw)
        .ext(distinct_on(Analysis.video_id))
        .join(Analysis, Analysis.id == ReviewItem.analysis_id)
        .where(
            Analysis.model_id == model_id,
            Analysis.score_raw.is_not(None),
            ReviewItem.state == ReviewState.DECIDED,
            ReviewItem.made_for.is_(None),
        )
        .order_by(Analysis.video_id, ReviewItem.decide_time.desc(), ReviewItem.id)
        .subquery()
    )
    wanted = select(newest.c.score_raw, newest.c.disposition).where(newest.c.disposition.in_(list(_LABELS)))
    rows = session.execute(wanted.order_by(newest.c.analysis_id.desc()).limit(SAMPLES_MAX))
    return [Labelled(to_logit(row.score_raw), _LABELS[Disposition(row.disposition)]) for row in rows]


def fit_model(
    session: Session,
    tenant_id: str,
    actor: str,
    model_id: str,
    *,
    method: Method | None = None,
    prior: float = 0.5,
) -> CalibrationFit:
    """Fit a calibration and keep it. It moves no score by itself.

    Raises RequestRefused: NOT_FOUND for an unknown model, TOO_FEW_DECISIONS below the least count,
    STATE_CONFLICT where the decisions contradict the scores.
    """
    if session.get(Model, model_id) is None:
        raise RequestRefused(Reason.NOT_FOUND, f"there is no model {model_id}")
    samples = load_samples(session, model_id)
    n_manipulated = sum(sample.is_manipulated for sample in samples)
    _check_counts(len(samples), n_manipulated)
    chosen = method or (Method.PLATT if len(samples) >= PLATT_COUNT else Method.TEMPERATURE)
    try:
        curve = fit_curve(samples, chosen, prior)
        after = estimate_ece(judge_held_out(samples, chosen, prior))
    except NotMonotone as error:
        raise RequestRefused(
            Reason.STATE_CONFLICT, str(error), "look at the decisions: some may be the wrong way round"
        ) from error
    fit = CalibrationFit(
        id=new_id(IdPrefix.CALIBRATION),
        tenant_id=tenant_id,
        model_id=model_id,
        method=chosen.value,
        slope=curve.slope,
        intercept=curve.intercept,
        prior=prior,
        n=len(samples),
        n_manipulated=n_manipulated,
        ece_before=find_ece(judge_raw(samples, prior)),
        created_by=actor,
        **_write_error(after),
    )
    session.add(fit)
    session.flush()
    session.refresh(fit)
    record_audit(
        session, tenant_id=tenant_id, actor=actor, action="calibration.fitted", subject=fit.id,
        details={"model_id": model_id, "n": fit.n},
    )  # fmt: skip
    return fit


def load_fit(session: Session, fit_id: str) -> CalibrationFit:
    """Return a fit of the tenant at hand. Raises RequestRefused (NOT_FOUND)."""
    fit = session.get(CalibrationFit, fit_id)
    if fit is None:
        raise RequestRefused(Reason.NOT_FOUND, f"there is no calibration {fit_id}")
    return fit


def list_fits(
    session: Session,
    *,
    model_id: str | None = None,
    before: tuple[datetime, str] | None = None,
    limit: int = 100,
) -> Sequence[CalibrationFit]:
    """Return fits of the tenant at hand, newest first, behind a position."""
    wanted = select(CalibrationFit).order_by(CalibrationFit.create_time.desc(), CalibrationFit.id.desc())
    if model_id is not None:
        wanted = wanted.where(CalibrationFit.model_id == model_id)
    if before is not None:
        place = func.row(CalibrationFit.create_time, CalibrationFit.id)
        wanted = wanted.where(place < func.row(*before))
    return session.scalars(wanted.limit(limit)).all()


def _check_counts(n: int, n_manipulated: int) -> None:
    n_authentic = n - n_manipulated
    if n < COUNT_MIN or min(n_manipulated, n_authentic) < COUNT_MIN_OF_EACH:
        seen = f"{n_manipulated} manipulated and {n_authentic} authentic videos were confirmed"
        needed = f"at least {COUNT_MIN}, and {COUNT_MIN_OF_EACH} of each, are needed"
        raise RequestRefused(Reason.TOO_FEW_DECISIONS, f"{seen}; {needed}")


def _write_error(error: ErrorEstimate) -> dict[str, float]:
    return {"ece_after": error.value, "ece_low": error.low, "ece_high": error.high}
