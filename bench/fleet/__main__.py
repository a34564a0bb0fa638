"""Many short clips through one host of a whole fleet, in turns with ``scan --jobs`` of the same clips.

Usage: python -m bench.fleet [--clips N] [--rounds N] [--slots N] [--frame-every N] [--name NAME]

Starts Postgres, Valkey, SeaweedFS, relay, reconciler and one worker host in a temporary folder and ends them.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from bench.fleet.clips import FRAME_EVERY, make_short_clips
from bench.fleet.costs import read_costs
from bench.fleet.processes import Peaks
from bench.fleet.report import Run, write_run
from bench.fleet.rounds import FleetRound, FleetSide, ScanRound, inherit_path, scan_round
from bench.run import RESULTS, describe_machine
from engine.backends.select import default_threads
from fakesieve.database import open_database
from fakesieve.embedded.fleet import BUCKET, TENANT, Fleet, list_commands
from fakesieve.embedded.run_folder import RunFolder
from fakesieve.object_stores.s3 import S3Objects
from fakesieve.object_stores.s3_client import S3Options
from fakesieve.records.tenants import ensure_tenant
from fakesieve.supervise import Supervisor

WARM_CLIPS = 8  # loads every detector, fills every cache; not counted


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.fleet", description=__doc__)
    parser.add_argument("--clips", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--frame-every", type=int, default=FRAME_EVERY, help="fewer is longer clips")
    parser.add_argument("--slots", type=int, default=default_threads(), help="slots, and jobs of the scan")
    parser.add_argument("--work", type=Path, default=Path(".cache/bench"), help="where clips are kept")
    parser.add_argument("--note", default="", help="a sentence about the machine, kept with the results")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--name", default="fleet", help="of the files that are written there")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> None:
    """Run the rounds and write what they gave."""
    given = parse_arguments(arguments)
    inherit_path()
    machine = describe_machine(default_threads())
    _say("drawing clips")
    paths = make_short_clips(given.clips + WARM_CLIPS, given.work.resolve(), frame_every=given.frame_every)
    warm, counted = paths[:WARM_CLIPS], paths[WARM_CLIPS:]
    size = len(counted) // given.rounds
    shares = [counted[start : start + size] for start in range(0, size * given.rounds, size)]
    fleets, scans, peaks = list[FleetRound](), list[ScanRound](), Peaks()
    with run_folder() as folder:
        with running_fleet(folder, given.slots) as side:
            side.run(side.upload(warm), "warm")
            refs = [side.upload(share) for share in shares]
            for turn, share in enumerate(shares):
                for is_fleet in (True, False) if turn % 2 == 0 else (False, True):
                    if is_fleet:
                        with peaks.watch_host(side.worker):
                            fleets.append(side.run(refs[turn], f"round {turn}"))
                        _say(f"round {turn + 1}: fleet {fleets[-1].per_second:.2f} clips a second")
                    else:
                        scans.append(scan_round(share, given.slots, peaks))
                        _say(f"round {turn + 1}: scan {scans[-1].steady_per_second:.2f} clips a second")
        events = [json.loads(line) for file in folder.glob("notes-*.jsonl") for line in file.open()]
    costs = [read_costs(events, each.begin, each.end) for each in fleets]
    run = Run(machine, given.note, given.slots, given.frame_every, fleets, scans, costs, peaks.bytes)
    write_run(given.out, given.name, run)


@contextmanager
def run_folder() -> Generator[Path]:
    """Give a folder that every user can enter, as Postgres does not run as root; it is gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="fakesieve-bench-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def running_fleet(folder: Path, slots: int) -> Generator[FleetSide]:
    """Run a whole fleet during the block, with a host that takes notes in the folder."""
    os.environ["FAKESIEVE_SLOTS"] = str(slots)
    commands = list_commands() | {
        "worker": (sys.executable, "-P", "-m", "bench.fleet.host", str(folder / "notes.jsonl"))
    }
    run = RunFolder(folder / "fleet")
    run.take()
    supervisor = Supervisor(_say, run.publish_pids)
    try:
        values = Fleet(run, commands).start(supervisor, _say)
        with closing(open_database(values["FAKESIEVE_DATABASE_URL"])) as database:
            with database.transaction(tenant_id=None) as session:
                tenant_id = ensure_tenant(session, TENANT)
            options = S3Options(
                values["FAKESIEVE_S3_ENDPOINT"],
                values["FAKESIEVE_S3_ACCESS_KEY"],
                values["FAKESIEVE_S3_SECRET_KEY"],
            )
            yield FleetSide(database, S3Objects(options), BUCKET, tenant_id, supervisor.pids)
    finally:
        supervisor.stop()
        run.leave()


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
