"""Every reason says whether to try again and what to do, and holds all of the engine's."""

import pickle

import pytest

from engine.results import RejectReason
from fakesieve.errors import FleetError, TransactionConflict, Unavailable
from fakesieve.reasons import Reason


@pytest.mark.parametrize("reason", RejectReason)
def test_every_reason_of_the_engine_is_one_of_ours(reason: RejectReason) -> None:
    assert Reason(reason.value).name == reason.name


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_one_line_of_advice(reason: Reason) -> None:
    assert reason.name == reason.value
    assert 10 < len(reason.hint) < 100
    assert "\n" not in reason.hint


@pytest.mark.parametrize(
    "reason",
    [
        Reason.DATABASE_UNAVAILABLE,
        Reason.API_UNAVAILABLE,
        Reason.NO_SPACE,
        Reason.LEASE_LOST,
        Reason.DECODER_CRASHED,
    ],
)
def test_what_the_machine_did_may_be_tried_again(reason: Reason) -> None:
    assert reason.is_retryable


@pytest.mark.parametrize(
    "reason", [Reason.NOT_VIDEO, Reason.SOURCE_CHANGED, Reason.CANCELLED_BY_CALLER, Reason.INTERNAL]
)
def test_what_stays_the_same_is_not_tried_again(reason: Reason) -> None:
    assert not reason.is_retryable


def test_an_error_brings_the_advice_of_its_reason_unless_it_has_its_own() -> None:
    assert Unavailable(Reason.NO_SPACE, "3 MB left").hint == Reason.NO_SPACE.hint
    assert Unavailable(Reason.NO_SPACE, "3 MB left", "buy a disk").hint == "buy a disk"


def test_an_error_crosses_processes_whole() -> None:
    error = TransactionConflict(Reason.DATABASE_UNAVAILABLE, "DeadlockDetected 40P01")
    copy = pickle.loads(pickle.dumps(error))
    assert isinstance(copy, TransactionConflict)
    assert isinstance(copy, FleetError)
    assert (copy.reason, copy.seen, copy.hint, str(copy)) == (
        error.reason,
        error.seen,
        error.hint,
        str(error),
    )
