"""What a class would erase is counted up to a bound, and videos without a class count for the default one."""

from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from fakesieve.database import Database
from fakesieve.erasure import foresight
from fakesieve.erasure.foresight import Count, Reach, count_by_class, foresee, list_due, read_clock
from fakesieve.erasure.retention import classify_video, delete_video, hold_video, set_class
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
        now = read_clock(session)
        reach = foresee(session, "default", 30 * DAY_S, now)
        assert reach == Reach(Count(4, True), Count(1, True), Count(2, True), now + timedelta(days=10))
        assert list_due(session, "default", 30 * DAY_S, now, 10) == [oldest, own]
        assert foresee(session, "default", None, now).due == Count(0, True)
        assert count_by_class(session) == {"default": Count(4, True), "news": Count(1, True)}
        assert young not in list_due(session, "default", 1, now - timedelta(days=20), 10)


def test_videos_count_as_of_the_instant_that_is_given(database: Database, tenant_id: str) -> None:
    with database.transaction(tenant_id=tenant_id) as session:
        add_video(session, tenant_id, 40)
        now = read_clock(session)
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
        now = read_clock(session)
        over = foresee(session, "default", 20 * DAY_S, now)
        part = foresee(session, "default", 35 * DAY_S, now)
        assert count_by_class(session) == {"default": Count(2, False)}
    assert (over.videos, over.due.is_whole, over.held) == (Count(2, False), False, Count(0, False))
    assert (part.videos, part.due) == (Count(2, False), Count(2, True))
