"""Tokens of pages with anything changed; test_pure.py has what is drawn at random."""

import random
import string

import pytest

from api.pagination import Key, read_token, sign_token
from api.problems import Problem
from fakesieve.reasons import Reason

KEY = b"a key of the tests"
BINDING = '["ten_1", "analyses", {}]'
POSITIONS: list[tuple[Key, ...]] = [
    ("2026-06-01T12:00:00.123456+00:00", "job_01JYX2V5M1M4PHJ3C9YB6Q8ZKD"),
    (0.1, None, True, "ana_01JYX2V5M1M4PHJ3C9YB6Q8ZKD"),
    (7,),
]
LETTERS = string.ascii_letters + string.digits + "-_+/=" + " \n\0é\ud800"


def refused(token: str) -> bool:
    """Whether a token is refused as every wrong one is; False where it is read, and any other error fails."""
    try:
        read_token(KEY, token, BINDING)
    except Problem as problem:
        return problem.reason is Reason.INVALID_PAGE_TOKEN
    return False


def test_a_token_with_anything_changed_is_refused() -> None:
    """A fuzzer: good tokens with letters dropped, doubled, swapped, changed and joined; one seed."""
    rng = random.Random(20_261_122)
    tokens = [sign_token(KEY, position, BINDING) for position in POSITIONS]
    tried = 0
    while tried < 3000:
        text = token = rng.choice(tokens)
        for _ in range(rng.randint(1, 3)):
            at, end = sorted((rng.randrange(len(text) + 1), rng.randrange(len(text) + 1)))
            text = rng.choice([
                text[:at] + text[end:],
                text[:end] + text[at:],
                text[:at] + rng.choice(LETTERS) + text[at:],
                text[:at] + rng.choice(LETTERS) + text[at + 1 :],
                text[:at] + rng.choice(tokens)[end:],
            ])  # fmt: skip
        if text not in tokens:
            tried += 1
            assert refused(text), (token, text)


@pytest.mark.parametrize("position", POSITIONS)
def test_each_token_has_one_spelling(position: tuple[Key, ...]) -> None:
    """Base64 has several: other letters for a value, padding, and bits at the end that nothing reads."""
    token = sign_token(KEY, position, BINDING)
    changed = {token[:-1] + letter for letter in LETTERS} | {token + tail for tail in ("=", "==", "\n")}
    changed |= {token.replace("-", "+"), token.replace("_", "/")}
    assert [text for text in sorted(changed - {token}) if not refused(text)] == []
