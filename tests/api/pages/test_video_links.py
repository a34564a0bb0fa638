"""The link to a video on the review page: to the bytes that were screened, where the tenant may look."""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import update

from api.app import create_app
from fakesieve.database import Database
from fakesieve.embedded.postgres import APP_ROLE, PostgresServer
from fakesieve.embedded.seaweed import SeaweedServer
from fakesieve.object_stores.s3 import S3Objects
from fakesieve.object_stores.select import read_options
from fakesieve.objects import VideoRef
from fakesieve.records.tenants import Tenant
from fakesieve.records.videos import record_source
from fakesieve.values.people import UserRole
from fakesieve.values.videos import SourceKind
from tests.api.pages.stage import BUCKET, Scene, enter, make_scene, make_settings

JSON = {"Accept": "application/json"}


@dataclass(frozen=True)
class Desk:
    """Somebody at a review page whose video lies in a real store."""

    client: TestClient
    objects: S3Objects
    database: Database
    folder: Path
    scene: Scene

    def put(self, key: str, content: bytes) -> VideoRef:
        path = self.folder / "clip"
        path.write_bytes(content)
        return self.objects.upload(path, BUCKET, key).ref

    def see(self, ref: VideoRef, kind: SourceKind = SourceKind.API) -> None:
        owner = {"tenant_id": self.scene.tenant_id, "video_id": self.scene.video_id}
        with self.database.transaction(tenant_id=self.scene.tenant_id) as session:
            record_source(session, **owner, ref=ref, kind=kind)

    def lose_places(self) -> None:
        with self.database.transaction(tenant_id=None) as session:
            session.execute(update(Tenant).where(Tenant.id == self.scene.tenant_id).values(places=[]))

    def ask(self):
        return self.client.get(f"/r/{self.scene.analysis_id}/video", headers=JSON)


@pytest.fixture(scope="module")
def settings(postgres: PostgresServer, s3: SeaweedServer, module_database_name: str):
    return make_settings(
        postgres.url(APP_ROLE, module_database_name),
        s3_endpoint=s3.endpoint,
        s3_access_key=s3.access_key,
        s3_secret_key=s3.secret_key,
    )


@pytest.fixture(scope="module")
def stored(settings) -> Iterator[TestClient]:
    with TestClient(create_app(settings), headers={"Accept": "text/html"}) as found:
        yield found


@pytest.fixture
def desk(stored: TestClient, settings, module_database: Database, tmp_path: Path) -> Desk:
    objects = S3Objects(read_options(settings))
    objects.make_bucket(BUCKET)
    # The clip that every scene has is not there: these tests put their own.
    scene = make_scene(module_database, f"tenant-{secrets.token_hex(4)}", key=f"{secrets.token_hex(4)}.mp4")
    enter(stored, scene, UserRole.REVIEWER)
    return Desk(stored, objects, module_database, tmp_path, scene)


def test_the_newest_place_that_holds_the_video_is_linked_to(desk: Desk):
    desk.see(desk.put("clips/first.mp4", b"first"))
    desk.see(desk.put("clips/second.mp4", b"second"))
    assert "clips/second.mp4" in desk.ask().json()["url"]
    desk.put("clips/second.mp4", b"another video")
    assert "clips/first.mp4" in desk.ask().json()["url"]


def test_a_video_that_was_replaced_is_not_shown_under_the_scores_of_the_one_before(desk: Desk):
    desk.see(desk.put("clips/only.mp4", b"what was screened"))
    desk.put("clips/only.mp4", b"what somebody has put there since")
    answer = desk.ask()
    assert (answer.status_code, answer.json()["reason"]) == (409, "SOURCE_CHANGED")
    assert "another object lies there than the one that was screened" in answer.json()["detail"]


def test_a_place_that_was_taken_away_is_linked_to_no_more(desk: Desk):
    desk.see(desk.put("clips/lent.mp4", b"lent"))
    assert desk.ask().status_code == 200
    desk.lose_places()
    answer = desk.ask()
    assert (answer.status_code, answer.json()["reason"]) == (422, "SOURCE_NOT_FOUND")
    page = desk.client.get(f"/r/{desk.scene.analysis_id}")
    assert "media-src 'none'" in page.headers["content-security-policy"]


def test_what_was_uploaded_for_a_tenant_needs_no_place_and_another_tenants_folder_has_none(desk: Desk):
    desk.lose_places()
    desk.see(desk.put("uploads/ten_other/upl_1", b"of another tenant"), SourceKind.UPLOAD)
    assert desk.ask().status_code == 422
    desk.see(desk.put("uploads/0f0f0f/clip.mp4", b"uploaded by command"), SourceKind.UPLOAD)
    assert "uploads/0f0f0f/clip.mp4" in desk.ask().json()["url"]
