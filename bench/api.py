"""What a caller of the API waits for at a million analyses: by id, lists, filtered lists, counts.

Usage: python -m bench.api [--analyses N] [--requests N] [--writes N] [--work DIR] [--only TEXT] [--out DIR]

Asks the database that ``python -m bench.database --keep`` has filled: a real ``fakesieve serve``, a real
client over HTTP, one request at a time, each with other ids and tenants. Every question is asked on a quiet
database and again while another process stores analyses in it.
"""

import argparse
import multiprocessing
import os
import random
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Event
from pathlib import Path
from statistics import mean

import httpx2
from sqlalchemy import text

from bench.api_report import PAGE, QUIET, WRITES, Asked, write_results
from bench.database.prepare import DONE
from bench.run import RESULTS, describe_machine
from engine.backends.select import default_threads
from fakesieve.database import Database, open_database
from fakesieve.embedded.ports import find_ports
from fakesieve.embedded.postgres import APP_ROLE, OWNER_ROLE, PostgresServer
from fakesieve.records.analyses import load_analysis, store_analysis
from fakesieve.records.revision import migrate_database
from fakesieve.records.tenants import create_key
from fakesieve.records.videos import upsert_video
from fakesieve.scopes import ALL_SCOPES

BY_ID_MS, LIST_MS = 15.0, 25.0  # goals at the 99th percentile
KEY_NAME = "bench.api"
_WARM = 5
_START_S = 300.0
_TENANTS, _PICKS = 20, 2000
# For one question in one phase; a slow one is asked less often.
_SECONDS_MAX = 10.0


@dataclass(frozen=True)
class Pick:
    """What one request is about; all of it belongs to the tenant of the key."""

    key: str
    analysis_id: str
    job_id: str
    video_id: str
    moment: str


@dataclass(frozen=True)
class Question:
    """A path with its query, made from a pick."""

    name: str
    path: Callable[[Pick], str]
    query: Callable[[Pick], dict[str, str | int]] = lambda _: {}
    goal_ms: float | None = None


def list_questions() -> list[Question]:
    """Return all questions in the order of the report."""

    def ask(name: str, goal_ms: float | None = LIST_MS, **query: str | int) -> Question:
        return Question(name, lambda _: "/v1/analyses", lambda _: {"page_size": PAGE, **query}, goal_ms)

    flagged = "verdict=likely_manipulated"
    return [
        Question("analysis by id", lambda p: f"/v1/analyses/{p.analysis_id}", goal_ms=BY_ID_MS),
        Question(
            "analysis by id, whole",
            lambda p: f"/v1/analyses/{p.analysis_id}",
            lambda _: {"view": "full"},
            BY_ID_MS,
        ),
        Question("job by id", lambda p: f"/v1/jobs/{p.job_id}", goal_ms=BY_ID_MS),
        ask("analyses, newest"),
        Question(
            "analyses, a page in the middle",
            lambda _: "/v1/analyses",
            lambda p: {"page_size": PAGE, "filter": f'create_time<"{p.moment}"'},
            LIST_MS,
        ),
        ask("analyses, flagged", filter=flagged),
        ask("analyses, flagged and a forged mouth", filter=f"{flagged} AND tracks.regions.mouth>0.5"),
        ask("analyses, highest score first", order_by="score desc"),
        Question(
            "analyses of a video",
            lambda _: "/v1/analyses",
            lambda p: {"filter": f'video_id="{p.video_id}"'},
            LIST_MS,
        ),
        Question("jobs, newest", lambda _: "/v1/jobs", lambda _: {"page_size": PAGE}, LIST_MS),
        Question("counts by verdict", lambda _: "/v1/analyses:count", lambda _: {"by": "verdict"}),
        Question(
            "counts by day and verdict", lambda _: "/v1/analyses:count", lambda _: {"by": "day,verdict"}
        ),
        Question(
            "counts by verdict, flagged only",
            lambda _: "/v1/analyses:count",
            lambda _: {"by": "verdict", "filter": flagged},
        ),
    ]


@contextmanager
def serving(
    server: PostgresServer, log: Path, *, burst: int = 1_000_000, rate_per_s: float = 1e6
) -> Generator[tuple[str, int]]:
    """Run ``fakesieve serve`` as the role that sees one tenant at a time; gives address and process.

    ``burst`` and ``rate_per_s`` are the limits of each key, so high by default that nothing is refused.
    """
    (port,) = find_ports(1)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("FAKESIEVE_")}
    settings = {
        "FAKESIEVE_DATABASE_URL": server.url(APP_ROLE),
        "FAKESIEVE_BROKER_URL": "redis://127.0.0.1:1/0",
        "FAKESIEVE_BUCKET": "videos",
        "FAKESIEVE_OBJECTS_DIR": str(log.parent),
        "FAKESIEVE_API_BURST": str(burst),
        "FAKESIEVE_API_RATE_PER_S": str(rate_per_s),
        "FAKESIEVE_LOG_LEVEL": "warning",
    }
    command = [sys.executable, "-P", "-m", "fakesieve", "serve", "--port", str(port)]
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=inherited | settings, stdout=output, stderr=output)
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_until_ready(url, process, log)
        yield url, process.pid
    finally:
        process.terminate()
        process.wait()


def _wait_until_ready(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    end = time.monotonic() + _START_S
    while True:
        if process.poll() is not None or time.monotonic() > end:
            raise SystemExit(f"the API did not start; see {log}")
        try:
            if httpx2.get(f"{url}/health/ready", timeout=5).is_success:
                return
        except httpx2.TransportError:
            pass
        time.sleep(0.2)


def draw_picks(database: Database, seed: int = 1) -> list[Pick]:
    """Make a key for some tenants, and draw what is asked about from rows that there are."""
    with database.transaction(tenant_id=None) as session:
        tenants = session.scalars(
            text("SELECT id FROM tenant ORDER BY id LIMIT :count"), {"count": _TENANTS}
        ).all()
        keys = {each: create_key(session, each, KEY_NAME, ALL_SCOPES).secret for each in tenants}
        rows = session.execute(
            text(
                "SELECT tenant_id, analysis_id, id, video_id, create_time FROM job TABLESAMPLE SYSTEM (1)"
                " WHERE analysis_id IS NOT NULL AND tenant_id = ANY(:tenants) LIMIT :count"
            ),
            {"tenants": list(tenants), "count": 20 * _PICKS},
        ).all()
    by_tenant: dict[str, list[Pick]] = {}
    for tenant_id, analysis_id, job_id, video_id, moment in rows:
        pick = Pick(keys[tenant_id], analysis_id, job_id, video_id, f"{moment:%Y-%m-%dT%H:%M:%SZ}")
        by_tenant.setdefault(tenant_id, []).append(pick)
    rng = random.Random(seed)
    # Tenants come equally often, whatever their size.
    return [rng.choice(by_tenant[rng.choice(list(by_tenant))]) for _ in range(_PICKS)]


def read_cpu_s(pid: int) -> float:
    """Return the processor time that a process has used, all its threads together."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def remove_keys(database: Database) -> None:
    """Remove the keys that were made."""
    with database.transaction(tenant_id=None) as session:
        session.execute(text("DELETE FROM api_key WHERE name = :name"), {"name": KEY_NAME})


@dataclass
class Writes:
    """What the process beside has written; counts are shared with it."""

    count: "Synchronized[int]"
    is_over: Event


@contextmanager
def writing(url: str, per_s: float) -> Generator[Writes]:
    """Let another process store analyses during the block, at most so many a second."""
    context = multiprocessing.get_context("spawn")
    writes = Writes(context.Value("q", 0), context.Event())
    process = context.Process(target=store_copies, args=(url, per_s, writes.count, writes.is_over))
    process.start()
    try:
        while writes.count.value == 0:
            if not process.is_alive():
                raise SystemExit("nothing can be written; see above")
            time.sleep(0.1)
        yield writes
    finally:
        writes.is_over.set()
        process.join()


def store_copies(
    url: str,
    per_s: float,
    count: "Synchronized[int]",
    is_over: Event,
) -> None:
    """Store analyses that there are under new videos, one to a transaction, until it is over."""
    with closing(open_database(url, connections_max=1)) as database:
        with database.transaction(tenant_id=None) as session:
            found = session.execute(
                text("SELECT tenant_id, analysis_id FROM patch_map TABLESAMPLE SYSTEM (0.1) LIMIT 50")
            ).all()
            records = [load_analysis(session, analysis_id) for _, analysis_id in found]
        due = time.monotonic()
        while not is_over.is_set():
            due = max(due + 1 / per_s, time.monotonic() - 1)
            time.sleep(max(0.0, due - time.monotonic()))
            record = records[count.value % len(records)]
            assert record is not None
            with database.transaction(tenant_id=record.tenant_id) as session:
                video_id = upsert_video(
                    session,
                    tenant_id=record.tenant_id,
                    sha256=secrets.token_hex(32),
                    size_bytes=1000,
                    media={"v": 1, "kind": "video"},
                )
                store_analysis(session, replace(record, video_id=video_id))
            with count.get_lock():
                count.value += 1


class Asking:
    """Sends the questions, one at a time over one connection, as a program would."""

    def __init__(self, url: str, api_pid: int, picks: Sequence[Pick], requests: int) -> None:
        self._url, self._api_pid, self._picks, self._requests = url, api_pid, picks, requests

    def ask(self, question: Question, phase: str, writes: Writes | None) -> Asked:
        """Return the times of one question. Raises SystemExit where an answer is a refusal."""
        times, loads = list[float](), list[float]()
        with httpx2.Client(timeout=60) as client:
            for pick in self._picks[:_WARM]:
                self._send(client, question, pick)
            begun, before = time.perf_counter(), 0 if writes is None else writes.count.value
            api_s = read_cpu_s(self._api_pid)
            for pick in self._picks[_WARM : _WARM + self._requests]:
                times.append(self._send(client, question, pick))
                loads.append(os.getloadavg()[0])
                if time.perf_counter() - begun > _SECONDS_MAX:
                    break
        api_ms = (read_cpu_s(self._api_pid) - api_s) * 1000 / len(times)
        written = 0 if writes is None else writes.count.value - before
        rate = written / (time.perf_counter() - begun)
        return Asked(question.name, phase, question.goal_ms, tuple(times), mean(loads), rate, api_ms)

    def _send(self, client: httpx2.Client, question: Question, pick: Pick) -> float:
        begun = time.perf_counter()
        answer = client.get(
            self._url + question.path(pick),
            params=question.query(pick),
            headers={"Authorization": f"Bearer {pick.key}"},
        )
        spent_ms = (time.perf_counter() - begun) * 1000
        if not answer.is_success:
            raise SystemExit(f"{question.name}: {answer.status_code} {answer.text[:500]}")
        return spent_ms


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.api", description=__doc__)
    parser.add_argument("--analyses", type=int, default=1_000_000, help="which filled database")
    parser.add_argument("--requests", type=int, default=300, help="for each question")
    parser.add_argument("--writes", type=float, default=20.0, help="analyses stored a second, at most")
    parser.add_argument(
        "--only", default="", help="questions with this text in their name; writes no results"
    )
    parser.add_argument("--note", default="", help="a sentence about the machine, kept with the results")
    parser.add_argument("--work", type=Path, default=Path(".cache/bench"))
    parser.add_argument("--out", type=Path, default=RESULTS)
    return parser.parse_args(arguments)


def find_filled(given: argparse.Namespace) -> Path:
    """Return the folder of the filled database that the arguments name. Raises SystemExit without one."""
    folder = given.work.resolve() / f"database-{given.analyses}"
    if not (folder / DONE).exists():
        raise SystemExit(
            f"{folder} is not filled; python -m bench.database --keep --analyses {given.analyses}"
        )
    return folder


def main(arguments: Sequence[str]) -> None:
    """Ask, write and tell."""
    given = parse_arguments(arguments)
    folder = find_filled(given)
    machine = describe_machine(default_threads())
    questions = [each for each in list_questions() if given.only in each.name]
    asked = list[Asked]()
    with PostgresServer(folder / "postgres") as server:
        migrate_database(server.url(OWNER_ROLE))
        with (
            closing(open_database(server.url(), connections_max=2)) as fleet,
            serving(server, folder / "api.log") as (url, api_pid),
        ):
            asking = Asking(url, api_pid, draw_picks(fleet), given.requests)
            try:
                asked += [_tell(asking.ask(each, QUIET, None)) for each in questions]
                with writing(server.url(), given.writes) as writes:
                    asked += [_tell(asking.ask(each, WRITES, writes)) for each in questions]
            finally:
                remove_keys(fleet)
    if not given.only:
        write_results(given.out, machine, given.note, asked, given.analyses)


def _tell(asked: Asked) -> Asked:
    times = f"{asked.p50_ms:9.2f} {asked.p99_ms:9.2f} ms {len(asked.times_ms):4} times"
    work = (
        f"{asked.api_cpu_ms:6.1f} ms of the API, {asked.writes_per_s:4.1f} writes/s, load {asked.load:4.1f}"
    )
    print(f"{times}  {work}  {asked.phase}  {asked.name}", file=sys.stderr, flush=True)
    return asked


if __name__ == "__main__":
    main(sys.argv[1:])
