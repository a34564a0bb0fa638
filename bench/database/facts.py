"""What tells the rows of a million videos apart: whose, when, which pattern, which score."""

import hashlib
import random
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

TENANTS = 50
DAYS = 60  # over which the videos came in
BATCH_JOBS = 1000
IN_BATCHES = 0.6  # share of the jobs that came as part of a list
FAILED, NO_FACE = 0.02, 0.04  # shares of the jobs
# Shares of the scores: below the policy's lower threshold, between the two, and at or above the upper one.
LEVEL_SHARES = (0.85, 0.10, 0.05)
_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"
_ORDINAL_DIGITS = 2


@dataclass(frozen=True)
class Fact:
    """One job. ``base`` ends every id of it; ``level`` is the score of its video, None without one.

    ``is_whole`` jobs have the wide rows as well: faces in frames, patch maps and evidence.
    """

    pattern: int
    base: str
    tenant_id: str
    time: datetime
    level: float | None
    sha256: str
    batch_id: str | None
    is_whole: bool


@dataclass(frozen=True)
class Patterns:
    """Which of the patterns stand for what, and the thresholds of the policy."""

    scored: Sequence[int]
    no_face: int
    failed: int
    low: float
    high: float


def encode_id(time: datetime, number: int) -> str:
    """Return 26 characters that sort by time, as those of an id; the last two are 0, for its parts."""
    value = int(time.timestamp() * 1000) << 80 | number & (1 << 80) - 1
    digits = (_DIGITS[value >> 5 * place & 31] for place in reversed(range(26)))
    return "".join(digits)[:-_ORDINAL_DIGITS] + "0" * _ORDINAL_DIGITS


def draw_facts(
    count: int,
    tenant_ids: Sequence[str],
    patterns: Patterns,
    end: datetime,
    *,
    whole_every: int = 1,
    seed: int = 1,
) -> Iterator[Fact]:
    """Draw jobs in the order of their time, of tenants of unequal size (Zipf), the busiest one first."""
    rng = random.Random(seed)
    weights = [1 / rank for rank in range(1, len(tenant_ids) + 1)]
    owners = rng.choices(tenant_ids, weights, k=count)
    batches: dict[str, tuple[str, int]] = {}
    step = timedelta(days=DAYS) / count
    for number, tenant_id in enumerate(owners):
        time = end - timedelta(days=DAYS) + step * number
        base = encode_id(time, rng.getrandbits(80))
        kind = rng.random()
        pattern = rng.choice(patterns.scored)
        if kind < FAILED + NO_FACE:
            pattern = patterns.failed if kind < FAILED else patterns.no_face
        level = _draw_level(rng, patterns) if pattern in patterns.scored else None
        batch_id = None
        if rng.random() < IN_BATCHES:
            batch_id, used = batches.get(tenant_id, (f"bat_{base}", 0))
            if used == BATCH_JOBS:
                batch_id, used = f"bat_{base}", 0
            batches[tenant_id] = batch_id, used + 1
        sha256 = hashlib.sha256(base.encode()).hexdigest()
        yield Fact(pattern, base, tenant_id, time, level, sha256, batch_id, number % whole_every == 0)


def _draw_level(rng: random.Random, patterns: Patterns) -> float:
    ranges = ((0.0, patterns.low), (patterns.low, patterns.high), (patterns.high, 1.0))
    (chosen,) = rng.choices(ranges, LEVEL_SHARES)
    return rng.uniform(*chosen)


def new_base() -> str:
    """Return the characters of an id of now."""
    return encode_id(datetime.now(UTC), secrets.randbits(80))
