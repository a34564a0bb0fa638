"""Which doorbells are rung next: shares of lanes, turns of tenants."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakesieve.jobs.fan_out import Prepared
from fakesieve.jobs.relay import KEPT_SHARE, LANE_SHARES, Credit, pick_doorbells, share_places
from fakesieve.jobs.rows import ShardKey, Waiting
from fakesieve.jobs.states import Lane


def make_queue(lane: Lane, tenant: str, count: int, cost: float = 1.0, weight: float = 1.0) -> list[Waiting]:
    return [Waiting(n, ShardKey(f"job_{lane}_{tenant}", n), tenant, lane, cost, weight) for n in range(count)]


def pick_over_time(waiting: list[Waiting], capacity: int, turns: int) -> list[Waiting]:
    """Pick again and again while every doorbell that was rung is answered at once."""
    left, credit, picked = list(waiting), Credit(), []
    for _ in range(turns):
        turn = pick_doorbells(left, {}, capacity, credit)
        credit = turn.credit
        picked += turn.doorbells
        left = [each for each in left if each not in turn.doorbells]
    return picked


def test_busy_lanes_share_fifty_forty_ten() -> None:
    waiting = [each for lane in Lane for each in make_queue(lane, "a", 500)]
    counts = Counter(each.lane for each in pick_over_time(waiting, capacity=20, turns=10))
    assert counts == {Lane.INTERACTIVE: 100, Lane.STANDARD: 80, Lane.BULK: 20}


def test_shares_are_kept_over_time_where_only_two_fit() -> None:
    waiting = [each for lane in Lane for each in make_queue(lane, "a", 500)]
    counts = Counter(each.lane for each in pick_over_time(waiting, capacity=2, turns=100))
    assert counts == {Lane.INTERACTIVE: 100, Lane.STANDARD: 80, Lane.BULK: 20}


def test_a_lonely_lane_takes_all_but_the_kept_places() -> None:
    places, _ = share_places({Lane.BULK: 1000}, {}, 100, {})
    kept = int(100 * 0.5 * KEPT_SHARE) + int(100 * 0.4 * KEPT_SHARE)
    assert places == {Lane.INTERACTIVE: 0, Lane.STANDARD: 0, Lane.BULK: 100 - kept}


def test_an_interactive_job_finds_room_beside_a_bulk_backlog() -> None:
    waiting = make_queue(Lane.BULK, "a", 1000)
    ringing = {Lane.BULK: share_places({Lane.BULK: 1000}, {}, 32, {})[0][Lane.BULK]}
    waiting += make_queue(Lane.INTERACTIVE, "b", 1)
    picked = pick_doorbells(waiting, ringing, 32, Credit()).doorbells
    assert picked[0].lane is Lane.INTERACTIVE


@pytest.mark.parametrize(("slots", "own"), [(1, 1), (2, 2), (10, 10)])
def test_an_interactive_job_finds_room_behind_the_bulk_work_of_hosts_that_are_gone(
    slots: int, own: int
) -> None:
    waiting = make_queue(Lane.BULK, "a", 50) + make_queue(Lane.INTERACTIVE, "b", 50)
    picked = pick_doorbells(waiting, {Lane.BULK: 150}, 2 * slots, Credit()).doorbells
    assert Counter(each.lane for each in picked) == {Lane.INTERACTIVE: own}
    ringing = {Lane.BULK: 150, Lane.INTERACTIVE: own}
    assert pick_doorbells(waiting, ringing, 2 * slots, Credit()).doorbells == ()


def test_nothing_is_rung_without_a_slot() -> None:
    waiting = make_queue(Lane.INTERACTIVE, "a", 5)
    assert pick_doorbells(waiting, {}, 0, Credit()).doorbells == ()
    assert pick_doorbells(waiting, {Lane.BULK: 3}, 0, Credit()).doorbells == ()


def test_one_slot_still_serves_the_bulk_lane_alone() -> None:
    assert len(pick_doorbells(make_queue(Lane.BULK, "a", 5), {}, 2, Credit()).doorbells) == 2


def test_a_small_tenant_does_not_wait_behind_a_large_one() -> None:
    waiting = make_queue(Lane.STANDARD, "large", 100) + make_queue(Lane.STANDARD, "small", 3)
    picked = pick_over_time(waiting, capacity=8, turns=1)
    assert Counter(each.tenant_id for each in picked)["small"] == 3


def test_tenants_share_work_and_not_doorbells() -> None:
    waiting = make_queue(Lane.BULK, "long", 200, cost=4.0) + make_queue(Lane.BULK, "short", 800, cost=1.0)
    picked = pick_over_time(waiting, capacity=25, turns=8)
    cost = Counter[str]()
    for each in picked:
        cost[each.tenant_id] += int(each.cost)
    assert cost["long"] == pytest.approx(cost["short"], rel=0.1)


@pytest.mark.parametrize("weight", [3.0, 0.25])
def test_a_tenants_weight_is_its_share(weight: float) -> None:
    waiting = make_queue(Lane.BULK, "one", 900) + make_queue(Lane.BULK, "other", 900, weight=weight)
    counts = Counter(each.tenant_id for each in pick_over_time(waiting, capacity=40, turns=10))
    assert counts["other"] / counts["one"] == pytest.approx(weight, rel=0.15)


def test_doorbells_of_a_tenant_keep_their_order() -> None:
    waiting = make_queue(Lane.STANDARD, "a", 50)
    assert pick_over_time(waiting, capacity=7, turns=3) == waiting[:21]


def test_nothing_is_saved_up_while_there_is_nothing_to_do() -> None:
    credit = pick_doorbells(make_queue(Lane.BULK, "a", 3), {}, 2, Credit()).credit
    later = pick_doorbells(make_queue(Lane.BULK, "b", 1), {}, 2, credit).credit
    assert (Lane.BULK, "a") not in later.tenants


queues = st.lists(
    st.tuples(
        st.sampled_from(Lane),
        st.sampled_from("abc"),
        st.floats(0.1, 100.0),
        st.sampled_from([0.1, 1.0, 5.0]),
    ),
    max_size=40,
)


@given(queues, st.dictionaries(st.sampled_from(Lane), st.integers(0, 10)), st.integers(0, 40))
def test_picks_fit_and_are_among_those_that_wait(
    rows: list[tuple[Lane, str, float, float]], ringing: dict[Lane, int], capacity: int
) -> None:
    waiting = [
        Waiting(n, ShardKey(f"job_{n}", 1), tenant, lane, cost, weight)
        for n, (lane, tenant, cost, weight) in enumerate(rows)
    ]
    picked = pick_doorbells(waiting, ringing, capacity, Credit()).doorbells
    if sum(ringing.values()) <= capacity:
        assert len(picked) + sum(ringing.values()) <= capacity
    for lane, count in Counter(each.lane for each in picked).items():
        share = max(1, int(capacity * LANE_SHARES[lane]))
        assert sum(ringing.values()) <= capacity or ringing.get(lane, 0) + count <= share
    assert len(set(picked)) == len(picked)
    assert set(picked) <= set(waiting)


@given(queues, st.integers(1, 10))
def test_everything_is_rung_in_the_end(rows: list[tuple[Lane, str, float, float]], capacity: int) -> None:
    waiting = [
        Waiting(n, ShardKey(f"job_{n}", 1), tenant, lane, cost, weight)
        for n, (lane, tenant, cost, weight) in enumerate(rows)
    ]
    picked = pick_over_time(waiting, capacity, turns=2 * len(waiting) + 1)
    assert sorted(each.outbox_id for each in picked) == [each.outbox_id for each in waiting]


def test_the_shares_are_a_whole() -> None:
    assert sum(LANE_SHARES.values()) == pytest.approx(1.0)


@pytest.mark.parametrize("weight", [1e-12, 1e12, float("nan"), float("inf")])
def test_no_weight_of_a_tenant_stops_the_relay(weight: float) -> None:
    waiting = [
        Waiting(n, ShardKey(f"job_{n}", 0), tenant, Lane.STANDARD, 1.0, share)
        for n, (tenant, share) in enumerate([("ten_a", weight), ("ten_b", 1.0)])
    ]
    assert len(pick_doorbells(waiting, {}, 10, Credit()).doorbells) == 2


@pytest.mark.parametrize("cost", [-1.0, float("nan"), float("inf")])
def test_a_cost_is_a_number(cost: float) -> None:
    with pytest.raises(ValueError, match="a cost is a number"):
        Prepared("0" * 64, 1, {}, "fp", ({},), (cost,))
