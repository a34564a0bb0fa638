"""``fakesieve bench`` over a served API: what it counts and times, how it ends, and that it only reads."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import NoReturn

import pytest
from sqlalchemy import text
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as ASGIScope

from api.app import create_app
from fakesieve.database import Database
from fakesieve.errors import Unavailable
from fakesieve.reasons import Reason
from fakesieve.scopes import Scope
from tests.api.callers import make_caller, make_settings
from tests.api.cli.conftest import Remote
from tests.api.results import store_results
from tests.api.served import serve_app
from tests.e2e.blocks import ROOT
from tests.e2e.processes import heed_interrupts
from tests.waiting import PATIENCE_S, wait_until

KINDS = ["newest", "flagged", "analysis", "jobs"]
COUNTS = ("sent", "answered", "refused", "open")
WAITS = ("p50_ms", "p90_ms", "p99_ms", "max_ms")
PATIENT = ("--timeout", "60")


@pytest.fixture(autouse=True)
def lenient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave nothing out that is sent late: a busy machine may stand still for seconds."""
    monkeypatch.setattr("api.load.pace.LATE_S_MAX", PATIENCE_S)


def bench(remote: Remote, *options: str, code: int = 0) -> dict:
    ran = remote.run("bench", *options, "--json")
    assert ran.code == code, ran.err
    (document,) = ran.lines()
    whole = document["all"]
    assert whole["sent"] == sum(whole[name] for name in ("answered", "refused", "open")) + sum(
        whole["failed"].values()
    )
    for name in COUNTS:
        assert whole[name] == sum(each[name] for each in document["kinds"])
    return document | {each["kind"]: each for each in document["kinds"]}


def read_tables(database: Database) -> dict[str, str | None]:
    """Return a hash of all rows of each table."""
    with database.transaction(tenant_id=None) as session:
        names = session.scalars(
            text(
                "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
                " AND relkind IN ('r', 'p') AND has_table_privilege(oid, 'SELECT')"
            )
        ).all()
        assert len(names) > 20
        return {
            name: session.scalar(text(f"SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {name} t"))
            for name in names
        }


def test_a_load_test_times_each_kind_and_writes_nothing(remote: Remote) -> None:
    store_results(remote.database, remote.tenant_id)
    before = read_tables(remote.database)
    found = bench(remote, "--rps", "20", "--duration", "2", *PATIENT)
    assert read_tables(remote.database) == before
    assert [each["kind"] for each in found["kinds"]] == KINDS
    for each in found["kinds"]:
        assert (each["sent"], each["answered"], each["failed"], each["unsent"]) == (10, 10, {}, {})
        waits = [each[name] for name in WAITS]
        assert waits == sorted(waits)
        assert waits[0] > 0
        assert each["left_out"] is None
    whole = found["all"]
    assert (whole["sent"], whole["max_ms"]) == (40, max(each["max_ms"] for each in found["kinds"]))
    assert 0 < whole["answered_per_s"] <= 20
    assert whole["answered_per_s"] == pytest.approx(40 / found["elapsed_s"], rel=0.01)
    assert found["elapsed_s"] >= 2
    assert (found["is_interrupted"], found["asked_per_s"]) == (False, 20)


def test_what_cannot_be_asked_has_dashes_and_a_reason(remote: Remote, monkeypatch) -> None:
    caller = make_caller(
        remote.caller.client,
        remote.database,
        tenant_id=remote.tenant_id,
        scopes=frozenset({Scope.RESULTS_READ.value}),
    )
    monkeypatch.setenv("FAKESIEVE_API_KEY", caller.secret)
    options = ("--rps", "20", "--duration", "1", *PATIENT)
    ran = remote.run("bench", *options)
    assert (ran.code, "20 sent" in ran.err) == (0, False)  # no progress where nobody watches
    rows = {words[0]: words[1:] for words in map(str.split, ran.out.splitlines()) if len(words) > 5}
    assert rows["request"][:6] == ["sent", "answered", "refused", "failed", "unsent", "open"]
    assert rows["newest"][:6] == rows["flagged"][:6] == ["10", "10", "0", "0", "0", "0"]
    assert rows["analysis"] == ["–"] * 11 + ["not", "asked:", "there", "is", "no", "analysis"]
    assert rows["jobs"] == ["–"] * 11 + ["not", "asked:", "the", "key", "lacks", "jobs:read"]
    assert rows["all"][:6] == ["20", "20", "0", "0", "0", "0"]
    found = bench(remote, *options)
    assert found["jobs"]["left_out"] == "the key lacks jobs:read"
    assert [found["jobs"][name] for name in (*WAITS, "answered_per_s")] == [None] * 5


def test_refusals_by_rate_are_no_answers_and_no_failures(
    remote: Remote, postgres, s3, module_database_name: str, monkeypatch
) -> None:
    limits = {"api_burst": 10, "api_rate_per_s": 5}
    with serve_app(create_app(make_settings(postgres, s3, module_database_name, **limits))) as url:
        monkeypatch.setenv("FAKESIEVE_API_URL", url)
        found = bench(remote, "--rps", "30", "--duration", "2", *PATIENT)
        time.sleep(1)
        ran = remote.run("bench", "--rps", "30", "--duration", "1", *PATIENT)
    whole = found["all"]
    assert found["key_rate"] == {"burst": 10, "per_s": 5}
    assert (whole["sent"], whole["failed"]) == (60, {})
    # Ten at once, of which four were asked before, and five a second after that.
    assert 6 <= whole["answered"] <= 10 + 5 * (found["elapsed_s"] + 1)
    assert whole["refused"] == 60 - whole["answered"]
    assert whole["answered_per_s"] == pytest.approx(whole["answered"] / found["elapsed_s"], rel=0.01)
    assert ran.code == 0
    # The served application shares the process and its stderr, and may log something there.
    first, second, *_ = (line for line in ran.err.splitlines() if line.startswith(("warning:", "hint:")))
    assert first.startswith("warning: the key may send 5 requests a second after a burst of 10")
    assert second.startswith("hint: take --rps 5, or raise FAKESIEVE_API_RATE_PER_S")


def test_failed_requests_end_it_with_1_and_their_reasons(remote: Remote, monkeypatch) -> None:
    def fail(*_: object, **__: object) -> NoReturn:
        raise Unavailable(Reason.DATABASE_UNAVAILABLE, "gone", "ask again")

    store_results(remote.database, remote.tenant_id)
    monkeypatch.setattr("api.routes.jobs.list_jobs", fail)
    found = bench(remote, "--rps", "20", "--duration", "1", *PATIENT, code=1)
    ran = remote.run("bench", "--rps", "4", "--duration", "2", *PATIENT)
    assert found["jobs"]["failed"] == {"DATABASE_UNAVAILABLE": 5}
    assert [found["jobs"][name] for name in WAITS] == [None] * 4
    assert [found[name]["answered"] for name in KINDS] == [5, 5, 5, 0]
    assert (ran.code, "2 DATABASE_UNAVAILABLE" in ran.out) == (1, True)
    first, second = ran.err.splitlines()[-2:]
    told = "2 of 8 requests failed or were not sent: 2 DATABASE_UNAVAILABLE"
    assert first == f"error: DATABASE_UNAVAILABLE: {told}"
    assert second.startswith("hint: see the log of the API")


class SilentJobs:
    """Answers no request for a list of jobs."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: ASGIScope, receive: Receive, send: Send) -> None:
        if scope.get("path") == "/v1/jobs":
            while (await receive())["type"] != "http.disconnect":
                continue
        else:
            await self._app(scope, receive, send)


def test_requests_without_an_answer_are_given_up_when_it_was_said(
    remote: Remote, settings, monkeypatch
) -> None:
    """On a busy machine others are given up too, and nothing but that comes of any."""
    store_results(remote.database, remote.tenant_id)
    app = create_app(settings)
    app.add_middleware(SilentJobs)
    with serve_app(app) as url:
        monkeypatch.setenv("FAKESIEVE_API_URL", url)
        found = bench(remote, "--rps", "20", "--duration", "1", "--timeout", "1.5", code=1)
        ran = remote.run("bench", "--rps", "4", "--duration", "2", "--timeout", "1.5")
    assert found["jobs"]["failed"] == {"TIMEOUT": 5}
    assert [found["jobs"][name] for name in WAITS] == [None] * 4
    assert all(found[name]["answered"] + found[name]["failed"].get("TIMEOUT", 0) == 5 for name in KINDS)
    assert (ran.code, " TIMEOUT" in ran.out) == (1, True)
    first, second = ran.err.splitlines()[-2:]
    told = re.fullmatch(r"error: INTERNAL: (\d) of 8 requests failed or were not sent: (\d) TIMEOUT", first)
    assert told is not None, first
    assert told[1] == told[2] >= "2"
    assert second.startswith("hint: see the log of the API")


class Counted:
    """Does something before one request, chosen by its number, is worked on."""

    def __init__(self, app: ASGIApp, number: int, act: Callable[[], None]) -> None:
        self._app, self._left, self._act = app, number, act

    async def __call__(self, scope: ASGIScope, receive: Receive, send: Send) -> None:
        self._left -= 1
        if self._left == 0:
            self._act()
        await self._app(scope, receive, send)


def test_a_key_that_ends_meanwhile_ends_it_with_5(remote: Remote, settings, monkeypatch) -> None:
    def revoke() -> None:
        with remote.database.transaction(tenant_id=None) as session:
            session.execute(
                text("UPDATE api_key SET revoke_time = now() WHERE id = :id"), {"id": remote.caller.key_id}
            )

    app = create_app(settings)
    app.add_middleware(Counted, number=20, act=revoke)
    with serve_app(app) as url:
        monkeypatch.setenv("FAKESIEVE_API_URL", url)
        ran = remote.run("bench", "--rps", "20", "--duration", "2", *PATIENT)
        assert (ran.code, "error: UNAUTHENTICATED: " in ran.err) == (5, True)
        assert remote.run("bench").code == 5  # and does not begin with it


def test_a_key_that_may_not_read_results_asks_nothing(remote: Remote, monkeypatch) -> None:
    caller = make_caller(
        remote.caller.client, remote.database, scopes=frozenset({Scope.JOBS_READ.value, "jobs:write"})
    )
    monkeypatch.setenv("FAKESIEVE_API_KEY", caller.secret)
    ran = remote.run("bench", "--duration", "1")
    assert (ran.code, ran.out, "MISSING_SCOPE" in ran.err) == (5, "", True)
    monkeypatch.delenv("FAKESIEVE_API_KEY")
    assert remote.run("bench").code == 5


@pytest.mark.parametrize(
    "options",
    [
        ("--rps", "0"),
        ("--rps", "-1"),
        ("--rps", "nan"),
        ("--rps", "1001"),
        ("--duration", "0"),
        ("--duration", "inf"),
        ("--duration", "1h"),
        ("--timeout", "61"),
    ],
)
def test_options_that_make_no_sense_are_not_understood(remote: Remote, options: tuple[str, str]) -> None:
    ran = remote.run("bench", *options)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.splitlines()[-1] == "hint: see 'fakesieve bench --help'"


def test_ctrl_c_prints_what_was_measured(remote: Remote, settings) -> None:
    store_results(remote.database, remote.tenant_id)
    seen = list[str]()
    app = create_app(settings)
    app.add_middleware(Watched, seen=seen)
    with serve_app(app) as url:
        code, out, err = interrupt_bench(url, seen)
    assert (code, "Traceback" in err) == (130, False)
    (row,) = (line.split() for line in out.splitlines() if line.split()[:1] == ["all"])
    sent, answered, open_ = int(row[1]), int(row[2]), int(row[6])
    assert 20 < answered <= sent < 1200
    assert sent == answered + open_


class Watched:
    """Notes which paths have been answered."""

    def __init__(self, app: ASGIApp, seen: list[str]) -> None:
        self._app, self._seen = app, seen

    async def __call__(self, scope: ASGIScope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)
        self._seen.append(scope.get("path", ""))


def interrupt_bench(url: str, seen: list[str]) -> tuple[int, str, str]:
    """Run it for a minute in a process of its own, and press Ctrl-C when it has sent a while."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200", "FAKESIEVE_API_URL": url}
    process = subprocess.Popen(
        [sys.executable, "-m", "fakesieve", "bench", "--rps", "20", "--duration", "60", *PATIENT],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_interrupts,  # noqa: PLW1509 - it takes no lock that a thread could hold
    )
    wait_until(lambda: len(seen) > 40)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE_S)
    return process.returncode, out, err
