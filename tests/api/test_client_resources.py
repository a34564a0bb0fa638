"""What the client reads and changes of single resources, against the real application."""

import io
import json

import pytest
from starlette.testclient import TestClient

from api.client import ApiProblem, Client
from api.schemas.exports import NewExportBody
from api.schemas.reviews import ExportFormat, FeedbackBody, NewQueueBody
from api.schemas.reviews_known import NewKnownBody
from fakesieve.database import Database
from fakesieve.object_stores.s3 import S3Objects
from fakesieve.reasons import Reason
from fakesieve.values.files import FileFormat
from fakesieve.values.reviews import Disposition, FeedbackCategory
from fakesieve.values.webhooks import EventType
from tests.api.callers import Caller
from tests.api.results import store_results
from tests.factories import make_video


@pytest.fixture
def client(acme: Caller, app_client: TestClient) -> Client:
    return Client("http://testserver", acme.secret, http=app_client, sleep=lambda _: None)


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
