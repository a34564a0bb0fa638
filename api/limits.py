"""How often a caller may ask: token buckets in the memory of this process.

A bucket in the database would cost a write for each request, more than most requests themselves. So the
limit is one of a process, and a fleet of n processes lets n times as much through; see decision 0016.
"""

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Generic, TypeVar

from fakesieve.records.tenants import Caller

Value = TypeVar("Value")

_BUCKETS_MAX = 10_000
MISSES_BURST, MISSES_PER_S = 100, 1.0
GUESSES_BURST, GUESSES_WINDOW_S = 10, 900.0
"""Wrong passwords of one account from one address, and the time after which as many more are taken."""
EXPORTS_MAX = 2
"""Files for the object store that are written for a tenant at a time, each for up to a minute."""


@dataclass(frozen=True)
class Rate:
    """A bucket holds ``burst`` tokens and gets ``per_s`` back each second; a request takes one."""

    burst: int
    per_s: float

    @property
    def window_s(self) -> int:
        """Seconds in which an empty bucket is full again."""
        return max(1, math.ceil(self.burst / self.per_s))


@dataclass(frozen=True)
class Left:
    """What a bucket holds after a request. ``retry_s`` is 0 for one that was let through."""

    rate: Rate
    tokens: float
    retry_s: int

    @property
    def is_refused(self) -> bool:
        """Whether the bucket was empty."""
        return self.retry_s > 0

    @property
    def headers(self) -> dict[str, str]:
        """The fields of draft-ietf-httpapi-ratelimit-headers: the rule, and how much of it is left."""
        full_s = max(0, math.ceil((self.rate.burst - self.tokens) / self.rate.per_s))
        return {
            "RateLimit-Policy": f'"default";q={self.rate.burst};w={self.rate.window_s}',
            "RateLimit": f'"default";r={math.floor(self.tokens)};t={full_s}',
        }


class Buckets:
    """Buckets by name, the least used of which are forgotten: a forgotten one is a full one."""

    def __init__(self, rate: Rate, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate, self._clock, self._lock = rate, clock, Lock()
        self._held: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, name: str) -> Left:
        """Take a token, if there is one."""
        with self._lock:
            now = self._clock()
            tokens, since = self._held.get(name, (float(self.rate.burst), now))
            tokens = min(self.rate.burst, tokens + (now - since) * self.rate.per_s)
            is_enough = tokens >= 1
            tokens -= is_enough
            self._held[name] = (tokens, now)
            self._held.move_to_end(name)
            if len(self._held) > _BUCKETS_MAX:
                self._held.popitem(last=False)
        return Left(self.rate, tokens, 0 if is_enough else self._wait_s(tokens))

    def find_empty(self, name: str) -> Left | None:
        """Return what a bucket holds from which nothing could be taken now; None for any other."""
        with self._lock:
            held = self._held.get(name)
            tokens = 1.0 if held is None else held[0] + (self._clock() - held[1]) * self.rate.per_s
        return None if tokens >= 1 else Left(self.rate, tokens, self._wait_s(tokens))

    def is_empty(self, name: str) -> bool:
        """Whether nothing could be taken now."""
        return self.find_empty(name) is not None

    def _wait_s(self, tokens: float) -> int:
        return max(1, math.ceil((1 - tokens) / self.rate.per_s))


class Recent(Generic[Value]):
    """What was found under names, the longest unused of which are forgotten."""

    def __init__(self) -> None:
        self._lock, self._seen = Lock(), OrderedDict[str, Value]()

    def keep(self, name: str, value: Value) -> None:
        """Keep what was found under a name, in place of what was before."""
        with self._lock:
            self._seen[name] = value
            self._seen.move_to_end(name)
            if len(self._seen) > _BUCKETS_MAX:
                self._seen.popitem(last=False)

    def forget(self, name: str) -> None:
        """Keep nothing under a name any more."""
        with self._lock:
            self._seen.pop(name, None)

    def get(self, name: str) -> Value | None:
        """Return what was found last under a name, if it is still known."""
        with self._lock:
            return self._seen.get(name)


def name_address(host: str) -> str:
    """Return what strangers are counted by: the address, of IPv6 the network that one subscriber has."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if address.version == 4 or address.ipv4_mapped is not None:
        return str(address if address.version == 4 else address.ipv4_mapped)
    return str(ipaddress.ip_network((address, 64), strict=False))


class Counts:
    """How many of something each name has at a time, with a limit."""

    def __init__(self, limit: int) -> None:
        self.limit, self._lock = limit, Lock()
        self._held = dict[str, int]()

    def enter(self, name: str) -> bool:
        """Count one more; False, and nothing counted, at the limit."""
        with self._lock:
            count = self._held.get(name, 0)
            if count >= self.limit:
                return False
            self._held[name] = count + 1
            return True

    def count(self, name: str) -> int:
        """Return how many there are."""
        with self._lock:
            return self._held.get(name, 0)

    def leave(self, name: str) -> None:
        """Count one less."""
        with self._lock:
            count = self._held.pop(name) - 1
            if count:
                self._held[name] = count


@dataclass(frozen=True)
class RequestLimits:
    """The limits of this process: requests and misses by key, wrong keys by address, streams and exports by
    tenant, wrong passwords by address and account.

    A miss is an id that the tenant does not have. Who guesses ids runs out of them long before requests.
    ``known`` are callers by the digests of keys that were right. It lets nobody in, since a key may be
    revoked: strangers at the same address do not stop them, and over their rate they are refused unasked.
    """

    requests: Buckets
    misses: Buckets
    strangers: Buckets
    guesses: Buckets
    streams: Counts
    exports: Counts
    known: Recent[Caller]

    @classmethod
    def make(cls, rate: Rate, streams_max: int) -> "RequestLimits":
        """Return limits of which nothing is used."""
        misses = Rate(MISSES_BURST, MISSES_PER_S)
        return cls(
            Buckets(rate),
            Buckets(misses),
            Buckets(misses),
            Buckets(Rate(GUESSES_BURST, GUESSES_BURST / GUESSES_WINDOW_S)),
            Counts(streams_max),
            Counts(EXPORTS_MAX),
            Recent[Caller](),
        )
