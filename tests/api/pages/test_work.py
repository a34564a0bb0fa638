import re
from datetime import UTC, datetime, timedelta

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import func, select, update

from fakesieve.database import Database
from fakesieve.jobs.sql.store import SqlJobStore
from fakesieve.jobs.states import JobState, Lane
from fakesieve.jobs.submit import NewJob, submit_video
from fakesieve.objects import VideoRef
from fakesieve.records.analyses import store_analysis
from fakesieve.records.jobs import Job
from fakesieve.records.uploads import UploadDraft, complete_upload, create_upload
from fakesieve.records.videos import record_source, upsert_video
from fakesieve.values.people import UserRole
from fakesieve.values.videos import SourceKind
from tests.api.pages.stage import BUCKET, Scene, enter, find_token, make_scene
from tests.factories import MEDIA, hash_text, make_record


@pytest.fixture(scope="module")
def job_id(module_database: Database, scene: Scene) -> str:
    ref = VideoRef(BUCKET, "clips/<i>queued</i>.mp4", etag="e1", size_bytes=5)
    store = SqlJobStore(module_database, scene.tenant_id)
    return submit_video(store, NewJob(scene.tenant_id, ref, Lane.STANDARD)).job_id


def add_upload(database: Database, scene: Scene, name: str | None) -> tuple[str, str, str]:
    """Store an uploaded video with a name and its analysis; return the ids of job, analysis and video."""
    tenant_id = scene.tenant_id
    with database.transaction(tenant_id=tenant_id) as session:
        later = datetime.now(UTC) + timedelta(hours=1)
        upload = create_upload(session, tenant_id, UploadDraft(BUCKET, "video/mp4", 10_000, later, name))
        ref = VideoRef(BUCKET, upload.key, etag="e1", size_bytes=5)
        complete_upload(session, upload.id, ref)
    store = SqlJobStore(database, tenant_id)
    job_id = submit_video(store, NewJob(tenant_id, ref, Lane.STANDARD)).job_id
    with database.transaction(tenant_id=tenant_id) as session:
        sha256 = hash_text(upload.key)
        video_id = upsert_video(session, tenant_id=tenant_id, sha256=sha256, size_bytes=5, media=MEDIA)
        record_source(session, tenant_id=tenant_id, video_id=video_id, ref=ref, kind=SourceKind.UPLOAD)
        analysis_id, _ = store_analysis(session, make_record(tenant_id, video_id))
        ended = {"state": JobState.SUCCEEDED, "end_time": func.now(), "video_id": video_id}
        session.execute(update(Job).where(Job.id == job_id).values(ended | {"analysis_id": analysis_id}))
    return job_id, analysis_id, video_id


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


def test_an_uploaded_video_is_called_as_its_uploader_calls_it(client: TestClient, module_database: Database):
    uploader = make_scene(module_database, "uploader")
    job_id, analysis_id, video_id = add_upload(module_database, uploader, "Holiday clip <b>.mp4")
    enter(client, uploader, UserRole.ADMIN)
    addresses = ("/jobs", f"/jobs/{job_id}", "/results", f"/r/{analysis_id}", f"/videos/{video_id}")
    for address in addresses:
        page = client.get(address).text
        assert "<bdi>Holiday clip &lt;b&gt;.mp4</bdi>" in page, address
        assert "clip <b>" not in page, address
    assert "Holiday clip &lt;b&gt;.mp4 · fakesieve</title>" in client.get(f"/r/{analysis_id}").text
    found = client.get("/results", params={"filter": 'jobs.file = "Holiday*"'}).text
    assert f"/r/{analysis_id}" in found
    assert f"/r/{uploader.analysis_id}" not in found
    by_key = client.get("/results", params={"filter": 'jobs.file = "upl_*"'}).text
    assert f"/r/{analysis_id}" not in by_key


def test_an_upload_without_a_name_is_called_by_its_key(client: TestClient, module_database: Database):
    nameless = make_scene(module_database, "nameless")
    job_id, analysis_id, _ = add_upload(module_database, nameless, None)
    enter(client, nameless, UserRole.VIEWER)
    listed = re.findall(rf'href="/jobs/{job_id}"><bdi>(upl_[^<]+)</bdi>', client.get("/jobs").text)
    page = client.get(f"/jobs/{job_id}").text
    assert re.findall("<h1><bdi>([^<]+)</bdi></h1>", page) == listed
    assert f'<p class="small mono"><bdi>uploads/{nameless.tenant_id}/{listed[0]}</bdi></p>' in page
    assert f"/r/{analysis_id}" in client.get("/results", params={"filter": 'jobs.file = "upl_*"'}).text


def test_an_upload_named_by_spaces_alone_is_called_by_its_key(client: TestClient, module_database: Database):
    blank = make_scene(module_database, "blank")
    job_id, analysis_id, video_id = add_upload(module_database, blank, "  ")
    enter(client, blank, UserRole.ADMIN)
    assert f'<a href="/jobs/{job_id}"><bdi>upl_' in client.get("/jobs").text
    assert "<h1><bdi>upl_" in client.get(f"/videos/{video_id}").text
    assert f"/r/{analysis_id}" in client.get("/results", params={"filter": 'jobs.file = "upl_*"'}).text


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
