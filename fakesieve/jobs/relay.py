"""From the outbox to the broker: which doorbells are rung next, and ringing them.

The backlog stays in the database. The broker holds at most two doorbells for each live slot, so that a lost
broker costs seconds of work and the order can still be changed. ``pick_doorbells`` is a pure function.

A doorbell that nobody answers is taken for lost after a while. It may just as well lie in the broker, where
all slots are at work that takes longer. So the broker is asked how many messages it holds: what lies there is
kept from being taken for lost, and takes up places whatever the database counts. Where more lies there than
fits, as when hosts have gone, each lane still has its share: the others' messages are in other queues.

Lanes share the places 50/40/10 while all have work; what a lane does not use is lent to the others, except a
quarter of its reserve, so that an interactive job never waits for a full queue of bulk work. Within a lane
tenants take turns by deficit round robin (Shreedhar and Varghese, 1995): each turn gives a tenant the same
amount of predicted work, in few large or many small shards.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from fakesieve.jobs.limits import JobLimits
from fakesieve.jobs.rows import Waiting
from fakesieve.jobs.states import Lane
from fakesieve.jobs.store import JobStore, JobTransaction

LANE_SHARES: Mapping[Lane, float] = MappingProxyType(
    {Lane.INTERACTIVE: 0.5, Lane.STANDARD: 0.4, Lane.BULK: 0.1}
)
KEPT_SHARE = 0.25  # of an idle lane's reserve that is not lent
WEIGHT_MIN, WEIGHT_MAX = 0.01, 100.0
# Doorbells published in one transaction: its locks are held while the broker answers.
RING_STEP = 20

# A span that no doorbell is older than.
_EVER_S = 1e9

Ring = Callable[[Waiting], None]
# Messages that the broker holds, by lane. Raises Unavailable when it does not answer.
CountHeld = Callable[[], Mapping[Lane, int]]


@dataclass(frozen=True)
class Credit:
    """What lanes and tenants are owed from one pick to the next. The relay keeps it in memory only."""

    lanes: Mapping[Lane, float] = field(default_factory=dict[Lane, float])
    tenants: Mapping[tuple[Lane, str], float] = field(default_factory=dict[tuple[Lane, str], float])
    served_last: Mapping[Lane, str] = field(default_factory=dict[Lane, str])


@dataclass(frozen=True)
class Picked:
    """The doorbells to ring, in this order, and what is owed afterwards."""

    doorbells: tuple[Waiting, ...]
    credit: Credit


@dataclass(frozen=True)
class Relayed:
    """What one turn of the relay did."""

    rung: int
    credit: Credit


def pick_doorbells(
    waiting: Sequence[Waiting], ringing: Mapping[Lane, int], capacity: int, credit: Credit
) -> Picked:
    """Choose which of the waiting doorbells to ring.

    ``waiting`` holds each tenant's doorbells in their order. ``ringing`` counts by lane those that are
    published and unanswered; with the picked ones they are never more than ``capacity``, unless they are
    without them: then a lane is picked for up to its share.
    """
    queues = _sort_by_lane(waiting)
    sizes = {lane: sum(map(len, tenants.values())) for lane, tenants in queues.items()}
    places, lane_credit = share_places(sizes, ringing, capacity, credit.lanes)
    picked, owed = list[Waiting](), dict(credit.tenants)
    served_last = dict(credit.served_last)
    for lane, tenants in queues.items():
        chosen = _take_turns(lane, tenants, places[lane], owed, served_last.get(lane, ""))
        if chosen:
            served_last[lane] = chosen[-1].tenant_id
        picked += chosen
    return Picked(tuple(picked), Credit(lane_credit, owed, served_last))


def _sort_by_lane(waiting: Sequence[Waiting]) -> dict[Lane, dict[str, deque[Waiting]]]:
    queues: dict[Lane, dict[str, deque[Waiting]]] = {lane: {} for lane in Lane}
    for doorbell in waiting:
        queues[doorbell.lane].setdefault(doorbell.tenant_id, deque()).append(doorbell)
    return queues


def share_places(
    waiting: Mapping[Lane, int], ringing: Mapping[Lane, int], capacity: int, credit: Mapping[Lane, float]
) -> tuple[dict[Lane, int], dict[Lane, float]]:
    """Divide the free places among the lanes that wait; return the places and the credit left.

    Smooth weighted round robin: every place raises the credit of each waiting lane by its share, and goes to
    the lane with the most. Shares come out exactly over time, even where capacity is two.
    """
    held = {lane: ringing.get(lane, 0) for lane in Lane}
    if sum(held.values()) > capacity:
        return _fill_shares(waiting, held, capacity), {lane: credit.get(lane, 0.0) for lane in waiting}
    kept = sum(
        max(0, int(capacity * share * KEPT_SHARE) - held[lane])
        for lane, share in LANE_SHARES.items()
        if not waiting.get(lane, 0)
    )
    places = dict.fromkeys(Lane, 0)
    owed = {lane: credit.get(lane, 0.0) for lane in Lane if waiting.get(lane, 0)}
    for _ in range(max(0, capacity - sum(held.values()) - kept)):
        open_lanes = [lane for lane in owed if places[lane] < waiting[lane]]
        if not open_lanes:
            break
        total = sum(LANE_SHARES[lane] for lane in open_lanes)
        for lane in open_lanes:
            owed[lane] += LANE_SHARES[lane] / total
        chosen = max(open_lanes, key=owed.__getitem__)
        owed[chosen] -= 1.0
        places[chosen] += 1
    return places, owed


def _fill_shares(waiting: Mapping[Lane, int], held: Mapping[Lane, int], capacity: int) -> dict[Lane, int]:
    """Return what lanes lack of their shares, of which each has one place at least where there is a slot."""
    shares = {lane: max(min(1, capacity), int(capacity * share)) for lane, share in LANE_SHARES.items()}
    return {lane: max(0, min(waiting.get(lane, 0), shares[lane] - held[lane])) for lane in Lane}


def _take_turns(
    lane: Lane,
    tenants: Mapping[str, deque[Waiting]],
    places: int,
    owed: dict[tuple[Lane, str], float],
    served_last: str,
) -> list[Waiting]:
    """Deficit round robin, beginning after the tenant that was served last. Changes queues and ``owed``."""
    names = sorted(tenants)
    names = [n for n in names if n > served_last] + [n for n in names if n <= served_last]
    for gone in [key for key in owed if key[0] is lane and key[1] not in tenants]:
        del owed[gone]  # whoever has nothing to do saves nothing up
    quantum = max((doorbell.cost for queue in tenants.values() for doorbell in queue), default=1.0)
    taken = list[Waiting]()
    while len(taken) < places and any(tenants.values()):
        for name in names:
            taken += _take_turn(tenants[name], lane, quantum, owed, places - len(taken))
    return taken


def bound_weight(weight: float) -> float:
    """Return a weight with which a tenant has its turn within a hundred rounds, whatever its row says."""
    return min(WEIGHT_MAX, max(WEIGHT_MIN, weight)) if weight > 0 else WEIGHT_MIN


def _take_turn(
    queue: deque[Waiting], lane: Lane, quantum: float, owed: dict[tuple[Lane, str], float], places: int
) -> list[Waiting]:
    taken = list[Waiting]()
    if not queue or places <= 0:
        return taken
    key, turn = (lane, queue[0].tenant_id), quantum * bound_weight(queue[0].weight)
    owed[key] = owed.get(key, 0.0) + turn
    while queue and len(taken) < places and queue[0].cost <= owed[key]:
        owed[key] -= queue[0].cost
        taken.append(queue.popleft())
    # What a turn leaves over is carried on, but never more than one turn: else a pause becomes a burst.
    owed[key] = min(owed[key], max(turn, quantum)) if queue else 0.0
    return taken


@dataclass(frozen=True)
class _Backlog:
    """What a pick rests on: doorbells that wait, those that ring by lane, and places in all."""

    waiting: Sequence[Waiting]
    ringing: Mapping[Lane, int]
    capacity: int


def relay_doorbells(
    store: JobStore, ring: Ring, credit: Credit, limits: JobLimits, count_held: CountHeld | None = None
) -> Relayed:
    """Ring what may be rung now, in steps. Any number of relays may run.

    ``ring`` publishes one doorbell and raises when the broker does not take it: then the step is undone, its
    rows stay in the outbox, and the error goes to the caller. A crash after publishing doubles a doorbell.
    With ``count_held``, which is asked where something waits, a relay gives the broker no more than its
    places, whatever lies there; several that look at the same moment may each do so.
    """
    # What is picked is looked at again when it is rung, under its lock, so no transaction is needed here.
    backlog = store.run_alone(lambda tx: _look(tx, limits))
    if not backlog.waiting:
        return Relayed(0, credit)
    held: Mapping[Lane, int] = count_held() if count_held else {}
    taken_up = {lane: max(backlog.ringing.get(lane, 0), held.get(lane, 0)) for lane in Lane}
    picked = pick_doorbells(backlog.waiting, taken_up, backlog.capacity, credit)
    rung = 0
    for start in range(0, len(picked.doorbells), RING_STEP):
        ids = [doorbell.outbox_id for doorbell in picked.doorbells[start : start + RING_STEP]]
        rung += store.run(lambda tx, ids=ids: _ring_step(tx, ids, ring))
    return Relayed(rung, picked.credit)


def _look(tx: JobTransaction, limits: JobLimits) -> _Backlog:
    capacity = tx.count_slots(limits.host_silence_s) * limits.doorbells_per_slot
    ringing = tx.count_ringing(limits.doorbell_wait_s)
    free = capacity - sum(ringing.values())
    wanted = free if free >= 0 else capacity  # where more rings than fits, lanes may lack their shares
    return _Backlog(tx.list_waiting(wanted) if wanted else [], ringing, capacity)


def keep_doorbells(store: JobStore, count_held: CountHeld, limits: JobLimits) -> int:
    """Keep doorbells that still lie in the broker from being taken for lost; return how many.

    That is said of a lane whose queue holds as many messages as doorbells are unanswered. Where it holds
    fewer some are lost, and nobody can say which: all of them are rung again in their time, and a doubled
    doorbell is refused. Messages that are there twice or for nothing hide a lost one until the next slot that
    is free has taken them, and those that another relay is publishing just now until the next look.
    """
    rung = store.run_alone(lambda tx: tx.count_ringing(_EVER_S))
    if not rung:
        return 0
    held = count_held()  # after the doorbells: what is answered in between must not be missed in the queue
    whole = [lane for lane, count in rung.items() if count <= held.get(lane, 0)]
    if not whole:
        return 0
    return store.run(lambda tx: tx.keep_doorbells(whole, limits.doorbell_wait_s / 3))


def _ring_step(tx: JobTransaction, ids: Sequence[int], ring: Ring) -> int:
    taken = tx.take_doorbells(ids)
    for doorbell in taken:
        ring(doorbell)
    return len(taken)
