"""``fakesieve doctor``: whether this machine can scan, and where it knows a fleet, whether that answers.

What a check needs is imported by the check itself: a package that is missing must be told as one finding
among the others, and whoever only scans loads none of a fleet's packages.
"""

import os
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing, contextmanager
from email.utils import parsedate_to_datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from engine.cli.doctor import Check, Status, guard, run_checks, tell
from workers.clocks import ClockReading, check_clock

if TYPE_CHECKING:
    from fakesieve.database import Database
    from fakesieve.settings import Settings

_TIMEOUT_S = 20.0  # a busy machine may let one of its services stand still for seconds


def doctor(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of lines.")] = False,
    model: Annotated[
        str | None, typer.Option(help="The model to check (default: that of scan).", show_default=False)
    ] = None,
) -> None:
    """Check that this machine can scan and, where it knows a fleet, that all of it answers.

    A fleet is known by FAKESIEVE_DATABASE_URL and what belongs to it, an API by FAKESIEVE_API_URL. Exit
    code 1 if something is missing.
    """
    tell([*run_checks(model), *check_fleet(os.environ)], as_json=as_json)


def check_fleet(environment: Mapping[str, str]) -> list[Check]:
    """Look at the services that the environment names; none is named, none is looked at."""
    steps: list[tuple[str, Callable[[], Sequence[Check]]]] = []
    if environment.get("FAKESIEVE_DATABASE_URL"):
        steps += [("database", check_database), ("broker", check_queue), ("object store", check_objects)]
        steps.append(("input limits", check_input_limits))
    if url := environment.get("FAKESIEVE_API_URL"):
        steps.append(("API", lambda: [check_api(url, environment.get("FAKESIEVE_API_KEY", ""))]))
    return [check for name, step in steps for check in guard(name, partial(_ask, name, step))]


def _ask(name: str, step: Callable[[], Sequence[Check]]) -> Sequence[Check]:
    """Take a step; what the fleet's own code raises is told as a check that failed."""
    # Lazy, as said at the top.
    from fakesieve.errors import FleetError

    try:
        return step()
    except FleetError as fault:
        return [Check(name, Status.FAIL, f"{fault.reason}: {fault.seen}", fault.hint)]


def check_database() -> Sequence[Check]:
    """Whether the database answers, has this release's tables, agrees on the time, and knows live workers.

    And whether what must hold of jobs holds of those that the monitor would look at.
    """
    # Lazy, as said at the top.
    from fakesieve.records.revision import check_revision, list_revisions

    with _open_database() as database:
        check_revision(database)
        seen = f"answers, at a revision that suits this release ({list_revisions()[-1]})"
        clock = _check_its_clock(database)
        found = [Check("database", Status.OK, seen), *([] if clock is None else [clock])]
        return [*found, _check_hosts(database), _check_invariants(database)]


@contextmanager
def _open_database() -> "Generator[Database]":
    # Lazy, as said at the top.
    from fakesieve.database import open_database
    from fakesieve.settings import read_settings

    with closing(open_database(read_settings().database_url.get_secret_value(), connections_max=1)) as found:
        yield found


def _check_its_clock(database: "Database") -> Check | None:
    # Lazy, as said at the top.
    from sqlalchemy import text

    def read() -> ClockReading:
        before = time.time()
        theirs = float(session.scalar(text("SELECT extract(epoch FROM clock_timestamp())")) or 0.0)
        return ClockReading(theirs, before, time.time())

    with database.transaction(tenant_id=None) as session:
        session.execute(text("SELECT 1"))  # connected: what is timed below is one round trip
        return check_clock("clock of the database", read)


def _check_hosts(database: "Database") -> Check:
    # Lazy, as said at the top.
    from fakesieve.records.health_lists import list_hosts

    with database.transaction(tenant_id=None) as session:
        hosts = [host for host in list_hosts(session) if not host.is_silent]
    ready = [host for host in hosts if not host.is_draining]
    if not ready:
        seen = f"{len(hosts)} answer, and none takes work"
        return Check("workers", Status.WARN, seen, "start one: 'fakesieve worker', or 'fakesieve up' for all")
    models = ", ".join(sorted({host.model or "no model yet" for host in ready}))
    return Check(
        "workers", Status.OK, f"{len(ready)} with {sum(host.slots for host in ready)} slots, on {models}"
    )


def _check_invariants(database: "Database") -> Check:
    # Lazy, as said at the top.
    from fakesieve.jobs.sql.invariants import look
    from fakesieve.settings import read_settings
    from workers.cli import read_limits

    with database.transaction(tenant_id=None) as session:
        seen = look(session, read_limits(read_settings()))
    if not seen.violations:
        return Check("invariants", Status.OK, f"hold for the {seen.jobs} jobs that were looked at")
    first = {each.name: each for each in reversed(seen.violations)}
    counts = seen.count()
    broken = "; ".join(f"{first[name]} ({counts[name]} such)" for name in sorted(first))
    hint = (
        "if a reconciler has run for some minutes, report it; docs/explanation/orchestration.md has the rules"
    )
    return Check("invariants", Status.FAIL, broken, hint)


def check_queue() -> Sequence[Check]:
    """Whether the broker answers and keeps what it is given."""
    # Lazy, as said at the top.
    from fakesieve.settings import read_settings
    from workers.startup import check_broker

    check_broker(read_settings().broker_url.get_secret_value())
    return [Check("broker", Status.OK, "answers, and evicts nothing")]


def check_objects() -> Sequence[Check]:
    """Whether the bucket can be listed, and its server agrees on the time."""
    # Lazy, as said at the top.
    from fakesieve.object_stores.select import PROMPT, open_objects
    from fakesieve.settings import read_settings

    settings = read_settings()
    next(open_objects(settings, retry=PROMPT).list_objects(settings.bucket), None)
    found = Check("object store", Status.OK, f"bucket {settings.bucket} can be listed")
    clock = _check_store_clock(settings)
    return [found] if clock is None else [found, clock]


def _check_store_clock(settings: "Settings") -> Check | None:
    """Compare with the Date of its answer (RFC 9110 section 6.6.1); None where there is none."""
    # Lazy, as said at the top.
    import httpx2

    if settings.objects_dir is not None or settings.s3_endpoint is None:
        return None
    endpoint = settings.s3_endpoint

    def read() -> ClockReading | None:
        before = time.time()
        date = httpx2.head(endpoint, timeout=_TIMEOUT_S).headers.get("date")
        if date is None:
            return None
        return ClockReading(parsedate_to_datetime(date).timestamp(), before, time.time(), cut_s=1)

    return check_clock("clock of the object store", read)


def check_input_limits() -> Sequence[Check]:
    """What a worker that was started with this environment would let a video cost."""
    # Lazy, as said at the top.
    from fakesieve.settings import read_settings
    from workers.input_limits import describe_input_limits, read_input_limits

    seen = describe_input_limits(read_input_limits(read_settings()))
    return [Check("input limits", Status.OK, f"a worker started here has {seen}")]


def check_api(url: str, key: str) -> Check:
    """Whether the API takes requests, and ours with the key."""
    # Lazy, as said at the top.
    import httpx2

    try:
        ready = httpx2.get(f"{url}/health/ready", timeout=_TIMEOUT_S)
        headers = {"Authorization": f"Bearer {key}"}
        who = httpx2.get(f"{url}/v1/whoami", headers=headers, timeout=_TIMEOUT_S)
    except (httpx2.TransportError, httpx2.InvalidURL) as fault:
        hint = "start 'fakesieve serve', or correct FAKESIEVE_API_URL"
        return Check("API", Status.FAIL, f"{url} does not answer: {type(fault).__name__}", hint)
    if not ready.is_success:
        return Check("API", Status.FAIL, f"{url} is not ready: {ready.status_code}", "see its log")
    if not who.is_success:
        hint = "set FAKESIEVE_API_KEY to a key of this installation ('fakesieve keys create')"
        return Check("API", Status.FAIL, f"{url} refuses the key: {who.status_code}", hint)
    return Check("API", Status.OK, f"{url} takes requests of {who.json()['tenant_id']}")
