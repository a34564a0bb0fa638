"""Links to the bytes of a video, for the console and the API alike.

A link leads to a place that the tenant may name today, and is made once the store has said that the object
there is the one that was screened. The link itself cannot be bound to an ETag, as no browser sends the header
that would have to be signed: in a bucket without versions an object that is replaced while a link works is
not told from the one before.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from sqlalchemy.orm import Session

from api.problems import Problem
from api.request_jobs import no_links
from api.services import Services
from fakesieve.errors import SourceRefused
from fakesieve.objects import VideoRef
from fakesieve.places import Places, find_owner
from fakesieve.reasons import Reason
from fakesieve.records.tenants import load_places
from fakesieve.records.videos import Source, list_sources
from fakesieve.values.videos import SourceKind

LINK_S = 900
PLACES_MAX = 5
"""So many places of a video are asked for it, the newest first."""


@dataclass(frozen=True)
class VideoLink:
    """Where a video can be fetched until a moment. ``url`` is a secret for as long as it works."""

    url: str
    expire_time: datetime


def find_places(session: Session, bucket: str, tenant_id: str, video_id: str) -> list[VideoRef]:
    """Return where a video was seen and its tenant may look today, newest first.

    ``bucket`` is the fleet's own.
    """
    places = Places.read(tenant_id, bucket, load_places(session, tenant_id))
    found = [source for source in reversed(list_sources(session, video_id)) if _may_link(places, source)]
    return [_read_ref(source) for source in found[:PLACES_MAX]]


def link_video(services: Services, refs: Sequence[VideoRef]) -> VideoLink:
    """Return a link to the first of these places that holds what was seen there.

    Asks the store, so no transaction should be open. Raises ``FleetError``: SOURCE_CHANGED where another
    object lies there now, what the store says of one that is gone, OBJECT_STORE_UNAVAILABLE; ``Problem``
    (SOURCE_NOT_FOUND) without a place.
    """
    if services.links is None:
        raise no_links()
    refusal: SourceRefused | None = None
    for ref in refs:
        try:
            services.objects.head(ref)
        except SourceRefused as fault:
            refusal = refusal or _explain(ref, fault)
            continue
        until = datetime.now(UTC) + timedelta(seconds=LINK_S)
        return VideoLink(services.links.link_get(ref, expire_s=LINK_S), until)
    raise refusal or Problem(
        Reason.SOURCE_NOT_FOUND,
        "the video lies at no place that this organisation may name",
        hint="submit it again, or have an operator add its place",
    )


def find_origins(services: Services, refs: Sequence[VideoRef]) -> str:
    """Return the origins that links to these places have, for the content security policy of a page."""
    if services.links is None:
        return ""
    parts = [urlsplit(services.links.link_get(ref, expire_s=1)) for ref in refs]
    return " ".join(dict.fromkeys(f"{each.scheme}://{each.netloc}" for each in parts))


def _may_link(places: Places, source: Source) -> bool:
    """Whether a tenant may look at a place: it may name it, or an operator has uploaded it there for it."""
    ref = _read_ref(source)
    is_given = source.kind is SourceKind.UPLOAD and ref.bucket == places.bucket and not find_owner(ref.key)
    return is_given or places.may_read(ref)


def _read_ref(source: Source) -> VideoRef:
    return VideoRef(source.bucket, source.key, source.version_id, source.etag, source.size_bytes)


def _explain(ref: VideoRef, fault: SourceRefused) -> SourceRefused:
    if fault.reason is not Reason.SOURCE_CHANGED:
        return fault
    seen = f"{ref.uri}: another object lies there than the one that was screened"
    return SourceRefused(Reason.SOURCE_CHANGED, seen, "submit it again to have the new one screened")
