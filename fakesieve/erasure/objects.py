"""Removing a video's objects."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fakesieve.erasure.plan import ErasurePlan
from fakesieve.errors import SourceRefused, Unavailable
from fakesieve.objects import ObjectStore, VideoRef
from fakesieve.reasons import Reason

VERSIONS_MAX = 1_000
_GONE = frozenset({Reason.SOURCE_NOT_FOUND, Reason.SOURCE_CHANGED})


@dataclass(frozen=True)
class Removal:
    """What was removed, and what a store would not let go. ``refused`` counts foreign objects by reason.

    ``left`` counts those of the fleet's own bucket: it may remove them, so somebody has to see to that.
    ``unseen`` counts objects of which the store does not show or not remove hidden versions. ``fault`` is
    what kept the rest from being looked at.
    """

    removed: tuple[VideoRef, ...]
    refused: Mapping[str, int]
    left: int
    unseen: int
    fault: Unavailable | None = None


def clear_objects(objects: ObjectStore, bucket: str, plan: ErasurePlan) -> Removal:
    """Remove what the plan lists, and say what came of it.

    Bytes that somebody has put in the place of the video's are left alone. What the fleet has no right to
    remove keeps nothing else from being removed; a store that does not answer ends the try.
    """
    removed, left, unseen, refused = dict[VideoRef, None](), 0, 0, dict[str, int]()
    for ref in plan.objects:
        try:
            if remove_object(objects, ref):
                removed[ref] = None
            n_hidden = _remove_hidden(objects, ref)
        except SourceRefused as fault:
            if ref.bucket == bucket:
                left += 1
            else:
                refused[fault.reason.value] = refused.get(fault.reason.value, 0) + 1
        except Unavailable as fault:
            return Removal(tuple(removed), refused, left, unseen, fault)
        else:
            unseen += n_hidden is None
            if n_hidden:
                removed[ref] = None
    return Removal(tuple(removed), refused, left, unseen)


def _remove_hidden(objects: ObjectStore, ref: VideoRef) -> int | None:
    """Remove the versions with the same bytes that a deletion or other bytes hide; None where none are shown.

    Raises Unavailable as the store does.
    """
    try:
        hidden = [found for found in objects.list_versions(ref) if ref.etag in (None, found.etag)]
        for found in hidden:
            objects.delete(found)
    except SourceRefused:
        return None
    return len(hidden)


def remove_object(objects: ObjectStore, ref: VideoRef) -> int:
    """Remove an object; return 0 where it is gone. Raises SourceRefused where the store does not allow it.

    In a bucket with versions each version goes that comes to light with the same bytes: removed by its name
    alone, an object would only be hidden.
    """
    for removed in range(VERSIONS_MAX):
        try:
            found = objects.head(ref).ref
        except SourceRefused as refused:
            if refused.reason in _GONE:
                return min(1, removed)
            if refused.reason is not Reason.SOURCE_ARCHIVED:  # which cannot be read, and can be removed
                raise
            found = ref
        objects.delete(found)
        if found.version_id is None or found.version_id == ref.version_id:
            break
    return 1


def remove_all(objects: ObjectStore, refs: Iterable[VideoRef]) -> list[VideoRef]:
    """Remove objects of the fleet's own; return those that the store does not let go.

    Hidden versions go too where the store shows them: one from before the bucket kept versions is only
    hidden when it is removed by its name.
    """
    refused = list[VideoRef]()
    for ref in refs:
        try:
            remove_object(objects, ref)
            _remove_hidden(objects, ref)
        except SourceRefused:
            refused.append(ref)
    return refused
