import secrets

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from fakesieve.database import Database
from fakesieve.records.audit import list_audit
from fakesieve.records.users import AppUser
from fakesieve.values.people import UserRole
from tests.api.pages.stage import Scene, enter, find_token, make_scene


@pytest.fixture
def own(module_database: Database) -> Scene:
    return make_scene(module_database, f"tenant-{secrets.token_hex(4)}")


def find_id(database: Database, own: Scene, role: UserRole) -> str:
    with database.transaction(tenant_id=own.tenant_id) as session:
        return session.scalars(select(AppUser.id).where(AppUser.email == own.email(role))).one()


def give_role(client: TestClient, user_id: str, role: str):
    form = {"form_token": find_token(client.get("/people").text), "role": role}
    return client.post(f"/people/{user_id}/role", data=form)


def test_an_admin_gives_a_role_that_holds_at_once(client: TestClient, own: Scene, module_database: Database):
    viewer = find_id(module_database, own, UserRole.VIEWER)
    enter(client, own, UserRole.VIEWER)
    session_of_viewer = client.cookies["fakesieve"]
    assert client.get("/upload").status_code == 403
    enter(client, own, UserRole.ADMIN)
    assert "It holds from their next click on." in give_role(client, viewer, "reviewer").text
    client.cookies.clear()
    client.cookies.set("fakesieve", session_of_viewer)
    assert client.get("/upload").status_code == 200
    with module_database.transaction(tenant_id=own.tenant_id) as session:
        line = next(each for each in list_audit(session) if each.action == "user.role_changed")
        assert (line.subject, line.details) == (viewer, {"before": "viewer", "role": "reviewer"})
        assert line.actor == find_id(module_database, own, UserRole.ADMIN)


def test_only_admins_give_roles_and_nobody_to_themselves(
    client: TestClient, own: Scene, module_database: Database
):
    enter(client, own, UserRole.REVIEWER)
    token = {"form_token": find_token(client.get("/queue").text), "role": "admin"}
    own_id = find_id(module_database, own, UserRole.REVIEWER)
    assert client.get("/people").status_code == 403
    assert client.post(f"/people/{own_id}/role", data=token).status_code == 403
    enter(client, own, UserRole.ADMIN)
    assert give_role(client, find_id(module_database, own, UserRole.ADMIN), "viewer").status_code == 409
    assert give_role(client, own_id, "owner").status_code == 422


def test_people_of_another_organisation_are_not_there(
    client: TestClient, own: Scene, other_scene: Scene, module_database: Database
):
    enter(client, own, UserRole.ADMIN)
    assert other_scene.email(UserRole.VIEWER) not in client.get("/people").text
    stranger = find_id(module_database, other_scene, UserRole.VIEWER)
    assert give_role(client, stranger, "admin").status_code == 404
