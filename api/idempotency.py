"""``Idempotency-Key``: a request that is sent again is answered again and not done again.

The key is locked by the request's transaction, and the answer is kept in it. So there is never work without
its answer nor an answer without its work, and a process that dies leaves nothing behind. Refusals are not
kept: they did nothing, and the same request may succeed later.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

from fastapi import Request, Response
from pydantic import BaseModel
from sqlalchemy.orm import Session

from api.problems import Problem
from fakesieve.reasons import Reason
from fakesieve.records.idempotency import KeptAnswer, find_answer, keep_answer, lock_key
from fakesieve.records.tenants import Caller, list_older_keys

HEADER, REPLAYED = "idempotency-key", "idempotency-replayed"
KEY_LETTERS_MAX = 200
_KEPT_HEADERS = ("content-type", "location")


def read_key(request: Request) -> str | None:
    """Return the key of a request; ``Problem`` where it is none that we keep."""
    key = request.headers.get(HEADER)
    if key is None:
        return None
    if not 1 <= len(key) <= KEY_LETTERS_MAX or not (key.isascii() and key.isprintable()):
        seen = f"{HEADER} has 1 to {KEY_LETTERS_MAX} printable ASCII characters"
        raise Problem(Reason.INVALID_REQUEST, seen)
    return key


@dataclass(frozen=True)
class KeyedRequest:
    """What is asked for under an idempotency key, and by which key of the API."""

    tenant_id: str
    api_key_id: str
    key: str
    content: bytes = field(repr=False)

    @classmethod
    def read(cls, request: Request, body: bytes, caller: Caller, key: str) -> "KeyedRequest":
        """Return what a request asks for."""
        head = f"{request.method} {request.url.path}?{request.url.query}\n"
        return cls(caller.tenant_id, caller.key_id, key, head.encode() + body)

    def digest(self, api_key_id: str | None = None) -> str:
        """Return a digest of it, as asked by the key: answers are for whoever may ask for them."""
        return hashlib.sha256(f"{api_key_id or self.api_key_id} ".encode() + self.content).hexdigest()


def replay(session: Session, asked: KeyedRequest) -> Response | None:
    """Take the key; return what was answered under it, None for a new one.

    A key of the API that has taken over from another one is answered what that one was.

    Raises ``Problem``: REQUEST_IN_PROGRESS while another request has it, IDEMPOTENCY_CONFLICT where it was
    used for something else, or by another key of the tenant.
    """
    tenant_id, key = asked.tenant_id, asked.key
    if not lock_key(session, tenant_id, key):
        raise Problem(Reason.REQUEST_IN_PROGRESS, f"a request under {key!r} is being done", headers=_WAIT)
    kept = find_answer(session, tenant_id, key)
    if kept is None:
        return None
    if kept.request_sha256 != asked.digest() and kept.request_sha256 not in _digest_before(session, asked):
        raise Problem(Reason.IDEMPOTENCY_CONFLICT, f"{key!r} was used for another request")
    return Response(kept.body, kept.status, {**kept.headers, REPLAYED: "true"})


def _digest_before(session: Session, asked: KeyedRequest) -> set[str]:
    """Return what the digest would be by the keys that the present one has taken over from."""
    return {asked.digest(older) for older in list_older_keys(session, asked.api_key_id)}


_WAIT: Mapping[str, str] = {"Retry-After": "1"}


def keep(request: Request, session: Session, asked: KeyedRequest, answer: Response) -> None:
    """Keep an answer under the key, in the transaction of what was done."""
    shown = cast("BaseModel | None", getattr(request.state, "kept_answer", None))
    body = bytes(answer.body) if shown is None else shown.model_dump_json().encode()
    headers = {name: answer.headers[name] for name in _KEPT_HEADERS if name in answer.headers}
    kept = KeptAnswer(asked.digest(), answer.status_code, headers, body)
    keep_answer(session, asked.tenant_id, asked.key, kept)


def keep_instead(request: Request, answer: BaseModel) -> None:
    """Keep this in place of the answer: one that holds a secret is given once and kept nowhere."""
    request.state.kept_answer = answer
