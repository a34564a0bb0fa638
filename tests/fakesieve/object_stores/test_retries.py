"""When a request is tried again, when it is given up, and when a store is left alone. Time is stepped."""

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from hypothesis import given
from hypothesis import strategies as st

from fakesieve.errors import FleetError, SourceRefused, Unavailable
from fakesieve.object_stores.faults import BodyBroken
from fakesieve.object_stores.retries import (
    CHECK_S,
    PROGRESS_BYTES,
    Circuit,
    CircuitRule,
    Retrier,
    RetryRule,
)
from fakesieve.reasons import Reason


class SteppedPauses:
    """Time that passes when somebody sleeps, and chance that is always the same."""

    def __init__(self, draw: float = 1.0) -> None:
        self.now_s = 100.0
        self.slept_s: list[float] = []
        self._draw = draw

    def monotonic_s(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.slept_s.append(seconds)
        self.now_s += seconds

    def draw(self) -> float:
        return self._draw


def answer(status: int, code: str) -> ClientError:
    return ClientError(
        {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}},  # type: ignore[arg-type] - only the parts that are read
        "GetObject",
    )


BUSY, MISSING, CHANGED = answer(503, "SlowDown"), answer(404, "NoSuchKey"), answer(412, "PreconditionFailed")
UNREACHABLE = EndpointConnectionError(endpoint_url="http://store")


class Script:
    """A request that fails as told, one error a call, and then answers."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.n_calls = 0

    def __call__(self) -> str:
        self.n_calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "answer"


def run(script: Script, pauses: SteppedPauses, **rule: object) -> str:
    return Retrier(RetryRule(**rule), CircuitRule(failures=1000), pauses).run(script, "s3://b/k")


def test_a_busy_store_is_asked_again_after_growing_pauses() -> None:
    pauses = SteppedPauses()
    assert run(Script(BUSY, UNREACHABLE, BUSY), pauses) == "answer"
    assert pauses.slept_s == [1.0, 2.0, 4.0]


def test_who_is_told_to_end_waits_for_no_store() -> None:
    script, pauses = Script(*[BUSY] * 9), SteppedPauses()

    def check() -> None:
        if sum(pauses.slept_s) > 4:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        Retrier(RetryRule(), CircuitRule(), pauses).run(script, "s3://b/k", check=check)
    assert (script.n_calls, sum(pauses.slept_s)) == (3, 4.0 + CHECK_S)
    assert run(Script(BUSY), SteppedPauses()) == "answer"


def test_at_most_five_tries() -> None:
    script, pauses = Script(*[BUSY] * 9), SteppedPauses()
    with pytest.raises(Unavailable) as caught:
        run(script, pauses)
    assert caught.value.reason is Reason.OBJECT_STORE_UNAVAILABLE
    assert "503 SlowDown" in caught.value.seen
    assert script.n_calls == 5
    assert sum(pauses.slept_s) == 15.0


def test_no_try_starts_after_two_minutes() -> None:
    script, pauses = Script(*[BUSY] * 30), SteppedPauses()
    with pytest.raises(Unavailable):
        run(script, pauses, tries=30)
    assert sum(pauses.slept_s) <= 120
    assert script.n_calls == 8  # 1 + 2 + 4 + 8 + 16 + 30 + 30 s, another 30 s would be too late


def test_an_object_that_is_not_there_is_looked_for_three_times_more() -> None:
    pauses = SteppedPauses()
    assert run(Script(MISSING, MISSING, MISSING), pauses) == "answer"
    assert pauses.slept_s == [2.0, 8.0, 20.0]
    with pytest.raises(SourceRefused, match="SOURCE_NOT_FOUND"):
        run(Script(*[MISSING] * 4), SteppedPauses())


def test_what_another_try_cannot_change_is_raised_at_once() -> None:
    script = Script(CHANGED)
    with pytest.raises(SourceRefused, match="SOURCE_CHANGED"):
        run(script, SteppedPauses())
    assert script.n_calls == 1


def test_our_own_faults_are_not_retried() -> None:
    script = Script(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        run(script, SteppedPauses())
    assert script.n_calls == 1


def test_progress_starts_the_count_anew() -> None:
    offset = 0

    def transfer() -> str:
        nonlocal offset
        offset += PROGRESS_BYTES
        if offset < 20 * PROGRESS_BYTES:
            raise BodyBroken("cut")
        return "whole"

    retrier = Retrier(RetryRule(), CircuitRule(), SteppedPauses())
    assert retrier.run(transfer, "s3://b/k", progress=lambda: offset) == "whole"


@given(st.integers(1, 12), st.floats(0, 1))
def test_pauses_have_bounds_and_chance(n_failed: int, draw: float) -> None:
    rule = RetryRule()
    full = min(30.0, 2.0 ** (n_failed - 1))
    assert full / 2 <= rule.find_pause_s(n_failed, draw) <= full


@pytest.mark.parametrize(
    "wrong", [{"tries": 0}, {"within_s": -1.0}, {"missing_pauses_s": (1.0, -1.0)}, {"first_pause_s": -1.0}]
)
def test_a_rule_that_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must"):
        RetryRule(**wrong)


def test_a_circuit_that_cannot_be_is_refused() -> None:
    for wrong in ({"failures": 0}, {"pause_s": 0.0}, {"pause_s": 9.0, "pause_max_s": 5.0}):
        with pytest.raises(ValueError, match="circuit"):
            CircuitRule(**wrong)


def open_circuit(pauses: SteppedPauses) -> Circuit:
    circuit = Circuit(CircuitRule(failures=3, pause_s=5.0, pause_max_s=30.0), pauses)
    for _ in range(3):
        circuit.fail(circuit.admit())
    return circuit


def is_refused(circuit: Circuit) -> bool:
    try:
        circuit.admit()
    except Unavailable:
        return True
    return False


def test_a_circuit_opens_after_failures_in_a_row_and_lets_one_look() -> None:
    pauses = SteppedPauses()
    circuit = open_circuit(pauses)
    assert is_refused(circuit)
    pauses.now_s += 5.1
    assert not is_refused(circuit), "one looks"
    assert is_refused(circuit), "the others wait for what it finds"
    circuit.succeed()
    assert not is_refused(circuit)


def test_an_answer_between_failures_keeps_the_circuit_closed() -> None:
    pauses = SteppedPauses()
    circuit = Circuit(CircuitRule(failures=3), pauses)
    for _ in range(5):
        circuit.fail(circuit.admit())
        circuit.fail(circuit.admit())
        circuit.succeed()
    assert not is_refused(circuit)


def test_the_rest_of_a_store_that_stays_down_grows_to_its_largest() -> None:
    pauses = SteppedPauses()
    circuit = open_circuit(pauses)
    spans = []
    for _ in range(5):
        start_s = pauses.now_s
        while is_refused(circuit):
            pauses.now_s += 0.5
        spans.append(pauses.now_s - start_s)
        circuit.fail(circuit._generation)
    assert spans == [5.0, 10.0, 20.0, 30.0, 30.0]


def test_requests_sent_before_it_opened_do_not_prolong_it() -> None:
    pauses = SteppedPauses()
    circuit = Circuit(CircuitRule(failures=3, pause_s=5.0), pauses)
    sent = [circuit.admit() for _ in range(20)]
    for generation in sent:
        circuit.fail(generation)
    pauses.now_s += 5.1
    assert not is_refused(circuit)


def test_an_outage_causes_no_storm() -> None:
    pauses = SteppedPauses()
    retrier = Retrier(RetryRule(), CircuitRule(), pauses)
    script = Script(*[BUSY] * 100_000)
    start_s = pauses.now_s
    while pauses.now_s < start_s + 60:
        with pytest.raises(FleetError):
            retrier.run(script, "s3://b/k")
        pauses.now_s += 0.1  # a new shard begins ten times a second: 600 requests in a calm minute
    assert script.n_calls <= 60


def test_a_refusal_is_an_answer_and_closes_the_circuit() -> None:
    pauses = SteppedPauses()
    retrier = Retrier(RetryRule(tries=1), CircuitRule(failures=2), pauses)
    for _ in range(5):
        for script in (Script(BUSY), Script(CHANGED)):
            with pytest.raises(FleetError) as caught:
                retrier.run(script, "s3://b/k")
            assert "left alone" not in caught.value.seen
