"""One row per content and tenant, and the places where it was seen."""

from datetime import UTC, datetime

import pytest

from fakesieve.database import Database
from fakesieve.objects import VideoRef
from fakesieve.records import videos
from fakesieve.records.videos import (
    list_sources,
    load_video,
    map_sources,
    record_source,
    upsert_video,
)
from fakesieve.values.videos import SourceKind
from tests.factories import MEDIA, hash_text, make_tenant, make_video

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


@pytest.fixture
def tenant_id(database: Database) -> str:
    return make_tenant(database)


def test_the_same_bytes_are_one_video_of_a_tenant(database: Database, tenant_id: str) -> None:
    other = make_tenant(database, "other")
    with database.transaction(tenant_id=None) as session:
        first = make_video(session, tenant_id)
        assert make_video(session, tenant_id) == first
        assert make_video(session, tenant_id, "another clip") != first
        assert make_video(session, other) != first


def test_a_video_shows_what_its_probe_said(database: Database, tenant_id: str) -> None:
    with database.transaction(tenant_id=tenant_id) as session:
        video = load_video(session, make_video(session, tenant_id))
        assert video is not None
        assert (video.container, video.codec, video.width, video.height) == ("mp4", "h264", 640, 360)
        assert video.duration_us == 3_000_000
        assert video.media == MEDIA


def test_a_newer_probe_replaces_the_older_and_the_first_external_id_stays(
    database: Database, tenant_id: str
) -> None:
    def store(codec: str, external_id: str | None) -> str:
        with database.transaction(tenant_id=tenant_id) as session:
            return upsert_video(
                session,
                tenant_id=tenant_id,
                sha256=hash_text("clip"),
                size_bytes=5,
                media=MEDIA | {"codec": codec},
                external_id=external_id,
            )

    store("h264", None)
    store("hevc", "ours-1")
    video_id = store("av1", "ours-2")
    with database.transaction(tenant_id=tenant_id) as session:
        video = load_video(session, video_id)
        assert video is not None
        assert (video.codec, video.external_id) == ("av1", "ours-1")


def test_a_place_is_noted_once_per_version(database: Database, tenant_id: str) -> None:
    refs = [
        VideoRef("videos", "a.mp4", etag="e1"),
        VideoRef("videos", "a.mp4", etag="e1", size_bytes=5),
        VideoRef("videos", "a.mp4", version_id="2", etag="e1"),
        VideoRef("videos", "copy.mp4", etag="e1"),
    ]
    with database.transaction(tenant_id=tenant_id) as session:
        video_id = make_video(session, tenant_id)
        for ref in refs:
            record_source(session, tenant_id=tenant_id, video_id=video_id, ref=ref, kind=SourceKind.MANIFEST)
        seen = {(each.key, each.version_id, each.size_bytes) for each in list_sources(session, video_id)}
    assert seen == {("a.mp4", None, 5), ("a.mp4", "2", None), ("copy.mp4", None, None)}


def test_places_of_many_videos_are_read_in_pieces(
    database: Database, tenant_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(videos, "_VIDEOS_AT_ONCE", 2)
    with database.transaction(tenant_id=tenant_id) as session:
        ids = [make_video(session, tenant_id, name) for name in "abcd"]
        for video_id, key in ((ids[0], "old"), (ids[0], "new"), (ids[2], "c")):
            record_source(session, tenant_id=tenant_id, video_id=video_id, ref=VideoRef("videos", key))
        found = map_sources(session, ids)
        assert {video_id: {each.key for each in places} for video_id, places in found.items()} == {
            ids[0]: {"old", "new"}, ids[2]: {"c"},
        }  # fmt: skip
        assert list(found[ids[0]]) == list_sources(session, ids[0])
