"""What a class would erase is counted up to a bound, and videos without a class count for the default one."""

from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from fakesieve.database import Database
from fakesieve.erasure import foresight
from fakesieve.erasure.foresight import Count, Reach, count_by_class, foresee, has_joined, list_due, mark_now
from fakesieve.erasure.removal import remove_class
from fakesieve.erasure.retention import (
    classify_video,
    delete_video,
    hold_video,
    lock_classes,
    set_class,
)
from fakesieve.records.videos import upsert_video
from tests.factories import MEDIA, hash_text, make_tenant

DAY_S = 86_400


def add_video(session: Session, tenant_id: str, days: int) -> str:
    """Return the id of a video that came so many days ago."""
    sha256 = hash_text(f"{days} days")
    found = upsert_video(session, tenant_id=tenant_id, sha256=sha256, size_bytes=5, media=MEDIA)
    older = text("UPDATE video SET create_time = now() - make_interval(days => :days) WHERE id = :id")
    session.execute(older, {"days": days, "id": found})
    return found


@pytest.fixture
def tenant_id(database: Database) -> str:
    return make_tenant(database)


def test_the_default_class_counts_videos_of_its_own_and_those_without_one(
    database: Database, tenant_id: str
) -> None:
    with database.transaction(tenant_id=tenant_id) as session:
        oldest, held, gone, own, young, other = (
            add_video(session, tenant_id, days) for days in (50, 45, 42, 40, 20, 60)
        )
        for name in ("default", "news"):
            set_class(session, tenant_id, "key_a", name, 100 * DAY_S)
        classify_video(session, own, "key_a", "default")
        classify_video(session, other, "key_a", "news")
        hold_video(session, held, "key_a", is_held=True)
        delete_video(session, gone, "key_a")
        now = mark_now(session, tenant_id).time
        reach = foresee(session, "default", 30 * DAY_S, now)
        assert reach == Reach(Count(4, True), Count(1, True), Count(2, True), now + timedelta(days=10))
        assert list_due(session, "default", 30 * DAY_S, now, 10) == [oldest, own]
        assert foresee(session, "default", None, now).due == Count(0, True)
        assert count_by_class(session) == {"default": Count(4, True), "news": Count(1, True)}
        assert young not in list_due(session, "default", 1, now - timedelta(days=20), 10)


def test_videos_count_as_of_the_instant_that_is_given(database: Database, tenant_id: str) -> None:
    with database.transaction(tenant_id=tenant_id) as session:
        add_video(session, tenant_id, 40)
        now = mark_now(session, tenant_id).time
        due = [foresee(session, "default", 30 * DAY_S, now - timedelta(days=ago)).due for ago in (9, 11)]
    assert due == [Count(1, True), Count(0, True)]


def test_more_than_is_counted_is_said_to_be_at_least_so_many(
    database: Database, tenant_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FORESEEN_MAX", "LISTED_MAX"):
        monkeypatch.setattr(foresight, name, 2)
    with database.transaction(tenant_id=tenant_id) as session:
        for days in (50, 40, 30):
            add_video(session, tenant_id, days)
        now = mark_now(session, tenant_id).time
        over = foresee(session, "default", 20 * DAY_S, now)
        part = foresee(session, "default", 35 * DAY_S, now)
        assert count_by_class(session) == {"default": Count(2, False)}
    assert (over.videos, over.due.is_whole, over.held) == (Count(2, False), False, Count(0, False))
    assert (part.videos, part.due) == (Count(2, False), Count(2, True))


def test_many_classes_share_what_is_counted_for_their_list(
    database: Database, tenant_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foresight, "LISTED_IN_ALL_MAX", 7)
    with database.transaction(tenant_id=tenant_id) as session:
        for name in ("news", "sports"):
            set_class(session, tenant_id, "key_a", name, 100 * DAY_S)
        for days in (50, 40, 30):
            classify_video(session, add_video(session, tenant_id, days), "key_a", "news")
        for days in (20, 10):
            add_video(session, tenant_id, days)
        found = count_by_class(session)
        for name in "abcdefgh":
            set_class(session, tenant_id, "key_a", name, 100 * DAY_S)
        assert count_by_class(session)["news"] == Count(1, False)
    assert found == {"default": Count(2, True), "news": Count(2, False), "sports": Count(0, True)}


def test_what_is_erased_is_counted_however_many_older_videos_are_held(
    database: Database, tenant_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foresight, "FORESEEN_MAX", 2)
    with database.transaction(tenant_id=tenant_id) as session:
        *held, first, second, _ = (add_video(session, tenant_id, days) for days in (60, 59, 58, 40, 39, 10))
        for each in held:
            hold_video(session, each, "key_a", is_held=True)
        now = mark_now(session, tenant_id).time
        reach = foresee(session, "default", 30 * DAY_S, now)
        more = foresee(session, "default", 5 * DAY_S, now)
        assert list_due(session, "default", 30 * DAY_S, now, 10) == [first, second]
    assert (reach.held, reach.due) == (Count(2, False), Count(2, True))
    assert (more.held, more.due) == (Count(2, False), Count(2, False))


def test_what_comes_into_a_class_after_a_mark_is_told_from_what_was_in_it(
    database: Database, tenant_id: str
) -> None:
    with database.transaction(tenant_id=tenant_id) as session:
        there, other, young = (add_video(session, tenant_id, days) for days in (50, 40, 20))
        for name in ("default", "news"):
            set_class(session, tenant_id, "key_a", name, 100 * DAY_S)
        for each in (other, young):
            classify_video(session, each, "key_a", "news")
        mark = mark_now(session, tenant_id)

        def find(keep_s: int | None = 30 * DAY_S) -> bool:
            return has_joined(session, tenant_id, "default", keep_s, mark)

        hold_video(session, there, "key_a", is_held=True)
        classify_video(session, young, "key_a", None)
        assert not find()
        classify_video(session, other, "key_a", None)
        assert (find(), find(45 * DAY_S), find(None)) == (True, False, False)
        assert not has_joined(session, tenant_id, "news", DAY_S, mark)


def test_videos_of_a_class_that_is_removed_come_into_the_default_one(
    database: Database, tenant_id: str
) -> None:
    with database.transaction(tenant_id=tenant_id) as session:
        set_class(session, tenant_id, "key_a", "news", DAY_S)
        mark = mark_now(session, tenant_id)
        remove_class(session, tenant_id, "key_a", "news")
        found = [has_joined(session, tenant_id, each, DAY_S, mark) for each in ("default", "news")]
    assert found == [True, False]


def test_no_video_changes_its_class_while_classes_change(database: Database, tenant_id: str) -> None:
    """So that what was counted before a class changes is what it erases."""
    with database.transaction(tenant_id=tenant_id) as session:
        video_id = add_video(session, tenant_id, 40)
    with (
        database.transaction(tenant_id=tenant_id) as session,
        database.transaction(tenant_id=tenant_id) as other,
    ):
        lock_classes(session, tenant_id)
        other.execute(text("SET LOCAL lock_timeout = '50ms'"))
        with pytest.raises(DBAPIError, match="lock timeout"):
            classify_video(other, video_id, "key_a", None)
