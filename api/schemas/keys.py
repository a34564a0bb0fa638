"""Keys, limits and usage on the wire."""

from typing import Annotated, Literal

from pydantic import Field

from api.schemas.shape import Answer, Int, Request, Time
from fakesieve.scopes import Scope

_DAY_S = 24 * 3600


class WhoAmI(Answer):
    """The caller as the API sees it."""

    object: Literal["caller"] = "caller"
    key_id: str
    tenant_id: str
    scopes: list[str]


class NewKeyBody(Request):
    """A key to be made. Its scopes are among those of the key that asks for it."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=50)]
    expire_time: Time | None = None


class RotateBody(Request):
    """How long the old key still works beside the new one."""

    overlap_s: Annotated[Int, Field(ge=0, le=30 * _DAY_S)] = _DAY_S


class KeyOut(Answer):
    """A key. ``secret`` is in the answer that makes it and nowhere else; ``shown`` is its beginning."""

    id: str
    object: Literal["key"] = "key"
    name: str
    shown: str
    secret: str | None = None
    scopes: list[str]
    is_active: bool
    next_key_id: str | None
    create_time: Time
    expire_time: Time | None
    revoke_time: Time | None


class RateOut(Answer):
    """Requests of one key: so many at once, and so many a second after that, in each process."""

    burst: int
    per_s: float


class LimitsOut(Answer):
    """What one request may bring and what the tenant may use. Null is without a limit."""

    object: Literal["limits"] = "limits"
    body_bytes: int
    page_size: int
    batch_items: int
    batch_listed: int
    upload_bytes: int
    upload_form_s: float
    uploads_open: int
    wait_s: int
    streams: int
    rate: RateOut
    places: list[str]
    jobs_live: int | None
    month_video_ms: int | None


class UsageDay(Answer):
    """What was billed on a day of UTC: jobs that were scored, not those answered from earlier analyses."""

    day: str
    jobs: int
    video_ms: int


class UsageOut(Answer):
    """What the tenant has used."""

    object: Literal["usage"] = "usage"
    jobs_live: int
    month_video_ms: int
    days: list[UsageDay]
