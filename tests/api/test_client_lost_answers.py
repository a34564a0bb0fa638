"""What the client makes of answers that were lost on their way, and of streams that end in order."""

import json
from collections.abc import Iterator

import httpx2
import pytest

from api.client import ApiProblem, Client
from api.schemas.keys import WhoAmI
from fakesieve.reasons import Reason
from tests.api.callers import Caller
from tests.waiting import PATIENCE_S

ME = {"key_id": "key_1", "tenant_id": "ten_1", "scopes": []}


class Line(httpx2.HTTPTransport):
    """A connection that loses the answers to the first DELETEs, or does not come about for them."""

    def __init__(self) -> None:
        super().__init__()
        self.lost, self.refused, self.deletes = 0, 0, 0

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        if request.method != "DELETE":
            return super().handle_request(request)
        self.deletes += 1
        if self.refused:
            self.refused -= 1
            raise httpx2.ConnectError("refused")
        answer = super().handle_request(request)
        if self.lost:
            self.lost -= 1
            answer.read()  # by now it is done
            raise httpx2.ReadError("reset")
        return answer


@pytest.fixture
def line() -> Line:
    return Line()


@pytest.fixture
def client(url: str, acme: Caller, line: Line) -> Iterator[Client]:
    http = httpx2.Client(transport=line, timeout=PATIENCE_S)
    with Client(url, acme.secret, http=http, tries=3, sleep=lambda _: None) as made:
        yield made


@pytest.mark.parametrize("lost", [1, 2])
def test_a_removal_whose_answer_was_lost_is_done(client: Client, line: Line, lost: int) -> None:
    client.videos.set_retention("short", 3600)
    line.lost = lost
    client.videos.remove_retention("short")
    assert line.deletes == lost + 1
    assert "short" not in {each.name for each in client.videos.retention()}


def test_a_removal_of_what_was_never_there_is_refused(client: Client, line: Line) -> None:
    line.refused = 1  # nothing was sent, so nothing can have been done
    with pytest.raises(ApiProblem) as caught:
        client.videos.remove_retention("no-such-class")
    assert (caught.value.reason, line.deletes) == (Reason.NOT_FOUND, 2)
    with pytest.raises(ApiProblem):
        client.webhooks.remove("whk_nothing")


def stream(*names: str) -> httpx2.Response:
    """Events of these names, after which the connection ends in order."""
    told = "".join(f"event: {name}\ndata: {json.dumps(ME)}\n\n" for name in names)
    return httpx2.Response(200, text=told, headers={"content-type": "text/event-stream"})


def test_a_stream_that_brought_events_may_end_in_order_though_there_is_one_try() -> None:
    """The API ends each stream after a quarter of an hour, however long the job takes."""
    left = [stream("progress"), stream("progress"), stream("done")]
    http = httpx2.Client(transport=httpx2.MockTransport(lambda _: left.pop(0)))
    with Client("http://api", "fsk_x", http=http, tries=1, sleep=lambda _: None) as client:
        assert [each.key_id for each in client.sender.follow("/v1/x", WhoAmI)] == ["key_1"] * 3
    assert left == []
