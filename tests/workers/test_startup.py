import pytest
import redis

from fakesieve.errors import SetupRefused, Unavailable
from fakesieve.reasons import Reason
from workers.startup import check_broker


def test_broker_that_evicts_is_refused(valkey):
    with redis.Redis.from_url(valkey.url) as broker:
        broker.config_set("maxmemory-policy", "allkeys-lru")
        try:
            with pytest.raises(SetupRefused, match="allkeys-lru") as caught:
                check_broker(valkey.url)
        finally:
            broker.config_set("maxmemory-policy", "noeviction")
    assert caught.value.reason is Reason.BROKER_MISCONFIGURED
    assert "noeviction" in caught.value.hint


def test_broker_that_keeps_everything_is_accepted(valkey):
    check_broker(valkey.url)


def test_broker_that_does_not_answer_is_told_without_its_password():
    with pytest.raises(Unavailable) as caught:
        check_broker("redis://:secret@127.0.0.1:1/0")
    assert caught.value.reason is Reason.BROKER_UNAVAILABLE
    assert "secret" not in str(caught.value)
