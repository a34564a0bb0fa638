"""Videos that grow old and classes that keep them, for tests of pages; forms as their pages send them."""

import re

from fastapi.testclient import TestClient
from sqlalchemy import text

from fakesieve.database import Database
from fakesieve.erasure.retention import find_due, list_classes
from tests.api.pages.stage import Scene, find_token


def post(client: TestClient, own: Scene, act: str, **fields: str):
    token = find_token(client.get("/queue").text)
    return client.post(f"/videos/{own.video_id}/{act}", data={"form_token": token} | fields)


def make_older(database: Database, own: Scene, days: int, minutes: int = 0) -> None:
    """Have the scene's video be there for so long."""
    with database.transaction(tenant_id=None) as session:
        older = text(
            "UPDATE video SET create_time = now() - make_interval(days => :days, mins => :minutes)"
            " WHERE id = :id"
        )
        session.execute(older, {"days": days, "minutes": minutes, "id": own.video_id})


def read_classes(database: Database, own: Scene) -> dict[str, int]:
    with database.transaction(tenant_id=own.tenant_id) as session:
        return {each.name: each.keep_s for each in list_classes(session)}


def is_due(database: Database, own: Scene) -> bool:
    """Whether the next sweep of the reconciler would erase the scene's video."""
    with database.transaction(tenant_id=None) as session:
        return own.video_id in {each.video_id for each in find_due(session, 1000)}


def read_fields(page: str) -> dict[str, str]:
    """Return what the form of a page that asks sends, its token included."""
    return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page))


def ask_class(client: TestClient, name: str, days: int) -> dict[str, str]:
    """Return the form of the page that says what a class erases."""
    asked = client.get("/videos/retention/set", params={"name": name, "keep": str(days), "unit": "days"})
    return read_fields(asked.text)


def send_class(client: TestClient, form: dict[str, str], **changed: str):
    return client.post("/videos/retention/set", data=form | changed)


def set_class(client: TestClient, name: str, days: int):
    return send_class(client, ask_class(client, name, days))
