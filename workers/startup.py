"""What must hold before a worker may start; what does not is told with what to do about it."""

from collections.abc import Mapping
from typing import cast

import redis
from redis.exceptions import RedisError

from fakesieve.errors import SetupRefused, Unavailable
from fakesieve.reasons import Reason
from workers.broker import NO_MAINTENANCE

_TIMEOUT_S = 20.0  # a busy machine may let a broker stand still for seconds


def check_broker(url: str) -> None:
    """Refuse a broker that may evict doorbells without a word.

    Raises SetupRefused (BROKER_MISCONFIGURED) and Unavailable (BROKER_UNAVAILABLE). Redis and Valkey tell
    their policy under INFO, which managed services allow where they forbid CONFIG.
    """
    try:
        with redis.Redis.from_url(
            url,
            socket_timeout=_TIMEOUT_S,
            socket_connect_timeout=_TIMEOUT_S,
            maint_notifications_config=NO_MAINTENANCE,
        ) as broker:
            memory = cast("Mapping[str, object]", broker.info("memory"))
    except (RedisError, ValueError) as error:
        seen = f"the broker does not answer: {type(error).__name__}"
        raise Unavailable(Reason.BROKER_UNAVAILABLE, seen) from error
    policy = str(memory.get("maxmemory_policy", "unknown"))
    if policy != "noeviction":
        raise SetupRefused(Reason.BROKER_MISCONFIGURED, f"the broker's maxmemory-policy is {policy}")
