"""Bucket events over HTTP: what stores without a queue send when an object was put."""

from typing import Annotated

from fastapi import Body, Query

from api.dependencies import CallerDep, Jobs, Objects, ServicesDep, Transactions, require_scope
from api.problems import Problem, describe_responses
from api.request_jobs import read_places
from api.router import ApiRouter
from api.schemas.jobs import BucketEventsOut
from fakesieve.errors import RequestRefused
from fakesieve.ingest.events import ObjectEvent, keep_latest, read_notification
from fakesieve.ingest.take import Taken, Watch, take_event
from fakesieve.jobs.states import Lane
from fakesieve.places import Places
from fakesieve.reasons import Reason
from fakesieve.records.tenants import Caller, load_quota
from fakesieve.scopes import Scope

EVENTS_MAX = 100
"""Objects in one notification: stores send one to ten, and each costs a look into the store."""

router = ApiRouter(tags=["jobs"])
_WRITE = [require_scope(Scope.JOBS_WRITE)]
_RESPONSES = describe_responses(
    Reason.REQUEST_TOO_LARGE, Reason.UNSUPPORTED_MEDIA_TYPE, Reason.OBJECT_STORE_UNAVAILABLE
)

NotificationBody = Annotated[
    dict[str, object],
    Body(description="A notification of S3, EventBridge, MinIO, Ceph or SeaweedFS as the store sends it."),
]


@router.post("/v1/bucket-events", dependencies=_WRITE, responses=_RESPONSES)
def take_bucket_events(
    body: NotificationBody,
    caller: CallerDep,
    services: ServicesDep,
    objects: Objects,
    jobs: Jobs,
    begin: Transactions,
    *,
    prefix: Annotated[str, Query(max_length=1024, description="Only keys that begin with it.")] = "",
    extension: Annotated[
        list[Annotated[str, Query(max_length=16, pattern=r"^\.[a-z0-9]+$")]] | None,
        Query(max_length=20, description="Only keys that end with it, as `.mp4`; may be given again."),
    ] = None,
    lane: Lane = Lane.STANDARD,
) -> BucketEventsOut:
    """Submit what lies now where the notification says that something was put.

    An event may come twice, late or out of order: the same upload makes one job. Objects outside the places
    of the tenant are counted and not looked at. If a record cannot be read, the others are submitted all the
    same, and the answer is the refusal of the first such.
    """
    found = read_notification(body)
    events = keep_latest(found.events)
    if len(events) > EVENTS_MAX:
        seen = f"the notification names {len(events)} objects"
        raise Problem(Reason.REQUEST_TOO_LARGE, seen, hint=f"send at most {EVENTS_MAX} at a time")
    with begin() as session:
        places = read_places(load_quota(session, caller.tenant_id), services.settings.bucket)
    taken, refusals = Taken(n_known=len(found.events) - len(events)), list(found.refusals)
    for event in events:
        watch = _watch(caller, event, places, prefix, frozenset(extension or ()), lane)
        try:
            taken += take_event(jobs, objects, [watch] if places.may_read(event.ref) else [], event)
        except RequestRefused as fault:
            if fault.reason is not Reason.INVALID_REQUEST:
                raise
            refusals.append(fault)
    if refusals:
        raise refusals[0]
    return BucketEventsOut(
        new=taken.n_new,
        known=taken.n_known,
        gone=taken.n_gone,
        outside=taken.n_outside,
        ignored=found.n_ignored,
    )


def _watch(
    caller: Caller, event: ObjectEvent, places: Places, prefix: str, extensions: frozenset[str], lane: Lane
) -> Watch:
    """Return what is asked for, of the bucket of an event. Raises Problem for a prefix that begins no key."""
    try:
        return Watch(caller.tenant_id, event.ref.bucket, prefix, extensions, lane, fleet_bucket=places.bucket)
    except ValueError as fault:  # the bucket was looked at when the event was read
        raise Problem(Reason.INVALID_REQUEST, f"the prefix begins no key: {fault}") from fault
