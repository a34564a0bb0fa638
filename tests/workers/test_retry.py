import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import BackendFailed, BundleInvalid, MediaRejected
from engine.errors import Unavailable as EngineUnavailable
from engine.results import RejectReason
from fakesieve.errors import RequestRefused, SourceRefused, TransactionConflict, Unavailable
from fakesieve.reasons import Reason
from workers.retry import (
    MAX_ATTEMPTS,
    Action,
    ClaimLost,
    EngineKilled,
    HostDraining,
    RetryDecision,
    ShardOverdue,
    decide_retry,
)


def _engine(kind, reason):
    return kind(RejectReason(reason), "seen", "hint")


def _again(reason, delay_s, *, refund=False):
    return RetryDecision(Action.GIVE_BACK, Reason(reason), delay_s, refund=refund)


def _end(reason):
    return RetryDecision(Action.END, Reason(reason))


@pytest.mark.parametrize(
    ("error", "attempt", "expected"),
    [
        (ClaimLost(), 1, RetryDecision(Action.DROP, Reason.LEASE_LOST)),
        (HostDraining(), 3, _again("LEASE_LOST", 0.0, refund=True)),
        (_engine(MediaRejected, "NOT_VIDEO"), 1, _end("NOT_VIDEO")),
        (_engine(MediaRejected, "DECODER_CRASHED"), 2, _again("DECODER_CRASHED", 2.0)),
        (_engine(MediaRejected, "DECODER_CRASHED"), 3, _end("DECODER_CRASHED")),
        (_engine(MediaRejected, "DECODE_TIMEOUT"), 1, _again("DECODE_TIMEOUT", 15.0)),
        (_engine(MediaRejected, "DECODE_TIMEOUT"), 2, _end("DECODE_TIMEOUT")),
        (SourceRefused(Reason.SOURCE_CHANGED, ""), 1, _end("SOURCE_CHANGED")),
        (SourceRefused(Reason.SOURCE_NOT_FOUND, ""), 1, _again("SOURCE_NOT_FOUND", 10.0)),
        (Unavailable(Reason.NO_SPACE, ""), 3, _again("NO_SPACE", 30.0, refund=True)),
        (
            TransactionConflict(Reason.DATABASE_UNAVAILABLE, ""),
            3,
            _again("DATABASE_UNAVAILABLE", 5.0, refund=True),
        ),
        (_engine(BackendFailed, "ENGINE_UNAVAILABLE"), 9, _again("ENGINE_UNAVAILABLE", 5.0, refund=True)),
        (_engine(BundleInvalid, "MODEL_INVALID"), 1, _again("MODEL_INVALID", 30.0, refund=True)),
        (ZeroDivisionError(), 1, _again("INTERNAL", 5.0)),
        (ZeroDivisionError(), 3, _end("INTERNAL")),
        (RequestRefused(Reason.NOT_FOUND, ""), 3, _end("NOT_FOUND")),
        (ShardOverdue("", Reason.DECODE_TIMEOUT), 2, _again("DECODE_TIMEOUT", 10.0)),
        (ShardOverdue("", Reason.OBJECT_STORE_UNAVAILABLE), 3, _end("OBJECT_STORE_UNAVAILABLE")),
        (EngineKilled("signal 9"), 1, _again("INTERNAL", 5.0)),
        (EngineKilled("signal 9"), 3, _end("INTERNAL")),
    ],
)
def test_error_and_attempt_say_what_becomes_of_the_work(error, attempt, expected):
    assert decide_retry(error, attempt) == expected


@pytest.mark.parametrize(
    ("deliveries", "delay_s"), [(1, 15.0), (4, 15.0), (5, 30.0), (8, 240.0), (9, 300.0), (50, 300.0)]
)
def test_a_long_outage_is_looked_at_less_often(deliveries, delay_s):
    away = Unavailable(Reason.OBJECT_STORE_UNAVAILABLE, "")
    decision = decide_retry(away, 1, deliveries=deliveries)
    assert decision == _again("OBJECT_STORE_UNAVAILABLE", delay_s, refund=True)


def test_a_service_may_be_away_for_hours():
    away = Unavailable(Reason.BROKER_UNAVAILABLE, "")
    waited_s = sum(decide_retry(away, 1, deliveries=n).delay_s for n in range(1, 50))
    assert waited_s > 3 * 3600


errors = st.one_of(
    st.sampled_from(list(RejectReason)).map(lambda reason: _engine(MediaRejected, reason)),
    st.sampled_from(list(Reason)).map(lambda reason: SourceRefused(reason, "seen")),
    st.just(ValueError()),
    st.just(ShardOverdue("seen", Reason.DECODE_TIMEOUT)),
    st.just(EngineKilled("seen")),
)
machine = st.one_of(
    st.sampled_from(list(RejectReason)).map(lambda reason: _engine(EngineUnavailable, reason)),
    st.sampled_from(list(Reason)).map(lambda reason: Unavailable(reason, "seen")),
    st.just(HostDraining()),
)


@given(errors, st.integers(MAX_ATTEMPTS, 100))
def test_what_is_counted_ends_with_the_last_attempt(error, attempt):
    assert decide_retry(error, attempt).action is Action.END


@given(machine, st.integers(1, 100))
def test_fault_of_the_machine_never_costs_an_attempt(error, attempt):
    decision = decide_retry(error, attempt)
    assert (decision.action, decision.refund) == (Action.GIVE_BACK, True)


@given(errors | machine, st.integers(1, 10))
def test_decision_is_the_same_every_time(error, attempt):
    assert decide_retry(error, attempt) == decide_retry(error, attempt)
