"""Removing a video's objects, and the exports that may name it."""

from datetime import datetime, timedelta

from fakesieve.erasure.plan import ErasurePlan
from fakesieve.errors import SourceRefused
from fakesieve.objects import ObjectStore, VideoRef
from fakesieve.reasons import Reason

EXPORTS_PREFIX = "exports/"
_GONE = frozenset({Reason.SOURCE_NOT_FOUND, Reason.SOURCE_CHANGED})
_SKEW = timedelta(minutes=10)  # between the clocks of the database and of the object store


def clear_objects(
    objects: ObjectStore, bucket: str, tenant_id: str, plan: ErasurePlan, since: datetime
) -> dict[str, int]:
    """Remove what the plan lists and the tenant's exports; return how many objects of each there were.

    Bytes that somebody has put in the place of the video's are left alone. Exports are copies of rows that
    can be made again, so all that were there when the erasure began go, whichever videos they name.
    """
    removed = sum(_remove(objects, ref) for ref in plan.objects)
    prefix = f"{EXPORTS_PREFIX}{tenant_id}/"
    old = [
        facts.ref for facts in objects.list_objects(bucket, prefix) if facts.modified_time <= since + _SKEW
    ]
    for ref in old:
        objects.delete(ref.loosen())
    return {"objects": removed, "exports": len(old)}


def _remove(objects: ObjectStore, ref: VideoRef) -> int:
    try:
        objects.head(ref)
    except SourceRefused as refused:
        if refused.reason in _GONE:
            return 0
        raise
    objects.delete(ref)
    return 1
