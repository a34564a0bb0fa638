import time

import pytest
from sqlalchemy import text

from fakesieve.errors import Unavailable
from fakesieve.jobs.limits import JobLimits
from fakesieve.jobs.sql.store import SqlJobStore
from fakesieve.reasons import Reason
from fakesieve.records.partitions import MONTHS_AHEAD, make_partitions
from tests.fakes import MemoryJobStore
from workers.reconciler import UPKEEP_AGAIN_S, UPKEEP_S, Reconciler

MONTHS = text("SELECT count(*) FROM pg_inherits WHERE inhparent = 'frame_score'::regclass")


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_upkeep_is_done_at_once_and_once_a_day(clock):
    done = []
    turns = Reconciler(
        MemoryJobStore(lambda: 0.0), JobLimits(), upkeep=lambda: done.append(clock[0]) or len(done)
    )
    for later_s in (0.0, 60.0, UPKEEP_S, 60.0):
        clock[0] += later_s
        turns.take_turn()
    assert done == [1000.0, 1060.0 + UPKEEP_S]


def test_upkeep_that_is_in_somebodys_way_is_put_off(clock):
    tried = []

    def upkeep():
        tried.append(clock[0])
        raise Unavailable(Reason.DATABASE_UNAVAILABLE, "the table is locked")

    turns = Reconciler(MemoryJobStore(lambda: 0.0), JobLimits(), upkeep=upkeep)
    for later_s in (0.0, 60.0, UPKEEP_AGAIN_S):
        clock[0] += later_s
        turns.take_turn()
    assert tried == [1000.0, 1060.0 + UPKEEP_AGAIN_S]


def test_the_role_of_the_fleet_may_make_the_months(database):
    def upkeep():
        return database.run_transaction(
            lambda session: make_partitions(session, MONTHS_AHEAD + 2), tenant_id=None
        )

    with database.transaction(tenant_id=None) as session:
        before = session.scalar(MONTHS)
    Reconciler(SqlJobStore(database), JobLimits(), upkeep=upkeep).take_turn()
    with database.transaction(tenant_id=None) as session:
        assert session.scalar(MONTHS) == before + 2
