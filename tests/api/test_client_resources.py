"""What the client reads and changes of single resources, against the real application."""

import ast
import inspect
import io
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import BinaryIO, get_args, get_origin

import httpx2
import pytest
from pydantic import BaseModel

import api.client
from api.calls.sender import Sender
from api.client import ApiProblem, Client
from api.schemas.exports import NewExportBody
from api.schemas.reviews import ExportFormat, FeedbackBody, NewQueueBody
from api.schemas.reviews_known import NewKnownBody
from fakesieve.database import Database
from fakesieve.errors import FleetError, RequestRefused, SetupRefused
from fakesieve.object_stores.s3 import S3Objects
from fakesieve.reasons import Reason
from fakesieve.values.files import FileFormat
from fakesieve.values.reviews import Disposition, FeedbackCategory
from fakesieve.values.webhooks import EventType
from tests.api.callers import Caller, make_caller
from tests.api.results import store_results
from tests.factories import make_video

NOT_THERE = {
    "type": "urn:x",
    "title": "t",
    "status": 404,
    "detail": "d",
    "hint": "h",
    "reason": "NOT_FOUND",
    "retryable": False,
}
IS_NO_ID = (
    "x/../../videos/vid_1:hold#",
    "../videos/vid_1?purge_s=1",
    "../batches",
    "vid_1/log",
    "..",
    ".",
    "",
)

COLUMNS = [
    "object",
    "id",
    "video_id",
    "external_id",
    "create_time",
    "outcome",
    "score.raw",
    "score.calibrated",
    "score.interval",
    "verdict.value",
    "verdict.policy",
    "verdict.thresholds.low",
    "verdict.thresholds.high",
    "verdict.reasons",
    "coverage.ratio",
    "coverage.scored_us",
    "coverage.total_us",
    "coverage.faces_scored",
    "duration_us",
    "reasons",
    "warnings",
    "tags",
    "model.id",
    "model.name",
    "model.weights_sha256",
    "model.engine",
    "model.precision",
    "fingerprint",
    "disposition",
]


@pytest.fixture
def client(acme: Caller) -> Client:
    return make_client(acme)


def make_client(caller: Caller) -> Client:
    return Client("http://testserver", caller.secret, http=caller.client, sleep=lambda _: None)


@pytest.fixture
def analyses(acme: Caller, module_database: Database) -> dict[str, str]:
    return store_results(module_database, acme.tenant_id)


@pytest.fixture
def video_id(acme: Caller, module_database: Database) -> str:
    with module_database.transaction(tenant_id=acme.tenant_id) as session:
        return make_video(session, acme.tenant_id, "client resources")


def test_faces_and_spans_come_without_the_rest_of_an_analysis(
    client: Client, analyses: dict[str, str]
) -> None:
    whole = client.results.get(analyses["middle"])
    assert [each.ordinal for each in client.results.tracks(analyses["middle"])] == [0, 1]
    assert list(client.results.tracks(analyses["middle"])) == whole.tracks
    assert list(client.results.segments(analyses["high"])) == client.results.get(analyses["high"]).segments


def test_an_export_is_found_again_with_a_link(
    client: Client, analyses: dict[str, str], store: S3Objects
) -> None:
    made = client.results.export(NewExportBody(format=FileFormat.CSV))
    found = client.results.get_export(made.id)
    assert (found.id, found.uri, found.rows) == (made.id, made.uri, len(analyses))
    assert found.href is not None


def test_what_was_said_is_written_to_a_file(client: Client, analyses: dict[str, str]) -> None:
    category = FeedbackCategory.FALSE_POSITIVE
    client.reviews.report(FeedbackBody(analysis_id=analyses["high"], category=category))
    lines, table = io.BytesIO(), io.BytesIO()
    assert client.reviews.write_entries(lines, ExportFormat.JSONL) == len(lines.getvalue())
    (entry,) = map(json.loads, lines.getvalue().splitlines())
    assert (entry["analysis_id"], entry["category"]) == (analyses["high"], category)
    client.reviews.write_entries(table)
    assert [line.split(b",")[0] for line in table.getvalue().splitlines()] == [b"id", entry["id"].encode()]


def test_one_queue_is_read_by_its_id(client: Client) -> None:
    made = client.reviews.create_queue(NewQueueBody(name="mine"))
    client.reviews.create_queue(NewQueueBody(name="other"))
    assert client.reviews.queue(made.id) == made


def test_what_was_known_and_said_of_an_analysis_is_read_by_its_id(
    client: Client, analyses: dict[str, str]
) -> None:
    truth = Disposition.CONFIRMED_MANIPULATED
    known = client.reviews.declare_known(
        NewKnownBody(analysis_id=analyses["high"], truth=truth, note="we made it")
    )
    assert client.reviews.get_known(analyses["high"]) == known
    said = client.reviews.report(
        FeedbackBody(analysis_id=analyses["high"], category=FeedbackCategory.OTHER, comment="it is ours")
    )
    assert client.reviews.get_feedback(said.id) == said
    with pytest.raises(ApiProblem) as caught:
        client.reviews.get_calibration("cal_none")
    assert caught.value.reason is Reason.NOT_FOUND


def test_a_webhook_gets_another_address_and_keeps_its_id(client: Client) -> None:
    made = client.webhooks.create("https://hooks.example/", [EventType.JOB_FAILED], "first")
    changed = client.webhooks.change(made.id, "https://hooks.example/new", description="second")
    assert (changed.id, changed.url, changed.event_types) == (made.id, "https://hooks.example/new", [])
    assert client.webhooks.get(made.id) == changed


def test_a_change_that_lost_its_race_is_refused(client: Client, video_id: str) -> None:
    _, etag = client.videos.get_with_etag(video_id)
    client.videos.change(video_id, tags={"by": "first"}, if_match=etag)
    with pytest.raises(ApiProblem) as caught:
        client.videos.change(video_id, tags={"by": "second"}, if_match=etag)
    assert caught.value.reason is Reason.PRECONDITION_FAILED
    found, etag = client.videos.get_with_etag(video_id)
    assert found.tags == {"by": "first"}
    assert client.videos.change(video_id, tags={"by": "third"}, if_match=etag).tags == {"by": "third"}


def test_with_pandas_results_become_a_frame(
    acme: Caller,
    client: Client,
    analyses: dict[str, str],
    module_database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """pandas is no dependency: what stands in for it shows what it would be given."""
    given = list[list[str]]()

    def frame(rows, columns):
        given.append(columns)
        return {name: [row[place] for row in rows] for place, name in enumerate(columns)}

    pandas = ModuleType("pandas")
    pandas.DataFrame = frame
    pandas.to_datetime = lambda times, utc: [(utc, time) for time in times]
    monkeypatch.setitem(sys.modules, "pandas", pandas)
    shown = client.results.get(analyses["high"])
    found = client.results.to_pandas(filter=f'id = "{shown.id}"')
    assert (found["id"], found["score.raw"], found["tags"]) == ([shown.id], [shown.score.raw], [shown.tags])
    assert (found["verdict.value"], found["outcome"]) == ([shown.verdict.value], [shown.outcome])
    assert found["create_time"] == [(True, shown.create_time)]
    assert found["disposition"] == [None]
    assert client.results.to_pandas(filter="score < 0") == {name: [] for name in COLUMNS}
    assert given == [COLUMNS, COLUMNS]
    weak = make_caller(
        acme.client, module_database, tenant_id=acme.tenant_id, scopes=frozenset({"results:read"})
    )
    for wanted in (None, "score < 0"):
        assert list(make_client(weak).results.to_pandas(filter=wanted)) == COLUMNS[:-1]


def test_with_the_real_pandas_nested_names_are_columns(client: Client, analyses: dict[str, str]) -> None:
    """Where pandas is installed, which no extra of this package does."""
    pytest.importorskip("pandas")
    shown = list(client.results.iter(filter="score > 0"))
    frame = client.results.to_pandas(filter="score > 0")
    assert list(frame["score.raw"]) == [each.score.raw for each in shown]
    assert [each.to_pydatetime() for each in frame["create_time"]] == [each.create_time for each in shown]
    assert len(frame) > 1
    empty = client.results.to_pandas(filter="score < 0")
    assert (empty.shape, list(empty["score.raw"])) == ((0, len(COLUMNS)), [])
    assert [list(each.columns) for each in (frame, empty)] == [COLUMNS, COLUMNS]
    assert [str(each["create_time"].dt.tz) for each in (frame, empty)] == ["UTC", "UTC"]


def test_without_pandas_it_says_how_to_get_it(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(SetupRefused, match="pip install pandas"):
        client.results.to_pandas()


@pytest.mark.parametrize("value", IS_NO_ID)
def test_what_is_no_id_reaches_nothing_by_any_call(value: str) -> None:
    """A path is put together from it, so it could choose another route, and its query."""
    names = list[str]()
    for name, call, sent in calls_with_an_id():
        with pytest.raises(RequestRefused) as caught:
            call(value)
        names.append(name)
        assert (caught.value.reason, sent) == (Reason.NOT_FOUND, []), name
    assert {"Client.wait", "Jobs.cancel", "Videos.hold", "Webhooks.remove", "Reviews.decide"} <= set(names)
    assert len(names) >= 60


def test_an_id_stays_one_piece_of_the_path_whatever_is_in_it() -> None:
    for name, call, sent in calls_with_an_id():
        with pytest.raises(ApiProblem):
            call("..:hold?purge_s=1&a=b#c%2F..\\ é@1")
        (request,) = sent
        path, _, query = request.url.raw_path.partition(b"?")
        assert b"..%3Ahold%3Fpurge_s%3D1%26a%3Db%23c%252F..%5C%20%C3%A9@1" in path, name
        assert b"purge_s=1" not in query, name


def test_an_id_with_the_way_to_a_video_in_it_leaves_the_video_alone(client: Client, video_id: str) -> None:
    with pytest.raises(RequestRefused):
        client.jobs.cancel(f"x/../../videos/{video_id}:hold#")
    with pytest.raises(RequestRefused):
        client.webhooks.remove(f"../videos/{video_id}?purge_s=1")
    with pytest.raises(ApiProblem) as caught:
        client.keys.revoke(f"{video_id}:hold#")
    assert caught.value.reason is Reason.NOT_FOUND
    assert client.videos.get(video_id).hold_time is None


def test_no_path_of_the_client_is_put_together_by_hand() -> None:
    folder = Path(inspect.getfile(api.client)).parent
    files = [folder / "client.py", *(folder / "calls").rglob("*.py"), *(folder / "cli").rglob("*.py")]
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            parts = [*node.values] if isinstance(node, ast.JoinedStr) else []
            parts += [node.left] if isinstance(node, ast.BinOp) else []
            parts += [node.value] if isinstance(node, ast.Attribute) else []
            texts = [part.value for part in parts if isinstance(part, ast.Constant)]
            assert not any(str(each).startswith("/v1") for each in texts), f"{file.name}:{node.lineno}"


def calls_with_an_id() -> Iterator[tuple[str, Callable[[str], None], list[httpx2.Request]]]:
    """Each call of the client and parameter that goes into a path: what sends it, and what was sent."""
    sent = list[httpx2.Request]()

    def refuse(request: httpx2.Request) -> httpx2.Response:
        sent.append(request)
        return httpx2.Response(404, json=NOT_THERE)

    http = httpx2.Client(transport=httpx2.MockTransport(refuse))
    with Client("http://api", "fsk_x", http=http, tries=1) as client:
        for noun in (client, *(each for each in vars(client).values() if is_noun(each))):
            for name, method in inspect.getmembers(noun, inspect.ismethod):
                if name.startswith("_") or name == "close":
                    continue
                for given in find_texts(method):
                    call = make_call(method, given)
                    sent.clear()
                    with suppress(FleetError, ValueError, FileNotFoundError):
                        call("asked_for")
                    is_in_path = bool(sent) and "asked_for" in sent[0].url.path
                    sent.clear()
                    if is_in_path:
                        yield f"{type(noun).__name__}.{name}", call, sent


def is_noun(found: object) -> bool:
    return type(found).__module__.startswith("api.calls.") and not isinstance(found, Sender)


def find_texts(method: Callable[..., object]) -> list[str]:
    return [
        name
        for name, each in inspect.signature(method, eval_str=True).parameters.items()
        if str in (each.annotation, *get_args(each.annotation))
    ]


def make_call(method: Callable[..., object], given: str) -> Callable[[str], None]:
    """Return what calls a method with one argument chosen and of the others those that must be there."""
    wanted = inspect.signature(method, eval_str=True).parameters
    others = {
        name: sample(each.annotation)
        for name, each in wanted.items()
        if each.default is inspect.Parameter.empty
    }

    def call(value: str) -> None:
        found = method(**others | {given: value})
        if isinstance(found, Iterator):
            next(found)

    return call


def sample(kind: type) -> object:
    """Return any value of a type that calls of the client take."""
    if get_origin(kind) is not None:
        return "x" if str in get_args(kind) else []
    if issubclass(kind, BaseModel):
        return kind.model_construct()
    if issubclass(kind, Enum):
        return next(iter(kind))
    return {str: "x", int: 1, BinaryIO: io.BytesIO(), Path: Path("nowhere")}[kind]
