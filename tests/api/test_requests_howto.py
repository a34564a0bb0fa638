"""Requests of the pages on reviews, webhooks and erasure, sent as they stand; and routes named in text."""

import base64
import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from httpx2 import Response
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from fakesieve.database import Database
from tests.api.callers import Caller
from tests.api.results import store_results

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "howto"
_HEAD = re.compile(r"(GET|POST|PUT|PATCH|DELETE) (\S+) HTTP/1\.1")
_NAMED = re.compile(r"`(GET|POST|PUT|PATCH|DELETE) (/[^`\s]*)`")


def read_requests(page: str) -> Iterator[tuple[str, str, object]]:
    """Yield method, address and body of each request that a page shows as it goes over the wire."""
    text = (PAGES / page).read_text(encoding="utf-8")
    for block in re.findall(r"^```http\n(.*?)^```", text, re.M | re.S):
        head, _, body = block.partition("\n\n")
        method, address = _HEAD.match(head).groups()
        yield method, address, json.loads(body) if body.strip() else None


def send(caller: Caller, request: tuple[str, str, object], **ids: str) -> Response:
    """Send a request with real ids in place of those that a page shortens, as ``vid_...``."""
    method, address, body = request
    path = re.sub(r"(\w+)_\.\.\.", lambda found: ids[found[1]], address)
    answer = caller.send(method, path, body)
    assert answer.is_success, (method, path, answer.text)
    return answer


def test_a_queue_is_made_and_an_item_of_it_decided(
    acme: Caller, module_database: Database, store: object
) -> None:
    ids = store_results(module_database, acme.tenant_id)
    acme.post("/v1/policies", {"name": "split", "low": 0.1, "high": 0.4, "min_peak_frames": 1})
    acme.post("/v1/policies/split:apply")
    make, decide = read_requests("review.md")
    queue = send(acme, make).json()
    item = acme.post(f"/v1/review-queues/{queue['id']}:claim").json()["review"]
    assert (item["analysis_id"] in ids.values(), item["finding"]) == (True, None)
    acme.post(f"/v1/reviews/{item['id']}:reveal", {"disposition": "confirmed_manipulated"})
    decided = send(acme, decide, rev=item["id"]).json()
    assert (decided["state"], decided["disposition"]) == ("decided", "confirmed_manipulated")
    (entry,) = [each for each in acme.get("/v1/review-entries").json()["data"] if each["kind"] == "decision"]
    assert (entry["comment"], entry["tracks"][0]["ordinal"]) == ("the mouth slides", 0)


def test_a_webhook_is_registered_as_the_page_says(acme: Caller) -> None:
    (register,) = read_requests("webhooks.md")
    made = send(acme, register).json()
    assert (made["url"], made["secret"][:6]) == ("https://hooks.example.com/fakesieve", "whsec_")
    assert made["event_types"] == ["job.succeeded", "review.decided"]


def test_the_receiver_of_the_page_takes_ours_and_nothing_else() -> None:
    text = (PAGES / "webhooks.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)
    names: dict = {}
    exec(compile(block, "webhooks.md", "exec"), names)
    body, now = '{"type": "job.succeeded"}', datetime.now(UTC)
    signature = Webhook(names["secret"]).sign("msg_1", now, body)
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": signature,
    }
    assert names["receive"](headers, body.encode()) == "job.succeeded"
    forged = Webhook("whsec_" + base64.b64encode(b"another").decode()).sign("msg_1", now, body)
    with pytest.raises(WebhookVerificationError):
        names["receive"](headers | {"webhook-signature": forged}, body.encode())


def test_a_video_is_erased_and_a_class_set(acme: Caller, module_database: Database, store: object) -> None:
    store_results(module_database, acme.tenant_id)
    video = acme.get("/v1/videos", external_id="high").json()["data"][0]["id"]
    erase, retain = read_requests("erase-and-retain.md")
    receipt = send(acme, erase, vid=video).json()
    assert (receipt["video_id"], receipt["state"]) == (video, "completed")
    page = (PAGES / "erase-and-retain.md").read_text(encoding="utf-8")
    assert [name for name in receipt["stores"] if f"| `{name}` |" not in page] == []
    assert send(acme, retain).json()["keep_s"] == 90 * 86_400


def test_a_notification_is_taken_as_the_page_says(acme: Caller, clip: Callable[[str], str]) -> None:
    clip("in/clip.mp4")
    (notification,) = read_requests("ingest.md")
    taken = send(acme, notification).json()
    page = (PAGES / "ingest.md").read_text(encoding="utf-8")
    assert f"`{json.dumps(taken)}`" in page
    assert taken["new"] == 1


def test_every_request_that_pages_name_is_one_of_the_api() -> None:
    document = json.loads((ROOT / "docs/reference/openapi.json").read_text(encoding="utf-8"))
    known = [
        (method.upper(), re.compile(re.sub(r"\\\{\w+\\\}", "[^/:]+", re.escape(path))))
        for path, methods in document["paths"].items()
        for method in methods
    ]
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    named = {
        (method, address.partition("?")[0])
        for page in pages
        for method, address in _NAMED.findall(page.read_text(encoding="utf-8"))
        if not address.startswith("/r/")
    }
    assert len(named) > 20
    unknown = [
        each
        for each in named
        if not any(each[0] == method and path.fullmatch(each[1]) for method, path in known)
    ]
    assert unknown == []
