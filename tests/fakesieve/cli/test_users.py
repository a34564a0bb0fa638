"""``fakesieve users`` makes accounts, says what their people may do, and closes them."""

import json
import re
import shlex
from functools import partial
from pathlib import Path

import pytest

from fakesieve.database import Database
from fakesieve.people.sessions import sign_in
from tests.fakesieve.cli.conftest import Operate

PASSWORD = "correct horse battery"


@pytest.fixture
def run(operate: Operate) -> Operate:
    return partial(operate, "users")


def list_roles(run: Operate) -> dict[str, tuple[str, str]]:
    lines = [json.loads(line) for line in run("ls", "--tenant", "press", "--json")[1].splitlines()]
    return {line["email"]: (line["role"], line["state"]) for line in lines}


def test_a_person_is_made_promoted_and_closed(run: Operate, database: Database) -> None:
    ana = ("ana@press.example", "--tenant", "press")
    code, made, _ = run("create", *ana, "--name", "Ana", typed=f"{PASSWORD}\n")
    assert (code, made[:4]) == (0, "usr_")
    assert sign_in(database, "press", "ana@press.example", PASSWORD) is not None
    assert list_roles(run) == {"ana@press.example": ("reviewer", "active")}
    assert run("role", "ana@press.example", "admin", "--tenant", "press")[:2] == (
        0, "ana@press.example is admin now\n",
    )  # fmt: skip
    assert run("disable", *ana)[0] == 0
    assert list_roles(run) == {"ana@press.example": ("admin", "disabled")}


def test_the_commands_of_the_page_run(operate: Operate) -> None:
    """Those of docs/howto/review-console.md, in their order and as they stand."""
    page = Path(__file__).parents[3] / "docs" / "howto" / "review-console.md"
    (block,) = re.findall(
        r"^```shell\n(fakesieve users .*?)^```", page.read_text(encoding="utf-8"), re.M | re.S
    )
    told = list[str]()
    for line in block.splitlines():
        code, out, err = operate(*shlex.split(line)[1:], typed=f"{PASSWORD}\n")
        assert (line, code, err) == (line, 0, "")
        told.append(out)
    assert len(told) == 5
    assert "ana@example.com" in told[1]
    assert list_roles(partial(operate, "users")) == {"ana@example.com": ("admin", "disabled")}


def test_an_organisation_keeps_an_admin(run: Operate) -> None:
    for name, role in (("ana", "admin"), ("bob", "viewer")):
        run(
            "create",
            f"{name}@press.example",
            "--tenant",
            "press",
            "--name",
            name,
            "--role",
            role,
            "--by-provider",
        )
    code, _, told = run("role", "ana@press.example", "viewer", "--tenant", "press")
    assert code == 1
    assert "that is the last admin of the organisation" in told
    assert run("role", "bob@press.example", "admin", "--tenant", "press")[0] == 0
    assert run("role", "ana@press.example", "viewer", "--tenant", "press")[0] == 0
    assert run("role", "eve@press.example", "viewer", "--tenant", "press")[0] == 1
    assert run("role", "ana@press.example", "owner", "--tenant", "press")[0] == 2
