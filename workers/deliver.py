"""The sender of webhooks: takes events to the receivers that want them. Any number may run beside it.

Nothing is kept in memory but what is on its way this moment: a sender that dies leaves leases behind, which
run out, and another one sends those messages again under the same ids.
"""

import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Self

from sqlalchemy.orm import Session

from fakesieve.database import Database
from fakesieve.logging import get_logger
from fakesieve.values.webhooks import DeliveryState
from fakesieve.webhooks.deliveries import (
    DeliveryClaim,
    SendResult,
    claim_deliveries,
    finish_delivery,
)
from fakesieve.webhooks.events import write_payload
from fakesieve.webhooks.publish import STEP_ROWS, publish_events, purge_events, take_job_events
from fakesieve.webhooks.sign import sign_message
from workers.webhook_post import PostRules, post_message

_log = get_logger(__name__)

PURGE_S = 3_600.0
WAIT_S = 1.0


@dataclass(frozen=True)
class SenderRules:
    """How many messages are on their way at once: all in all, of one tenant, and to one receiver."""

    threads: int = 8
    per_tenant: int = 6
    per_endpoint: int = 2
    lease_margin_s: float = 30.0  # what a lease lasts beyond the talk: the look-up of the name, and some

    def __post_init__(self) -> None:
        shares = (self.per_endpoint, self.per_tenant)
        if min(shares) < 1 or self.per_endpoint > self.threads or self.lease_margin_s <= 0:
            raise ValueError("a sender has threads, a share for each tenant and each receiver, and a lease")


class Sender:
    """One sender; use it as a context. ``take_turn`` is called over and over."""

    def __init__(self, database: Database, post: PostRules, rules: SenderRules | None = None) -> None:
        self._database, self._post, self._rules = database, post, rules or SenderRules()
        self._pool = ThreadPoolExecutor(self._rules.threads, thread_name_prefix="webhook")
        self._busy: set[Future[None]] = set()
        self._purge_due_s = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown()

    def take_turn(self) -> bool:
        """Publish what is due, begin to send what is due, and say whether there was anything.

        It does not wait for receivers: a slow one holds the threads that it has and nobody else's. Raises
        Unavailable, also for what could not be written down of a message that was sent.
        """
        run = self._database.run_transaction
        moved = run(take_job_events, tenant_id=None)
        published = run(publish_events, tenant_id=None)
        claims = run(self._claim, tenant_id=None) if self._count_free() else []
        self._busy |= {self._pool.submit(self._send, claim) for claim in claims}
        self._purge()
        if not self._count_free():
            wait(self._busy, WAIT_S, FIRST_COMPLETED)
        return bool(claims) or STEP_ROWS in (moved, published)

    def finish(self) -> None:
        """Wait for what is on its way."""
        wait(self._busy)
        self._count_free()

    def _count_free(self) -> int:
        """Return how many threads have nothing to do. Raises what went wrong in those that ended."""
        ended = {future for future in self._busy if future.done()}
        self._busy -= ended
        for future in ended:
            future.result()
        return self._rules.threads - len(self._busy)

    def _claim(self, session: Session) -> list[DeliveryClaim]:
        return claim_deliveries(
            session,
            limit=self._count_free(),
            per_endpoint=self._rules.per_endpoint,
            per_tenant=self._rules.per_tenant,
            lease_s=self._post.total_s + self._rules.lease_margin_s,
        )

    def _send(self, claim: DeliveryClaim) -> None:
        body = write_payload(claim.event_type, claim.event_time, claim.data)
        headers = sign_message(claim.secrets, claim.event_id, int(time.time()), body)
        result = post_message(claim.url, headers, body, self._post)
        state = self._database.run_transaction(
            lambda session: finish_delivery(session, claim, result), tenant_id=None
        )
        self._tell(claim, result, state)

    def _tell(self, claim: DeliveryClaim, result: SendResult, state: DeliveryState | None) -> None:
        # Not the URL: receivers put tokens into its query.
        _log.info(
            "webhook.tried",
            delivery=claim.delivery_id,
            endpoint=claim.endpoint_id,
            attempt=claim.attempt,
            status=result.status,
            fault=result.fault,
            duration_ms=result.duration_ms,
            state=state or "stale",
        )

    def _purge(self) -> None:
        if time.monotonic() < self._purge_due_s:
            return
        self._purge_due_s = time.monotonic() + PURGE_S
        while self._database.run_transaction(purge_events, tenant_id=None) == STEP_ROWS:
            pass
