"""The official library of Standard Webhooks verifies what is signed here, and nothing else."""

import json
import time
from datetime import UTC, datetime

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from fakesieve.values.webhooks import EventType
from fakesieve.webhooks.events import check_data, write_payload
from fakesieve.webhooks.schedule import DELAYS_S, TRIES, choose_delay
from fakesieve.webhooks.sign import make_secret, sign_message

BODY = write_payload(EventType.TEST, datetime(2026, 1, 31, 12, tzinfo=UTC), {"job_id": "job_1", "n": None})


def test_the_official_client_verifies_a_message() -> None:
    secret = make_secret()
    headers = sign_message([secret], "evt_1", int(time.time()), BODY)
    assert Webhook(secret).verify(BODY, headers) == json.loads(BODY)


def test_while_two_secrets_hold_either_verifies() -> None:
    old, new, other = make_secret(), make_secret(), make_secret()
    headers = sign_message([new, old], "evt_1", int(time.time()), BODY)
    assert Webhook(old).verify(BODY, headers) == Webhook(new).verify(BODY, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(other).verify(BODY, headers)


@pytest.mark.parametrize(
    "change",
    [
        {"webhook-id": "evt_2"},
        {"webhook-timestamp": str(int(time.time()) - 1)},
        {"webhook-signature": "v1,AAAA"},
    ],
)
def test_a_message_that_was_changed_is_refused(change: dict[str, str]) -> None:
    secret = make_secret()
    headers = sign_message([secret], "evt_1", int(time.time()), BODY) | change
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(BODY, headers)


@pytest.mark.parametrize("age_s", [400, -400])
def test_a57_a_message_of_another_time_is_refused_by_the_receiver(age_s: int) -> None:
    secret = make_secret()
    headers = sign_message([secret], "evt_1", int(time.time()) - age_s, BODY)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(BODY, headers)


def test_the_body_is_the_same_bytes_each_time() -> None:
    assert BODY == (
        b'{"data":{"job_id":"job_1","n":null},"timestamp":"2026-01-31T12:00:00.000000Z","type":"webhook.test"}'
    )


def test_an_event_stays_under_twenty_kilobytes() -> None:
    assert check_data({"a": "x" * 19_000}) == {"a": "x" * 19_000}
    with pytest.raises(ValueError, match="over 20000"):
        check_data({"a": "\u00e4" * 10_000})


def test_ten_tries_take_three_days() -> None:
    assert TRIES == 10
    assert 3 * 86_400 < sum(DELAYS_S) < 3.5 * 86_400


def test_a_delay_is_spread_by_a_tenth() -> None:
    assert choose_delay(1, spread=lambda low, high: low) == 4.5
    assert choose_delay(1, spread=lambda low, high: high) == 5.5
    assert 0.9 * 86_400 <= choose_delay(9) <= 1.1 * 86_400


@pytest.mark.parametrize(("asked", "expected"), [(60.0, 60.0), (1.0, 5.0), (10**9, 86_400.0), (-5.0, 5.0)])
def test_a_receiver_gets_the_time_that_it_asks_for_up_to_a_day(asked: float, expected: float) -> None:
    assert choose_delay(1, asked, spread=lambda low, high: 1.0) == expected
