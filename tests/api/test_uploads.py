"""Uploads with real bytes against a real store: what the form lets in, and what complete accepts."""

import hashlib
import urllib.error
import urllib.request
from datetime import datetime

import pytest

from tests.api.callers import reason_of
from tests.waiting import PATIENCE_S

CLIP = b"these are the bytes of a clip"
SHA256 = hashlib.sha256(CLIP).hexdigest()


def begin(caller, **changes) -> dict:
    body = {
        "content_type": "video/mp4",
        "size_bytes": len(CLIP),
        "sha256": SHA256,
        "name": "clip.mp4",
        **changes,
    }
    answer = caller.post("/v1/uploads", body)
    assert answer.status_code == 201, answer.text
    return answer.json()


def post_file(form: dict, body: bytes = CLIP, **changes: str) -> int:
    mark = "mark" * 10
    fields = {**form["fields"], **changes}
    parts = [
        f'--{mark}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    head = f'--{mark}\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n'
    parts.append(
        f"{head}Content-Type: {fields['Content-Type']}\r\n\r\n".encode()
        + body
        + f"\r\n--{mark}--\r\n".encode()
    )
    request = urllib.request.Request(
        form["url"], b"".join(parts), {"Content-Type": f"multipart/form-data; boundary={mark}"}
    )
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return answer.status
    except urllib.error.HTTPError as fault:
        return fault.code


def test_a_file_goes_to_the_store_and_becomes_a_job(store, acme):
    upload = begin(acme)
    assert (upload["state"], upload["size_bytes"], upload["size_bytes_max"]) == ("waiting", None, len(CLIP))
    assert upload["form"]["fields"]["key"] == f"uploads/{acme.tenant_id}/{upload['id']}"
    assert post_file(upload["form"]) == 204
    done = acme.post(f"/v1/uploads/{upload['id']}:complete").json()
    assert (done["state"], done["size_bytes"], done["form"]) == ("complete", len(CLIP), None)
    job = acme.post("/v1/jobs", {"upload_id": upload["id"]}).json()
    assert job["source"]["name"] == "clip.mp4"
    assert acme.get(f"/v1/jobs/{job['id']}").json()["source"] == job["source"]
    assert job["source"]["key"] == upload["form"]["fields"]["key"]
    assert job["source"]["etag"] == hashlib.md5(CLIP).hexdigest()


@pytest.mark.parametrize(
    ("given", "called"), [(" ", None), ("\t\u200b", None), ("  clip 2.mp4 ", "clip 2.mp4")]
)
def test_a_name_that_shows_no_letter_is_none(store, acme, given: str, called: str | None):
    upload = begin(acme, name=given)
    assert post_file(upload["form"]) == 204
    acme.post(f"/v1/uploads/{upload['id']}:complete")
    assert acme.post("/v1/jobs", {"upload_id": upload["id"]}).json()["source"]["name"] == called


def test_an_upload_says_until_when_it_waits_for_a_job(store, acme):
    def wait_s(upload: dict) -> float:
        until, since = (datetime.fromisoformat(upload[name]) for name in ("purge_time", "create_time"))
        return (until - since).total_seconds()

    upload = begin(acme)
    assert wait_s(upload) == 86_400
    signed = acme.post(f"/v1/uploads/{upload['id']}:sign").json()
    assert wait_s(signed) > 86_400
    post_file(signed["form"])
    done = acme.post(f"/v1/uploads/{upload['id']}:complete").json()
    assert 86_400 < wait_s(done) < wait_s(signed)
    acme.post("/v1/jobs", {"upload_id": upload["id"]})
    assert wait_s(acme.get(f"/v1/uploads/{upload['id']}").json()) > wait_s(done)


def test_the_form_is_shown_once_and_made_again_when_asked_for(store, acme):
    upload = begin(acme)
    assert acme.get(f"/v1/uploads/{upload['id']}").json()["form"] is None
    again = acme.post(f"/v1/uploads/{upload['id']}:sign").json()
    assert post_file(again["form"]) == 204
    acme.post(f"/v1/uploads/{upload['id']}:complete")
    assert reason_of(acme.post(f"/v1/uploads/{upload['id']}:sign")) == (409, "STATE_CONFLICT")


def test_a_kept_answer_holds_no_form(store, acme):
    body = {"content_type": "video/mp4", "size_bytes": 5}
    headers = {"Idempotency-Key": "upload-1"}
    first = acme.post("/v1/uploads", body, headers).json()
    second = acme.post("/v1/uploads", body, headers).json()
    assert first["form"] is not None
    assert second == {**first, "form": None}


def test_a37_a_longer_or_shorter_file_is_not_let_in(store, acme):
    form = begin(acme, sha256=None)["form"]
    assert post_file(form, CLIP + b"!") in (400, 403)
    assert post_file(form, CLIP[:-1]) in (400, 403)


def test_other_bytes_than_announced_are_not_let_in(store, acme):
    assert post_file(begin(acme)["form"], CLIP[::-1]) == 400


@pytest.mark.parametrize(
    "changes",
    [{"Content-Type": "text/html"}, {"key": "../other/x"}, {"key": "uploads/ten_other/x"}],
    ids=["a38-type", "a40-path", "a40-tenant"],
)
def test_a38_a40_another_type_or_key_is_not_let_in(store, acme, changes):
    assert post_file(begin(acme)["form"], **changes) in (400, 403)


def test_a39_a_form_that_has_expired_lets_nothing_in(store):
    form = store.link_post("videos", "uploads/x", limit_bytes=100, content_type="video/mp4", expire_s=-1)
    assert post_file({"url": form.url, "fields": dict(form.fields)}) == 403


def test_a41_complete_without_a_file_is_refused(store, acme):
    upload = begin(acme)
    answer = acme.post(f"/v1/uploads/{upload['id']}:complete")
    assert reason_of(answer) == (409, "STATE_CONFLICT")
    refused = acme.post("/v1/jobs", {"upload_id": upload["id"]})
    assert reason_of(refused) == (409, "STATE_CONFLICT")


def test_a42_complete_twice_gives_the_same_answer(store, acme):
    upload = begin(acme)
    post_file(upload["form"])
    first, second = (acme.post(f"/v1/uploads/{upload['id']}:complete").json() for _ in range(2))
    assert first == second


def test_what_is_put_there_after_complete_is_not_what_the_job_reads(store, acme):
    upload = begin(acme, sha256=None)
    post_file(upload["form"])
    acme.post(f"/v1/uploads/{upload['id']}:complete")
    assert post_file(upload["form"], CLIP[::-1]) == 204  # the form still works until it expires
    refused = acme.post("/v1/jobs", {"upload_id": upload["id"]})
    assert reason_of(refused) == (409, "SOURCE_CHANGED")


def test_a_file_over_the_limit_is_refused_before_it_is_sent(acme):
    body = {"content_type": "video/mp4", "size_bytes": (4 << 30) + 1}
    assert reason_of(acme.post("/v1/uploads", body)) == (413, "REQUEST_TOO_LARGE")


@pytest.mark.parametrize(
    "changes",
    [{"size_bytes": 0}, {"content_type": "text/html"}, {"sha256": "x"}, {"size_bytes": 1.5}, {"key": "x"}],
)
def test_a_wrong_announcement_is_refused(acme, changes):
    body = {"content_type": "video/mp4", "size_bytes": 5, **changes}
    assert reason_of(acme.post("/v1/uploads", body)) == (422, "INVALID_REQUEST")
