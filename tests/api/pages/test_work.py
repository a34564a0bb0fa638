import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import select

from fakesieve.database import Database
from fakesieve.jobs.sql.store import SqlJobStore
from fakesieve.jobs.states import JobState, Lane
from fakesieve.jobs.submit import NewJob, submit_video
from fakesieve.objects import VideoRef
from fakesieve.records.jobs import Job
from fakesieve.values.people import UserRole
from tests.api.pages.stage import BUCKET, Scene, enter, find_token


@pytest.fixture(scope="module")
def job_id(module_database: Database, scene: Scene) -> str:
    ref = VideoRef(BUCKET, "clips/<i>queued</i>.mp4", etag="e1", size_bytes=5)
    store = SqlJobStore(module_database, scene.tenant_id)
    return submit_video(store, NewJob(scene.tenant_id, ref, Lane.STANDARD)).job_id


def test_jobs_are_listed_and_shown(client: TestClient, scene: Scene, job_id: str):
    enter(client, scene, UserRole.VIEWER)
    page = client.get("/jobs").text
    assert "&lt;i&gt;queued&lt;" not in page  # the name of the file alone, which begins behind the last slash
    assert f"/jobs/{job_id}" in page
    assert "&lt;i&gt;queued&lt;/i&gt;.mp4" in client.get(f"/jobs/{job_id}").text
    assert job_id not in client.get("/jobs?state=failed").text
    assert client.get("/jobs?state=lost").status_code == 422


def test_another_tenants_job_is_not_there(client: TestClient, other_scene: Scene, job_id: str):
    enter(client, other_scene, UserRole.ADMIN)
    assert client.get(f"/jobs/{job_id}").status_code == 404
    token = find_token(client.get("/jobs").text)
    assert client.post(f"/jobs/{job_id}/cancel", data={"form_token": token}).status_code == 404
    assert job_id not in client.get("/jobs").text


def test_an_admin_cancels_a_job_and_starts_it_again(
    client: TestClient, scene: Scene, job_id: str, module_database: Database
):
    def read_state() -> JobState:
        with module_database.transaction(tenant_id=scene.tenant_id) as session:
            return session.scalars(select(Job.state).where(Job.id == job_id)).one()

    enter(client, scene, UserRole.REVIEWER)
    token = find_token(client.get("/jobs").text)
    assert client.post(f"/jobs/{job_id}/cancel", data={"form_token": token}).status_code == 403
    enter(client, scene, UserRole.ADMIN)
    token = find_token(client.get("/jobs").text)
    assert "not planned yet" in client.get(f"/jobs/{job_id}").text
    assert "It was cancelled." in client.post(f"/jobs/{job_id}/cancel", data={"form_token": token}).text
    assert read_state() is JobState.CANCELLED
    assert "not planned yet" not in client.get(f"/jobs/{job_id}").text
    assert client.post(f"/jobs/{job_id}/cancel", data={"form_token": token}).status_code == 409
    assert "It starts again." in client.post(f"/jobs/{job_id}/retry", data={"form_token": token}).text
    assert read_state() is JobState.QUEUED


def test_a_page_token_of_another_list_is_refused(client: TestClient, scene: Scene, app: FastAPI):
    enter(client, scene, UserRole.VIEWER)
    assert client.get("/jobs?page=AAAA").status_code == 422
    assert client.get("/results?page=AAAA").status_code == 422


def test_results_are_found_by_a_filter(client: TestClient, scene: Scene):
    enter(client, scene, UserRole.VIEWER)
    assert f"/r/{scene.analysis_id}" in client.get("/results?filter=score>0.1").text
    assert "Nothing is stored that fits" in client.get("/results?filter=score>0.99").text
    wrong = client.get('/results?filter=verdict="><script>alert(1)</script>')
    assert wrong.status_code == 422
    assert "INVALID_FILTER" in wrong.text
    assert "<script>alert" not in wrong.text


def test_an_upload_gets_a_form_for_this_file_alone(client: TestClient, scene: Scene):
    enter(client, scene, UserRole.REVIEWER)
    page = client.get("/upload")
    assert "connect-src 'self' http://127.0.0.1:9;" in page.headers["content-security-policy"]
    form = {"form_token": find_token(page.text), "name": "a <b>.mp4", "type": "", "size": "5"}
    made = client.post("/upload/begin", data=form).json()
    assert made["content_type"] == "video/mp4"
    assert made["form"]["url"].startswith("http://127.0.0.1:9/")
    assert scene.tenant_id in made["form"]["fields"]["key"]
    assert client.post("/upload/begin", data=form | {"size": "0"}).status_code == 422
    assert client.post("/upload/begin", data=form | {"size": "9" * 15}).status_code == 413
    assert "x-amz-checksum-sha256" not in made["form"]["fields"]
    hashed = client.post("/upload/begin", data=form | {"sha256": "00" * 32}).json()
    assert hashed["form"]["fields"]["x-amz-checksum-sha256"] == "A" * 43 + "="
    assert client.post("/upload/begin", data=form | {"sha256": "00" * 31}).status_code == 422
    lost = client.post("/upload/upl_none/finish", data=form)
    assert lost.status_code == 404
