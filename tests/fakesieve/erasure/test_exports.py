"""Files of results leave with the videos that they tell of, or when their time is over."""

import threading
import time
from pathlib import Path

import pytest
from sqlalchemy import text

from fakesieve.embedded.postgres import PostgresServer
from fakesieve.erasure.exports import clear_exports, purge_exports
from fakesieve.errors import RequestRefused
from fakesieve.objects import VideoRef
from fakesieve.records.exports import (
    Export,
    begin_export,
    finish_export,
    forget_exports,
    hold_export,
    load_export,
    note_videos,
)
from fakesieve.values.erasure import ErasureState
from fakesieve.values.files import FileFormat
from tests.databases import opened, wait_long_for_locks
from tests.fakesieve.erasure.conftest import BUCKET, Case, put


def begin(case: Case, *video_ids: str) -> Export:
    """Begin a file and read one page of it."""
    with case.database.transaction(tenant_id=case.tenant_id) as session:
        export = begin_export(session, case.tenant_id, BUCKET, FileFormat.CSV, "key_a")
        note_videos(session, case.tenant_id, export.id, 0, video_ids)
    return export


def finish(case: Case, export: Export, folder: Path) -> VideoRef:
    put(case.objects, folder, export.key, b"id,score\n")
    with case.database.transaction(tenant_id=case.tenant_id) as session:
        finish_export(session, export.id, 1, 9, 3_600)
    return VideoRef(BUCKET, export.key)


def is_there(case: Case, ref: VideoRef) -> bool:
    return any(facts.ref.key == ref.key for facts in case.objects.list_objects(ref.bucket, ref.key))


def list_ids(case: Case) -> set[str]:
    with case.database.transaction(tenant_id=case.tenant_id) as session:
        return set(session.scalars(text("SELECT id FROM export")))


def test_an_erasure_removes_the_exports_that_tell_of_its_video_and_no_others(
    case: Case, tmp_path: Path
) -> None:
    theirs, others = begin(case, "vid_x", case.video_id), begin(case, "vid_x", "vid_y")
    told, untold = finish(case, theirs, tmp_path), finish(case, others, tmp_path)
    receipt = case.erase(case.begin())
    # With them goes a file of an earlier release, of which nobody knows what it tells.
    assert receipt.stores["exports"] == {"state": "cleared", "objects": 2}
    assert (is_there(case, told), is_there(case, untold)) == (False, True)
    assert list_ids(case) == {others.id}


def test_a_receipt_waits_for_the_writer_of_an_export_to_let_go(case: Case) -> None:
    export = begin(case, case.video_id)
    begun = case.begin()
    receipt = case.erase(begun)
    assert receipt.state is ErasureState.RUNNING
    assert receipt.stores["exports"] == {"state": "waiting", "objects": 2}
    for step in (hold_export, lambda session, name: finish_export(session, name, 1, 9, 60.0)):
        with (
            pytest.raises(RequestRefused, match="STATE_CONFLICT"),
            case.database.transaction(tenant_id=case.tenant_id) as session,
        ):
            step(session, export.id)
    with case.database.transaction(tenant_id=case.tenant_id) as session:
        forget_exports(session, [export.id])
    done = case.erase(begun)
    assert (done.state, done.stores["exports"]) == (
        ErasureState.COMPLETED,
        {"state": "cleared", "objects": 2},
    )


def test_a_page_that_is_being_read_is_waited_for(
    case: Case, postgres: PostgresServer, module_database_name: str
) -> None:
    export = begin(case)
    found: list[int] = []
    watch = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query ~ 'export'")

    def clear() -> None:
        with opened(postgres, module_database_name) as database:
            wait_long_for_locks(database)
            cleared = clear_exports(database, case.objects, BUCKET, case.tenant_id, case.video_id)
        found.append(cleared.waiting)

    def is_waiting() -> bool:
        with case.database.transaction(tenant_id=None) as session:
            return bool(session.scalar(watch))

    thread = threading.Thread(target=clear)
    with case.database.transaction(tenant_id=case.tenant_id) as session:
        hold_export(session, export.id)
        thread.start()
        while thread.is_alive() and not is_waiting():
            time.sleep(0.01)
        note_videos(session, case.tenant_id, export.id, 1, [case.video_id])
    thread.join()
    assert found == [1]


def test_exports_leave_when_their_time_is_over_finished_or_not(case: Case, tmp_path: Path) -> None:
    old, left, young = (begin(case, case.video_id) for _ in range(3))
    refs = [finish(case, export, tmp_path) for export in (old, young)]
    overdue = "UPDATE export SET purge_time = now() - interval '1 s' WHERE id = ANY(:ids)"
    case.run(overdue, ids=[old.id, left.id])
    assert purge_exports(case.database, case.objects, 10) == 2
    assert [is_there(case, ref) for ref in refs] == [False, True]
    assert list_ids(case) == {young.id}
    assert purge_exports(case.database, case.objects, 10) == 0
    with case.database.transaction(tenant_id=case.tenant_id) as session:
        assert load_export(session, old.id) is None
        assert load_export(session, young.id) is not None
