"""Erasing a video: what to clear is written down first, then cleared, then testified to.

Each step may be repeated, so that an erasure which somebody began and did not live to finish is finished by
the next who looks. The receipt is completed when every store has been cleared, the scratch folders of
worker hosts included.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import cast

from sqlalchemy import func, null, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from fakesieve.database import Database
from fakesieve.erasure.exports import ClearedExports, clear_exports
from fakesieve.erasure.objects import Removal, clear_objects
from fakesieve.erasure.plan import HOST_SILENCE_S, ErasurePlan, find_hosts, find_job_ids, make_plan
from fakesieve.erasure.retention import check_due, check_hold, lock_video, lock_video_and_classes
from fakesieve.erasure.rows import KEPT_TABLES, clear_rows, count_kept
from fakesieve.errors import RequestRefused
from fakesieve.ids import IdPrefix, new_id
from fakesieve.objects import ObjectStore
from fakesieve.reasons import Reason
from fakesieve.records.audit import record_audit
from fakesieve.records.erasure import Erasure, ErasureHost
from fakesieve.records.jobs import WorkerHost
from fakesieve.values.erasure import ErasureCause, ErasureState
from fakesieve.values.webhooks import EventType
from fakesieve.webhooks.events import record_event

AGAIN_S = 60.0
"""An erasure that nobody has worked on for so long is taken up by a sweep."""
_PLAIN = {"synchronize_session": False}


def erase_video(
    database: Database,
    objects: ObjectStore,
    bucket: str,
    begun: tuple[str, str],
) -> Erasure:
    """Clear everything of a begun erasure that can be cleared now, and return where it stands.

    Objects that the fleet has no right to remove are named in the receipt and hold nothing up, but for those
    in its own bucket, which are tried again until they are gone.

    Args:
        database: of the fleet or of the API.
        objects: the object store.
        bucket: the fleet's own, where uploads and exports lie.
        begun: the tenant and the id that ``begin_erasure`` gave.

    Raises:
        Unavailable: a store does not answer; what is left is done by the next sweep.
    """
    tenant_id, erasure_id = begun
    with database.transaction(tenant_id=tenant_id) as session:
        erasure = load_erasure(session, erasure_id)
        if erasure.plan is None:
            return erasure
        video_id, plan = erasure.video_id, ErasurePlan.from_json(erasure.plan)
        are_gone, are_told = "objects" in erasure.stores, _has_exports(erasure)
    removed = None if are_gone else clear_objects(objects, bucket, plan)
    if removed is not None:
        _keep_removed(database, begun, removed)
        if removed.fault is not None:
            raise removed.fault
    told = None if are_told else clear_exports(database, objects, bucket, tenant_id, video_id)

    def work(session: Session) -> Erasure:
        erasure = _lock(session, erasure_id)
        # Another plan now means that somebody has asked for more meanwhile: the next try has it.
        if erasure.plan is not None and ErasurePlan.from_json(erasure.plan) == plan:
            if "database" not in erasure.stores:
                _clear_database(session, erasure, plan)
            if removed is not None and "objects" not in erasure.stores and not removed.left:
                _note_objects(session, erasure, removed)
            if told is not None:
                _note_exports(session, erasure, told)
        complete_erasure(session, erasure)
        return erasure

    return database.run_transaction(work, tenant_id=tenant_id)


def begin_erasure(
    session: Session,
    video_id: str,
    actor: str,
    cause: ErasureCause = ErasureCause.REQUEST,
    *,
    bucket: str,
    with_sources: bool = False,
) -> str:
    """Hide a video, write down what is to be cleared, and return the erasure's id.

    ``bucket`` is the fleet's own. From here there is no way back. Where an erasure runs already, its id is
    returned, and its plan takes in the sources if they were not in it. Raises RequestRefused (NOT_FOUND,
    LEGAL_HOLD), and (STATE_CONFLICT) where the cause is a time that is not over.
    """
    # Only what a class erases depends on what it keeps; nobody who asks for an erasure waits for classes.
    lock = lock_video_and_classes if cause is ErasureCause.RETENTION else lock_video
    video = lock(session, video_id)
    check_hold(video)
    check_due(session, video, cause)
    running = select(Erasure).where(Erasure.video_id == video_id, Erasure.state == ErasureState.RUNNING)
    found = session.scalar(running.with_for_update(), execution_options={"populate_existing": True})
    if found is not None:
        if with_sources:
            _widen(session, found, make_plan(session, video, bucket, with_sources=True), actor)
        return found.id
    plan = make_plan(session, video, bucket, with_sources=with_sources)
    erasure_id = new_id(IdPrefix.ERASURE)
    row = {"id": erasure_id, "tenant_id": video.tenant_id, "video_id": video_id, "cause": cause}
    session.execute(
        insert(Erasure).values(**row, requested_by=actor, plan=plan.to_json(), try_time=func.now())
    )
    hosts = [
        {"tenant_id": video.tenant_id, "erasure_id": erasure_id, "owner": owner}
        for owner in find_hosts(session)
    ]
    if hosts:
        session.execute(insert(ErasureHost), hosts)
    video.delete_time = func.coalesce(type(video).delete_time, func.now())
    video.purge_time = func.now()
    session.flush()
    _note(session, video.tenant_id, actor, "video.erasure_begun", video_id, {"erasure_id": erasure_id})
    return erasure_id


def _widen(session: Session, erasure: Erasure, plan: ErasurePlan, actor: str) -> None:
    """Take sources into an erasure that has cleared nothing yet: its video is still there."""
    assert erasure.plan is not None
    before = ErasurePlan.from_json(erasure.plan)
    if set(plan.objects) <= set(before.objects):
        return
    erasure.plan = replace(plan, removed=before.removed).to_json()
    erasure.try_time = None  # for the next sweep, whoever is at the earlier plan
    session.flush()
    _note(
        session,
        erasure.tenant_id,
        actor,
        "video.erasure_widened",
        erasure.video_id,
        {"erasure_id": erasure.id},
    )


def load_erasure(session: Session, erasure_id: str) -> Erasure:
    """Return an erasure of the tenant at hand. Raises RequestRefused (NOT_FOUND)."""
    erasure = session.get(Erasure, erasure_id, populate_existing=True)
    if erasure is None:
        raise RequestRefused(Reason.NOT_FOUND, f"there is no erasure {erasure_id}")
    return erasure


def list_erasures(
    session: Session,
    *,
    video_id: str | None = None,
    before: tuple[datetime, str] | None = None,
    limit: int = 100,
) -> list[Erasure]:
    """Return erasures, newest first, behind a position."""
    wanted = select(Erasure).order_by(Erasure.create_time.desc(), Erasure.id.desc()).limit(limit)
    if video_id is not None:
        wanted = wanted.where(Erasure.video_id == video_id)
    if before is not None:
        wanted = wanted.where(func.row(Erasure.create_time, Erasure.id) < func.row(*before))
    return list(session.scalars(wanted))


def take_unfinished(session: Session, limit: int) -> list[tuple[str, str]]:
    """Return tenants and ids of erasures that nobody has worked on lately, and say that somebody does now."""
    idle = or_(
        Erasure.try_time.is_(None),
        Erasure.try_time < func.now() - func.make_interval(0, 0, 0, 0, 0, 0, AGAIN_S),
    )
    left = (
        select(Erasure.id)
        .where(Erasure.state == ErasureState.RUNNING, idle)
        .order_by(Erasure.create_time)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    taken = update(Erasure).where(Erasure.id.in_(left)).values(try_time=func.now())
    rows = session.execute(taken.returning(Erasure.tenant_id, Erasure.id), execution_options=_PLAIN)
    return [(row[0], row[1]) for row in rows]


def complete_erasure(session: Session, erasure: Erasure) -> bool:
    """Complete the receipt if all stores are cleared; False while somebody still has to let go of a copy."""
    if erasure.state is ErasureState.COMPLETED:
        return True
    is_cleared = "objects" in erasure.stores and _has_exports(erasure)
    if not is_cleared or _count_waiting(session, erasure.id):
        return False
    stores = dict(erasure.stores)
    stores["scratch"] = {"state": "cleared", "hosts": _count_hosts(session, erasure.id)}
    erasure.stores = stores
    erasure.end_time = datetime.now(UTC)
    erasure.sha256 = hash_receipt(erasure)
    erasure.state = ErasureState.COMPLETED
    erasure.plan = cast("None", null())  # None would be the JSON value
    session.flush()
    data = {"video_id": erasure.video_id, "erasure_id": erasure.id, "cause": erasure.cause}
    record_event(session, erasure.tenant_id, EventType.VIDEO_PURGED, data)
    details = {"erasure_id": erasure.id, "sha256": erasure.sha256}
    _note(session, erasure.tenant_id, erasure.requested_by, "video.erased", erasure.video_id, details)
    session.refresh(erasure)
    return True


def hash_receipt(erasure: Erasure) -> str:
    """Return the sha256 over what a receipt says, which the audit log holds too."""
    said = {
        "id": erasure.id,
        "video_id": erasure.video_id,
        "cause": erasure.cause,
        "requested_by": erasure.requested_by,
        "create_time": _write_time(erasure.create_time),
        "end_time": None if erasure.end_time is None else _write_time(erasure.end_time),
        "stores": erasure.stores,
    }
    return hashlib.sha256(json.dumps(said, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _clear_database(session: Session, erasure: Erasure, plan: ErasurePlan) -> None:
    plan = replace(plan, job_ids=find_job_ids(session, erasure.video_id, plan.job_ids))
    rows = clear_rows(session, erasure.video_id, plan)
    kept = {
        name: {"rows": count, "why": KEPT_TABLES[name]} for name, count in count_kept(session, plan).items()
    }
    erasure.stores = {
        "database": {"state": "cleared", "rows": rows},
        "kept": {name: report for name, report in kept.items() if report["rows"]},
    }
    session.flush()


def _keep_removed(database: Database, begun: tuple[str, str], removed: Removal) -> None:
    """Add what one try has removed to what others have: the last one counts it all for the receipt.

    In a transaction of its own, as what comes after it may fail.
    """
    tenant_id, erasure_id = begun

    def work(session: Session) -> None:
        erasure = _lock(session, erasure_id)
        if erasure.plan is not None:
            plan = ErasurePlan.from_json(erasure.plan)
            known = dict.fromkeys((*plan.removed, *removed.removed))
            erasure.plan = replace(plan, removed=tuple(known)).to_json()

    if removed.removed:
        database.run_transaction(work, tenant_id=tenant_id)


def _note_objects(session: Session, erasure: Erasure, removed: Removal) -> None:
    assert erasure.plan is not None
    plan, stores = ErasurePlan.from_json(erasure.plan), dict(erasure.stores)
    stores["objects"] = {"state": "cleared", "objects": len(plan.removed)}
    kept = dict(cast("Mapping[str, object]", stores["kept"]))
    if plan.n_kept:
        why = "they lie in your own buckets"
        kept["sources"] = {"state": "kept", "objects": plan.n_kept, "why": why}
    if plan.n_held:
        kept["held"] = {"state": "kept", "objects": plan.n_held, "why": "others hold them for a legal hold"}
    if removed.refused:
        why = "their store does not let the fleet remove them"
        reasons, count = dict(removed.refused), sum(removed.refused.values())
        kept["refused"] = {"state": "refused", "objects": count, "reasons": reasons, "why": why}
    if removed.unseen:
        why = "their store does not let the fleet list or remove hidden versions, which may hold these bytes"
        kept["versions"] = {"state": "refused", "objects": removed.unseen, "why": why}
    stores["kept"] = kept
    erasure.stores = stores
    session.flush()


def _has_exports(erasure: Erasure) -> bool:
    """Whether all exports that tell of the video are gone."""
    said = cast("Mapping[str, object]", erasure.stores.get("exports", {}))
    return said.get("state") == "cleared"


def _note_exports(session: Session, erasure: Erasure, told: ClearedExports) -> None:
    """Add what was removed now to what earlier tries have removed."""
    said = cast("Mapping[str, int]", erasure.stores.get("exports", {}))
    state, count = "waiting" if told.waiting else "cleared", said.get("objects", 0) + told.removed
    erasure.stores = {**erasure.stores, "exports": {"state": state, "objects": count}}
    session.flush()


def _lock(session: Session, erasure_id: str) -> Erasure:
    wanted = select(Erasure).where(Erasure.id == erasure_id).with_for_update()
    return session.scalars(wanted, execution_options={"populate_existing": True}).one()


def _count_hosts(session: Session, erasure_id: str) -> int:
    wanted = select(func.count()).select_from(ErasureHost).where(ErasureHost.erasure_id == erasure_id)
    return session.execute(wanted).scalar_one()


def _count_waiting(session: Session, erasure_id: str) -> int:
    """How many worker processes have not said that they hold nothing, and live."""
    heard = func.now() - func.make_interval(0, 0, 0, 0, 0, 0, HOST_SILENCE_S)
    wanted = (
        select(func.count())
        .select_from(ErasureHost)
        .join(WorkerHost, WorkerHost.owner == ErasureHost.owner)
        .where(
            ErasureHost.erasure_id == erasure_id,
            ErasureHost.clear_time.is_(None),
            WorkerHost.beat_time >= heard,
        )
    )
    return session.execute(wanted).scalar_one()


def _write_time(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="microseconds")


def _note(
    session: Session, tenant_id: str, actor: str, action: str, subject: str, details: Mapping[str, object]
) -> None:
    owner = {"tenant_id": tenant_id, "actor": actor, "subject": subject}
    record_audit(session, **owner, action=action, details=cast("dict[str, object]", details))
