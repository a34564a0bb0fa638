"""What every page with a verdict says of it: the model by its weights, its card, base rates, the faces."""

import secrets

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from api.pages.routes import review
from api.pages.templates import PLACES
from fakesieve.database import Database
from fakesieve.records.analyses import store_analysis
from fakesieve.records.models import ModelFacts, ensure_model, store_card
from fakesieve.values.people import UserRole
from tests.api.pages.stage import Scene, enter, find_token, make_scene
from tests.factories import MODEL, make_record, make_score

CARD = {
    "training data": "12 faces that <b>we</b> drew",
    "error rates": "3 of 25 real clips are flagged",
    "not shown to detect": "video that was generated as a whole",
}
NAMESAKE = ModelFacts(MODEL.name, "cd" * 32, "onnxruntime-cpu", "f32")


@pytest.fixture
def own(module_database: Database) -> Scene:
    return make_scene(module_database, f"tenant-{secrets.token_hex(4)}")


def keep_card(database: Database, card: dict[str, object]) -> str:
    with database.transaction(tenant_id=None) as session:
        model_id = ensure_model(session, MODEL)
        store_card(session, model_id, card)
    return model_id


def test_the_page_names_models_with_their_data_errors_and_base_rates(
    client: TestClient, own: Scene, module_database: Database
):
    keep_card(module_database, dict(CARD))
    enter(client, own, UserRole.VIEWER)
    page = client.get("/verdicts").text
    assert MODEL.weights_sha256[:12] in page
    assert "12 faces that &lt;b&gt;we&lt;/b&gt; drew" in page
    assert "3 of 25 real clips are flagged" in page
    assert "video that was generated as a whole" in page
    assert "Why flagged videos are often real" in page
    assert "does not mean authentic" in page


def test_what_a_card_leaves_out_is_named_as_unknown(
    client: TestClient, own: Scene, module_database: Database
):
    model_id = keep_card(module_database, {"training data": "some"})
    enter(client, own, UserRole.VIEWER)
    for address in ("/verdicts", f"/models/{model_id}", f"/r/{own.analysis_id}"):
        page = client.get(address).text
        assert page.count("The card says nothing of it, so it is not known here.") == 2, address


@pytest.mark.parametrize(
    "place", [*PLACES, "/models/compare", "/r/{analysis}", "/queue/{queue}", "/decisions"]
)
def test_every_page_leads_to_it(client: TestClient, own: Scene, place: object):
    address = getattr(place, "address", place)
    enter(client, own, UserRole.ADMIN)
    path = str(address).format(analysis=own.analysis_id, queue=own.queue_id)
    page = client.get(path)
    assert page.status_code == 200
    assert '<a href="/verdicts">What a verdict means</a>' in page.text.split("<footer>")[1]


def test_two_models_of_one_name_are_told_apart(client: TestClient, own: Scene, module_database: Database):
    with module_database.transaction(tenant_id=own.tenant_id) as session:
        newer = make_record(
            own.tenant_id, own.video_id, score=make_score(0.1), fingerprint="pipeline-2", model=NAMESAKE
        )
        store_analysis(session, newer)
    enter(client, own, UserRole.REVIEWER)
    page = client.get(f"/r/{own.analysis_id}").text
    strip, history = page.split("</dl>")[0], page.split("Other analyses of this video")[1]
    assert MODEL.weights_sha256[:12] in strip
    assert NAMESAKE.weights_sha256[:12] in history.split("</ul>")[0]


def test_the_strip_says_how_large_a_face_was_and_why_samples_were_left_out(client: TestClient, own: Scene):
    enter(client, own, UserRole.VIEWER)
    page = client.get(f"/r/{own.analysis_id}").text
    # Boxes of 0.125 x 0.5 of 640 x 360 pixels; the third of three samples is too small.
    assert "Median of 3 samples: about 80 px, found with 0.75. Left out: 1 face too small." in page


def test_what_very_many_samples_were_like_is_told_when_asked_for(
    client: TestClient, own: Scene, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(review, "MEASURED_MAX", 2)
    enter(client, own, UserRole.VIEWER)
    said = "Median of 3 samples: about 80 px, found with 0.75. Left out: 1 face too small."
    page = client.get(f"/r/{own.analysis_id}").text
    assert "Median of" not in page
    assert '<a href="?quality=true">What its samples were like' in page
    assert said in client.get(f"/r/{own.analysis_id}?quality=true").text
    assert client.get(f"/r/{own.analysis_id}/quality").json() == {"0": said}
    assert client.get("/r/ana_nothing/quality").status_code == 404


def test_a_size_that_is_not_stored_is_not_made_up(client: TestClient, module_database: Database):
    own = make_scene(
        module_database, f"tenant-{secrets.token_hex(4)}", media={"kind": "video", "duration_us": 3_000_000}
    )
    enter(client, own, UserRole.VIEWER)
    assert "Median of 3 samples: found with 0.75." in client.get(f"/r/{own.analysis_id}").text
    with module_database.transaction(tenant_id=own.tenant_id) as session:
        session.execute(text("DELETE FROM frame_score WHERE analysis_id = :id"), {"id": own.analysis_id})
    page = client.get(f"/r/{own.analysis_id}").text
    assert "How large it was and why samples were left out is no longer stored." in page
    assert "Median of" not in page


def test_the_hidden_page_says_nothing_of_a_faces_samples(client: TestClient, module_database: Database):
    blind = make_scene(module_database, f"tenant-{secrets.token_hex(4)}", is_blind=True)
    enter(client, blind, UserRole.REVIEWER)
    client.post(f"/queue/{blind.queue_id}/next", data={"form_token": find_token(client.get("/queue").text)})
    page = client.get(f"/r/{blind.analysis_id}").text
    assert "Score hidden" in page
    assert "Median of" not in page
    assert "/lanes" not in page
    assert client.get(f"/r/{blind.analysis_id}/quality").status_code == 409
    assert "Median of" not in client.get(f"/r/{blind.analysis_id}?quality=true").text


def test_health_says_why_seconds_of_accelerators_are_missing(client: TestClient, own: Scene):
    enter(client, own, UserRole.VIEWER)
    page = client.get("/status").text
    assert "Seconds of accelerators are not stored, so none stand here" in page
    assert "their ceiling is not stored" in page
