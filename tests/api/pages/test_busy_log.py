"""Pages and acts of others while somebody's transaction holds the audit log of a tenant."""

import secrets

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import text

from fakesieve.database import Database
from fakesieve.records.audit import gather_audit, list_audit, record_audit
from fakesieve.reviews.sightings import list_sightings
from fakesieve.values.people import UserRole
from tests.api.pages.stage import Scene, enter, make_scene

_HOLD = text("SELECT pg_advisory_xact_lock(hashtextextended('audit_log ' || :tenant, 0))")


@pytest.fixture
def own(module_database: Database) -> Scene:
    return make_scene(module_database, f"tenant-{secrets.token_hex(4)}")


def count_lost(app: FastAPI) -> float:
    registry = app.state.services.metrics.registry
    return registry.get_sample_value("fakesieve_api_lost_sightings_total")


def test_a_review_page_is_shown_while_the_log_is_held(
    client: TestClient, app: FastAPI, own: Scene, module_database: Database
):
    enter(client, own, UserRole.REVIEWER)
    before = count_lost(app)
    with module_database.transaction(tenant_id=own.tenant_id) as session:
        session.execute(_HOLD, {"tenant": own.tenant_id})
        assert client.get(f"/r/{own.analysis_id}").status_code == 200
        assert list_sightings(session, own.tenant_id, own.analysis_id) == []
    assert count_lost(app) == before + 1
    assert client.get(f"/r/{own.analysis_id}").status_code == 200
    with module_database.transaction(tenant_id=own.tenant_id) as session:
        assert len(list_sightings(session, own.tenant_id, own.analysis_id)) == 1


def test_many_acts_hold_the_log_at_their_end_alone(own: Scene, module_database: Database):
    def write(session, number: int) -> None:
        values = {"tenant_id": own.tenant_id, "actor": "usr_a", "action": "review.decided"}
        record_audit(session, **values, subject=f"rev_{number}")

    with module_database.transaction(tenant_id=own.tenant_id) as many, gather_audit(many):
        write(many, 1)
        with module_database.transaction(tenant_id=own.tenant_id) as other:  # waits for nobody
            write(other, 2)
        write(many, 3)
    with module_database.transaction(tenant_id=own.tenant_id) as session:
        assert [line.subject for line in list_audit(session)][:3] == ["rev_3", "rev_1", "rev_2"]
