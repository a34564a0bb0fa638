"""Removing files of results: those that tell of an erased video, and those whose time is over."""

from dataclasses import dataclass

from fakesieve.database import Database
from fakesieve.objects import ObjectStore, VideoRef
from fakesieve.records.exports import (
    forget_exports,
    list_keys,
    revoke_exports,
    take_old_exports,
    tenant_folder,
)


@dataclass(frozen=True)
class ClearedExports:
    """How many files were removed or withdrawn now, and how many their writers still have to let go of."""

    removed: int
    waiting: int


def clear_exports(
    database: Database, objects: ObjectStore, bucket: str, tenant_id: str, video_id: str
) -> ClearedExports:
    """Remove the tenant's files that tell of a video which is hidden already.

    A file of which nobody knows what it tells, as an earlier release has left them, is removed too. One that
    is being written is withdrawn: its writer finds out at the next page and removes it.
    """
    listed = [facts.ref.loosen() for facts in objects.list_objects(bucket, tenant_folder(tenant_id))]
    # After the list: a file has its row before it has its object.
    with database.transaction(tenant_id=tenant_id) as session:
        found = revoke_exports(session, tenant_id, video_id)
        known = list_keys(session, tenant_id)
    strays = [ref for ref in listed if ref.key not in known]
    whole = [export for export in found if export.is_whole]
    _remove(objects, [*strays, *(export.ref for export in whole)])
    if whole:
        with database.transaction(tenant_id=tenant_id) as session:
            forget_exports(session, [export.id for export in whole])
    counted = sum(export.is_new or export.is_whole for export in found)
    return ClearedExports(len(strays) + counted, len(found) - len(whole))


def purge_exports(database: Database, objects: ObjectStore, limit: int) -> int:
    """Remove files of all tenants whose time is over; return how many. Done again where it was cut off."""
    with database.transaction(tenant_id=None) as session:
        old = take_old_exports(session, limit)
    _remove(objects, [export.ref for export in old])
    if old:
        with database.transaction(tenant_id=None) as session:
            forget_exports(session, [export.id for export in old])
    return len(old)


def _remove(objects: ObjectStore, refs: list[VideoRef]) -> None:
    for ref in refs:
        objects.delete(ref)
