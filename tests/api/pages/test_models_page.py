import re
import secrets
from collections.abc import Iterator, Mapping
from html import unescape

import pytest
from fastapi.testclient import TestClient
from playwright.sync_api import Page, expect
from sqlalchemy import select, text

from api.pages.routes.models import SIDE, place_cells
from fakesieve.calibration.fits import list_fits
from fakesieve.database import Database
from fakesieve.jobs.rows import HostBeat, HostModel
from fakesieve.jobs.sql.store import SqlJobStore
from fakesieve.objects import VideoRef
from fakesieve.people.accounts import find_user
from fakesieve.records.analyses import store_analysis
from fakesieve.records.audit import AuditSearch, list_audit
from fakesieve.records.jobs import Job
from fakesieve.records.model_comparisons import BINS, PairCell
from fakesieve.records.model_lists import find_aliases
from fakesieve.records.models import ModelFacts, ensure_model, store_card
from fakesieve.records.standings import Standing
from fakesieve.records.videos import record_source
from fakesieve.records.webhooks import Event
from fakesieve.values.models import ModelAlias
from fakesieve.values.people import UserRole
from tests.api.decided import decide_many
from tests.api.pages.browsing import enter as enter_in_browser
from tests.api.pages.browsing import focus
from tests.api.pages.stage import BUCKET, Scene, enter, find_token, make_scene
from tests.factories import MODEL, make_record, make_score, make_video

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


def find_notices(page: str) -> list[str]:
    """What a page tells of an act, as text."""
    notices = re.findall(r'<p class="notice" role="status">(.*?)</p>', page)
    return [unescape(re.sub(r"<[^>]+>", "", notice)) for notice in notices]


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


def test_going_back_names_both_models_first_and_afterwards(
    client: TestClient, scene: Scene, models: Mapping[str, str]
):
    enter(client, scene, UserRole.ADMIN)
    promote(client, models["old"], "shadow")
    assert "There is no shadow before" in client.get("/models/rollback?alias=shadow").text
    promote(client, models["new"], "shadow")
    assert f"Go back to <bdi>{MODEL.name}</bdi>" in client.get("/models").text
    asked = client.get("/models/rollback?alias=shadow").text
    assert f"Go back to <bdi>{MODEL.name}</bdi> as shadow?" in asked
    assert "Both have judged 1 videos" in asked
    form = {
        "form_token": find_token(asked),
        "alias": "shadow",
        "expected": f"{models['new']} {models['old']}",
    }
    notices = find_notices(client.post("/models/rollback", data=form).text)
    assert notices == [f"{MODEL.name} abababababab is the shadow again, in place of lv-next<b> cdcdcdcdcdcd."]
    assert client.post("/models/rollback", data=form).status_code == 409


def test_going_back_to_another_model_than_the_page_named_is_refused(
    client: TestClient, scene: Scene, models: Mapping[str, str], module_database: Database
):
    enter(client, scene, UserRole.ADMIN)
    promote(client, models["old"], "shadow")
    promote(client, models["new"], "shadow")
    asked = client.get("/models/rollback?alias=shadow").text
    promote(client, models["old"], "shadow")
    found = re.search(r'name="expected" value="([^"]+)"', asked)
    form = {"form_token": find_token(asked), "alias": "shadow", "expected": found[1] if found else ""}
    refused = client.post("/models/rollback", data=form)
    assert (refused.status_code, "the shadow has changed since the page asked" in refused.text) == (
        409,
        True,
    )
    with module_database.transaction(tenant_id=scene.tenant_id) as session:
        assert find_aliases(session, scene.tenant_id)[ModelAlias.SHADOW] == models["old"]


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


@pytest.fixture
def own(module_database: Database) -> Scene:
    return make_scene(module_database, f"tenant-{secrets.token_hex(4)}")


@pytest.fixture
def newer(module_database: Database) -> Iterator[str]:
    """The id of a model that a running host has and that has scored nothing of ``own``."""
    store = SqlJobStore(module_database, None)
    store.run(lambda tx: tx.beat_host(HostBeat("hst_new", 1, model=HostModel(NEWER, "pipeline", {}))))
    with module_database.transaction(tenant_id=None) as session:
        found = ensure_model(session, NEWER)
    yield found
    with module_database.transaction(tenant_id=None) as session:
        session.execute(text("DELETE FROM worker_host"))


def add_video(database: Database, own: Scene, name: str) -> None:
    """Store another scored video of the scene, where its tenant may name it."""
    with database.transaction(tenant_id=own.tenant_id) as session:
        video_id = make_video(session, own.tenant_id, name)
        record_source(
            session, tenant_id=own.tenant_id, video_id=video_id, ref=VideoRef(BUCKET, f"clips/{name}.mp4")
        )
        store_analysis(session, make_record(own.tenant_id, video_id, score=make_score(0.2)))


def list_jobs(database: Database, own: Scene) -> list[str | None]:
    with database.transaction(tenant_id=own.tenant_id) as session:
        return list(session.scalars(select(Job.batch_id)))


def read_fields(page: str, action: str) -> dict[str, str]:
    """Return the hidden fields of the form that goes to an address."""
    form = page.split(f'method="post" action="{action}"', 1)[1].split("</form>", 1)[0]
    return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', form))


def test_scoring_again_says_what_it_takes_and_starts_nothing(
    client: TestClient, own: Scene, newer: str, module_database: Database
):
    enter(client, own, UserRole.ADMIN)
    assert "/models/rescore?filter=score%3E0.1" in client.get("/results?filter=score%3E0.1").text
    page = client.get(f"/models/rescore?model={newer}").text
    assert "videos that it has not scored</dt><dd>1<" in page
    assert "length of the others together</dt><dd>0:03.0<" in page
    assert "Score 1 video again" in page
    none = client.get(f"/models/rescore?model={newer}&filter=score%3E0.99").text
    assert "There is nothing to start." in none
    wrong = client.get(f"/models/rescore?model={newer}&filter=scor%3E0.9")
    assert (wrong.status_code, "INVALID_FILTER" in wrong.text) == (422, True)
    assert list_jobs(module_database, own) == []


def test_what_cannot_be_scored_again_is_refused_before_it_is_asked(
    client: TestClient, own: Scene, newer: str, module_database: Database
):
    enter(client, own, UserRole.ADMIN)
    other = SqlJobStore(module_database, None)
    other.run(lambda tx: tx.beat_host(HostBeat("hst_old", 1, model=HostModel(MODEL, "pipeline", {}))))
    mixed = client.get(f"/models/rescore?model={newer}").text
    assert "1 of 2 running hosts have another model" in mixed
    assert "set FAKESIEVE_MODEL on all of them" in mixed
    assert "Score 1 video again" not in mixed
    with module_database.transaction(tenant_id=None) as session:
        session.execute(text("DELETE FROM worker_host WHERE owner = 'hst_old'"))
        session.execute(text("UPDATE tenant SET jobs_max = 1 WHERE id = :id"), {"id": own.tenant_id})
    add_video(module_database, own, "second")
    full = client.get(f"/models/rescore?model={newer}").text
    assert "0 jobs are live and 2 more are wanted, 1 are allowed" in full
    assert "Score 2 videos again" not in full


def test_what_is_on_its_way_or_out_of_reach_is_told_beside_what_is_started(
    client: TestClient, own: Scene, newer: str, module_database: Database, monkeypatch: pytest.MonkeyPatch
):
    enter(client, own, UserRole.ADMIN)
    form = read_fields(client.get(f"/models/rescore?model={newer}").text, "/models/rescore")
    client.post("/models/rescore", data=form)
    add_video(module_database, own, "second")
    add_video(module_database, own, "third")
    with module_database.transaction(tenant_id=None) as session:
        moved = "UPDATE source SET bucket = 'elsewhere' WHERE tenant_id = :id AND key = 'clips/second.mp4'"
        lost = session.scalar(text(f"{moved} RETURNING video_id"), {"id": own.tenant_id})
    page = client.get(f"/models/rescore?model={newer}&videos_max=1").text
    assert "videos that it has not scored</dt><dd>2<" in page
    assert "of these out of reach</dt><dd>1<" in page
    assert f'<a class="mono" href="/videos/{lost}">{lost}</a>' in page
    assert "left out, as a job waits or runs</dt><dd>1<" in page
    assert "Score 1 video again" in page
    assert "counting stopped" not in page
    monkeypatch.setattr("fakesieve.records.rescore_targets.LOOKED_MAX", 1)
    short = client.get(f"/models/rescore?model={newer}").text
    assert "More may fit: counting stopped here" in short
    assert "left out, as a job waits or runs</dt><dd>at least " in short


def test_a_start_that_is_sent_twice_is_one_batch_of_what_was_said(
    client: TestClient, own: Scene, newer: str, module_database: Database
):
    enter(client, own, UserRole.ADMIN)
    form = read_fields(client.get(f"/models/rescore?model={newer}").text, "/models/rescore")
    add_video(module_database, own, "came-meanwhile")
    page = client.post("/models/rescore", data=form).text
    assert "Videos that are on their way to be scored again: 1." in page
    again = client.post("/models/rescore", data=form)
    (batch_id,) = list_jobs(module_database, own)
    assert f'href="/batches/{batch_id}"' in page
    assert f'href="/batches/{batch_id}"' in again.text
    assert f'href="/models/compare?base=champion&amp;other={newer}"' in page
    with module_database.transaction(tenant_id=own.tenant_id) as session:
        admin = find_user(session, own.tenant_id, own.email(UserRole.ADMIN))
        told = [
            (line.actor, line.action, line.details) for line in list_audit(session, AuditSearch(batch_id))
        ]
    assert told == [(admin, "analyses.rescored", {"model_id": newer, "jobs": 1})]


@pytest.mark.parametrize("role", [UserRole.VIEWER, UserRole.REVIEWER])
def test_only_admins_score_again_and_fit(
    client: TestClient, own: Scene, newer: str, module_database: Database, role: UserRole
):
    enter(client, own, role)
    token = find_token(client.get("/models").text)
    form = {"form_token": token, "once": "1", "model": newer, "model_id": newer}
    assert client.get("/models/rescore").status_code == 403
    assert {client.post(f"/models/{act}", data=form).status_code for act in ("rescore", "calibrations")} == {
        403
    }
    assert "Score" not in client.get(f"/models/{newer}").text
    shown = client.get("/models/calibrations")
    assert (shown.status_code, "Fit a new one" in shown.text) == (200, False)
    assert list_jobs(module_database, own) == []


def test_too_few_decisions_are_told_with_what_to_do(
    client: TestClient, own: Scene, module_database: Database
):
    enter(client, own, UserRole.ADMIN)
    with module_database.transaction(tenant_id=None) as session:
        model = ensure_model(session, MODEL)
    page = client.get(f"/models/calibrations?model={model}").text
    assert "at least 100, and 30 of each" in page
    form = read_fields(page, "/models/calibrations") | {"model_id": model, "method": "", "prior": "0.5"}
    refused = client.post("/models/calibrations", data=form)
    assert refused.status_code == 409
    assert "TOO_FEW_DECISIONS</strong>: 0 manipulated and 0 authentic videos were confirmed" in refused.text
    assert "have more videos reviewed, of both kinds" in refused.text
    with module_database.transaction(tenant_id=own.tenant_id) as session:
        assert list_fits(session) == []


def test_a_fit_is_listed_as_it_is_stored_and_moves_no_score(
    client: TestClient, own: Scene, module_database: Database
):
    decide_many(module_database, own.tenant_id, own.analysis_id, own.queue_id)
    enter(client, own, UserRole.ADMIN)
    with module_database.transaction(tenant_id=own.tenant_id) as session:
        model = ensure_model(session, MODEL)
        standing = select(Standing.analysis_id, Standing.score, Standing.verdict)
        before = session.execute(standing.order_by(Standing.analysis_id)).all()
    page = client.get("/models/calibrations").text
    assert "moves no score and no verdict by itself" in page
    form = read_fields(page, "/models/calibrations")
    form |= {"model_id": model, "method": "platt", "prior": "0.25"}
    assert client.post("/models/calibrations", data=form).status_code == 200
    shown = client.post("/models/calibrations", data=form).text  # sent twice, it is fitted once
    with module_database.transaction(tenant_id=own.tenant_id) as session:
        (fit,) = list_fits(session)
        assert session.execute(standing.order_by(Standing.analysis_id)).all() == before
    cells = re.findall(r'<td class="number">([^<]*)</td>', shown)
    assert cells == [
        "160", "80", "0.25", f"{fit.ece_before:.3f}", f"{fit.ece_after:.3f}",
        f"{fit.ece_low:.3f} to {fit.ece_high:.3f}", f"{fit.slope:.4f}", f"{fit.intercept:.4f}",
    ]  # fmt: skip
    assert f"<bdi>Admin of {own.tenant}</bdi>" in shown
    assert "<td>Platt</td>" in shown


def test_videos_are_scored_again_by_keyboard_alone(
    page: Page, own: Scene, newer: str, module_database: Database
):
    enter_in_browser(page, own, UserRole.ADMIN, f"/models/{newer}")
    focus(page, "Score videos again by it …")
    page.keyboard.press("Enter")
    page.wait_for_url("**/models/rescore**")
    focus(page, "Score 1 video again")
    page.keyboard.press("Enter")
    page.wait_for_url("**done=started**")
    expect(page.locator(".notice")).to_contain_text("on their way to be scored again: 1.")
    focus(page, "See the batch")
    page.keyboard.press("Enter")
    page.wait_for_url("**/batches/bat_**")
    expect(page.locator("h1")).to_contain_text("rescore by lv-next<b>")
    assert len(list_jobs(module_database, own)) == 1
