"""Batches over HTTP: from items, a manifest and a prefix; counted, cancelled and tried again."""

import pytest
from sqlalchemy import text

from fakesieve.jobs.cancel import cancel_job
from fakesieve.jobs.sql.store import SqlJobStore
from tests.api.callers import make_caller, reason_of


def submit(caller, **fields) -> dict:
    answer = caller.post("/v1/batches", {"name": "list", **fields})
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == f"/v1/batches/{answer.json()['id']}"
    return answer.json()


def test_items_become_one_batch_with_counts(acme):
    items = [{"uri": f"s3://videos/b/{n}.mp4", "external_id": f"case {n}"} for n in range(3)]
    batch = submit(acme, items=items, max_failure_rate=0.5, deadline_s=3600)
    assert (batch["state"], batch["lane"], batch["max_failure_rate"]) == ("running", "bulk", 0.5)
    assert batch["counts"] == {
        "total": 3, "queued": 3, "running": 0, "succeeded": 0, "failed": 0, "cancelled": 0, "expired": 0,
        "deduplicated": 0,
    }  # fmt: skip
    assert (batch["progress_percent"], batch["outcomes"], batch["errors"]) == (0, {}, {})
    jobs = acme.get("/v1/jobs", batch_id=batch["id"]).json()["data"]
    assert sorted(job["external_id"] for job in jobs) == ["case 0", "case 1", "case 2"]
    assert {job["deadline"] for job in jobs} == {batch["deadline"]}


def test_a_manifest_is_read_from_the_store(acme, clip):
    uri = clip("b/list.csv", b"uri,external_id\ns3://videos/b/a.mp4,A\ns3://videos/b/b.mp4,B\n")
    batch = submit(acme, manifest=uri)
    assert batch["counts"]["total"] == 2
    refused = acme.post("/v1/batches", {"name": "x", "manifest": clip("b/bad.csv", b"uri\nnothing\n")})
    assert reason_of(refused) == (422, "INVALID_MANIFEST")
    assert "line 2" in refused.json()["detail"]


def test_a_long_manifest_is_taken_in_parts(acme, clip, monkeypatch):
    monkeypatch.setattr("api.routes.batches.LISTED_MAX", 2)
    uri = clip("b/long.csv", b"uri\n" + b"".join(b"s3://videos/b/%d.mp4\n" % n for n in range(5)))
    refused = acme.post("/v1/batches", {"name": "x", "manifest": uri})
    assert reason_of(refused) == (413, "REQUEST_TOO_LARGE")
    assert "first_row 1, then the next_row of each answer" in refused.json()["hint"]
    shown = acme.post("/v1/batches:preview", {"name": "x", "manifest": uri, "first_row": 1}).json()
    assert (shown["videos"], shown["next_row"]) == (2, 3)
    first, told = 1, []
    while first is not None:
        batch = submit(acme, manifest=uri, first_row=first)
        told.append((batch["counts"]["total"], first := batch["next_row"]))
    assert told == [(2, 3), (2, 5), (1, None)]
    assert acme.get(f"/v1/batches/{batch['id']}").json()["next_row"] is None
    behind = acme.post("/v1/batches", {"name": "x", "manifest": uri, "first_row": 6})
    assert reason_of(behind) == (422, "INVALID_MANIFEST")
    for wrong in ({"items": [{"uri": uri}]}, {"prefix": "s3://videos/b/"}, {"manifest": uri, "first_row": 0}):
        answer = acme.post("/v1/batches", {"name": "x", "first_row": 1, **wrong})
        assert reason_of(answer) == (422, "INVALID_REQUEST")


def test_parts_of_a_manifest_that_was_replaced_are_refused(acme, clip, monkeypatch):
    monkeypatch.setattr("api.routes.batches.LISTED_MAX", 2)
    rows = [b"s3://videos/b/%d.mp4\n" % n for n in range(4)]
    uri = clip("b/replaced.csv", b"uri\n" + b"".join(rows))
    part = submit(acme, manifest=uri, first_row=1)
    following = {"manifest": uri, "first_row": part["next_row"], "manifest_etag": part["manifest_etag"]}
    assert part["manifest_etag"]
    shown = acme.post("/v1/batches:preview", {"name": "x", "manifest": uri, "first_row": 1}).json()
    assert shown["manifest_etag"] == part["manifest_etag"]
    clip("b/replaced.csv", b"uri\ns3://videos/b/new.mp4\n" + b"".join(rows))  # row 3 was row 2
    for path in ("/v1/batches", "/v1/batches:preview"):
        assert reason_of(acme.post(path, {"name": "x", **following}))[1] == "SOURCE_CHANGED"
    clip("b/replaced.csv", b"uri\n" + b"".join(rows))
    rest = submit(acme, **following)
    assert (rest["counts"]["total"], rest["next_row"]) == (2, None)
    assert rest["manifest_etag"] == part["manifest_etag"]  # of the last part too, or of the only one
    assert acme.get(f"/v1/batches/{rest['id']}").json()["manifest_etag"] is None
    wrong = {"name": "x", "prefix": "s3://videos/b/", "manifest_etag": part["manifest_etag"]}
    assert reason_of(acme.post("/v1/batches", wrong)) == (422, "INVALID_REQUEST")
    unlike = {"name": "x", "manifest": uri, "manifest_etag": 'a"b'}
    assert reason_of(acme.post("/v1/batches", unlike)) == (422, "INVALID_REQUEST")


def test_a_line_of_a_manifest_outside_the_places_is_named(acme, clip):
    uri = clip("b/outside.csv", b"uri\ns3://videos/b/a.mp4\ns3://elsewhere/b.mp4\n")
    answer = acme.post("/v1/batches", {"name": "x", "manifest": uri})
    assert reason_of(answer) == (403, "SOURCE_ACCESS_DENIED")
    assert answer.json()["detail"].startswith("line 3: s3://elsewhere/b.mp4 lies outside")


@pytest.mark.parametrize("prefix", ["s3:///", "s3://VIDEOS!!/", "s3://videos/" + "a" * 1025 + "/"])
def test_a_prefix_that_no_store_can_have_is_refused(acme, prefix):
    for path in ("/v1/batches", "/v1/batches:preview"):
        assert reason_of(acme.post(path, {"name": "x", "prefix": prefix})) == (422, "INVALID_REQUEST")


def test_a_prefix_under_which_most_is_others_is_not_walked_for_ever(acme, other, clip, monkeypatch):
    for number in range(3):
        clip(f"uploads/{other.tenant_id}/{number}")
    monkeypatch.setattr("api.routes.batches.SCANNED_MAX", 2)
    answer = acme.post("/v1/batches", {"name": "x", "prefix": f"s3://videos/uploads/{other.tenant_id}/"})
    assert reason_of(answer) == (413, "REQUEST_TOO_LARGE")


def test_a_prefix_takes_no_uploads_and_no_exports(acme, other, clip):
    for owner in (acme, other):
        for folder in ("uploads", "exports"):
            clip(f"{folder}/{owner.tenant_id}/walked/one")
            prefix = f"s3://videos/{folder}/{owner.tenant_id}/walked/"
            for path in ("/v1/batches", "/v1/batches:preview"):
                answer = acme.post(path, {"name": "x", "prefix": prefix})
                assert reason_of(answer) == (422, "SOURCE_NOT_FOUND")


def test_a_prefix_takes_what_lies_under_it(acme, clip):
    for name in ("one", "two"):
        clip(f"b/walk/{name}.mp4")
    batch = submit(acme, prefix="s3://videos/b/walk/")
    assert batch["counts"]["total"] == 2
    empty = acme.post("/v1/batches", {"name": "x", "prefix": "s3://videos/b/nothing/"})
    assert reason_of(empty) == (422, "SOURCE_NOT_FOUND")


def test_nothing_of_a_list_is_submitted_where_one_line_is_wrong(acme):
    items = [{"uri": "s3://videos/b/good.mp4"}, {"uri": "s3://elsewhere/b/bad.mp4"}]
    answer = acme.post("/v1/batches", {"name": "x", "items": items})
    assert reason_of(answer) == (403, "SOURCE_ACCESS_DENIED")
    assert acme.get("/v1/jobs").json()["data"] == []
    assert acme.get("/v1/batches").json()["data"] == []


def test_a_cancelled_batch_cancels_its_jobs_and_is_tried_again(acme):
    batch = submit(acme, items=[{"uri": f"s3://videos/b/c{n}.mp4"} for n in range(2)])
    cancelled = acme.post(f"/v1/batches/{batch['id']}:cancel", {"message": "wrong bucket"}).json()
    assert (cancelled["state"], cancelled["is_terminal"]) == ("cancelled", True)
    assert cancelled["errors"] == {"CANCELLED_BY_CALLER": 2}
    assert (cancelled["counts"]["cancelled"], cancelled["progress_percent"]) == (2, 100)
    assert reason_of(acme.post(f"/v1/batches/{batch['id']}:cancel")) == (409, "STATE_CONFLICT")
    retried = acme.post(f"/v1/batches/{batch['id']}:retry", {"reasons": ["CORRUPT"]}).json()
    assert retried["count"] == 0
    retried = acme.post(f"/v1/batches/{batch['id']}:retry", {"reasons": ["CANCELLED_BY_CALLER"]})
    assert (retried.status_code, retried.json()["count"], retried.json()["has_more"]) == (202, 2, False)
    again = acme.get(f"/v1/batches/{batch['id']}").json()
    assert (again["state"], again["is_terminal"], again["counts"]["queued"]) == ("running", False, 2)
    assert (again["end_time"], again["end_reason"]) == (None, None)
    assert [each["id"] for each in acme.get("/v1/batches", state="running").json()["data"]] == [batch["id"]]


def test_a_long_poll_of_a_batch_tells_of_its_end(acme):
    batch = submit(acme, items=[{"uri": "s3://videos/b/w.mp4"}])
    assert acme.get(f"/v1/batches/{batch['id']}", wait=0.1).json()["state"] == "running"
    acme.post(f"/v1/batches/{batch['id']}:cancel")
    assert acme.get(f"/v1/batches/{batch['id']}", wait=5).json()["state"] == "cancelled"
    events = acme.get(f"/v1/batches/{batch['id']}/events").text
    assert events.startswith("retry: 2000\nevent: done\ndata: {")


def test_batches_are_listed_by_state(acme):
    first = submit(acme, items=[{"uri": "s3://videos/b/l1.mp4"}])["id"]
    second = submit(acme, items=[{"uri": "s3://videos/b/l2.mp4"}])["id"]
    acme.post(f"/v1/batches/{first}:cancel")
    assert [each["id"] for each in acme.get("/v1/batches").json()["data"]] == [second, first]
    assert [each["id"] for each in acme.get("/v1/batches", state="cancelled").json()["data"]] == [first]
    page = acme.get("/v1/batches", page_size=1).json()
    rest = acme.get("/v1/batches", page_size=1, page_token=page["next_page_token"]).json()
    assert [each["id"] for each in rest["data"]] == [first]


def test_reasons_group_the_errors_of_a_batch(acme, module_database):
    batch = submit(acme, items=[{"uri": f"s3://videos/b/e{n}.mp4"} for n in range(3)])
    job_id = acme.get("/v1/jobs", batch_id=batch["id"]).json()["data"][0]["id"]
    cancel_job(SqlJobStore(module_database, acme.tenant_id), job_id)
    shown = acme.get(f"/v1/batches/{batch['id']}").json()
    assert shown["errors"] == {"CANCELLED_BY_CALLER": 1}
    assert (shown["counts"]["queued"], shown["progress_percent"]) == (2, 33)


def test_a_quota_holds_for_the_whole_list(app_client, module_database):
    caller = make_caller(app_client, module_database, places=("s3://videos/",))
    with module_database.transaction(tenant_id=None) as session:
        session.execute(text("UPDATE tenant SET jobs_max = 2 WHERE id = :id"), {"id": caller.tenant_id})
    items = [{"uri": f"s3://videos/b/q{n}.mp4"} for n in range(3)]
    answer = caller.post("/v1/batches", {"name": "x", "items": items})
    assert reason_of(answer) == (403, "QUOTA_EXCEEDED")
    assert caller.get("/v1/batches").json()["data"] == []
    assert submit(caller, items=items[:2])["counts"]["total"] == 2


def test_a_list_sent_again_under_its_key_is_one_batch(acme):
    body = {"name": "twice", "items": [{"uri": "s3://videos/b/k.mp4"}]}
    headers = {"Idempotency-Key": "list-1"}
    first, second = (acme.post("/v1/batches", body, headers) for _ in range(2))
    assert first.json() == second.json()
    assert second.headers["idempotency-replayed"] == "true"
    assert len(acme.get("/v1/batches").json()["data"]) == 1


def test_a_key_that_nobody_remembers_adds_nothing_to_a_batch_that_has_ended(acme, module_database):
    headers, items = {"Idempotency-Key": "list-2"}, [{"uri": f"s3://videos/b/t{n}.mp4"} for n in range(2)]
    first = acme.post("/v1/batches", {"name": "x", "items": items[:1]}, headers).json()
    assert first["end_reason"] is None
    ended = acme.post(f"/v1/batches/{first['id']}:cancel").json()
    assert (ended["state"], ended["end_reason"]) == ("cancelled", "cancelled")
    with module_database.transaction(tenant_id=None) as session:
        session.execute(text("DELETE FROM idempotent_answer"))  # as after 48 hours
    answer = acme.post("/v1/batches", {"name": "x", "items": items}, headers)
    assert reason_of(answer) == (422, "IDEMPOTENCY_CONFLICT")
    assert first["id"] in answer.json()["detail"]
    assert "new key" in answer.json()["hint"]
    same = acme.post("/v1/batches", {"name": "x", "items": items[:1]}, headers).json()
    assert (same["id"], same["counts"]["total"]) == (first["id"], 1)


def test_a_list_sent_again_at_the_limit_of_a_quota_is_the_same_batch(app_client, module_database):
    caller = make_caller(app_client, module_database, places=("s3://videos/",))
    with module_database.transaction(tenant_id=None) as session:
        session.execute(text("UPDATE tenant SET jobs_max = 2 WHERE id = :id"), {"id": caller.tenant_id})
    body = {"name": "x", "items": [{"uri": f"s3://videos/b/u{n}.mp4"} for n in range(2)]}
    headers = {"Idempotency-Key": "list-3"}
    first = caller.post("/v1/batches", body, headers).json()
    with module_database.transaction(tenant_id=None) as session:
        session.execute(text("DELETE FROM idempotent_answer"))
    assert caller.post("/v1/batches", body, headers).json()["id"] == first["id"]


def test_a_page_of_batches_has_at_most_fifty(acme, monkeypatch):
    monkeypatch.setattr("api.routes.batches.PAGE_BATCHES", 1)
    ids = [submit(acme, items=[{"uri": f"s3://videos/b/p{n}.mp4"}])["id"] for n in range(2)]
    page = acme.get("/v1/batches", page_size=500).json()
    rest = acme.get("/v1/batches", page_size=500, page_token=page["next_page_token"]).json()
    assert [each["id"] for each in page["data"] + rest["data"]] == ids[::-1]
    assert rest["next_page_token"] is None
