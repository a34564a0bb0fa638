"""What nobody asks for just now: erasing what is over, and finishing erasures and removals of classes."""

import threading
import time
from collections import Counter
from functools import partial

from fakesieve.database import Database
from fakesieve.erasure.erase import begin_erasure, erase_video, take_unfinished
from fakesieve.erasure.exports import purge_exports
from fakesieve.erasure.removal import STEP_VIDEOS, free_videos, list_removals
from fakesieve.erasure.retention import DueErasure, find_due
from fakesieve.erasure.uploads import purge_uploads
from fakesieve.errors import FleetError, RequestRefused
from fakesieve.logging import get_logger
from fakesieve.objects import ObjectStore
from fakesieve.records.idempotency import purge_answers
from fakesieve.values.erasure import ErasureCause

_log = get_logger(__name__)

FLEET_ACTOR = "fleet"
SWEEP_S = 60.0
FINISH_S = 5.0
"""So often is looked for erasures that hosts have let go of: an index has those that run, which are few."""
AT_ONCE = 20
FILES_AT_ONCE = 100
STEPS_AT_ONCE = 20
"""Steps of a removal of a class that are taken in a turn: some seconds, after which others have theirs."""


class Eraser:
    """One of the reconciler's tasks; any number may run, and each erasure is worked on by one of them.

    ``stop`` ends a turn after the erasure that is worked on, or the step of up to ``step_videos`` videos that
    leave a class; what is left is begun and found again.
    """

    def __init__(
        self,
        database: Database,
        objects: ObjectStore,
        bucket: str,
        *,
        stop: threading.Event | None = None,
        sweep_s: float = SWEEP_S,
        put_off_s: float = SWEEP_S,
        step_videos: int = STEP_VIDEOS,
    ) -> None:
        self._step_videos = step_videos
        self._database, self._objects, self._bucket = database, objects, bucket
        self._stop = stop or threading.Event()
        self._sweep_s, self._due_s, self._finish_s = sweep_s, 0.0, 0.0
        # Tenants that sweeps leave out until then, so that those behind them come to their turn.
        self._put_off, self._put_off_s = dict[str, float](), put_off_s

    def take_turn(self) -> int:
        """Begin what is due and go on with what was begun; return how many erasures and steps were taken.

        Raises Unavailable where the database does not answer at all. Where it does not for one video or one
        tenant, or the object store does not, those are left to a later turn.
        """
        if time.monotonic() < self._finish_s:
            return 0
        self._finish_s = time.monotonic() + min(FINISH_S, self._sweep_s)
        # What was begun comes first: finding more reads whole tables and may take too long.
        with self._database.transaction(tenant_id=None) as session:
            left = take_unfinished(session, AT_ONCE)
        for erasure in left:
            self._finish(erasure)
        n_steps = self._free_classes()
        if time.monotonic() < self._due_s:
            return len(left) + n_steps
        self._due_s = time.monotonic() + self._sweep_s
        n_files = self._purge_files()
        self._database.run_transaction(purge_answers, tenant_id=None)
        n_begun, is_more = self._sweep()
        if is_more or n_files >= FILES_AT_ONCE:
            self._due_s = 0.0
        return len(left) + n_steps + n_begun

    def _free_classes(self) -> int:
        """Let videos leave classes that are being removed; return how many steps were taken."""
        n_steps = 0
        with self._database.transaction(tenant_id=None) as session:
            left = list_removals(session)
        for tenant_id, name in left:
            work = partial(free_videos, tenant_id=tenant_id, name=name, most=self._step_videos)
            for _ in range(STEPS_AT_ONCE):
                if self._stop.is_set():
                    return n_steps
                try:
                    step = self._database.run_transaction(work, tenant_id=tenant_id)
                except FleetError as fault:  # classes that are being changed: the next turn goes on
                    _log.warning("class.put_off", retention_class=name, reason=fault.reason, seen=fault.seen)
                    break
                n_steps += step.videos > 0 or step.is_gone
                if step.is_gone:
                    _log.info("class.removed", tenant=tenant_id, retention_class=name)
                if step.videos < self._step_videos:
                    break
            else:
                self._finish_s = 0.0  # there is more
        return n_steps

    def _sweep(self) -> tuple[int, bool]:
        """Begin and finish what is due; return how many were begun, and whether more may be waiting."""
        now, begun, faults = time.monotonic(), list[tuple[str, str]](), Counter[str]()
        self._put_off = {tenant_id: end for tenant_id, end in self._put_off.items() if end > now}
        with self._database.transaction(tenant_id=None) as session:
            due = find_due(session, AT_ONCE, self._put_off)
        for video in due:
            if self._stop.is_set():
                break
            if video.tenant_id in self._put_off:
                continue
            try:
                found = self._begin(video)
            except FleetError as fault:  # of one tenant: the others are due none the less
                _log.warning("erasure.put_off", video=video.video_id, reason=fault.reason, seen=fault.seen)
                faults[video.tenant_id] += 1
                # Classes that are being changed hold back all that they erase; a row, perhaps one video.
                if video.cause is ErasureCause.RETENTION or faults[video.tenant_id] > 1:
                    self._put_off[video.tenant_id] = time.monotonic() + self._put_off_s
                continue
            if found is not None:
                begun.append(found)
        for erasure in begun:
            self._finish(erasure)
        return len(begun), len(due) == AT_ONCE

    def _purge_files(self) -> int:
        """Remove exports and uploads whose time is over; return how many there were of the more numerous."""
        try:
            exports = purge_exports(self._database, self._objects, FILES_AT_ONCE)
            uploads = purge_uploads(self._database, self._objects, FILES_AT_ONCE)
        except FleetError as fault:  # the next turn goes on with them
            _log.warning("purge.put_off", reason=fault.reason, seen=fault.seen)
            return 0
        if exports or uploads:
            _log.info("purge.done", exports=exports, uploads=uploads)
        return max(exports, uploads)

    def _begin(self, video: DueErasure) -> tuple[str, str] | None:
        try:
            with self._database.transaction(tenant_id=video.tenant_id) as session:
                return video.tenant_id, begin_erasure(
                    session, video.video_id, FLEET_ACTOR, video.cause, bucket=self._bucket
                )
        except RequestRefused:
            return None  # held, or gone, since it was found

    def _finish(self, begun: tuple[str, str]) -> None:
        if self._stop.is_set():
            return
        try:
            erasure = erase_video(self._database, self._objects, self._bucket, begun)
        except FleetError as fault:  # one that cannot be finished must not keep the others from it
            _log.warning("erasure.put_off", erasure=begun[1], reason=fault.reason, seen=fault.seen)
        else:
            _log.info("erasure.done", erasure=erasure.id, state=erasure.state, cause=erasure.cause)
