"""Bucket events over HTTP: each upload becomes one job, of whoever may name the object."""

import pytest

from tests.api.callers import Caller, reason_of


def notify(*keys: str, bucket: str = "videos", name: str = "s3:ObjectCreated:Put") -> dict:
    """Return a notification as MinIO sends it to a webhook."""
    place = {"bucket": {"name": bucket}}
    records = [{"eventName": name, "s3": {**place, "object": {"key": key, "size": 18}}} for key in keys]
    return {"EventName": name, "Key": f"{bucket}/{keys[0]}", "Records": records}


def counts(**changed: int) -> dict:
    return {"new": 0, "known": 0, "gone": 0, "outside": 0, "ignored": 0} | changed


def list_uris(caller: Caller) -> list[str]:
    return [job["source"]["uri"] for job in caller.get("/v1/jobs").json()["data"]]


def test_an_object_that_was_put_becomes_a_job_once(acme, clip):
    uri = clip("events/a clip.mp4")
    answer = acme.post("/v1/bucket-events", notify("events/a+clip.mp4"))
    assert (answer.status_code, answer.json()) == (200, counts(new=1))
    again = acme.post("/v1/bucket-events", notify("events/a+clip.mp4", "events/a+clip.mp4")).json()
    assert again == counts(known=2)
    assert list_uris(acme) == [uri]


def test_the_form_of_seaweedfs_is_read_too(acme, clip):
    uri = clip("events/weed.mp4")
    entry = {"name": "weed.mp4", "attributes": {"file_size": 18}}
    message = {"new_entry": entry, "new_parent_path": "/buckets/videos/events"}
    body = {"key": "/buckets/videos/events/weed.mp4", "event_type": "create", "message": message}
    assert acme.post("/v1/bucket-events", body).json()["new"] == 1
    assert list_uris(acme) == [uri]


def test_what_is_gone_or_removed_makes_no_job(acme):
    assert acme.post("/v1/bucket-events", notify("events/never.mp4")).json()["gone"] == 1
    removed = notify("events/never.mp4", name="s3:ObjectRemoved:Delete")
    assert acme.post("/v1/bucket-events", removed).json()["gone"] == 1
    assert list_uris(acme) == []


def test_prefix_and_extensions_narrow_what_is_taken(acme, clip):
    for key in ("events/in/one.mp4", "events/in/two.txt", "events/out/three.mp4"):
        clip(key)
    body = notify("events/in/one.mp4", "events/in/two.txt", "events/out/three.mp4")
    answer = acme.post("/v1/bucket-events", body, prefix="events/in/", extension=".mp4").json()
    assert (answer["new"], answer["outside"]) == (1, 2)


def test_objects_outside_the_tenant_s_places_are_not_looked_at(acme, clip):
    clip("events/theirs.mp4")
    assert acme.post("/v1/bucket-events", notify("x.mp4", bucket="elsewhere")).json()["outside"] == 1
    folders = ("exports/ten_00000000000000000000000000/x.csv", f"uploads/{acme.tenant_id}/upl_1")
    assert acme.post("/v1/bucket-events", notify(*folders)).json()["outside"] == 2
    assert list_uris(acme) == []


def test_a_test_of_the_store_is_answered(acme):
    answer = acme.post("/v1/bucket-events", {"Event": "s3:TestEvent", "Bucket": "videos"}).json()
    assert answer == counts(ignored=1)


@pytest.mark.parametrize("body", [{}, {"Records": [{}]}, {"Records": ["x"]}, {"hello": 1}])
def test_what_no_store_sends_is_refused(acme, body):
    assert reason_of(acme.post("/v1/bucket-events", body)) == (422, "INVALID_REQUEST")


def test_a_record_that_cannot_be_read_holds_up_none_beside_it(acme, clip):
    uri = clip("events/beside.mp4")
    body = notify("%FF.mp4", "events/beside.mp4")
    for _ in range(2):  # a store may send it again
        assert reason_of(acme.post("/v1/bucket-events", body)) == (422, "INVALID_REQUEST")
        assert list_uris(acme) == [uri]


@pytest.mark.parametrize("prefix", ["in\0/", "\u00e4" * 1000])
def test_a_prefix_that_no_key_can_have_is_refused(acme, prefix):
    assert reason_of(acme.post("/v1/bucket-events", notify("a.mp4"), prefix=prefix)) == (
        422,
        "INVALID_REQUEST",
    )


def test_a_notification_of_too_many_objects_is_refused_whole(acme, clip):
    clip("events/0.mp4")
    body = notify(*(f"events/{number}.mp4" for number in range(101)))
    assert reason_of(acme.post("/v1/bucket-events", body)) == (413, "REQUEST_TOO_LARGE")
    assert list_uris(acme) == []
