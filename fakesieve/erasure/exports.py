"""Removing files of results: those that tell of an erased video, and those whose time is over."""

from dataclasses import dataclass

from fakesieve.database import Database
from fakesieve.erasure.objects import remove_all
from fakesieve.objects import ObjectStore
from fakesieve.records.exports import (
    HeldExport,
    forget_exports,
    keep_longer,
    list_keys,
    revoke_exports,
    take_old_exports,
    tenant_folder,
)

AGAIN_S = 3_600.0


@dataclass(frozen=True)
class ClearedExports:
    """How many files were removed or withdrawn now, and how many their writers or the store still hold."""

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
    left = set(remove_all(objects, [*strays, *(export.ref for export in whole)]))
    gone = [export for export in whole if export.ref not in left]
    if gone:
        with database.transaction(tenant_id=tenant_id) as session:
            forget_exports(session, _name(gone))
    withdrawn = sum(export.is_new and not export.is_whole for export in found)
    n_removed = len(gone) + sum(ref not in left for ref in strays)
    return ClearedExports(n_removed + withdrawn, len(found) - len(whole) + len(left))


def purge_exports(database: Database, objects: ObjectStore, limit: int) -> int:
    """Remove files of all tenants whose time is over; return how many. Done again where it was cut off.

    What the store does not let go is tried again later, behind the others.
    """
    with database.transaction(tenant_id=None) as session:
        old = take_old_exports(session, limit)
    left = set(remove_all(objects, [export.ref for export in old]))
    if old:
        with database.transaction(tenant_id=None) as session:
            forget_exports(session, _name([export for export in old if export.ref not in left]))
            keep_longer(session, _name([export for export in old if export.ref in left]), AGAIN_S)
    return len(old) - len(left)


def _name(exports: list[HeldExport]) -> list[str]:
    return [export.id for export in exports]
