"""From an event to a receiver: once by the books, at least once on the wire, always under the same id."""

import json
import secrets
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from sqlalchemy import text
from standardwebhooks.webhooks import Webhook

from fakesieve.database import Database
from fakesieve.errors import RequestRefused
from fakesieve.records.audit import list_audit
from fakesieve.values.webhooks import AttemptFault, DeliveryState, DisableReason, EndpointDraft, EventType
from fakesieve.webhooks.addresses import AddressRules
from fakesieve.webhooks.deliveries import SendResult, claim_deliveries, finish_delivery, redeliver
from fakesieve.webhooks.endpoints import (
    create_endpoint,
    disable_endpoint,
    enable_endpoint,
    load_endpoint,
    rotate_secret,
)
from fakesieve.webhooks.events import record_event, record_events, withdraw_event
from fakesieve.webhooks.log import DeliveryLine, list_deliveries, send_test
from fakesieve.webhooks.publish import publish_events, purge_events, take_job_events
from tests.factories import make_tenant
from tests.receivers import LOCAL_NETWORKS, Receiver, receiving
from tests.waiting import PATIENCE_S, wait_until
from workers.deliver import Sender, SenderRules
from workers.webhook_post import PostRules

LOCAL = AddressRules.allow(LOCAL_NETWORKS)
PATIENT = PostRules(LOCAL, PATIENCE_S, PATIENCE_S)


@dataclass
class Post:
    """A tenant with one endpoint, a receiver behind it, and a sender."""

    database: Database
    tenant_id: str
    endpoint_id: str
    secret: str
    receiver: Receiver
    sender: Sender

    def happen(self, kind: EventType = EventType.REVIEW_DECIDED, **data: object) -> None:
        with self.database.transaction(tenant_id=self.tenant_id) as session:
            record_event(session, self.tenant_id, kind, data)

    def send(self) -> None:
        self.sender.take_turn()
        self.sender.finish()

    def lines(self) -> list[DeliveryLine]:
        with self.database.transaction(tenant_id=self.tenant_id) as session:
            return list_deliveries(session)

    def run(self, statement: str) -> None:
        with self.database.transaction(tenant_id=self.tenant_id) as session:
            session.execute(text(statement))


@pytest.fixture
def post(module_database: Database) -> Iterator[Post]:
    tenant_id = make_tenant(module_database, f"tenant {secrets.token_hex(6)}")
    with receiving() as receiver, Sender(module_database, PATIENT) as sender:
        with module_database.transaction(tenant_id=tenant_id) as session:
            made = create_endpoint(session, tenant_id, "key_a", EndpointDraft(receiver.url), LOCAL)
        yield Post(module_database, tenant_id, made.endpoint.id, made.secret, receiver, sender)
        with module_database.transaction(tenant_id=tenant_id) as session:
            session.execute(text("DELETE FROM webhook_endpoint"))


def test_an_event_reaches_the_receiver_and_verifies(post: Post) -> None:
    post.happen(review_id="rev_1")
    post.send()
    (message,) = post.receiver.messages
    payload = Webhook(post.secret).verify(message.body, dict(message.headers))
    assert (payload["type"], payload["data"]) == ("review.decided", {"review_id": "rev_1"})
    (line,) = post.lines()
    assert (line.delivery.state, line.delivery.attempts, line.delivery.last_status) == (
        DeliveryState.SUCCEEDED,
        1,
        204,
    )
    post.send()
    assert len(post.receiver.messages) == 1


def test_a_failed_try_is_made_again_under_the_same_id(post: Post) -> None:
    post.receiver.statuses = [500, 200]
    post.happen()
    post.send()
    (line,) = post.lines()
    assert (line.delivery.state, line.attempts[0].status, line.attempts[0].fault) == (
        DeliveryState.PENDING,
        500,
        AttemptFault.STATUS,
    )
    post.run("UPDATE webhook_delivery SET due_time = due_time + interval '1 h'")
    post.send()
    assert len(post.receiver.messages) == 1  # not before it is due
    post.run("UPDATE webhook_delivery SET due_time = now()")
    post.send()
    first, second = post.receiver.messages
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body
    assert [attempt.status for attempt in post.lines()[0].attempts] == [500, 200]


def test_the_first_repeat_comes_after_five_seconds(post: Post) -> None:
    post.receiver.statuses = [500]
    post.happen()
    post.send()
    (line,) = post.lines()
    due = line.delivery.due_time - line.attempts[0].start_time
    assert 4 <= due.total_seconds() <= 30  # and the time that the try itself took


def test_after_the_last_try_a_delivery_has_failed_and_can_be_sent_by_hand(post: Post) -> None:
    post.receiver.statuses = [500, 200]
    post.happen()
    with post.database.transaction(tenant_id=post.tenant_id) as session:
        publish_events(session)
        session.execute(text("UPDATE webhook_delivery SET tries_left = 1"))
    post.send()
    (line,) = post.lines()
    assert line.delivery.state is DeliveryState.FAILED
    with post.database.transaction(tenant_id=post.tenant_id) as session:
        assert redeliver(session, line.delivery.id)
        assert not redeliver(session, line.delivery.id)  # it is on its way
    post.send()
    assert post.lines()[0].delivery.state is DeliveryState.SUCCEEDED
    assert len({message.headers["webhook-id"] for message in post.receiver.messages}) == 1


def test_while_secrets_overlap_both_verify(post: Post) -> None:
    with post.database.transaction(tenant_id=post.tenant_id) as session:
        new = rotate_secret(session, post.endpoint_id, "key_a", overlap_s=3600)
    post.happen()
    post.send()
    (message,) = post.receiver.messages
    for secret in (post.secret, new):
        assert Webhook(secret).verify(message.body, dict(message.headers))["type"] == "review.decided"


def test_after_the_overlap_only_the_new_secret_signs(post: Post) -> None:
    with post.database.transaction(tenant_id=post.tenant_id) as session:
        new = rotate_secret(session, post.endpoint_id, "key_a", overlap_s=0)
    post.happen()
    post.send()
    (message,) = post.receiver.messages
    assert len(message.headers["webhook-signature"].split()) == 1
    assert Webhook(new).verify(message.body, dict(message.headers))


def test_a_receiver_that_is_gone_is_told_nothing_more(post: Post) -> None:
    post.receiver.statuses = [410]
    post.happen()
    post.send()
    post.happen()
    post.send()
    with post.database.transaction(tenant_id=post.tenant_id) as session:
        endpoint = load_endpoint(session, post.endpoint_id)
        assert (endpoint.is_enabled, endpoint.disable_reason) == (False, DisableReason.GONE)
        assert list_audit(session)[0].action == "webhook.disabled"
    assert len(post.receiver.messages) == 1


def test_an_endpoint_that_fails_for_days_is_switched_off(post: Post) -> None:
    post.receiver.statuses = [500]
    post.happen()
    with post.database.transaction(tenant_id=post.tenant_id) as session:
        publish_events(session)
        session.execute(text("UPDATE webhook_delivery SET tries_left = 1"))
        session.execute(text("UPDATE webhook_endpoint SET failing_since = now() - interval '4 days'"))
    post.send()
    with post.database.transaction(tenant_id=post.tenant_id) as session:
        assert load_endpoint(session, post.endpoint_id).disable_reason is DisableReason.FAILING


def test_what_arrives_ends_a_time_of_failing(post: Post) -> None:
    post.run("UPDATE webhook_endpoint SET failing_since = now() - interval '4 days'")
    post.happen()
    post.send()
    with post.database.transaction(tenant_id=post.tenant_id) as session:
        assert load_endpoint(session, post.endpoint_id).failing_since is None


def test_what_a_dead_sender_had_is_sent_again_and_its_try_is_lost(post: Post) -> None:
    post.happen()
    with post.database.transaction(tenant_id=None) as session:
        publish_events(session)
        (claim,) = claim_deliveries(session, limit=8, per_endpoint=2, per_tenant=8, lease_s=60)
    post.send()
    assert post.receiver.messages == []  # it is somebody's
    post.run("UPDATE webhook_delivery SET lease_until = now() - interval '1 s' WHERE state = 'leased'")
    post.send()
    (line,) = post.lines()
    assert [(attempt.fault, attempt.status) for attempt in line.attempts] == [
        (AttemptFault.LOST, None),
        (None, 204),
    ]
    assert post.receiver.messages[0].headers["webhook-id"] == claim.event_id


def test_a_sender_that_was_overtaken_writes_nothing(post: Post) -> None:
    post.happen()
    with post.database.transaction(tenant_id=None) as session:
        publish_events(session)
        (late,) = claim_deliveries(session, limit=8, per_endpoint=2, per_tenant=8, lease_s=60)
    post.run("UPDATE webhook_delivery SET lease_until = now() - interval '1 s' WHERE state = 'leased'")
    post.send()
    with post.database.transaction(tenant_id=None) as session:
        assert finish_delivery(session, late, SendResult(500, AttemptFault.STATUS, 1)) is None
    assert post.lines()[0].delivery.state is DeliveryState.SUCCEEDED


def test_of_two_senders_each_takes_its_own(post: Post) -> None:
    with post.database.transaction(tenant_id=post.tenant_id) as session:
        record_events(session, post.tenant_id, EventType.TEST, [{"n": n} for n in range(4)])
    with post.database.transaction(tenant_id=None) as session:
        publish_events(session)
    with (
        post.database.transaction(tenant_id=None) as one,
        post.database.transaction(tenant_id=None) as other,
    ):
        mine = claim_deliveries(one, limit=2, per_endpoint=4, per_tenant=8, lease_s=60)
        theirs = claim_deliveries(other, limit=4, per_endpoint=4, per_tenant=8, lease_s=60)
    ids = [claim.delivery_id for claim in (*mine, *theirs)]
    assert len(ids) == len(set(ids))
    assert len(mine) == 2


def test_a_receiver_has_at_most_two_messages_at_once(post: Post) -> None:
    with post.database.transaction(tenant_id=post.tenant_id) as session:
        record_events(session, post.tenant_id, EventType.TEST, [{"n": n} for n in range(5)])
    with post.database.transaction(tenant_id=None) as session:
        publish_events(session)
        assert len(claim_deliveries(session, limit=8, per_endpoint=2, per_tenant=8, lease_s=60)) == 2
        assert claim_deliveries(session, limit=8, per_endpoint=2, per_tenant=8, lease_s=60) == []


def test_an_endpoint_is_told_only_of_what_it_wants(post: Post) -> None:
    post.run("UPDATE webhook_endpoint SET event_types = '{video.purged}'")
    post.happen(EventType.REVIEW_DECIDED)
    post.happen(EventType.VIDEO_PURGED, video_id="vid_1")
    post.send()
    assert [json.loads(message.body)["type"] for message in post.receiver.messages] == ["video.purged"]


def test_a_tenant_is_told_of_its_own_events_alone(post: Post, module_database: Database) -> None:
    other = make_tenant(module_database, f"tenant {secrets.token_hex(6)}")
    with module_database.transaction(tenant_id=other) as session:
        record_event(session, other, EventType.TEST, {})
    post.send()
    assert post.receiver.messages == []


def test_an_event_waits_for_its_time_and_can_be_withdrawn(post: Post) -> None:
    with post.database.transaction(tenant_id=post.tenant_id) as session:
        record_event(session, post.tenant_id, EventType.TEST, {"decision_id": "dec_1"}, delay_s=60)
    post.send()
    assert post.receiver.messages == []
    with post.database.transaction(tenant_id=post.tenant_id) as session:
        assert withdraw_event(session, "decision_id", "dec_1")
        assert not withdraw_event(session, "decision_id", "dec_1")


def test_a_test_event_goes_to_one_endpoint_and_is_tried_once(post: Post) -> None:
    post.receiver.statuses = [500]
    with post.database.transaction(tenant_id=post.tenant_id) as session:
        send_test(session, post.tenant_id, post.endpoint_id)
    post.send()
    assert json.loads(post.receiver.messages[0].body)["type"] == "webhook.test"
    assert post.lines()[0].delivery.state is DeliveryState.FAILED


def test_a_disabled_endpoint_gets_nothing_until_it_is_enabled(post: Post) -> None:
    post.happen()
    with post.database.transaction(tenant_id=post.tenant_id) as session:
        publish_events(session)
        disable_endpoint(session, post.endpoint_id, "key_a")
        with pytest.raises(RequestRefused, match="switched off"):
            send_test(session, post.tenant_id, post.endpoint_id)
    post.send()
    assert post.receiver.messages == []
    assert post.lines()[0].delivery.state is DeliveryState.FAILED
    with post.database.transaction(tenant_id=post.tenant_id) as session:
        enable_endpoint(session, post.endpoint_id, "key_a")
    post.happen()
    post.send()
    assert len(post.receiver.messages) == 1


JOB_EVENT = text("""
WITH made AS (
    INSERT INTO job (id, tenant_id, lane, state, source_kind, source_bucket, source_key, request_hash,
                     time_limit_ms, deadline, end_time, error_reason)
    VALUES (:id, :tenant, 'bulk', 'failed', 'api', 'videos', 'clip.mp4', 'x', 1000, now(), now(), 'EMPTY')
    RETURNING id
)
INSERT INTO outbox (tenant_id, topic, job_id, lane, payload)
SELECT :tenant, 'job.failed', made.id, 'bulk', jsonb_build_object('job_id', made.id) FROM made
""")


def test_what_a_job_announced_is_told(post: Post) -> None:
    job_id = f"job_{secrets.token_hex(4)}"
    with post.database.transaction(tenant_id=post.tenant_id) as session:
        session.execute(JOB_EVENT, {"id": job_id, "tenant": post.tenant_id})
    post.send()
    payload = json.loads(post.receiver.messages[0].body)
    assert (payload["type"], payload["data"]) == ("job.failed", {"job_id": job_id})


def test_where_nobody_listens_announcements_leave_the_outbox_and_become_nothing(database: Database) -> None:
    tenant_id = make_tenant(database)
    with database.transaction(tenant_id=tenant_id) as session:
        session.execute(JOB_EVENT, {"id": "job_1", "tenant": tenant_id})
    with database.transaction(tenant_id=None) as session:
        assert take_job_events(session) == 1
        assert take_job_events(session) == 0
        assert session.scalar(text("SELECT count(*) FROM event")) == 0


def test_old_events_leave_with_their_log_and_open_ones_stay(post: Post) -> None:
    post.happen(n=1)
    post.send()
    post.receiver.statuses = [500]
    post.happen(n=2)
    post.send()
    post.run("UPDATE event SET create_time = now() - interval '15 days'")
    with post.database.transaction(tenant_id=post.tenant_id) as session:
        assert purge_events(session) == 1
    assert [line.delivery.state for line in post.lines()] == [DeliveryState.PENDING]


def test_a_slow_receiver_keeps_nobody_from_theirs(post: Post) -> None:
    with receiving() as quick:
        with post.database.transaction(tenant_id=post.tenant_id) as session:
            create_endpoint(session, post.tenant_id, "key_a", EndpointDraft(quick.url), LOCAL)
        post.receiver.pause = threading.Event()
        with Sender(post.database, PATIENT, SenderRules(threads=3, per_endpoint=1)) as sender:
            for number in range(3):
                post.happen(n=number)

            def has_all() -> bool:
                sender.take_turn()
                return len(quick.messages) == 3

            wait_until(has_all)
            assert len(post.receiver.messages) <= 1
            post.receiver.pause.set()


def test_slow_receivers_of_one_tenant_leave_turns_to_others(post: Post, module_database: Database) -> None:
    other = make_tenant(module_database, f"tenant {secrets.token_hex(6)}")
    with module_database.transaction(tenant_id=post.tenant_id) as session:
        for _ in range(4):
            create_endpoint(session, post.tenant_id, "key_a", EndpointDraft(post.receiver.url), LOCAL)
        record_events(session, post.tenant_id, EventType.TEST, [{"n": n} for n in range(4)])
    with module_database.transaction(tenant_id=other) as session:
        theirs = create_endpoint(session, other, "key_b", EndpointDraft(post.receiver.url), LOCAL)
        record_events(session, other, EventType.TEST, [{"n": n} for n in range(2)])
    with module_database.transaction(tenant_id=None) as session:
        publish_events(session)
        first = claim_deliveries(session, limit=4, per_endpoint=2, per_tenant=6, lease_s=60)
        later = claim_deliveries(session, limit=9, per_endpoint=2, per_tenant=6, lease_s=60)
        session.execute(text("DELETE FROM webhook_endpoint WHERE id = :id"), {"id": theirs.endpoint.id})
    # In turn while there are few, and never more than its share while the rest waits.
    assert sorted(claim.tenant_id == other for claim in first) == [False, False, True, True]
    assert [claim.tenant_id for claim in (*first, *later)].count(post.tenant_id) == 6


def test_no_more_than_twenty_endpoints(post: Post) -> None:
    with post.database.transaction(tenant_id=post.tenant_id) as session:
        for _ in range(19):
            create_endpoint(session, post.tenant_id, "key_a", EndpointDraft(post.receiver.url), LOCAL)
        with pytest.raises(RequestRefused, match="20 endpoints"):
            create_endpoint(session, post.tenant_id, "key_a", EndpointDraft(post.receiver.url), LOCAL)
        session.execute(text("DELETE FROM webhook_endpoint"))


def test_a_secret_shows_in_no_representation(post: Post) -> None:
    post.happen()
    with post.database.transaction(tenant_id=None) as session:
        publish_events(session)
        (claim,) = claim_deliveries(session, limit=1, per_endpoint=1, per_tenant=8, lease_s=60)
        made = create_endpoint(session, post.tenant_id, "key_a", EndpointDraft(post.receiver.url), LOCAL)
    with post.database.transaction(tenant_id=post.tenant_id) as session:
        audit = list_audit(session)
    assert claim.secrets == (post.secret,)
    assert audit[0].subject == made.endpoint.id
    for said in (repr(claim), repr(made), str(audit)):
        assert "whsec_" not in said
