"""No page reaches a row of another tenant: every route with an id, taken from the application itself."""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta

import pytest
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from api.pages.pages import ROUTERS
from engine.policy import Policy
from fakesieve.database import Database
from fakesieve.erasure.retention import set_class
from fakesieve.ids import IdPrefix, new_id
from fakesieve.jobs.sql.store import SqlJobStore
from fakesieve.jobs.states import Lane
from fakesieve.jobs.submit import NewBatch, NewJob, submit_batch
from fakesieve.key_changes import KeyDraft, create_tenant_key
from fakesieve.objects import VideoRef
from fakesieve.people.accounts import find_user
from fakesieve.people.saved_views import ViewDraft, save_view
from fakesieve.records.calibrations import CalibrationFit
from fakesieve.records.jobs import Job
from fakesieve.records.models import Model
from fakesieve.records.policies import create_policy
from fakesieve.records.saved_views import SavedView, ViewPage
from fakesieve.records.table import Base, TenantOwned
from fakesieve.records.uploads import UploadDraft, create_upload
from fakesieve.reviews.fill import fill_queue
from fakesieve.reviews.known import declare_known
from fakesieve.reviews.narrow import Narrowing, list_matches
from fakesieve.reviews.notes import NoteDraft, add_note
from fakesieve.reviews.queues import load_queue
from fakesieve.scopes import Scope
from fakesieve.values.people import UserRole
from fakesieve.values.reviews import KnownDraft, QueueRule, Truth
from fakesieve.values.webhooks import EndpointDraft
from fakesieve.webhooks.addresses import AddressRules
from fakesieve.webhooks.endpoints import create_endpoint, list_endpoints, remove_endpoint
from fakesieve.webhooks.log import send_test
from tests.api.pages.stage import BUCKET, Scene, enter, find_token

NOBODYS = {"/static/{digest}/{name}"}  # files of the pages
# Weights belong to the installation: every tenant sees them, and only what it uses them for is its own.
EVERYBODYS = re.compile(r"^/models/\{model\}")
FORM = {
    "disposition": "inconclusive", "reason": "other", "comment": "x", "statement": "x", "role": "viewer",
    "start_s": "0", "end_s": "1", "text": "x", "expected": "1", "active": "yes", "page": "queue",
    "url": "https://hooks.example.com/other", "confirm": "x", "name": "x",
}  # fmt: skip


def list_owned() -> Iterator[tuple[str, str]]:
    """Every route of the pages that names a row of a tenant."""
    for router in ROUTERS:
        for route in router.routes:
            assert isinstance(route, APIRoute)
            if "{" in route.path and route.path not in NOBODYS and not EVERYBODYS.match(route.path):
                yield from ((method, route.path) for method in sorted(route.methods))


OWNED = tuple(list_owned())


def make_rows(database: Database, scene: Scene, *, is_known: bool = False) -> Mapping[str, str]:
    """Make one row of each kind in a tenant, and return their ids by the names that routes have for them."""
    with database.transaction(tenant_id=scene.tenant_id) as session:
        admin = find_user(session, scene.tenant_id, scene.email(UserRole.ADMIN))
        rows = {"user_id": find_user(session, scene.tenant_id, scene.email(UserRole.VIEWER)) or ""}
        assert admin is not None
        for old in list_endpoints(session):  # a tenant has few
            remove_endpoint(session, old.id, admin)
        key = create_tenant_key(session, scene.tenant_id, KeyDraft("k", frozenset(Scope)), actor=admin)
        hook = create_endpoint(
            session,
            scene.tenant_id,
            admin,
            EndpointDraft("https://hooks.example.com/"),
            AddressRules.allow(()),
        ).endpoint
        rows |= {"key_id": key.id, "webhook_id": hook.id}
        rows["delivery_id"] = send_test(session, scene.tenant_id, hook.id)
        policy = create_policy(session, scene.tenant_id, Policy("own", 1, 0.4, 0.6), actor=admin)
        expire = datetime.now(UTC) + timedelta(hours=1)
        upload = create_upload(session, scene.tenant_id, UploadDraft(BUCKET, "video/mp4", 100, expire))
        save_view(session, scene.tenant_id, admin, ViewDraft(ViewPage.QUEUE, "v", {"state": "open"}))
        view_id = session.scalars(select(SavedView.id).where(SavedView.user_id == admin)).first()
        rows |= {"policy": policy.id, "upload_id": upload.id, "view_id": view_id or ""}
        rows["note_id"] = add_note(session, scene.analysis_id, admin, NoteDraft(0, 1, "x"))
        queue = load_queue(session, scene.queue_id)
        fill_queue(session, queue)
        items = list_matches(session, queue, Narrowing(QueueRule()), None, after=None, limit=1)
        rows["item"] = items[0].id if items else "rev_none"
        rows["class_name"] = f"kept-by-{scene.tenant}"
        set_class(session, scene.tenant_id, admin, rows["class_name"], 365 * 86_400)
        rows["fitted_by"] = add_fit(session, scene)
        if is_known:
            draft = KnownDraft(Truth.CONFIRMED_AUTHENTIC, "made here")
            declare_known(session, scene.tenant_id, scene.analysis_id, draft, actor=admin)
    job = NewJob(scene.tenant_id, VideoRef(BUCKET, "clips/waits.mp4", etag="e1", size_bytes=5), Lane.BULK)
    batch = submit_batch(SqlJobStore(database, scene.tenant_id), NewBatch(scene.tenant_id, "monday"), [job])
    with database.transaction(tenant_id=scene.tenant_id) as session:
        rows["job_id"] = session.scalars(select(Job.id).where(Job.batch_id == batch.batch_id)).one()
    named = {"analysis_id": scene.analysis_id, "queue_id": scene.queue_id, "batch_id": batch.batch_id}
    return {**rows, **named, "video_id": scene.video_id, "segment": "0"}


def add_fit(session: Session, scene: Scene) -> str:
    """Keep a calibration, and return by whom it was fitted."""
    who = f"usr_fits_for_{scene.tenant}"
    model = session.scalars(select(Model.id)).first()
    fit = CalibrationFit(
        id=new_id(IdPrefix.CALIBRATION), tenant_id=scene.tenant_id, model_id=model, method="platt", slope=1.0,
        intercept=0.0, prior=0.5, n=100, n_manipulated=50, ece_before=0.2, ece_after=0.1, ece_low=0.05,
        ece_high=0.15, created_by=who,
    )  # fmt: skip
    session.add(fit)
    return who


def fill(path: str, rows: Mapping[str, str]) -> str:
    """Return an address of a route. A route with a name that has no row here has to get one."""
    return re.sub(r"\{(\w+)\}", lambda found: rows[found[1]], path)


def send(client: TestClient, method: str, address: str, item: str):
    if method != "POST":
        return client.request(method, address, follow_redirects=False)
    token = find_token(client.get("/upload").text)  # a page that asks the database for little
    form = FORM | {"form_token": token, "item": item}
    if address.startswith("/batches/"):
        del form["reason"]  # there it is why jobs failed
    return client.post(address, data=form, follow_redirects=False)


@pytest.fixture(scope="module")
def theirs(module_database: Database, other_scene: Scene) -> Mapping[str, str]:
    """Rows of the other tenant."""
    return make_rows(module_database, other_scene, is_known=True)


def read_all(database: Database, tenant_id: str) -> Mapping[str, str]:
    """Return a digest of all that a tenant has, by table."""
    tables = [each for each in Base.__subclasses__() if issubclass(each, TenantOwned)]
    assert len(tables) > 20
    digest = (
        "SELECT md5(coalesce(string_agg(t::text, '' ORDER BY t::text), '')) FROM {} t WHERE tenant_id = :id"
    )
    with database.transaction(tenant_id=tenant_id) as session:
        return {
            table.__tablename__: session.execute(
                text(digest.format(table.__tablename__)), {"id": tenant_id}
            ).scalar_one()
            for table in tables
        }


@pytest.mark.parametrize(("method", "path"), OWNED)
def test_no_route_reaches_a_row_of_another_tenant(
    client: TestClient,
    scene: Scene,
    other_scene: Scene,
    theirs: Mapping[str, str],
    module_database: Database,
    method: str,
    path: str,
):
    before = read_all(module_database, other_scene.tenant_id)
    enter(client, scene, UserRole.ADMIN)
    answer = send(client, method, fill(path, theirs), theirs["item"])
    assert answer.status_code == 404
    assert other_scene.tenant_id not in answer.text
    assert "interview.mp4" not in answer.text
    assert read_all(module_database, other_scene.tenant_id) == before


@pytest.mark.parametrize(("method", "path"), OWNED)
def test_the_same_route_is_there_for_a_row_of_ones_own(
    client: TestClient, scene: Scene, module_database: Database, method: str, path: str
):
    """Else the test above would say nothing: an address that leads nowhere is 404 for everybody."""
    rows = make_rows(module_database, scene, is_known=path.startswith("/known/"))
    enter(client, scene, UserRole.ADMIN)
    assert send(client, method, fill(path, rows), rows["item"]).status_code != 404
    if method == "POST":
        for undoing in ("lift", "undelete"):  # the scene's video is there for the next route
            send(client, "POST", f"/videos/{scene.video_id}/{undoing}", "")


def test_lists_name_nothing_of_another_tenant(client: TestClient, scene: Scene, theirs: Mapping[str, str]):
    enter(client, scene, UserRole.ADMIN)
    lists = {route.path for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)}
    for path in sorted(lists - {path for path in lists if "{" in path}):
        shown = client.get(path)
        for name, value in theirs.items():
            assert name == "segment" or value not in shown.text, (path, name)
    started = client.get(f"/models/rescore?batch={theirs['batch_id']}")
    assert theirs["batch_id"] not in started.text
