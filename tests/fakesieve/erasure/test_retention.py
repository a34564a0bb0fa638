"""Holds win, deleted videos come back, and classes say how long videos are kept."""

from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from fakesieve.erasure.erase import (
    begin_erasure,
    list_erasures,
)
from fakesieve.erasure.removal import remove_class
from fakesieve.erasure.retention import (
    classify_video,
    delete_video,
    find_due,
    hold_video,
    lock_classes,
    set_class,
    undelete_video,
)
from fakesieve.errors import RequestRefused, Unavailable
from fakesieve.reasons import Reason
from fakesieve.records.audit import AuditSearch, list_audit
from fakesieve.records.videos import upsert_video
from fakesieve.values.erasure import ErasureCause, ErasureState
from tests.factories import MEDIA, make_tenant
from tests.fakesieve.erasure.conftest import BUCKET, Case, Hasty
from tests.waiting import wait_until
from workers.erase import Eraser


def test_a_legal_hold_wins(case: Case) -> None:
    with case.database.transaction(tenant_id=case.tenant_id) as session:
        hold_video(session, case.video_id, "key_a", is_held=True)
    for act in (partial(begin_erasure, bucket=BUCKET), delete_video):
        with (
            pytest.raises(RequestRefused) as refused,
            case.database.transaction(tenant_id=case.tenant_id) as session,
        ):
            act(session, case.video_id, "key_a")
        assert refused.value.reason is Reason.LEGAL_HOLD
    case.run(
        "UPDATE video SET delete_time = now(), purge_time = now() - interval '1 day' WHERE id = :id",
        id=case.video_id,
    )
    with case.database.transaction(tenant_id=case.tenant_id) as session:
        assert find_due(session, 10) == []
        hold_video(session, case.video_id, "key_a", is_held=False)
        assert [due.video_id for due in find_due(session, 10)] == [case.video_id]


def test_a_deleted_video_comes_back_until_its_erasure_begins(case: Case) -> None:
    with case.database.transaction(tenant_id=case.tenant_id) as session:
        deleted = delete_video(session, case.video_id, "key_a", purge_s=3600)
        assert deleted.purge_time is not None
        assert deleted.delete_time is not None
        assert deleted.purge_time - deleted.delete_time == timedelta(hours=1)
        assert undelete_video(session, case.video_id, "key_a").delete_time is None
        with pytest.raises(RequestRefused, match="can come back"):
            undelete_video(session, case.video_id, "key_a")
    case.begin()
    with (
        pytest.raises(RequestRefused, match="can come back"),
        case.database.transaction(tenant_id=case.tenant_id) as session,
    ):
        undelete_video(session, case.video_id, "key_a")


def test_a_video_that_is_submitted_again_is_there_again(case: Case) -> None:
    with case.database.transaction(tenant_id=case.tenant_id) as session:
        delete_video(session, case.video_id, "key_a")
        again = upsert_video(
            session,
            tenant_id=case.tenant_id,
            sha256=case.traces[1],
            size_bytes=len(case.content),
            media=MEDIA,
        )
        assert again == case.video_id
        shown = session.execute(text("SELECT delete_time FROM video WHERE id = :id"), {"id": again}).one()
    assert shown.delete_time is None


def submit_again(case: Case, asked_time: datetime | None = None) -> datetime | None:
    """Have a job find the bytes of the case, and return since when its video is deleted."""
    with case.database.transaction(tenant_id=case.tenant_id) as session:
        upsert_video(
            session,
            tenant_id=case.tenant_id,
            sha256=case.traces[1],
            size_bytes=len(case.content),
            media=MEDIA,
            asked_time=asked_time,
        )
        return session.scalar(text("SELECT delete_time FROM video WHERE id = :id"), {"id": case.video_id})


def test_work_that_was_asked_for_before_a_deletion_does_not_take_it_back(case: Case) -> None:
    before = datetime.now(UTC) - timedelta(minutes=5)
    with case.database.transaction(tenant_id=case.tenant_id) as session:
        delete_video(session, case.video_id, "key_a")
    assert submit_again(case, before) is not None
    assert submit_again(case) is None
    with case.database.transaction(tenant_id=case.tenant_id) as session:
        lines = list_audit(session, AuditSearch(case.video_id))
    assert [line.action for line in lines if line.action.startswith("video.")] == [
        "video.undeleted",
        "video.deleted",
    ]


def test_nothing_brings_back_what_is_being_erased(case: Case) -> None:
    case.begin()
    assert submit_again(case) is not None


def test_a_sweep_erases_what_its_class_keeps_no_longer(case: Case) -> None:
    eraser = Eraser(case.database, case.objects, BUCKET, sweep_s=0)
    with case.database.transaction(tenant_id=case.tenant_id) as session:
        set_class(session, case.tenant_id, "key_a", "short", 3600)
        classify_video(session, case.video_id, "key_a", "short")
        assert find_due(session, 10) == []
    case.run("UPDATE video SET create_time = now() - interval '3601 s' WHERE id = :id", id=case.video_id)
    eraser.take_turn()
    with case.database.transaction(tenant_id=case.tenant_id) as session:
        (erasure,) = list_erasures(session, video_id=case.video_id)
    assert (erasure.cause, erasure.state, erasure.requested_by) == (
        ErasureCause.RETENTION,
        ErasureState.COMPLETED,
        "fleet",
    )


def bring_back(session: Session, case: Case) -> None:
    undelete_video(session, case.video_id, "key_a")


def keep_longer(session: Session, case: Case) -> None:
    set_class(session, case.tenant_id, "key_a", "short", 600)


def classify_anew(session: Session, case: Case) -> None:
    set_class(session, case.tenant_id, "key_a", "long", 600)
    classify_video(session, case.video_id, "key_a", "long")


@pytest.mark.parametrize(
    ("cause", "spare"),
    [
        (ErasureCause.PURGE, bring_back),
        (ErasureCause.RETENTION, keep_longer),
        (ErasureCause.RETENTION, classify_anew),
    ],
)
def test_what_was_spared_since_a_sweep_has_found_it_is_not_erased(
    case: Case, cause: ErasureCause, spare: Callable[[Session, Case], None]
) -> None:
    with case.database.transaction(tenant_id=case.tenant_id) as session:
        set_class(session, case.tenant_id, "key_a", "short", 60)
        classify_video(session, case.video_id, "key_a", "short")
        if cause is ErasureCause.PURGE:
            delete_video(session, case.video_id, "key_a")
    case.run(
        "UPDATE video SET create_time = now() - interval '61 s', purge_time = purge_time - interval '8 days'"
        " WHERE id = :id",
        id=case.video_id,
    )
    with case.database.transaction(tenant_id=case.tenant_id) as session:
        assert [(due.video_id, due.cause) for due in find_due(session, 10)] == [(case.video_id, cause)]
        spare(session, case)
    with pytest.raises(RequestRefused, match="not over any more") as refused:
        case.begin(cause=cause)
    assert refused.value.reason is Reason.STATE_CONFLICT
    with case.database.transaction(tenant_id=case.tenant_id) as session:
        assert list_erasures(session, video_id=case.video_id) == []


def test_classes_that_are_being_changed_keep_no_other_tenant_from_its_sweep(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    Eraser(case.database, case.objects, BUCKET, sweep_s=0).take_turn()  # what other tests have left
    monkeypatch.setattr("workers.erase.AT_ONCE", 1)
    videos = {case.video_id: case.tenant_id}
    for _ in range(2):
        other = make_tenant(case.database)
        with case.database.transaction(tenant_id=other) as session:
            video = upsert_video(session, tenant_id=other, sha256=case.traces[1], size_bytes=5, media=MEDIA)
        videos[video] = other
    for video_id, tenant_id in videos.items():
        with case.database.transaction(tenant_id=tenant_id) as session:
            set_class(session, tenant_id, "key_a", "default", 60)
            older = text("UPDATE video SET create_time = now() - interval '61 s' WHERE id = :id")
            session.execute(older, {"id": video_id})
    hasty = Hasty(case.database.pool, case.database.sessions, case.database.is_fleet)
    eraser = Eraser(hasty, case.objects, BUCKET, sweep_s=0, put_off_s=3)

    def find_erased() -> list[str]:
        eraser.take_turn()
        with case.database.transaction(tenant_id=None) as session:
            return [each for each in videos if list_erasures(session, video_id=each)]

    *stuck, behind = videos
    with ExitStack() as stack:
        for video_id in stuck:
            session = stack.enter_context(case.database.transaction(tenant_id=videos[video_id]))
            lock_classes(session, videos[video_id])
        wait_until(lambda: find_erased() == [behind])
    wait_until(lambda: find_erased() == list(videos))


def hold(session: Session, video_id: str) -> None:
    hold_video(session, video_id, "key_a", is_held=True)


def lift(session: Session, video_id: str) -> None:
    hold_video(session, video_id, "key_a", is_held=False)


def delete(session: Session, video_id: str) -> None:
    delete_video(session, video_id, "key_a")


def undelete(session: Session, video_id: str) -> None:
    undelete_video(session, video_id, "key_a")


def erase(session: Session, video_id: str) -> None:
    begin_erasure(session, video_id, "key_a", bucket=BUCKET)


@pytest.mark.parametrize("act", [hold, delete, erase])
def test_what_no_class_decides_waits_for_no_change_of_classes(
    case: Case, act: Callable[[Session, str], None]
) -> None:
    hasty = Hasty(case.database.pool, case.database.sessions, case.database.is_fleet)
    with case.database.transaction(tenant_id=case.tenant_id) as session:
        lock_classes(session, case.tenant_id)
        with hasty.transaction(tenant_id=case.tenant_id) as other:
            act(other, case.video_id)
    with case.database.transaction(tenant_id=case.tenant_id) as session:
        newest = list_audit(session, AuditSearch(case.video_id))[0].action
    assert newest == {hold: "video.held", delete: "video.deleted", erase: "video.erasure_begun"}[act]


@pytest.mark.parametrize(("before", "act"), [(hold, lift), (delete, undelete)])
def test_nothing_comes_among_what_a_class_erases_while_classes_change(
    case: Case, before: Callable[[Session, str], None], act: Callable[[Session, str], None]
) -> None:
    hasty = Hasty(case.database.pool, case.database.sessions, case.database.is_fleet)
    with case.database.transaction(tenant_id=case.tenant_id) as session:
        before(session, case.video_id)
    with case.database.transaction(tenant_id=case.tenant_id) as session:
        lock_classes(session, case.tenant_id)
        with pytest.raises(Unavailable), hasty.transaction(tenant_id=case.tenant_id) as other:
            act(other, case.video_id)


def test_the_default_class_holds_for_videos_without_one(case: Case) -> None:
    case.run("UPDATE video SET create_time = now() - interval '61 s' WHERE id = :id", id=case.video_id)
    with case.database.transaction(tenant_id=case.tenant_id) as session:
        assert find_due(session, 10) == []
        set_class(session, case.tenant_id, "key_a", "default", 60)
        assert [due.cause for due in find_due(session, 10)] == [ErasureCause.RETENTION]
        remove_class(session, case.tenant_id, "key_a", "default")
        assert find_due(session, 10) == []
        with pytest.raises(RequestRefused, match="no retention class"):
            classify_video(session, case.video_id, "key_a", "default")
