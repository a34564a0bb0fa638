"""``fakesieve demo-fleet``: the two clips of the demonstration through a whole fleet, compared with scan."""

import json
import os
import secrets
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, cast

import typer
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from fakesieve.cli.up import StopAsked, StopSignals
from fakesieve.database import open_database
from fakesieve.embedded.fleet import TENANT, name_command
from fakesieve.embedded.run_folder import RunFolder
from fakesieve.errors import RequestRefused, Unavailable
from fakesieve.people.accounts import change_password, create_user, find_tenant, list_users
from fakesieve.reasons import Reason
from fakesieve.records.jobs import Job
from fakesieve.reviews.fill import fill_queue
from fakesieve.reviews.queues import create_queue, list_queues
from fakesieve.values.people import UserRole
from fakesieve.values.reviews import QueueDraft, QueueOrder, QueueRule

CLIPS = ("WolfgangLanger_Pexels.mp4", "WolfgangLanger_forged.mp4")
# Documents have six places. The last one may be rounded up here and down there: of scores in other batches.
TOLERANCE = 1.5e-6
EMAIL, QUEUE = "demo@example.com", QueueDraft("everything", QueueRule(), QueueOrder.HIGHEST_SCORE)
_ACTOR = "command"
_COMMAND_S = 900.0
QUESTION = """\
SELECT regexp_replace(j.source_key, '.*/', '') AS file, a.outcome,
       round(a.score_raw::numeric, 4) AS score, v.value AS verdict,
       round(s.start_us / 1e6, 1) AS from_s, round(s.end_us / 1e6, 1) AS to_s, s.regions
FROM job j
JOIN analysis a ON a.id = j.analysis_id
JOIN verdict v ON v.analysis_id = a.id
LEFT JOIN segment s ON s.analysis_id = a.id AND s.kind = 'suspicious'
ORDER BY j.id, s.position"""

Json = dict[str, object]


@dataclass(frozen=True)
class Shell:
    """Runs commands of fakesieve as a person would, and shows them."""

    environment: Mapping[str, str]
    hold: Callable[[], AbstractContextManager[None]] = nullcontext
    """Keeps signals from coming between the start of a command and the note of it."""

    def run(self, *arguments: str, accepted: tuple[int, ...] = (0,), is_apart: bool = False) -> str:
        """Return what the command printed. One that is apart hears nothing of a Ctrl-C in the terminal.

        Where it ends with another status, so does this one, with what the command said of it. Raises
        Unavailable where it said nothing.
        """
        typer.echo(f"$ fakesieve {shlex.join(arguments)}", err=True)
        done = self._finish(arguments, is_apart=is_apart)
        if done.returncode not in accepted:
            if "\nhint: " in done.stderr:
                typer.echo(done.stderr, nl=False, err=True)
                raise typer.Exit(done.returncode)
            raise Unavailable(
                Reason.INTERNAL,
                f"'fakesieve {arguments[0]}' ended with {done.returncode}: {done.stderr.strip()[-500:]}",
                "run 'fakesieve doctor', and see the lines above",
            )
        return done.stdout

    def _finish(self, arguments: Sequence[str], *, is_apart: bool) -> "subprocess.CompletedProcess[str]":
        """Run a command to its end. An interruption asks it to end and waits: killed it could end nothing."""
        process: subprocess.Popen[str] | None = None
        try:
            with self.hold(), _unheard_interruptions() if is_apart else nullcontext():
                process = subprocess.Popen(
                    (*name_command(), *arguments),
                    env=dict(self.environment),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    start_new_session=is_apart,
                )
            out, err = process.communicate(timeout=_COMMAND_S)
        except BaseException:
            if process is not None:
                process.terminate()
                process.communicate()
            raise
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@contextmanager
def _unheard_interruptions() -> Generator[None]:
    """Let Ctrl-C and the terminal's end pass unheard by this program and by all that it starts meanwhile.

    A new process belongs to the terminal until it has made its own session: a signal in that moment ends it.
    """
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def demo_fleet(
    *,
    out: Annotated[Path, typer.Option(help="Folder of 'fakesieve demo' with its clips.")] = Path("demo-out"),
    model: Annotated[
        str | None, typer.Option(help="A name from 'fakesieve model list', or a folder.")
    ] = None,
    keep: Annotated[
        Path | None,
        typer.Option(metavar="D", help="Leave the fleet running in this folder, to look at in the browser."),
    ] = None,
) -> None:
    """Send the two clips of the demonstration through S3, queue, worker and database, and compare with scan.

    Starts servers and processes in a temporary folder and ends all of them. Needs the extra stack. With
    --keep the fleet goes on instead, and what is printed at the end is where to see the forged clip.
    """
    clips = [out / "clips" / name for name in CLIPS]
    missing = [str(clip) for clip in clips if not clip.is_file()]
    if missing:
        raise RequestRefused(
            Reason.SOURCE_NOT_FOUND, f"{missing[0]} is missing", f"make it first: fakesieve demo --out {out}"
        )
    chosen = {} if model is None else {"FAKESIEVE_MODEL": model}
    with start_fleet(chosen, keep) as environment:
        shell = Shell(environment)
        submitted = _read_lines(shell.run("submit", *map(str, clips), "--json"))
        jobs = [str(line["job_id"]) for line in submitted]
        typer.echo(shell.run("watch", *jobs, accepted=(0, 3)), nl=False)
        found = [
            cast("Json", json.loads(shell.run("results", "show", job, "--json", accepted=(0, 3))))
            for job in jobs
        ]
        typer.echo(ask(environment["FAKESIEVE_DATABASE_URL"]))
        invitation = None if keep is None else invite(environment, keep, found[-1])
    options = ["--json"] if model is None else ["--json", "--model", model]
    answer = Shell(os.environ).run("scan", *map(str, clips), *options, accepted=(0, 3))
    scanned = cast("list[Json]", json.loads(answer))
    difference = max(compare(one, other) for one, other in zip(found, scanned, strict=True))
    if difference > TOLERANCE:
        raise Unavailable(
            Reason.INTERNAL,
            f"scores of fleet and scan differ by {difference:.2e}, more than {TOLERANCE:g}",
            "this is a fault of fakesieve: please report it",
        )
    typer.echo(f"the fleet's scores are those of scan: largest difference {difference:.1e}")
    typer.echo(invitation or "see it in the browser: fakesieve demo-fleet --keep fleet")


@contextmanager
def start_fleet(settings: Mapping[str, str], keep: Path | None = None) -> Generator[dict[str, str]]:
    """Run a fleet during the block; gives the environment that reaches it.

    It runs in a temporary folder, or in ``keep``, where it goes on after the block unless that failed.
    ``settings`` are variables FAKESIEVE_* that the fleet is to have. Ctrl-C, SIGTERM and SIGHUP end the fleet
    and the command, whenever they come.
    """
    signals = StopSignals()
    shell = Shell({**os.environ, **settings}, signals.hold)
    try:
        with signals.listen(), _open_place(signals, keep) as place:
            folder = RunFolder(place / "fleet" if keep is None else place)
            folder.check_free()  # what runs from now on is ours to end
            with _run_fleet(shell, folder, signals, is_kept=keep is not None):
                yield dict(os.environ) | folder.read_environment()
    except StopAsked as asked:
        raise typer.Exit(asked.exit_code) from None


@contextmanager
def _open_place(signals: StopSignals, keep: Path | None) -> Generator[Path]:
    """Give the folder that is to be kept, or a temporary one, which is removed after the block."""
    if keep is not None:
        yield keep.resolve()
        return
    place: Path | None = None
    try:
        with signals.hold():
            place = Path(tempfile.mkdtemp(prefix="fakesieve-demo-"))
        if os.geteuid() == 0:
            place.chmod(0o755)  # Postgres does not run as root, and must enter its folder
        yield place
    finally:
        if place is not None:
            shutil.rmtree(place, ignore_errors=True)


@contextmanager
def _run_fleet(shell: Shell, folder: RunFolder, signals: StopSignals, *, is_kept: bool) -> Generator[None]:
    """Run a fleet during the block; it goes on afterwards where it is kept and nothing failed."""
    is_to_end = True
    try:
        try:
            shell.run("up", "--dir", str(folder.path), "--detach")
        except (typer.Exit, Unavailable):
            is_to_end = False  # it has ended what it had begun, and said why
            raise
        yield
        is_to_end = not is_kept
    finally:
        # Nested: the first signal may come in this very moment. Later ones change nothing.
        try:
            signals.begin_stop()
        finally:
            if is_to_end:
                shell.run("down", "--dir", str(folder.path), is_apart=True)


def invite(environment: Mapping[str, str], folder: Path, forged: Json) -> str:
    """Make an account and a queue, and return where to look and how to sign in, as text.

    ``forged`` is the document of the job whose page is shown.
    """
    password = secrets.token_urlsafe(12)
    database = open_database(environment["FAKESIEVE_DATABASE_URL"], connections_max=1)
    try:
        with database.transaction(tenant_id=None) as session:
            tenant_id = find_tenant(session, TENANT)
            _open_account(session, tenant_id, password)
        with database.transaction(tenant_id=tenant_id) as session:
            job_id = str(cast("Json", forged["job"])["id"])
            analysis_id = session.scalars(select(Job.analysis_id).where(Job.id == job_id)).one()
            there = next((queue for queue in list_queues(session) if queue.name == QUEUE.name), None)
            # Filled, so that the page offers to decide at once.
            fill_queue(session, there or create_queue(session, tenant_id, QUEUE, actor=_ACTOR))
    finally:
        database.close()
    return f"""
The fleet goes on in {folder}; end it: fakesieve down --dir {shlex.quote(str(folder))}

See the forged clip in the browser:
  {environment["FAKESIEVE_API_URL"]}/r/{analysis_id}

Sign in as
  organisation  {TENANT}
  e-mail        {EMAIL}
  password      {password}"""


def _open_account(session: Session, tenant_id: str, password: str) -> None:
    """Make the account of the demonstration, or give the one that is there the password."""
    if any(person.email == EMAIL for person in list_users(session, tenant_id)):
        change_password(session, tenant_id, EMAIL, password, actor=_ACTOR)
        return
    create_user(
        session,
        tenant_id,
        email=EMAIL,
        name="Demo",
        role=UserRole.ADMIN,
        password=password,
        actor=_ACTOR,
    )


def ask(database_url: str) -> str:
    """Return the answer of the database to a question about all suspicious spans, as text."""
    database = open_database(database_url, connections_max=1)
    try:
        with database.transaction(tenant_id=None) as session:
            answer = session.execute(text(QUESTION))
            rows = [tuple(answer.keys()), *(tuple(row) for row in answer)]
    finally:
        database.close()
    return (
        QUESTION
        + "\n\n"
        + "\n".join(" | ".join("–" if each is None else str(each) for each in row) for row in rows)
    )


def compare(one: Json, other: Json) -> float:
    """Return the largest difference between the scores of two documents, infinite where they tell apart."""
    ours, theirs = list_scores(one), list_scores(other)
    if len(ours) != len(theirs):
        return float("inf")
    pairs = zip(ours, theirs, strict=True)
    return max(
        (float("inf") if (a is None) != (b is None) else abs((a or 0) - (b or 0)) for a, b in pairs),
        default=0.0,
    )


def list_scores(document: Json) -> list[float | None]:
    """Return the score of the video, of its faces and of each face in each frame, in the document's order."""
    score = cast("Mapping[str, float | None]", document["score"])
    scores = [score["raw"], score["calibrated"]]
    for track in cast("list[Mapping[str, object]]", document["tracks"]):
        scores.append(cast("float | None", track["score"]))
        scores += [
            cast("float | None", frame["score"])
            for frame in cast("list[Mapping[str, object]]", track["frames"])
        ]
    return scores


def _read_lines(output: str) -> list[Json]:
    return [cast("Json", json.loads(line)) for line in output.splitlines()]
