"""``fakesieve tenants`` says what each tenant may use, and changes it."""

import json
from functools import partial

import pytest

from fakesieve.database import Database
from fakesieve.records.audit import list_audit
from fakesieve.records.tenants import create_key, find_caller
from tests.factories import make_tenant
from tests.fakesieve.cli.conftest import Operate


@pytest.fixture
def run(operate: Operate) -> Operate:
    return partial(operate, "tenants")


def test_a_tenant_is_given_limits_and_they_are_taken_away_again(run: Operate, database: Database) -> None:
    tenant_id = make_tenant(database, "press")
    code, out, _ = run("set", "press", "--jobs-max", "50", "--month-hours", "1.5", "--weight", "2", "--json")
    made = json.loads(out)
    assert code == 0
    assert (made["jobs_max"], made["month_ms_max"], made["weight"]) == (50, 5_400_000, 2.0)
    assert "live jobs 0 of 50, hours this month 0.0 of 1.5" in run("show", "press")[1]
    free = json.loads(run("set", "press", "--jobs-max", "0", "--month-hours", "0", "--json")[1])
    assert (free["jobs_max"], free["month_ms_max"], free["weight"]) == (None, None, 2.0)
    with database.transaction(tenant_id=tenant_id) as session:
        newest, first = list_audit(session)
    assert (first.action, first.actor, first.subject) == ("tenant.changed", "command", tenant_id)
    assert first.details == {"jobs_max": 50, "month_ms_max": 5_400_000, "weight": 2.0}
    assert newest.details == {"jobs_max": None, "month_ms_max": None}


def test_places_come_and_go(run: Operate, database: Database) -> None:
    make_tenant(database, "press")
    run("set", "press", "--place", "s3://a/", "--place", "s3://b/in/")
    left = json.loads(run("set", "press", "--no-place", "s3://a/", "--json")[1])
    assert left["places"] == ["s3://b/in/"]
    code, _, told = run("set", "press", "--no-place", "s3://a/")
    assert (code, "NOT_FOUND" in told) == (1, True)
    assert run("set", "press", "--place", "s3://a/in")[0] == 2


def test_a_closed_tenant_is_not_let_in(run: Operate, database: Database) -> None:
    tenant_id = make_tenant(database, "press")
    with database.transaction(tenant_id=None) as session:
        key = create_key(session, tenant_id, "one", frozenset({"jobs:read"}))
    for flag, is_let_in in (("--closed", False), ("--active", True)):
        assert run("set", "press", flag)[0] == 0
        with database.transaction(tenant_id=None) as session:
            assert (find_caller(session, key.secret) is not None) is is_let_in


def test_an_unknown_tenant_is_not_made(run: Operate, database: Database) -> None:
    code, _, told = run("set", "pres", "--jobs-max", "1")
    assert (code, "there is no tenant 'pres'" in told) == (1, True)
    assert run("ls")[1] == ""
