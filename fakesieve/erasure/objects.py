"""Removing a video's objects."""

from collections.abc import Mapping
from dataclasses import dataclass

from fakesieve.erasure.plan import ErasurePlan
from fakesieve.errors import SourceRefused
from fakesieve.objects import ObjectStore, VideoRef
from fakesieve.reasons import Reason

_GONE = frozenset({Reason.SOURCE_NOT_FOUND, Reason.SOURCE_CHANGED})


@dataclass(frozen=True)
class Removal:
    """What was removed, and what a store would not let go. ``refused`` counts foreign objects by reason.

    ``left`` counts those of the fleet's own bucket: it may remove them, so somebody has to see to that.
    """

    objects: int
    refused: Mapping[str, int]
    left: int


def clear_objects(objects: ObjectStore, bucket: str, plan: ErasurePlan) -> Removal:
    """Remove what the plan lists, and say what came of it.

    Bytes that somebody has put in the place of the video's are left alone. What the fleet has no right to
    remove keeps nothing else from being removed.
    """
    removed, left, refused = 0, 0, dict[str, int]()
    for ref in plan.objects:
        try:
            removed += _remove(objects, ref)
        except SourceRefused as fault:
            if ref.bucket == bucket:
                left += 1
            else:
                refused[fault.reason.value] = refused.get(fault.reason.value, 0) + 1
    return Removal(removed, refused, left)


def _remove(objects: ObjectStore, ref: VideoRef) -> int:
    """Remove an object; return 0 where it is gone. Raises SourceRefused where the store does not allow it."""
    try:
        objects.head(ref)
    except SourceRefused as refused:
        if refused.reason in _GONE:
            return 0
        if refused.reason is not Reason.SOURCE_ARCHIVED:  # which cannot be read, and can be removed
            raise
    objects.delete(ref)
    return 1
