import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakesieve.jobs.states import Lane
from workers.batching import LANE_WEIGHTS, Batcher, BatchRules, Ticket

RULES = BatchRules(ladder=(4, 2, 1), max_wait_s=0.05)


def _fill(batcher: Batcher, *tickets: tuple[Lane, int, float]) -> None:
    for number, (lane, count, arrived_s) in enumerate(tickets, 1):
        batcher.add(Ticket(number, lane, count, arrived_s))


def _numbers(tickets: tuple[Ticket, ...]) -> list[int]:
    return [ticket.number for ticket in tickets]


def test_whole_batch_goes_at_once():
    batcher = Batcher(RULES)
    _fill(batcher, (Lane.STANDARD, 4, 10.0))
    assert batcher.wait_s(10.0) == 0.0
    assert _numbers(batcher.take(10.0)) == [1]
    assert batcher.wait_s(10.0) is None


def test_part_of_a_batch_waits_for_company_until_its_time():
    batcher = Batcher(RULES)
    _fill(batcher, (Lane.STANDARD, 1, 10.0))
    assert batcher.take(10.02) == ()
    assert batcher.wait_s(10.02) == pytest.approx(0.03)
    assert _numbers(batcher.take(10.05)) == [1]


def test_requests_of_several_videos_share_a_batch():
    batcher = Batcher(RULES)
    _fill(batcher, (Lane.STANDARD, 1, 0.0), (Lane.STANDARD, 2, 0.01), (Lane.BULK, 1, 0.02))
    assert sorted(_numbers(batcher.take(0.02))) == [1, 2, 3]


def test_nobody_waits_for_company_that_cannot_come():
    batcher = Batcher(RULES)
    _fill(batcher, (Lane.STANDARD, 1, 0.0), (Lane.STANDARD, 1, 0.0))
    assert batcher.take(0.0, peers=3) == ()
    assert _numbers(batcher.take(0.0, peers=2)) == [1, 2]


def test_ticket_larger_than_a_batch_goes_alone():
    batcher = Batcher(RULES)
    _fill(batcher, (Lane.BULK, 9, 0.0), (Lane.BULK, 1, 0.0))
    assert _numbers(batcher.take(0.0)) == [1]


def test_interactive_work_goes_first_when_bulk_arrived_before():
    batcher = Batcher(RULES)
    _fill(batcher, *[(Lane.BULK, 4, 0.0)] * 6, (Lane.INTERACTIVE, 4, 1.0))
    first = [_numbers(batcher.take(1.0)) for _ in range(2)]
    assert [7] in first


def test_saturated_lanes_share_by_their_weights():
    batcher = Batcher(RULES)
    lanes = dict.fromkeys(Lane, 0)
    for number, lane in enumerate(list(Lane) * 200):
        batcher.add(Ticket(number, lane, 4, 0.0))
    for _ in range(100):
        for ticket in batcher.take(0.0):
            lanes[ticket.lane] += 1
    assert all(abs(lanes[lane] - LANE_WEIGHTS[lane]) <= 1 for lane in Lane)


def test_idle_lane_saves_up_no_share():
    batcher = Batcher(RULES)
    for number in range(100):
        batcher.add(Ticket(number, Lane.BULK, 4, 0.0))
    for _ in range(50):
        batcher.take(0.0)
    for number in range(100, 200):
        batcher.add(Ticket(number, Lane.INTERACTIVE, 4, 0.0))
    lanes = [batcher.take(0.0)[0].lane for _ in range(24)]
    assert 3 <= lanes.count(Lane.BULK) <= 5  # one in six, as the weights 50 and 10 say


@pytest.mark.parametrize("ladder", [(), (4, 2), (2, 4, 1), (4, 4, 1)])
def test_ladder_that_does_not_fall_to_one_is_refused(ladder):
    with pytest.raises(ValueError, match="ladder"):
        BatchRules(ladder)


arrivals = st.lists(
    st.tuples(st.sampled_from(list(Lane)), st.integers(1, 6), st.floats(0, 0.03), st.booleans()), max_size=40
)


@given(arrivals)
def test_every_ticket_is_served_once_in_the_order_of_its_lane_and_in_time(plan):
    batcher, now_s, served = Batcher(RULES), 0.0, []
    for number, (lane, count, pause_s, does_take) in enumerate(plan):
        batcher.add(Ticket(number, lane, count, now_s))
        if does_take:
            now_s += pause_s
            batch = batcher.take(now_s)
            assert sum(t.count for t in batch) <= RULES.largest or len(batch) == 1
            assert batch or batcher.wait_s(now_s) > 0
            served += batch
    while len(batcher):
        wait_s = batcher.wait_s(now_s)
        assert wait_s is not None
        assert wait_s <= RULES.max_wait_s
        now_s += wait_s
        batch = batcher.take(now_s)
        if not batch:  # rounding of the time that has passed
            now_s += 1e-9
            batch = batcher.take(now_s)
        assert batch
        served += batch
    assert sorted(t.number for t in served) == list(range(len(plan)))
    for lane in Lane:
        numbers = [t.number for t in served if t.lane is lane]
        assert numbers == sorted(numbers)


@pytest.mark.parametrize("numbers", [(1, 2, 3), (3, 1, 2)])
def test_ticket_that_goes_alone_has_no_company(numbers):
    batcher = Batcher(BatchRules((8, 4, 2, 1)))
    for number in numbers:
        batcher.add(Ticket(number, Lane.BULK, 1, 0.0, alone=number == 1))
    batches = []
    while taken := batcher.take(1.0):
        batches.append([ticket.number for ticket in taken])
    assert [1] in batches
    assert sorted(number for batch in batches for number in batch) == [1, 2, 3]
