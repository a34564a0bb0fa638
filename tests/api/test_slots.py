"""Turns: never more than there are, never more than half for one tenant, and none lost."""

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api import slots
from api.problems import Problem
from api.slots import Slots
from fakesieve.reasons import Reason


class Work:
    """Requests that hold a turn until they are told to end, and who had one in which order."""

    def __init__(self, held: Slots) -> None:
        self.slots, self.order, self.ends = held, list[str](), dict[str, anyio.Event]()

    async def hold(self, tenant: str, name: str) -> None:
        self.ends[name] = anyio.Event()
        async with self.slots.hold(tenant):
            self.order.append(name)
            await self.ends[name].wait()


async def _settle() -> None:
    for _ in range(5):
        await anyio.sleep(0)


@pytest.mark.parametrize(("connections", "turns", "each"), [(1, 1, 1), (3, 1, 1), (10, 4, 2), (12, 5, 3)])
def test_connections_become_turns_and_a_place_to_look(connections: int, turns: int, each: int) -> None:
    made = Slots(connections)
    assert (made.turns, made.turns_each) == (turns, each)


def test_a_tenant_has_half_of_the_turns_and_others_the_rest() -> None:
    async def play() -> list[str]:
        work = Work(Slots(10))
        async with anyio.create_task_group() as group:
            for name in ("a1", "a2", "a3", "a4", "b1"):
                group.start_soon(work.hold, name[0], name)
                await _settle()
            begun = list(work.order)
            for name in ("a1", "a2", "b1"):
                work.ends[name].set()
            await _settle()
            assert work.order == ["a1", "a2", "b1", "a3", "a4"]
            group.cancel_scope.cancel()
        return begun

    assert anyio.run(play) == ["a1", "a2", "b1"]


def test_waiting_tenants_come_in_turn() -> None:
    async def play() -> list[str]:
        work = Work(Slots(3))
        async with anyio.create_task_group() as group:
            for name in ("x1", "a1", "a2", "a3", "b1", "c1"):
                group.start_soon(work.hold, name[0], name)
                await _settle()
            for name in ("x1", "a1", "b1", "c1", "a2", "a3"):
                work.ends[name].set()
                await _settle()
        return work.order

    assert anyio.run(play) == ["x1", "a1", "b1", "c1", "a2", "a3"]


def test_who_waits_too_long_is_refused_and_takes_no_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "_WAIT_S", 0.05)

    async def play() -> Reason:
        made = Slots(1)
        async with made.hold("a"):
            with pytest.raises(Problem) as caught:
                async with made.hold("b"):
                    pass
        async with made.hold("b"):
            return caught.value.reason

    assert anyio.run(play) is Reason.DATABASE_UNAVAILABLE


def test_a_look_needs_no_turn() -> None:
    async def play() -> int:
        made = Slots(1)
        async with made.hold("a"):
            return await made.look(lambda: 7)

    assert anyio.run(play) == 7


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from(["begin", "end", "leave"])), min_size=1, max_size=40
    )
)
def test_no_turn_is_lost_or_given_twice(steps: list[tuple[str, str]]) -> None:
    async def play() -> None:
        made, at_work, scopes = Slots(7), dict[int, str](), dict[int, anyio.CancelScope]()
        ends = dict[int, anyio.Event]()

        async def hold(number: int, tenant: str) -> None:
            with scopes[number]:
                async with made.hold(tenant):
                    at_work[number] = tenant
                    try:
                        await ends[number].wait()
                    finally:
                        del at_work[number]

        async with anyio.create_task_group() as group:
            for number, (tenant, step) in enumerate(steps):
                if step == "begin":
                    ends[number], scopes[number] = anyio.Event(), anyio.CancelScope()
                    group.start_soon(hold, number, tenant)
                elif ends:
                    chosen = number % len(ends)
                    first = list(ends)[chosen]
                    ends[first].set()  # both at once: called and gone in the same moment
                    if step == "leave":
                        scopes[first].cancel()
                if number % 2:
                    await _settle()
                    owners = list(at_work.values())
                    assert len(owners) <= made.turns
                    assert all(owners.count(each) <= made.turns_each for each in "abc")
            for end in ends.values():
                end.set()
        async with made.hold("a"), made.hold("a"), made.hold("b"):
            pass

    anyio.run(play)
