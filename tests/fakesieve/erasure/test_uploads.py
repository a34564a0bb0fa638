"""Uploads of which nothing has come leave with their objects; of the others the video decides."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from fakesieve.erasure.uploads import purge_uploads
from fakesieve.objects import VideoRef
from fakesieve.records.uploads import (
    Upload,
    UploadDraft,
    complete_upload,
    create_upload,
    load_upload,
    use_upload,
)
from tests.fakesieve.erasure.conftest import BUCKET, JOB, Case, put
from tests.fakesieve.erasure.test_exports import is_there

OVERDUE = "UPDATE upload SET purge_time = now() - interval '1 s' WHERE purge_time IS NOT NULL"


@pytest.fixture
def upload(case: Case, tmp_path: Path) -> Upload:
    """A second upload of the tenant, which is complete and has no job."""
    draft = UploadDraft(BUCKET, "video/mp4", 10_000, datetime.now(UTC) + timedelta(hours=1), "b.mp4")
    with case.database.transaction(tenant_id=case.tenant_id) as session:
        made = create_upload(session, case.tenant_id, draft)
        complete_upload(session, made.id, put(case.objects, tmp_path, made.key, b"b" * 100))
    return made


def purge(case: Case) -> list[str]:
    """Let the time of all uploads be over, sweep, and return the keys that are left."""
    case.run(OVERDUE)
    while purge_uploads(case.database, case.objects, 10):
        pass
    with case.database.transaction(tenant_id=case.tenant_id) as session:
        return sorted(session.scalars(text("SELECT key FROM upload")))


def test_an_upload_without_a_job_goes_after_a_day_and_one_with_a_video_stays(
    case: Case, upload: Upload
) -> None:
    assert purge_uploads(case.database, case.objects, 10) == 0  # it has a day
    assert purge(case) == [case.key]
    assert not is_there(case, VideoRef(BUCKET, upload.key))
    assert is_there(case, VideoRef(BUCKET, case.key))
    with case.database.transaction(tenant_id=case.tenant_id) as session:
        assert session.scalar(text("SELECT purge_time FROM upload")) is None  # the video's retention decides


@pytest.mark.parametrize(("since_end", "stays"), [(None, True), ("1 day", True), ("8 days", False)])
def test_a_job_keeps_its_upload_for_as_long_as_it_may_be_retried(
    case: Case, upload: Upload, since_end: str | None, *, stays: bool
) -> None:
    values = {"id": f"{case.job_id}b", "tenant": case.tenant_id, "bucket": BUCKET, "key": upload.key}
    case.run(JOB, **values, video=case.video_id, analysis=case.analysis_id, external=None)
    state = (
        "state = 'queued', analysis_id = NULL, end_time = NULL"
        if since_end is None
        else f"end_time = now() - interval '{since_end}'"
    )
    case.run(f"UPDATE job SET {state} WHERE id = :id", id=values["id"])
    assert (upload.key in purge(case)) is stays
    case.run("DELETE FROM job WHERE id = :id", id=values["id"])


def test_an_upload_that_is_about_to_become_a_job_stays_another_day(case: Case, upload: Upload) -> None:
    case.run(OVERDUE)
    with case.database.transaction(tenant_id=case.tenant_id) as session:
        assert use_upload(session, upload.id) is not None
    purge_uploads(case.database, case.objects, 10)
    assert is_there(case, VideoRef(BUCKET, upload.key))


def test_an_upload_that_is_being_removed_cannot_be_used_and_is_removed_by_the_next_sweep(
    case: Case, upload: Upload
) -> None:
    case.run("UPDATE upload SET is_withdrawn = true WHERE id = :id", id=upload.id)
    with case.database.transaction(tenant_id=case.tenant_id) as session:
        assert load_upload(session, upload.id) is None
        assert use_upload(session, upload.id) is None
    assert upload.key not in purge(case)
