"""Secrets and signatures as Standard Webhooks 1.0 wants them: HMAC-SHA256 over id, time and body."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence

SECRET_MARK = "whsec_"  # noqa: S105 - how a secret begins, not one
_SECRET_BYTES = 32


def make_secret() -> str:
    """Return a new secret of 256 random bits, as receivers' libraries read it."""
    return SECRET_MARK + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def sign_message(secrets_: Sequence[str], message_id: str, timestamp_s: int, body: bytes) -> dict[str, str]:
    """Return the headers of a message, signed with every secret: any one of them verifies it."""
    signed = b".".join((message_id.encode(), str(timestamp_s).encode(), body))
    signatures = [f"v1,{_sign(secret, signed)}" for secret in secrets_]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": " ".join(signatures),
    }


def _sign(secret: str, signed: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(SECRET_MARK))
    return base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
