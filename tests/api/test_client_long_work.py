"""Work that takes longer than the client keeps a connection for: it asks until the work is done."""

import threading
from collections.abc import Callable
from dataclasses import replace

import httpx2
import pytest
from starlette.testclient import TestClient

from api.app import create_app
from api.client import ApiProblem, Client
from fakesieve.database import Database
from fakesieve.object_stores.s3 import S3Objects
from fakesieve.objects import ObjectFacts, VideoRef
from fakesieve.reasons import Reason
from fakesieve.records.idempotency import lock_key
from fakesieve.settings import Settings
from tests.api.callers import make_caller
from tests.api.served import serve_app
from tests.waiting import PATIENCE_S

TRIES = 2


class HeldObjects:
    """The store, which looks at no object before it is let."""

    def __init__(self, objects: S3Objects) -> None:
        self._objects, self.begun, self.may_go_on = objects, threading.Event(), threading.Event()

    def __getattr__(self, name: str) -> object:
        return getattr(self._objects, name)

    def head(self, ref: VideoRef) -> ObjectFacts:
        self.begun.set()
        assert self.may_go_on.wait(PATIENCE_S)
        return self._objects.head(ref)


def test_work_that_outlasts_its_connection_is_waited_for(
    settings: Settings, store: S3Objects, clip: Callable[[str], str], module_database: Database
) -> None:
    """The first try runs into its time limit; the others are told that it is being done, then what came."""
    held, seen, pauses = HeldObjects(store), list[httpx2.Response](), list[float]()
    app = create_app(settings)
    app.state.services = replace(app.state.services, objects=held)
    caller = make_caller(TestClient(app), module_database, places=("s3://videos/",))

    def wait_for_work(step: str, _: object) -> None:
        if step == "http11.send_request_body.complete":  # what leaves before it is read is never begun
            assert held.begun.wait(PATIENCE_S)

    def cut_first(request: httpx2.Request) -> None:
        # What is sent again is the same request, whose limit would cut the next answers off too.
        limit_s = PATIENCE_S if pauses else 0.1
        request.extensions["timeout"] = {**request.extensions["timeout"], "read": limit_s}
        request.extensions["trace"] = wait_for_work

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) > 2 * TRIES:
            held.may_go_on.set()

    hooks = {"request": [cut_first], "response": [seen.append]}
    http = httpx2.Client(timeout=PATIENCE_S, event_hooks=hooks)
    with serve_app(app) as url, Client(url, caller.secret, http=http, tries=TRIES, sleep=pause) as client:
        job = client.submit(clip("long/slow.mp4"))
        assert [each.id for each in client.jobs.iter()] == [job.id]
    told = [answer.status_code for answer in seen]
    assert told[: 2 * TRIES] == [409] * (2 * TRIES)
    (done,) = [answer for answer in seen if answer.status_code == 202]
    assert done.headers["idempotency-replayed"] == "true"


def test_work_that_does_not_end_in_its_time_is_given_up_with_its_reason(
    app_client, acme, clip, module_database
):
    uri, pauses = clip("long/busy.mp4"), list[float]()
    client = Client(
        "http://testserver", acme.secret, http=app_client, tries=1, running_s=0.05, sleep=pauses.append
    )
    with module_database.transaction(tenant_id=acme.tenant_id) as session:
        assert lock_key(session, acme.tenant_id, "k")
        with pytest.raises(ApiProblem) as caught:
            client.submit(uri, idempotency_key="k")
    assert caught.value.reason is Reason.REQUEST_IN_PROGRESS
    assert pauses
    assert 1 <= pauses[0] <= 1.5
