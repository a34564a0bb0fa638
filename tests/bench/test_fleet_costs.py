"""From the notes of a host to what its work paid for the queue."""

from typing import Any

import pytest

from bench.fleet.costs import percentile, read_costs


def call(what: str, begun: float, ended: float, thread: int = 1, **fields: object) -> dict[str, Any]:
    return {"what": what, "thread": thread, "begun": begun, "ended": ended, **fields}


def at(what: str, moment: float, thread: int = 1, **fields: object) -> dict[str, Any]:
    return {"what": what, "thread": thread, "at": moment, **fields}


def job(start: float, message: str, thread: int = 1) -> list[dict[str, Any]]:
    """One doorbell that prepares and screens: 2 s of work, 40 ms of calls."""
    return [
        at("received", start - 0.001, 9, message=message),
        at("begun", start, thread, message=message),
        call("claim_shard", start, start + 0.01, thread, kind="prepare", job="j"),
        call("fan_out", start + 0.99, start + 1.0, thread),
        call("claim_shard", start + 1.0, start + 1.005, thread, kind="screen", job="j"),
        call("finish_shard", start + 1.985, start + 2.0, thread),
        at("done", start + 2.0, thread, message=message),
    ]


def test_calls_belong_to_the_claim_before_them() -> None:
    costs = read_costs(job(10.0, "a"), 0, 100)
    (prepare,), (screen,) = costs.of_kind("prepare"), costs.of_kind("screen")
    assert (prepare.overhead_ms, prepare.time_ms) == (pytest.approx(20), pytest.approx(1000))
    assert screen.calls_ms == {"finish_shard": pytest.approx(15)}
    assert costs.overhead_share("screen") == pytest.approx(0.02)


def test_a_claim_that_came_with_an_end_begins_a_piece_without_a_price() -> None:
    events = [
        at("begun", 1.0, message="a"),
        call("claim_shard", 1.0, 1.01, kind="prepare", job="j"),
        call("fan_out", 1.5, 1.52, taken="screen"),
        call("finish_only_shard", 2.5, 2.53),
        at("done", 2.53, message="a"),
    ]
    costs = read_costs(events, 0, 100)
    (prepare,), (screen,) = costs.of_kind("prepare"), costs.of_kind("screen")
    assert (prepare.overhead_ms, screen.overhead_ms) == (pytest.approx(30), pytest.approx(30))
    assert screen.time_ms == pytest.approx(1010)
    assert costs.turns_ms == (pytest.approx(60),)


def test_a_slot_is_empty_between_its_own_doorbells() -> None:
    events = job(10.0, "a") + job(10.5, "b", thread=2) + job(12.25, "c")
    costs = read_costs(events, 0, 100)
    assert costs.gaps_ms == (pytest.approx(250),)
    assert costs.queue_share == pytest.approx((3 * 40 + 250) / (3 * 2000 + 250))


def test_a_refused_doorbell_is_counted_and_is_no_piece() -> None:
    events = [
        at("begun", 1.0, message="a"),
        call("claim_shard", 1.0, 1.02, refusal="done"),
        at("done", 1.02, message="a"),
    ]
    costs = read_costs(events, 0, 100)
    assert (costs.refused_ms, costs.pieces) == ((pytest.approx(20),), ())
    assert costs.messages[0].received == 1.0  # its arrival was not noted


def test_what_began_outside_of_the_round_is_left_out() -> None:
    events = [*job(10.0, "a"), *job(20.0, "b"), at("answer", 15.0, ran=[4], waited=0.01, compute=0.1)]
    costs = read_costs(events, 14, 30)
    assert [message.begun for message in costs.messages] == [20.0]
    assert (costs.batches, costs.waits_ms) == ((4,), (10.0,))


def test_heartbeats_are_nobodys_piece() -> None:
    events = [*job(10.0, "a"), call("WorkerHost", 10.2, 10.203, thread=7)]
    assert read_costs(events, 0, 100).beats_ms == (pytest.approx(3),)


@pytest.mark.parametrize(("share", "expected"), [(50, 3.0), (99, 4.96)])
def test_percentiles_are_interpolated(share: int, expected: float) -> None:
    assert percentile([5.0, 1.0, 2.0, 3.0, 4.0], share) == pytest.approx(expected)
    assert percentile([7.0], share) == 7.0
