"""A class that is removed keeps nothing from then on, and its videos leave it in steps."""

import secrets
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from fakesieve.database import Database
from fakesieve.erasure import removal
from fakesieve.erasure.erase import begin_erasure
from fakesieve.erasure.foresight import Count, count_by_class, count_leaving, foresee, list_due, mark_now
from fakesieve.erasure.removal import Step, free_videos, remove_class
from fakesieve.erasure.retention import (
    Kept,
    classify_video,
    delete_video,
    find_due,
    find_kept,
    hold_video,
    list_classes,
    lock_classes,
    set_class,
)
from fakesieve.errors import RequestRefused, Unavailable
from fakesieve.object_stores.s3 import S3Objects
from fakesieve.reasons import Reason
from fakesieve.records.audit import AuditSearch, list_audit
from fakesieve.records.videos import Video, upsert_video
from fakesieve.values.erasure import ErasureCause
from tests.factories import MEDIA, hash_text, make_tenant
from tests.fakesieve.erasure.conftest import BUCKET, Hasty
from workers.erase import Eraser

DAY_S = 86_400


@pytest.fixture
def tenant_id(module_database: Database) -> str:
    return make_tenant(module_database, f"tenant {secrets.token_hex(4)}")


def add_videos(database: Database, tenant_id: str, days: Sequence[int], name: str = "news") -> list[str]:
    """Return ids of videos of a class, which is made, that came so many days ago; the oldest leaves first."""
    with database.transaction(tenant_id=tenant_id) as session:
        set_class(session, tenant_id, "key_a", name, 10 * DAY_S)
        found = list[str]()
        for age in days:
            sha256 = hash_text(f"{name} {age} days")
            video_id = upsert_video(session, tenant_id=tenant_id, sha256=sha256, size_bytes=5, media=MEDIA)
            older = text("UPDATE video SET create_time = now() - make_interval(days => :age) WHERE id = :id")
            session.execute(older, {"age": age, "id": video_id})
            classify_video(session, video_id, "key_a", name)
            found.append(video_id)
    return found


def remove(database: Database, tenant_id: str, name: str = "news") -> bool:
    with database.transaction(tenant_id=tenant_id) as session:
        return remove_class(session, tenant_id, "key_a", name)


def step(database: Database, tenant_id: str, most: int, name: str = "news") -> Step:
    with database.transaction(tenant_id=tenant_id) as session:
        return free_videos(session, tenant_id, name, most)


def read_names(database: Database, tenant_id: str) -> list[str | None]:
    """Return the class that each video of a tenant names, the oldest video first."""
    with database.transaction(tenant_id=tenant_id) as session:
        return list(session.scalars(text("SELECT retention_class FROM video ORDER BY create_time")))


def is_listed(database: Database, tenant_id: str) -> bool:
    with database.transaction(tenant_id=tenant_id) as session:
        return [line.name for line in list_classes(session)] == ["news"]


def test_a_class_of_few_videos_is_gone_with_its_removal(module_database: Database, tenant_id: str) -> None:
    add_videos(module_database, tenant_id, [5, 6])
    assert remove(module_database, tenant_id)
    assert not is_listed(module_database, tenant_id)
    assert read_names(module_database, tenant_id) == [None, None]


def test_a_class_of_many_videos_is_gone_with_the_step_of_the_last(
    module_database: Database, tenant_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removal, "AT_ONCE", 2)
    *_, youngest = add_videos(module_database, tenant_id, [9, 8, 7, 6, 5])
    with module_database.transaction(tenant_id=tenant_id) as session:
        delete_video(session, youngest, "key_a")  # it may come back: it leaves the class, too
    assert not remove(module_database, tenant_id)
    assert read_names(module_database, tenant_id) == [None, None, "news", "news", "news"]
    assert is_listed(module_database, tenant_id)
    assert step(module_database, tenant_id, 2) == Step(2, is_gone=False)
    assert step(module_database, tenant_id, 2) == Step(1, is_gone=True)
    assert not is_listed(module_database, tenant_id)
    assert read_names(module_database, tenant_id) == [None] * 5


def test_a_removal_that_was_cut_off_is_ended_by_the_next_reconciler(
    module_database: Database, tenant_id: str, objects: S3Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removal, "AT_ONCE", 0)
    monkeypatch.setattr("workers.erase.STEPS_AT_ONCE", 1)
    add_videos(module_database, tenant_id, [7, 6, 5])
    remove(module_database, tenant_id)

    def cut_off(session: Session) -> None:
        free_videos(session, tenant_id, "news", 2)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        module_database.run_transaction(cut_off, tenant_id=tenant_id)
    assert read_names(module_database, tenant_id) == ["news"] * 3
    left = list[int]()
    for _ in range(4):  # a reconciler each, which does not live longer than a turn
        Eraser(module_database, objects, BUCKET, step_videos=1).take_turn()
        left.append(read_names(module_database, tenant_id).count("news"))
    assert left == [2, 1, 0, 0]
    assert not is_listed(module_database, tenant_id)


def test_one_turn_of_a_reconciler_takes_several_steps(
    module_database: Database, tenant_id: str, objects: S3Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removal, "AT_ONCE", 0)
    add_videos(module_database, tenant_id, [7, 6, 5])
    remove(module_database, tenant_id)
    assert Eraser(module_database, objects, BUCKET, step_videos=2).take_turn() >= 2
    assert not is_listed(module_database, tenant_id)


def test_a_hold_waits_for_no_removal_and_a_step_for_no_hold(
    module_database: Database, tenant_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removal, "AT_ONCE", 0)
    hasty = Hasty(module_database.pool, module_database.sessions, module_database.is_fleet)
    _, younger = add_videos(module_database, tenant_id, [6, 5])
    remove(module_database, tenant_id)
    with module_database.transaction(tenant_id=tenant_id) as session:
        assert free_videos(session, tenant_id, "news", 1) == Step(1, is_gone=False)
        with hasty.transaction(tenant_id=tenant_id) as other:
            hold_video(other, younger, "key_a", is_held=True)
    with module_database.transaction(tenant_id=tenant_id) as other:
        hold_video(other, younger, "key_a", is_held=False)
        assert step(module_database, tenant_id, 5) == Step(0, is_gone=False)
    assert step(module_database, tenant_id, 5) == Step(1, is_gone=True)
    assert read_names(module_database, tenant_id) == [None, None]


def test_no_video_moves_while_what_a_change_erases_is_counted(
    module_database: Database, tenant_id: str, objects: S3Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removal, "AT_ONCE", 0)
    add_videos(module_database, tenant_id, [5])
    remove(module_database, tenant_id)
    hasty = Hasty(module_database.pool, module_database.sessions, module_database.is_fleet)
    with module_database.transaction(tenant_id=tenant_id) as session:
        lock_classes(session, tenant_id)
        with pytest.raises(Unavailable), hasty.transaction(tenant_id=tenant_id) as other:
            free_videos(other, tenant_id, "news", 5)
        assert Eraser(hasty, objects, BUCKET).take_turn() == 0
    assert read_names(module_database, tenant_id) == ["news"]
    Eraser(module_database, objects, BUCKET).take_turn()
    assert not is_listed(module_database, tenant_id)


def find_erased(session: Session, videos: Sequence[str]) -> list[str]:
    """Return which of these videos may be erased by a class now, as a sweep begins it; none is."""
    found = list[str]()
    for video_id in videos:
        with session.begin_nested() as tried:
            with suppress(RequestRefused):
                begin_erasure(session, video_id, "fleet", ErasureCause.RETENTION, bucket=BUCKET)
                found.append(video_id)
            tried.rollback()
    return found


@pytest.mark.parametrize(("default_days", "over"), [(30, 2), (4, 4), (None, 0)])
def test_a_sweep_erases_what_a_page_has_said_however_many_videos_have_left(
    module_database: Database,
    tenant_id: str,
    monkeypatch: pytest.MonkeyPatch,
    default_days: int | None,
    over: int,
) -> None:
    """The class keeps for ten days, the default one longer, shorter or without an end."""
    monkeypatch.setattr(removal, "AT_ONCE", 1)
    videos = add_videos(module_database, tenant_id, [50, 40, 20, 5, 3])
    keep_s = None if default_days is None else default_days * DAY_S
    with module_database.transaction(tenant_id=tenant_id) as session:
        if keep_s is not None:
            set_class(session, tenant_id, "key_a", "default", keep_s)
        now = mark_now(session, tenant_id).time
        said = list(list_due(session, "news", keep_s, now, 10))
    assert said == videos[:over]
    is_gone, left = remove(module_database, tenant_id), list[int]()
    while True:
        left.append(read_names(module_database, tenant_id).count("news"))
        with module_database.transaction(tenant_id=tenant_id) as session:
            assert sorted(each.video_id for each in find_due(session, 10)) == sorted(said)
            assert find_erased(session, videos) == said
            assert list(list_due(session, "default", keep_s, now, 10)) == said
            assert foresee(session, "default", keep_s, now).videos == Count(5, is_whole=True)
            assert count_by_class(session)["default"] == Count(5, is_whole=True)
            lines = [session.get_one(Video, video_id) for video_id in videos]
            ends = [
                None if keep_s is None else line.create_time + timedelta(seconds=keep_s) for line in lines
            ]
            kept = find_kept(session, lines)
            assert [kept[video_id] for video_id in videos] == [Kept(None, end) for end in ends]
        if is_gone:
            break
        is_gone = step(module_database, tenant_id, 1).is_gone
    assert left == [4, 3, 2, 1, 0, 0]


def test_a_class_that_is_being_removed_is_neither_changed_nor_given(
    module_database: Database, tenant_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removal, "AT_ONCE", 0)
    (video,) = add_videos(module_database, tenant_id, [5])
    remove(module_database, tenant_id)
    for act in (
        lambda session: set_class(session, tenant_id, "key_a", "news", DAY_S),
        lambda session: classify_video(session, video, "key_a", "news"),
    ):
        with (
            pytest.raises(RequestRefused, match="is being removed") as refused,
            module_database.transaction(tenant_id=tenant_id) as session,
        ):
            act(session)
        assert refused.value.reason is Reason.STATE_CONFLICT
    assert not remove(module_database, tenant_id)
    with module_database.transaction(tenant_id=tenant_id) as session:
        told = [line.action for line in list_audit(session, AuditSearch("news"))]
        assert count_leaving(session) == {"news": Count(1, is_whole=True)}
        counts = count_by_class(session)
    assert counts == {"default": Count(1, is_whole=True), "news": Count(0, is_whole=True)}
    assert told == ["retention.removed", "retention.set"]


def test_a_late_step_leaves_a_class_alone_that_has_got_the_name_since(
    module_database: Database, tenant_id: str
) -> None:
    add_videos(module_database, tenant_id, [5])
    remove(module_database, tenant_id)
    add_videos(module_database, tenant_id, [6])
    assert step(module_database, tenant_id, 5) == Step(0, is_gone=True)
    assert read_names(module_database, tenant_id) == ["news", None]


def test_a_step_moves_videos_of_its_own_tenant_alone(
    module_database: Database, tenant_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removal, "AT_ONCE", 0)
    other = make_tenant(module_database, f"tenant {secrets.token_hex(4)}")
    for each in (tenant_id, other):
        add_videos(module_database, each, [5])
        remove(module_database, each)
    assert step(module_database, tenant_id, 5).is_gone
    assert read_names(module_database, other) == ["news"]
    with module_database.transaction(tenant_id=other) as session:
        free_videos(session, tenant_id, "news", 5)
    assert read_names(module_database, other) == ["news"]


def test_removing_the_default_class_keeps_videos_without_an_end(
    module_database: Database, tenant_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removal, "AT_ONCE", 0)
    (video,) = add_videos(module_database, tenant_id, [40], "default")
    with module_database.transaction(tenant_id=tenant_id) as session:
        assert [each.video_id for each in find_due(session, 10)] == [video]
    assert not remove(module_database, tenant_id, "default")
    with module_database.transaction(tenant_id=tenant_id) as session:
        assert find_due(session, 10) == []
    assert step(module_database, tenant_id, 5, "default") == Step(1, is_gone=True)
    with module_database.transaction(tenant_id=tenant_id) as session:
        set_class(session, tenant_id, "key_a", "default", 30 * DAY_S)
        assert [each.video_id for each in find_due(session, 10)] == [video]
