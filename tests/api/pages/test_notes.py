"""Notes on spans, who has looked, and where in the face it was over time."""

import secrets
import struct

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from fakesieve.database import Database
from fakesieve.records.audit import AuditSearch, list_audit
from fakesieve.records.review_notes import ReviewNote
from fakesieve.values.people import UserRole
from tests.api.pages.stage import Scene, enter, find_token, make_scene

NOTE = {"start_s": "0.5", "end_s": "1.25", "track": "0", "text": "the lips <b>slip</b>"}
OCTETS = {"Accept": "application/octet-stream"}


@pytest.fixture
def own(module_database: Database, request: pytest.FixtureRequest) -> Scene:
    """A tenant of this test alone."""
    return make_scene(
        module_database, f"tenant-{secrets.token_hex(4)}", is_blind="blind" in request.node.name
    )


def note(client: TestClient, own: Scene, **fields: str):
    token = find_token(client.get(f"/r/{own.analysis_id}").text)
    form = {"form_token": token} | NOTE | fields
    return client.post(f"/r/{own.analysis_id}/notes", data=form, follow_redirects=False)


def test_a_note_is_kept_shown_and_removed_by_its_author(
    client: TestClient, own: Scene, module_database: Database
):
    enter(client, own, UserRole.REVIEWER)
    told = note(client, own).headers["location"]
    assert told.startswith(f"/r/{own.analysis_id}?done=noted&")
    assert told.endswith("&t=0.500&track=0")
    assert "Your note is kept." in client.get(told).text
    page = client.get(f"/r/{own.analysis_id}").text
    assert "the lips &lt;b&gt;slip&lt;/b&gt;" in page
    with module_database.transaction(tenant_id=own.tenant_id) as session:
        kept = session.scalars(select(ReviewNote)).one()
        assert (kept.start_us, kept.end_us, kept.ordinal) == (500_000, 1_250_000, 0)
        assert [row.action for row in list_audit(session, AuditSearch(own.analysis_id))][-1:] == [
            "analysis.viewed"
        ]
    remove = f"/r/{own.analysis_id}/notes/{kept.id}/remove"
    token = {"form_token": find_token(page)}
    assert "The note was removed." in client.post(remove, data=token).text
    assert client.post(remove, data=token).status_code == 404


def test_nobody_but_an_admin_removes_the_note_of_somebody_else(client: TestClient, own: Scene):
    enter(client, own, UserRole.ADMIN)
    note(client, own)
    page = client.get(f"/r/{own.analysis_id}").text
    remove = page.split("/remove", 1)[0].rsplit('"', 1)[1] + "/remove"
    enter(client, own, UserRole.REVIEWER)
    page = client.get(f"/r/{own.analysis_id}").text
    assert "/remove" not in page
    assert client.post(remove, data={"form_token": find_token(page)}).status_code == 403
    note(client, own)
    enter(client, own, UserRole.ADMIN)
    page = client.get(f"/r/{own.analysis_id}").text
    assert page.count("/remove") == 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"start_s": "2", "end_s": "1"},
        {"start_s": "-1"},
        {"start_s": "nan"},
        {"start_s": "99", "end_s": "100"},
        {"end_s": "1e400"},
        {"track": "7"},
        {"track": "x"},
        {"text": ""},
        {"text": "x" * 1001},
    ],
)
def test_half_a_note_is_refused(client: TestClient, own: Scene, wrong: dict[str, str]):
    enter(client, own, UserRole.REVIEWER)
    assert note(client, own, **wrong).status_code == 422


def test_viewers_read_notes_and_write_none(client: TestClient, own: Scene):
    enter(client, own, UserRole.REVIEWER)
    note(client, own)
    enter(client, own, UserRole.VIEWER)
    page = client.get(f"/r/{own.analysis_id}").text
    assert "the lips" in page
    assert "note-form" not in page
    assert note(client, own).status_code == 403


def test_a_blind_review_shows_no_note_no_looks_and_no_regions(client: TestClient, own: Scene):
    enter(client, own, UserRole.REVIEWER)
    token = find_token(client.get("/queue").text)
    client.post(f"/queue/{own.queue_id}/fill", data={"form_token": token})
    page = client.get(f"/r/{own.analysis_id}").text
    assert "note-form" not in page
    assert "Who has looked at it" not in page
    assert note(client, own).status_code == 409
    assert client.get(f"/r/{own.analysis_id}/regions", headers=OCTETS).status_code == 409


def test_who_looked_is_written_down_once_a_sitting(client: TestClient, own: Scene, module_database: Database):
    def read_log() -> list[tuple[str, str]]:
        with module_database.transaction(tenant_id=own.tenant_id) as session:
            return [(row.actor[:4], row.action) for row in list_audit(session, AuditSearch(own.analysis_id))]

    enter(client, own, UserRole.REVIEWER)
    client.get(f"/r/{own.analysis_id}")
    client.get(f"/r/{own.analysis_id}")
    assert read_log() == [("usr_", "analysis.viewed")]
    enter(client, own, UserRole.VIEWER)
    page = client.get(f"/r/{own.analysis_id}").text
    assert f'Reviewer of {own.tenant}</bdi> <span class="small">1 time, last' in page
    assert len(read_log()) == 2


def test_the_parts_of_a_face_over_time_are_packed(client: TestClient, own: Scene):
    enter(client, own, UserRole.VIEWER)
    found = client.get(f"/r/{own.analysis_id}/regions", headers=OCTETS).content
    assert found[:4] == b"FSVR"
    assert struct.unpack_from("<III", found, 4) == (2, 1, 2)
    assert struct.unpack_from("<dd", found, 16) == (0.0, 1_000_000.0)
    assert struct.unpack_from("<IIII", found, 32) == (0, 2, 0, 0)
    assert found[48:62] == bytes((0, 0, 0, 255, 51, 0, 0)) * 2


def test_boxes_and_maps_come_in_pieces_of_the_video(client: TestClient, own: Scene):
    enter(client, own, UserRole.VIEWER)
    found = client.get(f"/r/{own.analysis_id}/faces/0", headers=OCTETS).content
    assert struct.unpack_from("<IIIII", found, 16) == (0, 3, 2, 4, 64)
    assert found[-32:] == bytes(range(16)) * 2
    assert len(client.get(f"/r/{own.analysis_id}/faces/1", headers=OCTETS).content) == 16
