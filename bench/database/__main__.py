"""A million analyses in Postgres: sizes, insert rates, and the times of all queries with their plans.

Usage: python -m bench.database [--analyses N] [--waiting N] [--work DIR] [--keep] [--only TEXT]
                                [--page NAME] [--out DIR]

With --keep the filled database stays in the work folder, and the next run asks that one. With --only some
questions are asked; with --page their answers become a page of their own.
"""

import argparse
import shutil
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from bench.database.ask import SECONDS_MAX, ask_all
from bench.database.prepare import make_tenants, prepare
from bench.database.report import Findings, format_answers, write_findings
from bench.database.templates import screen_clips
from bench.database.weigh import measure_evidence, read_kept_bytes, read_sizes, run_jobs, write_analyses
from bench.run import RESULTS, describe_machine
from engine.backends.select import default_threads
from fakesieve.database import open_database
from fakesieve.embedded.postgres import APP_ROLE, PostgresServer

WRITERS = (1, 4)
WRITE_S = 10.0


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.database", description=__doc__)
    parser.add_argument("--analyses", type=int, default=1_000_000)
    parser.add_argument("--waiting", type=int, default=100_000, help="jobs in the backlog")
    parser.add_argument("--work", type=Path, default=Path(".cache/bench"))
    parser.add_argument("--keep", action="store_true", help="leave the database for the next run")
    parser.add_argument(
        "--only", default="", help="questions with this text in their name; writes no results"
    )
    parser.add_argument("--page", default="", help="with --only: keep the answers as the page NAME.md")
    parser.add_argument("--seconds", type=float, default=SECONDS_MAX, help="for one question at most")
    parser.add_argument("--note", default="", help="a sentence about the machine, kept with the results")
    parser.add_argument("--out", type=Path, default=RESULTS)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> None:
    """Fill, weigh, ask, write and tell."""
    given = parse_arguments(arguments)
    work = given.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    folder = work / f"database-{given.analyses}"
    folder.mkdir(exist_ok=True)
    screened = screen_clips(work)
    machine = describe_machine(default_threads())
    filled = prepare(folder, screened, given.analyses, given.waiting)
    with (
        PostgresServer(folder / "postgres") as server,
        closing(open_database(server.url(), connections_max=8)) as fleet,
        closing(open_database(server.url(APP_ROLE), connections_max=8)) as api,
    ):
        with server.connect() as connection:
            sizes, kept_bytes = read_sizes(connection), read_kept_bytes(connection)
            version = str(connection.execute("SHOW server_version").fetchone()[0])
        asked = list[object]()
        for each in ask_all(api, fleet, given.only, given.seconds):
            scans = f"  READS WHOLE {', '.join(each.scans)}" if each.scans else ""
            _say(f"{each.p50_ms:9.2f} {each.p99_ms:9.2f} ms  {each.name}{scans}")
            asked.append(each)
        if not given.only:
            tenant_id = make_tenants(fleet)[0]
            rates = [write_analyses(fleet, screened, tenant_id, writers, WRITE_S) for writers in WRITERS]
            runs = [run_jobs(fleet, screened, tenant_id, writers, WRITE_S) for writers in WRITERS]
            evidence = (measure_evidence(screened), kept_bytes)
            found = Findings(machine, version, given.note, filled, sizes, *evidence, asked, rates, runs)
            write_findings(given.out, found)
        elif given.page:
            command = f"python -m bench.database --keep --only {given.only} --page {given.page}"
            page = format_answers(command, machine, version, filled, asked)
            (given.out / f"{given.page}.md").write_text(page, encoding="utf-8")
    if not given.keep:
        remove(folder)


def remove(folder: Path) -> None:
    """Remove a database, also where its data lie in a place that stands in for the folder."""
    link = folder / "postgres" / "place"
    if link.is_symlink():
        shutil.rmtree(link.readlink(), ignore_errors=True)
    shutil.rmtree(folder)


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
