"""Deletion, erasure, retention and holds over HTTP."""

import pytest
from sqlalchemy import text

from fakesieve.database import Database
from fakesieve.erasure import removal
from fakesieve.erasure.removal import free_videos
from tests.api.callers import Caller, make_caller, reason_of
from tests.fakesieve.reviews.conftest import make_analyses


@pytest.fixture
def video(acme: Caller, module_database: Database, store: object) -> str:
    (analysis,) = make_analyses(module_database, acme.tenant_id, (0.9,))
    with module_database.transaction(tenant_id=acme.tenant_id) as session:
        found = session.scalar(text("SELECT video_id FROM analysis WHERE id = :id"), {"id": analysis})
    return str(found)


def test_a_deleted_video_is_hidden_and_comes_back(acme: Caller, video: str) -> None:
    path = f"/v1/videos/{video}"
    deleted = acme.send("DELETE", path, purge_s=3600).json()
    assert deleted["purge_time"] > deleted["delete_time"]
    assert reason_of(acme.get(path)) == (404, "NOT_FOUND")
    assert acme.get("/v1/videos").json()["data"] == []
    assert acme.get("/v1/analyses").json()["data"] == []
    assert acme.post(f"{path}:undelete").json()["delete_time"] is None
    assert acme.get(path).json()["id"] == video
    assert reason_of(acme.post(f"{path}:undelete")) == (409, "STATE_CONFLICT")


def test_an_erasure_answers_with_its_receipt(acme: Caller, video: str) -> None:
    answer = acme.post(f"/v1/videos/{video}:erase")
    assert answer.status_code == 200
    receipt = answer.json()
    assert (receipt["video_id"], receipt["cause"], receipt["state"]) == (video, "request", "completed")
    assert receipt["stores"]["database"]["rows"]["analysis"] == 1
    assert len(receipt["sha256"]) == 64
    assert acme.get(answer.headers["location"]).json() == receipt
    assert acme.get("/v1/erasures", video_id=video).json()["data"] == [receipt]
    assert reason_of(acme.post(f"/v1/videos/{video}:erase")) == (404, "NOT_FOUND")
    (line,) = [
        each
        for each in acme.get("/v1/audit-log", subject=video).json()["data"]
        if each["action"] == "video.erased"
    ]
    assert line["details"]["sha256"] == receipt["sha256"]


def test_an_erasure_sent_twice_under_one_key_answers_twice(acme: Caller, video: str) -> None:
    key = {"Idempotency-Key": f"erase {video}"}
    first = acme.post(f"/v1/videos/{video}:erase", headers=key)
    again = acme.post(f"/v1/videos/{video}:erase", headers=key)
    assert first.json()["state"] == "completed"
    assert again.json() == first.json()


def test_a_hold_wins_until_it_is_lifted(acme: Caller, video: str) -> None:
    path = f"/v1/videos/{video}"
    assert acme.post(f"{path}:hold").json()["hold_time"] is not None
    for method, address in (("DELETE", path), ("POST", f"{path}:erase")):
        assert reason_of(acme.send(method, address)) == (409, "LEGAL_HOLD")
    assert acme.post(f"{path}:lift_hold").json()["hold_time"] is None
    assert acme.post(f"{path}:erase").json()["state"] == "completed"


def test_classes_say_how_long_videos_are_kept(acme: Caller, video: str) -> None:
    made = acme.send("PUT", "/v1/retention-classes/short", {"keep_s": 86_400}).json()
    assert (made["name"], made["keep_s"]) == ("short", 86_400)
    assert acme.send("PUT", "/v1/retention-classes/short", {"keep_s": 60}).json()["keep_s"] == 60
    acme.send("PUT", "/v1/retention-classes/default", {"keep_s": 10**9})
    page = acme.get("/v1/retention-classes", page_size=1).json()
    assert [line["name"] for line in page["data"]] == ["default"]
    rest = acme.get("/v1/retention-classes", page_size=1, page_token=page["next_page_token"]).json()
    assert [line["name"] for line in rest["data"]] == ["short"]
    path = f"/v1/videos/{video}:classify"
    assert acme.post(path, {"retention_class": "short"}).json()["retention_class"] == "short"
    assert reason_of(acme.post(path, {"retention_class": "long"})) == (404, "NOT_FOUND")
    assert acme.send("DELETE", "/v1/retention-classes/short").status_code == 204
    assert reason_of(acme.send("DELETE", "/v1/retention-classes/short")) == (404, "NOT_FOUND")


def test_a_class_of_many_videos_is_listed_until_all_have_left_it(
    acme: Caller, video: str, module_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removal, "AT_ONCE", 0)
    path, of_video = "/v1/retention-classes/short", f"/v1/videos/{video}"
    acme.send("PUT", path, {"keep_s": 86_400})
    acme.post(f"{of_video}:classify", {"retention_class": "short"})
    assert acme.get("/v1/retention-classes").json()["data"][0]["remove_time"] is None
    assert acme.get(of_video).json()["expire_time"] is not None
    for _ in range(2):
        assert acme.send("DELETE", path).status_code == 204
    (line,) = acme.get("/v1/retention-classes").json()["data"]
    assert (line["name"], line["remove_time"] is None) == ("short", False)
    shown = acme.get(of_video).json()
    assert (shown["retention_class"], shown["expire_time"]) == (None, None)
    assert acme.post(f"{of_video}:hold").json()["retention_class"] is None
    assert reason_of(acme.send("PUT", path, {"keep_s": 60})) == (409, "STATE_CONFLICT")
    given = acme.post(f"{of_video}:classify", {"retention_class": "short"})
    assert reason_of(given) == (409, "STATE_CONFLICT")
    with module_database.transaction(tenant_id=acme.tenant_id) as session:
        assert free_videos(session, acme.tenant_id, "short", 10).is_gone
    assert acme.get("/v1/retention-classes").json()["data"] == []
    assert acme.send("PUT", path, {"keep_s": 60}).json()["remove_time"] is None
    assert acme.get(of_video).json()["retention_class"] is None


def test_a_deleted_video_is_given_no_class(acme: Caller, video: str) -> None:
    acme.send("PUT", "/v1/retention-classes/short", {"keep_s": 86_400})
    acme.send("DELETE", f"/v1/videos/{video}")
    for name in ("short", None):
        answer = acme.post(f"/v1/videos/{video}:classify", {"retention_class": name})
        assert reason_of(answer) == (409, "STATE_CONFLICT")
    assert acme.post(f"/v1/videos/{video}:undelete").json()["retention_class"] is None


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "/v1/retention-classes/short", {"keep_s": 0}),
        ("PUT", "/v1/retention-classes/short", {"keep_s": 2**63}),
        ("PUT", "/v1/retention-classes/short", {"keep_s": "60"}),
        ("PUT", "/v1/retention-classes/Short", {"keep_s": 60}),
        ("POST", "/v1/videos/vid_x:erase", {"with_sources": 1}),
        ("POST", "/v1/videos/vid_x:erase", {"cause": "retention"}),
        ("POST", "/v1/videos/vid_x:classify", {}),
        ("DELETE", "/v1/videos/vid_x?purge_s=-1", None),
    ],
)
def test_a09_a12_a17_what_makes_no_sense_is_refused(
    acme: Caller, method: str, path: str, body: object
) -> None:
    assert reason_of(acme.send(method, path, body)) == (422, "INVALID_REQUEST")


PATHS = [
    ("DELETE", "/v1/videos/{video}", None),
    ("POST", "/v1/videos/{video}:undelete", None),
    ("POST", "/v1/videos/{video}:hold", None),
    ("POST", "/v1/videos/{video}:lift_hold", None),
    ("POST", "/v1/videos/{video}:classify", {"retention_class": None}),
    ("POST", "/v1/videos/{video}:erase", None),
    ("GET", "/v1/erasures/{erasure}", None),
    ("DELETE", "/v1/retention-classes/mine", None),
]


def test_a06_a08_nothing_of_another_tenant_is_seen_or_moved(
    acme: Caller, other: Caller, video: str, module_database: Database
) -> None:
    acme.send("PUT", "/v1/retention-classes/mine", {"keep_s": 60})
    (analysis,) = make_analyses(module_database, acme.tenant_id, (0.3,))[-1:]
    with module_database.transaction(tenant_id=acme.tenant_id) as session:
        again = session.scalar(text("SELECT video_id FROM analysis WHERE id <> :id"), {"id": analysis})
    erasure = acme.post(f"/v1/videos/{video}:erase").json()["id"]
    for method, path, body in PATHS:
        answer = other.send(method, path.format(video=again, erasure=erasure), body)
        assert reason_of(answer) == (404, "NOT_FOUND"), path
    for path in ("/v1/erasures", "/v1/retention-classes"):
        assert other.get(path).json()["data"] == []


def test_a05_a_key_without_the_scope_is_told_which(app_client, module_database) -> None:
    caller = make_caller(app_client, module_database, scopes=frozenset())
    paths = [
        *PATHS,
        ("GET", "/v1/erasures", None),
        ("GET", "/v1/retention-classes", None),
        ("PUT", "/v1/retention-classes/x", None),
    ]
    for method, path, _ in paths:
        answer = caller.send(method, path, {} if method in ("POST", "PUT") else None)
        assert reason_of(answer) == (403, "MISSING_SCOPE"), path
        needed = "hold:write" if path.endswith("hold") else "erase:write"
        assert needed in answer.json()["detail"]
