from collections.abc import Mapping

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from api.pages.routes.models import SIDE, place_cells
from fakesieve.database import Database
from fakesieve.records.analyses import store_analysis
from fakesieve.records.audit import list_audit
from fakesieve.records.model_comparisons import BINS, PairCell
from fakesieve.records.models import ModelFacts, ensure_model, store_card
from fakesieve.records.webhooks import Event
from fakesieve.values.people import UserRole
from tests.api.pages.stage import Scene, enter, find_token
from tests.factories import MODEL, make_record, make_score

NEWER = ModelFacts("lv-next<b>", "cd" * 32, "onnxruntime-cpu", "f32")


@pytest.fixture(scope="module")
def models(scene: Scene, module_database: Database) -> Mapping[str, str]:
    """The ids of two models that have both judged the scene's video, one of them otherwise."""
    with module_database.transaction(tenant_id=scene.tenant_id) as session:
        record = make_record(
            scene.tenant_id, scene.video_id, score=make_score(0.1), fingerprint="pipeline-2", model=NEWER
        )
        store_analysis(session, record)
        ids = {"old": ensure_model(session, MODEL), "new": ensure_model(session, NEWER)}
    with module_database.transaction(tenant_id=None) as session:
        store_card(session, ids["new"], {"training data": "drawn <i>by</i> a test"})
    return ids


def promote(client: TestClient, model_id: str, alias: str):
    token = find_token(client.get(f"/models/{model_id}/promote?alias={alias}").text)
    return client.post(f"/models/{model_id}/promote", data={"form_token": token, "alias": alias})


def test_a_card_is_shown_as_text(client: TestClient, scene: Scene, models: Mapping[str, str]):
    enter(client, scene, UserRole.VIEWER)
    page = client.get(f"/models/{models['new']}").text
    assert "drawn &lt;i&gt;by&lt;/i&gt; a test" in page
    assert "Use as champion" not in page
    assert "No card is stored" in client.get(f"/models/{models['old']}").text
    assert client.get("/models/mdl_none").status_code == 404


def test_only_admins_promote_and_each_change_is_told(
    client: TestClient, scene: Scene, models: Mapping[str, str], module_database: Database
):
    enter(client, scene, UserRole.REVIEWER)
    assert client.get(f"/models/{models['new']}/promote?alias=champion").status_code == 403
    token = find_token(client.get("/models").text)
    form = {"form_token": token, "alias": "champion"}
    assert client.post(f"/models/{models['new']}/promote", data=form).status_code == 403
    enter(client, scene, UserRole.ADMIN)
    assert "It is used so from now on." in promote(client, models["old"], "champion").text
    asked = client.get(f"/models/{models['new']}/promote?alias=champion").text
    assert "Both have judged 1 videos" in asked
    promote(client, models["new"], "champion")
    assert "nothing has changed" in promote(client, models["new"], "champion").text
    with module_database.transaction(tenant_id=scene.tenant_id) as session:
        told = [(row.actor, row.subject) for row in list_audit(session) if row.action == "model.promoted"]
        events = session.scalars(select(Event.data).where(Event.type == "model.promoted")).all()
    assert [subject for _, subject in told] == [models["new"], models["old"]]
    assert {actor[:4] for actor, _ in told} == {"usr_"}
    assert sorted(event["model_id"] for event in events) == sorted(models.values())


def test_the_page_promises_nothing_of_a_name(client: TestClient, scene: Scene, models: Mapping[str, str]):
    """The names steer no host and no list: hosts run what they were started with."""
    enter(client, scene, UserRole.ADMIN)
    page = client.get("/models").text
    assert "They do not change which model hosts run" in page
    assert "results count" not in page


def test_going_back_asks_first(client: TestClient, scene: Scene, models: Mapping[str, str]):
    enter(client, scene, UserRole.ADMIN)
    promote(client, models["old"], "shadow")
    promote(client, models["new"], "shadow")
    asked = client.get("/models/rollback?alias=shadow").text
    assert "Go back to the shadow before?" in asked
    form = {"form_token": find_token(asked), "alias": "shadow"}
    assert "The model before is used again." in client.post("/models/rollback", data=form).text
    assert client.post("/models/rollback", data=form).status_code == 409


def test_two_models_are_compared_by_what_is_stored(
    client: TestClient, scene: Scene, models: Mapping[str, str]
):
    enter(client, scene, UserRole.VIEWER)
    page = client.get(f"/models/compare?base={models['old']}&other={models['new']}").text
    assert "videos that both have judged</dt><dd>1<" in page
    assert page.count("<title>1</title>") == 1
    assert "lv-next&lt;b&gt;" in page
    assert (
        "That is one and the same model"
        in client.get(f"/models/compare?base={models['old']}&other={models['old']}").text
    )
    assert "No model is used as challenger." in client.get("/models/compare").text


def test_the_area_of_a_cell_grows_with_its_count():
    low, high = place_cells([PairCell(0, 0, 25, 0), PairCell(BINS - 1, BINS - 1, 100, 1)])
    assert (high.x, high.y, high.side) == ((BINS - 1) * SIDE, 0.0, SIDE)
    assert (low.x, low.y, low.side) == (SIDE / 4, (BINS - 1) * SIDE + SIDE / 4, SIDE / 2)
    assert (low.is_flip, high.is_flip) == (False, True)
