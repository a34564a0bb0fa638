"""How fast the console's pages load with 100,000 analyses of one tenant, and what a 3-hour video costs.

Usage: python -m bench.console [--analyses N] [--rounds N] [--work DIR] [--keep] [--out DIR]

Needs Chromium on the machine. With --keep the filled database stays in the work folder for the next run.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path

from playwright.sync_api import sync_playwright

from bench.console_browser import (
    SIGNED_OUT,
    Loaded,
    Stay,
    launch,
    list_addresses,
    load_pages,
    open_page,
    sign_in,
    stay_long,
)
from bench.console_data import EMAIL, LONG_S, PASSWORD, Filled, fill, serve
from bench.database.__main__ import remove
from bench.run import RESULTS, describe_machine
from engine.backends.select import default_threads
from fakesieve.embedded.postgres import PostgresServer
from fakesieve.embedded.seaweed import SeaweedServer

GOAL_MS = 1000.0


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.console", description=__doc__)
    parser.add_argument("--analyses", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=7, help="loads of each page after the first")
    parser.add_argument("--work", type=Path, default=Path(".cache/bench"))
    parser.add_argument("--keep", action="store_true", help="leave the database for the next run")
    parser.add_argument("--out", type=Path, default=RESULTS)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> None:
    """Fill, load, look, write and tell."""
    given = parse_arguments(arguments)
    work = given.work.resolve()
    folder = work / f"console-{given.analyses}"
    folder.mkdir(parents=True, exist_ok=True)
    machine = describe_machine(default_threads())
    with ExitStack() as stack:
        server = stack.enter_context(PostgresServer(folder / "postgres"))
        objects = stack.enter_context(SeaweedServer(folder / "seaweedfs"))
        filled = fill(folder, server, objects, work, given.analyses)
        address, process = stack.enter_context(serve(server, objects))
        driver = stack.enter_context(sync_playwright())
        with closing(launch(driver)) as browser:
            page = sign_in(browser, address, filled.tenant, EMAIL, PASSWORD)
            lines = load_pages(page, list_addresses(filled), given.rounds)
            lines += load_pages(open_page(browser, address), SIGNED_OUT, given.rounds)
        # A browser keeps pages that were left for a while; of this one the memory is told.
        with closing(launch(driver)) as browser:
            page = sign_in(browser, address, filled.tenant, EMAIL, PASSWORD)
            stay = stay_long(page, f"/r/{filled.long_id}", LONG_S, process)
        text = write_report(machine, filled, lines, stay, given)
        given.out.mkdir(parents=True, exist_ok=True)
        (given.out / "console.md").write_text(text, encoding="utf-8")
        print(text)
    if not given.keep:
        remove(folder)


def write_report(
    machine: dict[str, object], filled: Filled, lines: Sequence[Loaded], stay: Stay, given: argparse.Namespace
) -> str:
    """Return the figures as a page."""
    missed = [line for line in lines if line.median_ms > GOAL_MS]
    rows = "\n".join(
        f"| {line.name} | `{line.address}` | {line.first_byte_ms:.0f} | {line.best_ms:.0f}"
        f" | {line.median_ms:.0f} | {line.worst_ms:.0f} | {line.kilobytes:,.0f} |"
        for line in lines
    )
    facts = "\n".join(f"- {name}: {value}" for name, value in machine.items())
    verdict = "Every page loads in under a second." if not missed else (
        "MISSED (over a second): " + ", ".join(line.name for line in missed)
    )  # fmt: skip
    return f"""# The console with {filled.analyses:,} analyses of one tenant

`python -m bench.console --analyses {given.analyses} --rounds {given.rounds}`

{facts}

Rows are those of real jobs over 10 s clips, copied with other ids, times and scores, and {filled.pairs:,}
of them a second time by another model; one in ten has its wide rows too. The audit log has {filled.acts:,}
entries of that tenant, one webhook {filled.deliveries:,} deliveries. Chromium and the server share the
machine. A time is that from the click to the end of the page's load event, for review pages until the
scores are drawn; best, median and worst of {given.rounds} loads after a first one.

{verdict}

| page | address | first byte ms | best ms | median ms | worst ms | sent kB |
|---|---|---|---|---|---|---|
{rows}

## A video of three hours

{stay.faces:,} faces in {stay.samples:,} samples, each with a patch map of 19 x 19, stored by the code that
stores every analysis; boxes and maps come in pieces of two minutes. Seen by a browser that has just been
started, so that nothing is in its cache.

| what | figure |
|---|---|
| page until the scores are drawn | {stay.ready_ms:,.0f} ms |
| scores over time, sent once | {stay.lanes_kb:,.0f} kB |
| parts of the faces over time, sent once | {stay.regions_kb:,.0f} kB |
| one piece of boxes and maps | {stay.piece_kb:,.0f} kB |
| jump to a moment whose piece is not there yet, median | {stay.jump_ms:,.0f} ms |
| the same, worst | {stay.jump_worst_ms:,.0f} ms |
| redraw of the time line while it plays | {stay.redraw_ms:.1f} ms |
| memory of the page's process when ready | {stay.ready_mb:,.0f} MB |
| after {stay.jumps} jumps over the whole video | {stay.end_mb:,.0f} MB |
| memory of the server's process after that | {stay.server_mb:,.0f} MB |
"""


if __name__ == "__main__":
    begun = time.monotonic()
    main(sys.argv[1:])
    print(f"{time.monotonic() - begun:.0f} s", file=sys.stderr)
