"""Failures that callers of the HTTP service meet: it is killed and loses its database while they submit."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from signal import SIGKILL

import httpx2
from sqlalchemy import text
from sqlalchemy.engine import make_url

from fakesieve.embedded.ports import find_ports
from fakesieve.embedded.postgres import APP_ROLE
from fakesieve.objects import VideoRef
from fakesieve.records.tenants import create_key
from fakesieve.scopes import ALL_SCOPES
from tests.chaos.checker import Expected
from tests.chaos.driver import WAIT_S, Driver
from tests.chaos.stack import BUCKET
from tests.waiting import wait_until

ROLE = "serve"
_CALLERS = 3
_ANSWER_S = 30.0


@dataclass
class HttpCaller:
    """Submits over HTTP under a key of its own until it is told 202. Safe between threads."""

    url: str
    secret: str
    answers: Counter[int] = field(default_factory=Counter[int])  # 0 where none came

    def is_answered(self) -> bool:
        """Whether the service is there."""
        try:
            return httpx2.get(f"{self.url}/health/live", timeout=_ANSWER_S).is_success
        except httpx2.TransportError:
            return False

    def submit(self, ref: VideoRef) -> str:
        """Submit until it is acknowledged, always under the same key; return the job's id."""
        told: list[str] = []
        wait_until(lambda: told or self._ask(ref, told), lambda: dict(self.answers), every_s=0.2)
        return told[0]

    def _ask(self, ref: VideoRef, told: list[str]) -> None:
        headers = {"Authorization": f"Bearer {self.secret}", "Idempotency-Key": f"http/{ref.key}"}
        try:
            body = {"uri": f"s3://{ref.bucket}/{ref.key}"}
            answer = httpx2.post(f"{self.url}/v1/jobs", json=body, headers=headers, timeout=_ANSWER_S)
        except httpx2.TransportError:
            self.answers[0] += 1
            return
        self.answers[answer.status_code] += 1
        if answer.status_code == 202:
            told.append(answer.json()["id"])


def r34_service_killed(d: Driver, jobs: int) -> None:
    """Callers submit while the service is killed again and again, and while it cannot reach its database."""
    caller = start_service(d)
    refs = [d.upload() for _ in range(jobs)]
    over = threading.Event()
    breaker = threading.Thread(target=_break, args=(d, caller, over))
    breaker.start()
    try:
        with ThreadPoolExecutor(_CALLERS) as pool:
            told = list(pool.map(caller.submit, refs))
    finally:
        over.set()
        breaker.join()
    for job_id in told:
        d.promise(job_id, Expected("short"))
    keys = [ref.key for ref in refs]
    rows = d.ask("SELECT source_key, id FROM job WHERE source_key = ANY(:keys)", keys=keys)
    is_one_each = sorted(rows) == sorted(zip(keys, told, strict=True))
    d.note("R34 each key over HTTP is one job, the one that was told", is_one_each)
    d.note("R34 service killed under its callers", caller.answers[0] > 0)
    d.note("R34 service said 503 without its database", caller.answers[503] > 0)
    d.stack.drain(ROLE)
    d.wait_ended(*told)
    d.tell("R34 over HTTP", f"{jobs} jobs; answers {dict(sorted(caller.answers.items()))}, 0 is none")


def start_service(d: Driver) -> HttpCaller:
    """Start the HTTP service as the role ``ROLE``; return who submits there, once it answers."""
    (port,) = find_ports(1)
    caller = HttpCaller(f"http://127.0.0.1:{port}", _make_key(d))
    database = make_url(d.stack.postgres.url(APP_ROLE)).set(port=d.stack.proxies["database"].port)
    d.stack.start_role(
        ROLE,
        FAKESIEVE_API_PORT=str(port),
        FAKESIEVE_DATABASE_URL=database.render_as_string(hide_password=False),
    )
    d.wait(caller.is_answered, "the service")
    return caller


def _make_key(d: Driver) -> str:
    """Let the tenant name the bucket of the run over HTTP; return the secret of a key."""

    def work() -> str:
        with d.stack.database.transaction(tenant_id=None) as session:
            session.execute(
                text("UPDATE tenant SET places = :places WHERE id = :id"),
                {"places": [f"s3://{BUCKET}/"], "id": d.tenant_id},
            )
            return create_key(session, d.tenant_id, "chaos", ALL_SCOPES).secret

    return d.insist(work)


def _break(d: Driver, caller: HttpCaller, over: threading.Event) -> None:
    """Keep the service from its database until it has said so, and kill it; again until all is submitted."""
    proxy = d.stack.proxies["database"]
    while not over.is_set():
        unavailable, silent = caller.answers[503], caller.answers[0]
        proxy.is_refusing = True
        proxy.reset_all()
        d.comes(lambda seen=unavailable: caller.answers[503] > seen or over.is_set(), WAIT_S)
        d.stack.signal_role(ROLE, SIGKILL)
        d.comes(lambda seen=silent: caller.answers[0] > seen or over.is_set(), WAIT_S)
        proxy.is_refusing = False
        d.comes(caller.is_answered, WAIT_S)
        over.wait(d.chance.uniform(0.0, 2.0))  # some are told in this time, and some are cut off
        d.stack.signal_role(ROLE, SIGKILL)
        d.comes(caller.is_answered, WAIT_S)
