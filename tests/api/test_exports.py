"""Exports to the object store: how long they stay, what ends them, who has asked for them."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from starlette.testclient import TestClient
from typing_extensions import override

from api.app import create_app
from fakesieve.database import Database
from fakesieve.embedded.postgres import PostgresServer
from fakesieve.embedded.seaweed import SeaweedServer
from fakesieve.erasure.erase import begin_erasure, erase_video
from fakesieve.object_stores.s3 import S3Objects
from fakesieve.objects import ObjectFacts, VideoRef
from tests.api.callers import Caller, make_caller, make_settings, reason_of
from tests.fakesieve.reviews.conftest import make_analyses


@pytest.fixture
def analyses(acme: Caller, module_database: Database, store: S3Objects) -> list[str]:
    return list(make_analyses(module_database, acme.tenant_id, (0.9, 0.1)))


def export(caller: Caller) -> dict[str, object]:
    answer = caller.post("/v1/exports", {"format": "csv"})
    assert answer.status_code == 201, answer.text
    return answer.json()


def list_acts(caller: Caller) -> list[tuple[str, str, dict[str, object]]]:
    lines = caller.get("/v1/audit-log").json()["data"]
    return [(line["action"], line["subject"], line["details"]) for line in lines]


def test_an_export_stays_a_day_and_says_so(acme: Caller, analyses: list[str]) -> None:
    made = export(acme)
    purge, now = (
        datetime.fromisoformat(str(made["purge_time"])),
        datetime.fromisoformat(str(made["expire_time"])),
    )
    assert timedelta(hours=23, minutes=40) < purge - now < timedelta(hours=24)
    shown = acme.get(f"/v1/exports/{made['id']}").json()
    assert (shown["rows"], shown["purge_time"]) == (2, made["purge_time"])


def test_an_erasure_leaves_exports_of_other_videos_alone(
    acme: Caller, analyses: list[str], module_database: Database
) -> None:
    both = export(acme)
    found = acme.get("/v1/analyses").json()["data"]
    erased = next(each["video_id"] for each in found if each["id"] == analyses[0])
    answer = acme.post("/v1/exports", {"format": "csv", "filter": f'id="{analyses[1]}"'})
    other = answer.json()
    assert other["rows"] == 1
    assert acme.post(f"/v1/videos/{erased}:erase").json()["stores"]["exports"]["objects"] == 1
    assert reason_of(acme.get(f"/v1/exports/{both['id']}")) == (404, "NOT_FOUND")
    assert acme.get(f"/v1/exports/{other['id']}").json()["rows"] == 1


class Erasing(S3Objects):
    """A store that is told to erase a video just when an export that tells of it is about to come."""

    def __init__(self, objects: S3Objects, database: Database, tenant_id: str, video_id: str) -> None:
        self.__dict__.update(objects.__dict__)
        self.inner, self.database, self.owned = objects, database, (tenant_id, video_id)

    @override
    def upload(self, source: Path, bucket: str, key: str, *, content_type: str | None = None) -> ObjectFacts:
        tenant_id, video_id = self.owned
        with self.database.transaction(tenant_id=tenant_id) as session:
            begun = tenant_id, begin_erasure(session, video_id, "key_a", bucket=bucket)
        erase_video(self.database, self.inner, bucket, begun)
        return super().upload(source, bucket, key, content_type=content_type)


@pytest.fixture
def set_objects(acme: Caller) -> Iterator[Callable[[S3Objects], None]]:
    """Give the API another object store for the time of a test."""
    state = acme.client.app.state
    before = state.services
    yield lambda objects: setattr(state, "services", replace(before, objects=objects))
    state.services = before


def test_an_export_that_is_overtaken_by_an_erasure_is_refused_and_leaves_nothing(
    acme: Caller,
    analyses: list[str],
    module_database: Database,
    store: S3Objects,
    set_objects: Callable[[S3Objects], None],
) -> None:
    video_id = acme.get("/v1/analyses").json()["data"][0]["video_id"]
    set_objects(Erasing(store, module_database, acme.tenant_id, video_id))
    answer = acme.post("/v1/exports", {"format": "csv"})
    assert reason_of(answer) == (409, "STATE_CONFLICT")
    assert "ask for the export again" in answer.json()["hint"]
    assert list(store.list_objects("videos", f"exports/{acme.tenant_id}/")) == []
    with module_database.transaction(tenant_id=acme.tenant_id) as session:
        assert session.scalar(text("SELECT count(*) FROM export")) == 0
    (erasure,) = acme.get("/v1/erasures").json()["data"]
    assert (erasure["state"], erasure["stores"]["exports"]["state"]) == ("running", "waiting")
    done = erase_video(module_database, store, "videos", (acme.tenant_id, erasure["id"]))
    assert done.stores["exports"] == {"state": "cleared", "objects": 1}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [("POST", "/v1/exports", {"format": "csv"}), ("POST", "/v1/exports", {"format": "parquet"})],
)
def test_a_disk_that_cannot_be_written_is_a_503_with_its_reason(
    postgres: PostgresServer,
    s3: SeaweedServer,
    module_database: Database,
    module_database_name: str,
    store: S3Objects,
    tmp_path: Path,
    method: str,
    path: str,
    body: object,
) -> None:
    (tmp_path / "full").write_text("a file where a folder should be")
    settings = make_settings(postgres, s3, module_database_name, scratch_dir=tmp_path / "full")
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        caller = make_caller(client, module_database)
        answer = caller.send(method, path, body)
        assert reason_of(answer) == (503, "NO_SPACE")
        assert answer.json()["retryable"] is True
        assert str(tmp_path) not in answer.text  # the caller need not know folders of ours
    with module_database.transaction(tenant_id=caller.tenant_id) as session:
        assert session.scalar(text("SELECT count(*) FROM export")) == 0


def test_who_takes_results_out_is_noted(acme: Caller, analyses: list[str]) -> None:
    made = export(acme)
    acme.get("/v1/analyses:export", format="jsonl", filter='external_id="somebody"')
    streamed, kept = list_acts(acme)[:2]
    assert streamed == ("results.exported", acme.tenant_id, {"format": "jsonl"})  # without the filter
    assert kept == ("export.created", made["id"], {"format": "csv", "rows": 2})


def test_what_keys_do_with_jobs_batches_and_videos_is_noted(acme: Caller, clip: Callable[[str], str]) -> None:
    body = {"uri": clip("acts/one.mp4")}
    job = acme.post("/v1/jobs", body).json()["id"]
    acme.post(f"/v1/jobs/{job}:cancel")
    acme.post(f"/v1/jobs/{job}:retry")
    batch = acme.post("/v1/batches", {"name": "acts", "items": [body]}).json()["id"]
    acme.post(f"/v1/batches/{batch}:cancel")
    acme.post(f"/v1/batches/{batch}:retry")
    assert list_acts(acme)[:4] == [
        ("batch.retried", batch, {"jobs": 1}),
        ("batch.cancelled", batch, {}),
        ("job.retried", job, {}),
        ("job.cancelled", job, {}),
    ]


def test_a_change_of_a_video_is_noted_without_what_it_is_called(acme: Caller, analyses: list[str]) -> None:
    video = acme.get("/v1/videos").json()["data"][0]["id"]
    shown = acme.send("PATCH", f"/v1/videos/{video}", {"external_id": "holiday", "tags": {"a": "b"}}).json()
    assert (shown["retention_class"], shown["hold_time"]) == (None, None)
    assert list_acts(acme)[0] == ("video.changed", video, {"fields": ["external_id", "tags"]})
    held = acme.post(f"/v1/videos/{video}:hold").json()["hold_time"]
    assert acme.get(f"/v1/videos/{video}").json()["hold_time"] == held


def test_the_file_is_what_was_counted(acme: Caller, analyses: list[str], store: S3Objects) -> None:
    made = export(acme)
    facts = store.head(VideoRef.parse_uri(str(made["uri"])))
    assert facts.size_bytes == made["size_bytes"]
    assert len(store.read_range(facts.ref, 0, facts.size_bytes).splitlines()) == 3
