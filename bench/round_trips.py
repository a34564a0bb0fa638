"""What a job asks of the database around its pixels, by this tree and by an earlier one, in turns.

Usage: python -m bench.round_trips [--before DIR] [--rounds N] [--jobs N] [--out DIR]

Takes jobs of one shard and of four through the functions that a host calls, on a database of its own, with
all findings of a real clip. Statements and round trips are counted, by a proxy that sees when the client
speaks after the server has, and are the same on any machine. Times are good as ratios: the trees take turns,
each in a process of its own. DIR holds the earlier tree, as ``git worktree add DIR COMMIT`` makes it.
"""

import argparse
import json
import os
import select
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from statistics import fmean, median
from typing import Any, TypeVar

from sqlalchemy import event, make_url, text

from bench.database.prepare import make_tenants, new_job
from bench.database.templates import LEASE_S, OWNER, TAKER, Screened, screen_clips
from bench.report import Figure, format_table, ratio
from fakesieve.database import Database, open_database
from fakesieve.embedded.postgres import OWNER_ROLE, PostgresServer
from fakesieve.jobs.claim import claim_shard
from fakesieve.jobs.fan_out import fan_out
from fakesieve.jobs.finish import finish_job, finish_only_shard, finish_shard, load_evidence
from fakesieve.jobs.limits import JobLimits
from fakesieve.jobs.relay import Credit, relay_doorbells
from fakesieve.jobs.rows import Claim, ShardKey
from fakesieve.jobs.sql.store import SqlJobStore
from fakesieve.jobs.submit import submit_video
from fakesieve.records.revision import migrate_database

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).parent / "results"
SHARDS = (1, 4)
WARM = 12  # jobs until every statement was built, and prepared by the server
COUNTED = ("statements", "round trips")
NOT_OF_HOSTS = ("submit", "relay")
Answer = TypeVar("Answer")
Note = tuple[float, float, int, int]


class Proxy:
    """Passes bytes between a client and the server, and counts how often the client speaks anew."""

    def __init__(self, host: str, port: int) -> None:
        self.round_trips = 0
        self._server = (host, port)
        self._listener = socket.create_server((host, 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._server) as server:
            spoke: socket.socket | None = None
            while True:
                for ready in select.select([client, server], [], [])[0]:
                    data = ready.recv(1 << 20)
                    if not data:
                        return
                    if ready is client and spoke is not client:
                        self.round_trips += 1
                    spoke = ready
                    (server if ready is client else client).sendall(data)


@dataclass
class Notes:
    """What each step of a job took: milliseconds, those of the processor, statements, round trips.

    The last are counted where there is a proxy.
    """

    proxy: Proxy | None
    statements: int = 0
    taken: dict[str, list[Note]] = field(default_factory=dict)

    def take(self, name: str, work: Callable[[], Answer]) -> Answer:
        """Do a step and note it."""
        statements, trips = self.statements, self._read_trips()
        begun, begun_cpu = time.perf_counter(), time.thread_time()
        answer = work()
        spent_ms, cpu_ms = 1000 * (time.perf_counter() - begun), 1000 * (time.thread_time() - begun_cpu)
        note = (spent_ms, cpu_ms, self.statements - statements, self._read_trips() - trips)
        self.taken.setdefault(name, []).append(note)
        return answer

    def _read_trips(self) -> int:
        return 0 if self.proxy is None else self.proxy.round_trips


class Side:
    """One tree in a process of its own: does jobs when it is told to."""

    def __init__(self, database: Database, proxy: Proxy | None, name: str, folder: Path) -> None:
        self._name, self._serial = name, count()
        self._notes = Notes(proxy)
        self._screened = screen_clips(folder)[0]
        self._tenant_id = make_tenants(database)[0]
        self._store, self._credit = SqlJobStore(database), Credit()
        event.listen(database.pool, "before_cursor_execute", self._count)
        with database.transaction(tenant_id=None) as session:
            self._backend = int(session.execute(text("SELECT pg_backend_pid()")).scalar_one())
        for shards in SHARDS:
            self.run(shards, WARM)

    def _count(self, *_: Any) -> None:
        self._notes.statements += 1

    def run(self, shards: int, jobs: int) -> dict[str, Any]:
        """Do so many jobs of so many shards; return what each step took, and seconds of Postgres."""
        self._notes.taken = {}
        server_s = _read_cpu_s(self._backend)
        for _ in range(jobs):
            self._run_job(shards)
        return {
            "steps": self._notes.taken,
            "postgres_s": _read_cpu_s(self._backend) - server_s,
        }

    def _run_job(self, shards: int) -> None:
        store, take = self._store, self._notes.take
        name = f"{self._name}-{next(self._serial)}"
        screened = _cut(self._screened.copy(name), shards)
        job_id = take("submit", lambda: submit_video(store, new_job(self._tenant_id, name))).job_id
        self._relay()
        first = self._claim("claim", ShardKey(job_id, 0))
        held = take("fan_out", lambda: fan_out(store, first, screened.prepared, taker=TAKER)).following
        assert held is not None
        assert held.video_id is not None
        record = screened.score(self._tenant_id, held.video_id, [screened.result])
        if shards == 1:
            assert take("finish_only_shard", lambda: finish_only_shard(store, held, record))
            return
        found = screened.result.to_bytes()
        take("finish_shard", lambda: finish_shard(store, held, found, TAKER))
        scoring = None
        for index in range(2, shards + 1):
            claim = self._claim("claim", ShardKey(job_id, index))
            step = "finish_shard" if index < shards else "finish_shard, the last"
            scoring = take(step, lambda claim=claim: finish_shard(store, claim, found, TAKER)).following
        assert scoring is not None
        take("load_evidence", lambda: load_evidence(store, job_id))
        assert take("finish_job", lambda: finish_job(store, job_id, record, scoring.fence))

    def _relay(self) -> None:
        def ring() -> None:
            self._credit = relay_doorbells(self._store, lambda _: None, self._credit, JobLimits()).credit

        self._notes.take("relay", ring)

    def _claim(self, step: str, key: ShardKey) -> Claim:
        claim = self._notes.take(step, lambda: claim_shard(self._store, key, OWNER, LEASE_S))
        assert isinstance(claim, Claim), claim
        return claim


def _cut(screened: Screened, shards: int) -> Screened:
    """Return the clip as one that is screened in so many parts, each of which shows all of it."""
    plans = screened.prepared.plans * shards
    return replace(screened, prepared=replace(screened.prepared, plans=plans, costs=()))


def _read_cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def serve(url: str, name: str, folder: Path, *, counts: bool) -> None:
    """Be a side: read how many shards and jobs from the input, print what they took."""
    place = make_url(url)
    proxy = Proxy(place.host or "", place.port or 0) if counts else None
    if proxy is not None:
        url = place.set(port=proxy.port).render_as_string(hide_password=False)
    with closing(open_database(url, connections_max=1, is_fleet=True)) as database:
        side = Side(database, proxy, name, folder)
        print("ready", flush=True)
        for line in sys.stdin:
            shards, jobs = line.split()
            print(json.dumps(side.run(int(shards), int(jobs))), flush=True)


@dataclass(frozen=True)
class Process:
    """A side, as the one who compares sees it."""

    process: "subprocess.Popen[str]"

    def ask(self, shards: int, jobs: int) -> dict[str, Any]:
        """Have it do jobs, and return what they took."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{shards} {jobs}\n")
        self.process.stdin.flush()
        return json.loads(self.read_line())

    def read_line(self) -> str:
        """Return the next line that it prints. Raises RuntimeError when there is none."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"a side has ended with {self.process.wait()}")
        return line


@contextmanager
def running(tree: Path, url: str, name: str, folder: Path, *options: str) -> Generator[Process]:
    """Run a side with the code of a tree during the block."""
    command = [
        sys.executable,
        "-P",
        __file__,
        "--serve",
        url,
        "--name",
        name,
        "--work",
        str(folder),
        *options,
    ]
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    with subprocess.Popen(
        command, env=environment, cwd=tree, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        side = Process(process)
        side.read_line()
        yield side
        process.stdin.close()


def count_steps(trees: Mapping[str, Path], url: str, folder: Path) -> str:
    """Return a table of what each step of a job asks, by tree."""
    found: dict[str, dict[tuple[int, str], tuple[str, ...]]] = {}
    for name, tree in trees.items():
        with running(tree, url, f"counted-{name}", folder, "--counts") as side:
            found[name] = {
                (shards, step): _summarise(notes)
                for shards in SHARDS
                for step, notes in side.ask(shards, 10)["steps"].items()
            }
    head = " | ".join(f"{name}: {what}" for name in trees for what in COUNTED)
    lines = [f"| shards | step | {head} |", "|---" * (2 + len(COUNTED) * len(trees)) + "|"]
    for shards, step in next(iter(found.values())):
        values = [value for name in trees for value in found[name].get((shards, step), ("-",) * len(COUNTED))]
        lines.append(f"| {shards} | {step} | {' | '.join(values)} |")
    return "\n".join(lines) + "\n"


def _summarise(notes: Sequence[Note]) -> tuple[str, ...]:
    """Return the median of each count, and the mean beside it where they differ."""
    columns = list(zip(*notes, strict=True))[2:]
    return tuple(
        f"{median(column):g}" if len(set(column)) == 1 else f"{median(column):g} (mean {fmean(column):.1f})"
        for column in columns
    )


def time_steps(trees: Mapping[str, Path], url: str, folder: Path, rounds: int, jobs: int) -> list[Figure]:
    """Return times of each step by tree, which took turns, and their ratios."""
    taken: dict[tuple[int, str], dict[str, list[float]]] = {}
    with ExitStack() as stack:
        sides = {
            name: stack.enter_context(running(tree, url, f"timed-{name}", folder))
            for name, tree in trees.items()
        }
        for turn in range(rounds):
            for name in list(sides) if turn % 2 else reversed(list(sides)):
                for shards in SHARDS:
                    answer = sides[name].ask(shards, jobs)
                    for what, value in _read_times(answer, jobs).items():
                        by_tree = taken.setdefault((shards, what), {each: [] for each in sides})
                        by_tree[name].append(value)
    return [figure for key, by_tree in taken.items() for figure in _compare(*key, by_tree)]


def _read_times(answer: Mapping[str, Any], jobs: int) -> dict[str, float]:
    """Return milliseconds of one round: the median of each step, and means of a job."""
    steps: Mapping[str, list[Note]] = answer["steps"]
    times = dict[str, float]()
    for step, notes in steps.items():
        times[step] = median(note[0] for note in notes)
        times[f"{step}, processor"] = median(note[1] for note in notes)
    cpu_ms = sum(note[1] for step, notes in steps.items() if step not in NOT_OF_HOSTS for note in notes)
    return times | {
        "a job, processor of its host": cpu_ms / jobs,
        "a job, processor of Postgres": 1000 * answer["postgres_s"] / jobs,
    }


def _compare(shards: int, what: str, by_tree: Mapping[str, list[float]]) -> Iterator[Figure]:
    label = f"{shards} shard{'s' if shards > 1 else ''}, {what}"
    own = [Figure(f"{label}: {name}", "ms", tuple(spent)) for name, spent in by_tree.items()]
    yield from own
    if len(own) > 1:
        yield ratio(f"{label}: now over before", own[1], own[0])


def compare(trees: Mapping[str, Path], given: argparse.Namespace) -> str:
    """Return the page."""
    folder = given.work.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="fakesieve-bench-") as place:
        Path(place).chmod(0o755)
        with PostgresServer(Path(place) / "postgres") as server:
            migrate_database(server.url(OWNER_ROLE))
            counts = count_steps(trees, server.url(), folder)
            figures = time_steps(trees, server.url(), folder, given.rounds, given.jobs)
    load = Path("/proc/loadavg").read_text(encoding="ascii").split()[0]
    return (
        f"# What a job asks of the database\n\n{counts}\n"
        f"{given.rounds} rounds of {given.jobs} jobs, the trees in turns; load {load} on {os.cpu_count()}"
        " cores, so that only the ratios say anything.\n\n"
        f"{format_table(figures, {})}"
    )


def main() -> None:
    """Compare the trees, or be one of them."""
    parser = argparse.ArgumentParser(prog="python -m bench.round_trips", description=__doc__)
    parser.add_argument("--before", type=Path)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--jobs", type=int, default=20, help="in each round")
    parser.add_argument("--work", type=Path, default=Path(".cache/bench"), help="where clips are kept")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--name", default="now", help=argparse.SUPPRESS)
    parser.add_argument("--counts", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve(given.serve, given.name, given.work, counts=given.counts)
        return
    before = {} if given.before is None else {"before": given.before.resolve()}
    page = compare({**before, "now": ROOT}, given)
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "round_trips.md").write_text(page, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()
