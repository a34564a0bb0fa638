"""Processor time that each page of the console takes of server and database: a figure that other work on the
machine does not move, unlike the times that ``bench.console`` takes.

Usage: python -m bench.console_processor [--analyses N] [--rounds N] [--work DIR] [--out FILE]
"""

import argparse
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil
from fastapi.testclient import TestClient

from api.app import create_app
from bench.console_browser import list_addresses
from bench.console_data import BUCKET, EMAIL, PASSWORD, Filled, fill
from bench.run import RESULTS, describe_machine
from engine.backends.select import default_threads
from fakesieve.embedded.postgres import APP_ROLE, PostgresServer
from fakesieve.embedded.seaweed import SeaweedServer
from fakesieve.settings import Settings

MODULES = ("lanes", "regions", "faces/0", "faces/45")


def main(arguments: Sequence[str]) -> None:
    """Ask for every page and write what it took."""
    parser = argparse.ArgumentParser(prog="python -m bench.console_processor", description=__doc__)
    parser.add_argument("--analyses", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--work", type=Path, default=Path(".cache/bench"))
    parser.add_argument("--out", type=Path, default=RESULTS / "console.md")
    given = parser.parse_args(arguments)
    folder = given.work.resolve() / f"console-{given.analyses}"
    folder.mkdir(parents=True, exist_ok=True)
    machine = describe_machine(default_threads())
    with (
        PostgresServer(folder / "postgres") as server,
        SeaweedServer(folder / "seaweedfs") as objects,
    ):
        filled = fill(folder, server, objects, given.work.resolve(), given.analyses)
        settings = make_settings(server, objects)
        with TestClient(create_app(settings), headers={"Accept": "text/html"}) as client:
            sign_in(client, filled)
            rows = [ask(client, name, path, given.rounds) for name, path in list_all(filled)]
    text = write(machine, filled, rows, given)
    given.out.write_text(text, encoding="utf-8")
    print(text)


def make_settings(server: PostgresServer, objects: SeaweedServer) -> Settings:
    """Return settings of an application beside these servers."""
    return Settings.model_validate(
        {
            "database_url": server.url(APP_ROLE), "broker_url": "redis://localhost:1/0", "bucket": BUCKET,
            "s3_endpoint": objects.endpoint, "s3_access_key": objects.access_key,
            "s3_secret_key": objects.secret_key, "token_key": "a key of the bench",
        }
    )  # fmt: skip


def sign_in(client: TestClient, filled: Filled) -> None:
    """Begin a session of the admin."""
    token = client.get("/sign-in").text.split('name="form_token" value="', 1)[1].split('"', 1)[0]
    form = {"form_token": token, "organisation": filled.tenant, "email": EMAIL, "password": PASSWORD}
    answer = client.post("/sign-in", data=form | {"next": "/"}, follow_redirects=False)
    assert answer.status_code == 303, answer.text


def list_all(filled: Filled) -> list[tuple[str, str]]:
    """Return the pages, and what the modules of the review page ask for of the long video."""
    parts = [(f"the same: {each}", f"/r/{filled.long_id}/{each}") for each in MODULES]
    return [*list_addresses(filled), *parts]


def ask(client: TestClient, name: str, path: str, rounds: int) -> str:
    """Return a row: milliseconds of the processor, of the server and of the database, and bytes."""
    ours, theirs, size = list[float](), list[float](), 0
    for turn in range(rounds + 1):
        begun = read_times()
        answer = client.get(path)
        ended = read_times()
        assert answer.status_code == 200, f"{path}: {answer.status_code}"
        size = len(answer.content)
        if turn:
            ours.append(1000 * (ended[0] - begun[0]))
            theirs.append(1000 * (ended[1] - begun[1]))
    row = f"| {name} | {statistics.median(ours):.0f} | {statistics.median(theirs):.0f} | {size / 1000:,.0f} |"
    print(row, file=sys.stderr, flush=True)
    return row


def read_times() -> tuple[float, float]:
    """Return processor seconds so far, of this process and of the database's that serve it."""
    own = psutil.Process()
    servers = [each for each in own.children(recursive=True) if each.name().startswith("postgres")]
    times = [own.cpu_times(), *(each.cpu_times() for each in servers)]
    spent = [each.user + each.system for each in times]
    return spent[0], sum(spent[1:])


def write(machine: dict[str, object], filled: Filled, rows: Sequence[str], given: argparse.Namespace) -> str:
    """Return the figures as a page."""
    facts = "\n".join(f"- {name}: {value}" for name, value in machine.items())
    return f"""# The console with {filled.analyses:,} analyses of one tenant

`python -m bench.console_processor --analyses {given.analyses} --rounds {given.rounds}`

{facts}

Rows are those of real jobs over 10 s clips, copied with other ids, times and scores, and {filled.pairs:,}
of them a second time by another model; one in ten has its wide rows too. The audit log has {filled.acts:,}
entries of that tenant, one webhook {filled.deliveries:,} deliveries. The 3-hour video has three faces in each
of 21,600 samples, with a patch map of 19 x 19 for each: 36 times the samples that a video gets by default.

These are processor milliseconds, medians of {given.rounds} after a first one; the clock of the system counts
in steps of 10 ms. The machine was busy with other work, so the times that a person waits could not be taken:
`python -m bench.console` takes them in a real browser, on a quiet machine.

| page | server ms | database ms | kB |
|---|---|---|---|
{chr(10).join(rows)}
"""


if __name__ == "__main__":
    main(sys.argv[1:])
