"""From an object that somebody saw to a job: whose it is, what lies there now, and whether it is known.

An event is only a hint to look. What is submitted is what the store says now, under a key made of place, ETag
and the time of the upload, so events may come twice, in any order, or after a sweep has found the object. Who
uploads the same bytes again gets a new job: it is answered from the analysis that there is, or, where the
first one failed, screens them again.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import PurePosixPath

from fakesieve.errors import RequestRefused, SourceRefused, Unavailable
from fakesieve.ingest.events import EventKind, ObjectEvent
from fakesieve.jobs.states import Lane
from fakesieve.jobs.store import JobStore
from fakesieve.jobs.submit import NewJob, submit_video
from fakesieve.objects import ObjectFacts, ObjectStore, VideoRef
from fakesieve.places import is_kept_apart
from fakesieve.reasons import Reason
from fakesieve.values.videos import SourceKind

# A key comes before all that begin with it, or in SeaweedFS close to it.
_LISTED_MAX = 100


@dataclass(frozen=True)
class Watch:
    """A part of a bucket whose videos belong to a tenant. Events from elsewhere are not acted upon.

    ``extensions`` are lower-case with their dot, as ``.mp4``; none means every object. In ``fleet_bucket``,
    which may be the watched one, the fleet's own objects and the folders of all tenants are passed over.
    """

    tenant_id: str
    bucket: str
    prefix: str = ""
    extensions: frozenset[str] = frozenset()
    lane: Lane = Lane.STANDARD
    fleet_bucket: str = field(kw_only=True)

    def __post_init__(self) -> None:
        VideoRef(self.bucket, self.prefix or "-")  # checks both
        if not self.tenant_id:
            raise ValueError("a watch belongs to a tenant")
        if any(not part.startswith(".") or part != part.lower() for part in self.extensions):
            raise ValueError(f"an extension is lower-case with its dot, as '.mp4': {sorted(self.extensions)}")

    def covers(self, ref: VideoRef) -> bool:
        """Whether the object is to be screened for this watch's tenant."""
        is_below = ref.bucket == self.bucket and ref.key.startswith(self.prefix)
        extension = PurePosixPath(ref.key).suffix.lower()
        is_wanted = not self.extensions or extension in self.extensions
        return is_below and is_wanted and not is_kept_apart(ref, self.fleet_bucket)


@dataclass(frozen=True)
class Taken:
    """What became of objects: new jobs, known ones, objects that are gone, and those that nobody watches."""

    n_new: int = 0
    n_known: int = 0
    n_gone: int = 0
    n_outside: int = 0

    def __add__(self, other: "Taken") -> "Taken":
        return Taken(
            self.n_new + other.n_new,
            self.n_known + other.n_known,
            self.n_gone + other.n_gone,
            self.n_outside + other.n_outside,
        )


def take_event(store: JobStore, objects: ObjectStore, watches: Sequence[Watch], event: ObjectEvent) -> Taken:
    """Submit the object of an event for each watch that covers it.

    Raises ``Unavailable`` where the store of objects or of jobs does not answer; then the event is to be
    given again.
    """
    covering = [watch for watch in watches if watch.covers(event.ref)]
    if not covering:
        return Taken(n_outside=1)
    if event.kind is EventKind.REMOVED:
        return Taken(n_gone=1)
    seen = _look(objects, event.ref)
    if seen is None:
        return Taken(n_gone=1)
    return sum((take_object(store, watch, seen, SourceKind.S3_EVENT) for watch in covering), Taken())


@dataclass(frozen=True)
class Seen:
    """An object that somebody saw, and when it was uploaded, by the store's clock, where the store tells."""

    ref: VideoRef
    modified_time: datetime | None = None


def take_object(store: JobStore, watch: Watch, seen: Seen, kind: SourceKind) -> Taken:
    """Submit an object whose ETag is known, once for each upload; ``kind`` says how it came to be known.

    Nobody asked for it, so nobody can be told of a full quota: it is raised as ``Unavailable``.
    """
    new = NewJob(watch.tenant_id, seen.ref, watch.lane, make_key(seen), source_kind=kind)
    try:
        is_new = submit_video(store, new).is_new
    except RequestRefused as fault:
        if fault.reason is Reason.QUOTA_EXCEEDED:
            raise Unavailable(fault.reason, fault.seen, fault.hint) from fault
        if fault.reason is not Reason.IDEMPOTENCY_CONFLICT:
            raise
        is_new = False  # a sweep and an event saw it with and without its version: the same bytes
    return Taken(n_new=1) if is_new else Taken(n_known=1)


def take_listed(store: JobStore, watch: Watch, facts: ObjectFacts) -> Taken:
    """Submit an object that a list has shown, where the watch covers it."""
    if not watch.covers(facts.ref):
        return Taken(n_outside=1)
    return take_object(store, watch, Seen(facts.ref, facts.modified_time), SourceKind.S3_SWEEP)


def make_key(seen: Seen) -> str:
    """Return the idempotency key of an object: the same place, ETag and upload give the same job.

    Stores tell the time in whole seconds at one question and more closely at another.
    """
    ref, uploaded = seen.ref, seen.modified_time
    moment = "" if uploaded is None else str(math.floor(uploaded.timestamp()))
    identity = "\0".join((ref.bucket, ref.key, ref.etag or "", moment))
    return f"object:{hashlib.sha256(identity.encode()).hexdigest()}"


def _look(objects: ObjectStore, hint: VideoRef) -> Seen | None:
    """Return what lies there now, ``None`` where nothing does.

    What is refused becomes a job all the same, which meets the same refusal and keeps it for its tenant to
    read. A list shows it as a sweep would see it, so that a sweep knows the job once the object may be read.
    """
    try:
        facts = objects.head(VideoRef(hint.bucket, hint.key, hint.version_id))
    except SourceRefused as fault:
        if fault.reason is Reason.SOURCE_NOT_FOUND:
            return None
        return _find_listed(objects, hint)
    return Seen(facts.ref, facts.modified_time)


def _find_listed(objects: ObjectStore, hint: VideoRef) -> Seen | None:
    """Return what a list says of an object; where the list is refused too, what the event said of it."""
    try:
        listed = list(islice(objects.list_objects(hint.bucket, hint.key), _LISTED_MAX))
    except SourceRefused:
        return Seen(hint)
    found = next((facts for facts in listed if facts.ref.key == hint.key), None)
    if hint.version_id is not None and (found is None or found.ref.etag != hint.etag):
        return Seen(hint)  # a list shows the newest version alone
    return None if found is None else Seen(found.ref, found.modified_time)
