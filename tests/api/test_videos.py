"""Videos over HTTP: listed, shown with their sources, named and tagged without losing another's change."""

from datetime import datetime

from sqlalchemy import text

from fakesieve.objects import VideoRef
from fakesieve.records.videos import record_source
from tests.api.callers import reason_of
from tests.factories import hash_text, make_video


def make(database, caller, content: str = "clip") -> str:
    with database.transaction(tenant_id=caller.tenant_id) as session:
        video_id = make_video(session, caller.tenant_id, content)
        ref = VideoRef("videos", f"{content}.mp4", None, "etag1", 10_000)
        record_source(session, tenant_id=caller.tenant_id, video_id=video_id, ref=ref)
    return video_id


def test_a_video_is_shown_with_the_places_where_it_was_seen(acme, module_database):
    video_id = make(module_database, acme)
    video = acme.get(f"/v1/videos/{video_id}").json()
    assert (video["container"], video["codec"], video["width"], video["duration_us"]) == (
        "mp4",
        "h264",
        640,
        3_000_000,
    )
    assert video["content_sha256"] == hash_text("clip")
    assert [source["uri"] for source in video["sources"]] == ["s3://videos/clip.mp4"]
    assert (video["tags"], video["external_id"], video["warnings"]) == ({}, None, [])


def test_a_video_says_when_its_class_lets_it_be_erased(acme, module_database):
    video_id = make(module_database, acme)
    path = f"/v1/videos/{video_id}"
    assert acme.get(path).json()["expire_time"] is None
    acme.send("PUT", "/v1/retention-classes/default", {"keep_s": 86_400})
    acme.send("PUT", "/v1/retention-classes/short", {"keep_s": 60})

    def read_kept_s() -> float:
        shown = acme.get(path).json()
        assert acme.get("/v1/videos").json()["data"][0]["expire_time"] == shown["expire_time"]
        end, begin = (datetime.fromisoformat(shown[name]) for name in ("expire_time", "create_time"))
        return (end - begin).total_seconds()

    assert read_kept_s() == 86_400
    acme.post(f"{path}:classify", {"retention_class": "short"})
    assert read_kept_s() == 60
    acme.post(f"{path}:hold")
    assert acme.get(path).json()["expire_time"] is None


def test_videos_are_listed_by_content_and_by_the_callers_name(acme, module_database):
    first, second = (make(module_database, acme, content) for content in ("one", "two"))
    assert [each["id"] for each in acme.get("/v1/videos").json()["data"]] == [second, first]
    assert [
        each["id"] for each in acme.get("/v1/videos", content_sha256=hash_text("one")).json()["data"]
    ] == [first]
    acme.send("PATCH", f"/v1/videos/{second}", {"external_id": "case 2"})
    assert [each["id"] for each in acme.get("/v1/videos", external_id="case 2").json()["data"]] == [second]
    page = acme.get("/v1/videos", page_size=1).json()
    rest = acme.get("/v1/videos", page_size=1, page_token=page["next_page_token"]).json()
    assert [each["id"] for each in page["data"] + rest["data"]] == [second, first]


def test_tags_are_replaced_and_what_is_left_out_stays(acme, module_database):
    video_id = make(module_database, acme)
    path = f"/v1/videos/{video_id}"
    acme.send("PATCH", path, {"external_id": "case 1", "tags": {"desk": "news", "day": "1"}})
    changed = acme.send("PATCH", path, {"tags": {"desk": "sports"}}).json()
    assert (changed["tags"], changed["external_id"]) == ({"desk": "sports"}, "case 1")
    assert acme.send("PATCH", path, {"external_id": None}).json()["external_id"] is None
    assert acme.get(path).json()["tags"] == {"desk": "sports"}
    assert reason_of(acme.send("PATCH", path, {"tags": {"": "x"}})) == (422, "INVALID_REQUEST")


def test_a59_a_change_under_a_stale_etag_is_refused(acme, module_database):
    path = f"/v1/videos/{make(module_database, acme)}"
    etag = acme.get(path).headers["etag"]
    first = acme.send("PATCH", path, {"tags": {"a": "1"}}, {"If-Match": etag})
    assert first.status_code == 200
    assert first.headers["etag"] == acme.get(path).headers["etag"] != etag
    late = acme.send("PATCH", path, {"tags": {"a": "2"}}, {"If-Match": etag})
    assert reason_of(late) == (412, "PRECONDITION_FAILED")
    assert acme.get(path).json()["tags"] == {"a": "1"}


def test_a_deleted_video_and_one_of_another_tenant_are_not_there(acme, other, module_database):
    video_id = make(module_database, acme)
    path = f"/v1/videos/{video_id}"
    for method, body in (("GET", None), ("PATCH", {"tags": {}})):
        assert reason_of(other.send(method, path, body)) == (404, "NOT_FOUND")
    with module_database.transaction(tenant_id=acme.tenant_id) as session:
        session.execute(
            text("UPDATE video SET delete_time = now(), purge_time = now() WHERE id = :id"), {"id": video_id}
        )
    assert reason_of(acme.get(path)) == (404, "NOT_FOUND")
    assert acme.get("/v1/videos").json()["data"] == []


def test_an_etag_of_the_callers_own_part_outlives_other_changes(acme, module_database):
    video_id = make(module_database, acme)
    path = f"/v1/videos/{video_id}"
    etag = acme.get(path).headers["etag"]
    with module_database.transaction(tenant_id=acme.tenant_id) as session:
        ref = VideoRef("videos", "elsewhere.mp4", None, "etag2", 10_000)
        record_source(session, tenant_id=acme.tenant_id, video_id=video_id, ref=ref)
    assert acme.get(path, {"If-None-Match": etag}).status_code == 200  # it has another source now
    assert acme.send("PATCH", path, {"tags": {"a": "1"}}, {"If-Match": etag}).status_code == 200
    now = acme.get(path).headers["etag"]
    for header in ("*", f"W/{now}", f'"x", {now}'):
        same = acme.send("PATCH", path, {"tags": {"a": "1"}}, {"If-Match": header})
        assert same.status_code == 200, header
    for header in (etag, "x", "", '""'):
        late = acme.send("PATCH", path, {"tags": {"a": "2"}}, {"If-Match": header})
        assert reason_of(late) == (412, "PRECONDITION_FAILED"), header
