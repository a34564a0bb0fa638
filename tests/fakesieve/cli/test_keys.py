"""``fakesieve keys`` makes keys that act for a tenant, and ends them."""

import json
from functools import partial

import pytest
from sqlalchemy import text

from fakesieve.database import Database
from fakesieve.records.tenants import Caller, find_caller, load_quota
from fakesieve.scopes import ALL_SCOPES
from tests.fakesieve.cli.conftest import Operate


@pytest.fixture
def run(operate: Operate) -> Operate:
    return partial(operate, "keys")


def find(database: Database, secret: str) -> Caller | None:
    with database.transaction(tenant_id=None) as session:
        return find_caller(session, secret)


def test_a_key_acts_for_its_tenant_until_it_is_revoked(run: Operate, database: Database) -> None:
    code, out, _ = run("create", "--tenant", "press", "--json")
    made = json.loads(out)
    assert code == 0
    assert find(database, made["key"]) == Caller(
        made["id"], made["tenant"], frozenset({"jobs:write", "jobs:read", "results:read"})
    )
    assert run("revoke", made["id"]) == (0, f"{made['id']} is revoked\n", "")
    assert find(database, made["key"]) is None


def test_two_keys_of_one_name_belong_to_one_tenant(run: Operate, database: Database) -> None:
    first, second = (run("create", "--tenant", "press", "--days", "1")[1].strip() for _ in range(2))
    callers = find(database, first), find(database, second)
    assert callers[0] is not None
    assert callers[1] is not None
    assert callers[0].tenant_id == callers[1].tenant_id
    assert callers[0].key_id != callers[1].key_id


def test_a_key_that_is_not_there_or_ended_cannot_be_revoked(run: Operate) -> None:
    code, out, err = run("revoke", "key_aaaaaaaaaaaaaaaaaaaaaaaaaa")
    assert (code, out) == (1, "")
    assert "NOT_FOUND: there is no key key_aaa" in err
    made = json.loads(run("create", "--tenant", "press", "--json")[1])
    run("revoke", made["id"])
    code, _, err = run("revoke", made["id"])
    assert (code, f"STATE_CONFLICT: {made['id']} is revoked already" in err) == (1, True)


def test_what_the_command_does_with_keys_stands_in_the_audit_log(run: Operate, database: Database) -> None:
    made = json.loads(run("create", "--tenant", "press", "--json")[1])
    new = json.loads(run("rotate", made["id"], "--json")[1])
    run("revoke", new["id"])
    with database.transaction(tenant_id=made["tenant"]) as session:
        rows = session.execute(text("SELECT actor, action, subject FROM audit_log ORDER BY sequence")).all()
    assert [tuple(row) for row in rows] == [
        ("command", "key.created", made["id"]),
        ("command", "key.rotated", made["id"]),
        ("command", "key.revoked", new["id"]),
    ]


def test_a_list_of_keys_makes_no_tenant(run: Operate, database: Database) -> None:
    code, _, err = run("list", "--tenant", "pres")
    assert (code, "NOT_FOUND: there is no organisation named 'pres'" in err) == (1, True)
    with database.transaction(tenant_id=None) as session:
        assert session.scalar(text("SELECT count(*) FROM tenant WHERE name = 'pres'")) == 0


def test_a_key_has_the_scopes_and_its_tenant_the_places_that_are_asked_for(
    run: Operate, database: Database
) -> None:
    options = ("--scope", "keys:admin", "--scope", "usage:read", "--place", "s3://press/in/")
    made = json.loads(run("create", "--tenant", "press", *options, "--json")[1])
    caller = find(database, made["key"])
    assert caller is not None
    assert caller.scopes == {"keys:admin", "usage:read"}
    with database.transaction(tenant_id=made["tenant"]) as session:
        assert load_quota(session, made["tenant"]).places == ("s3://press/in/",)
    everything = find(database, run("create", "--tenant", "press", "--scope", "all")[1].strip())
    assert everything is not None
    assert everything.scopes == ALL_SCOPES


@pytest.mark.parametrize("options", [("--scope", "jobs"), ("--place", "s3://press")])
def test_an_unknown_scope_or_place_makes_no_key(run: Operate, options: tuple[str, str]) -> None:
    assert run("create", "--tenant", "press", *options)[0] == 2


def test_a_rotated_key_is_listed_with_the_one_that_took_over(run: Operate, database: Database) -> None:
    old = json.loads(run("create", "--tenant", "press", "--json")[1])
    new = json.loads(run("rotate", old["id"], "--overlap-h", "1", "--json")[1])
    assert find(database, old["key"]) is not None
    assert find(database, new["key"]) is not None
    lines = [json.loads(line) for line in run("list", "--tenant", "press", "--json")[1].splitlines()]
    assert [line["id"] for line in lines] == [new["id"], old["id"]]
    assert lines[1]["next_key_id"] == new["id"]
    assert lines[1]["state"].startswith("until ")
    assert "active" in run("list", "--tenant", "press")[1]
