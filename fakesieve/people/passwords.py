"""Passwords: what is accepted, and how they are kept (argon2id, RFC 9106)."""

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

from fakesieve.errors import RequestRefused
from fakesieve.reasons import Reason
from fakesieve.texts import is_storable

LETTERS_MIN, LETTERS_MAX = 12, 200
# 19 MiB and two passes, the least that OWASP names: many people may sign in at once on a small machine.
_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
_NOBODY = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$" + "A" * 43


def hash_password(password: str) -> str:
    """Return what is kept of a password. Raises RequestRefused (INVALID_REQUEST) for a short one."""
    if not LETTERS_MIN <= len(password) <= LETTERS_MAX or not is_storable(password):
        raise RequestRefused(
            Reason.INVALID_REQUEST,
            f"a password has {LETTERS_MIN} to {LETTERS_MAX} letters",
            "take a few words that nobody would guess together",
        )
    return _HASHER.hash(password)


def is_password(password: str, kept: str | None) -> bool:
    """Whether a password is the one that was kept. Without one kept it takes as long, and is False."""
    if len(password) > LETTERS_MAX or not is_storable(password):
        return False
    try:
        return _HASHER.verify(kept or _NOBODY, password) and kept is not None
    except (VerifyMismatchError, VerificationError, InvalidHashError):
        return False


def is_outdated(kept: str) -> bool:
    """Whether a password was kept with other parameters than those of today."""
    return _HASHER.check_needs_rehash(kept)
