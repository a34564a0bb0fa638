"""Policies over HTTP: kept in versions, tried over history, applied without a score made again."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from sqlalchemy import select

from engine.policy import PRESETS, Policy
from fakesieve.database import Database
from fakesieve.jobs.rows import HostBeat, HostModel
from fakesieve.jobs.sql.store import SqlJobStore
from fakesieve.records.analysis_tables import Analysis
from fakesieve.records.audit import AuditSearch, list_audit
from fakesieve.records.models import ModelFacts, ensure_model
from fakesieve.records.policies import activate_policy
from fakesieve.records.webhooks import Event
from tests.api.callers import Caller, make_caller, reason_of
from tests.api.results import store_result, store_results
from tests.factories import MODEL, make_score

Ids = dict[str, str]
COMPACT = Policy("lv-compact", 1, low=0.4, high=0.47, min_peak_frames=1)
LOOSE = {"name": "mine", "low": 0.2, "high": 0.45, "min_peak_frames": 1}


@pytest.fixture
def ids(module_database: Database, acme: Caller) -> Ids:
    """Analyses of the caller by label: calibrated scores 0.49 and 0.45, and one without."""
    return store_results(module_database, acme.tenant_id)


def say_brings(database: Database, model: ModelFacts, policy: Policy) -> None:
    """Have a host come that says which policy its model brings, and go again."""
    store, beat = SqlJobStore(database, None), HostModel(model, "pipeline", policy=policy)
    store.run(lambda tx: tx.beat_host(HostBeat("hst_brings", 1, model=beat)))
    store.run(lambda tx: tx.remove_host("hst_brings"))


@pytest.fixture
def model_id(module_database: Database) -> Iterator[str]:
    """A model whose hosts say that it brings ``COMPACT``; behind the test they say ``balanced``."""
    say_brings(module_database, MODEL, COMPACT)
    with module_database.transaction(tenant_id=None) as session:
        model_id = ensure_model(session, MODEL)
    yield model_id
    say_brings(module_database, MODEL, PRESETS["balanced"])


def test_a_label_that_two_rules_bear_finds_neither_and_each_is_found_by_its_id(
    acme: Caller, module_database: Database
) -> None:
    made = acme.post("/v1/policies", {"name": "late", "low": 0.11, "high": 0.12}).json()
    model = replace(MODEL, name="late", weights_sha256="1a" * 32)
    say_brings(module_database, model, Policy("late", 1, low=0.7, high=0.8))
    listed = [each for each in acme.get("/v1/policies").json()["data"] if each["name"] == "late"]
    for label in ("late", "late@1"):
        for answer in (acme.get(f"/v1/policies/{label}"), acme.post(f"/v1/policies/{label}:apply", {})):
            assert reason_of(answer) == (409, "STATE_CONFLICT")
            assert all(each["id"] in answer.json()["hint"] for each in listed)
    assert {acme.get(f"/v1/policies/{each['id']}").json()["low"] for each in listed} == {0.11, 0.7}
    assert made["id"] in {each["id"] for each in listed}
    say_brings(module_database, model, PRESETS["balanced"])


def test_the_same_name_is_the_next_version(acme: Caller, other: Caller) -> None:
    made = acme.post("/v1/policies", LOOSE)
    assert (made.status_code, made.json()["version"], made.json()["is_active"]) == (201, 1, False)
    assert made.headers["Location"] == f"/v1/policies/{made.json()['id']}"
    second = acme.post("/v1/policies", {**LOOSE, "high": 0.5, "note": "after the review of May"}).json()
    assert (second["version"], second["note"]) == (2, "after the review of May")
    assert acme.get("/v1/policies/mine").json()["id"] == second["id"]
    assert acme.get("/v1/policies/mine@1").json()["high"] == 0.45
    names = [(each["name"], each["version"]) for each in acme.get("/v1/policies").json()["data"]]
    assert names == [("balanced", 1), ("sensitive", 1), ("strict", 1), ("mine", 2), ("mine", 1)]
    assert acme.get("/v1/policies/strict").json()["id"] is None
    for name in (second["id"], "mine", "mine@1"):  # A06
        assert reason_of(other.get(f"/v1/policies/{name}")) == (404, "NOT_FOUND")
        assert reason_of(other.post(f"/v1/policies/{name}:preview")) == (404, "NOT_FOUND")
        assert reason_of(other.post(f"/v1/policies/{name}:apply")) == (404, "NOT_FOUND")
    assert other.post("/v1/policies", LOOSE).json()["version"] == 1


@pytest.mark.parametrize(
    "change",
    [
        {"low": 0.5},
        {"low": 0},
        {"high": 1.5},
        {"high": "0.5x"},
        {"min_coverage": -1},
        {"min_peak_frames": 1.5},
        {"name": ""},
        {"name": "../x"},
        {"name": "balanced"},
        {"tenant_id": "ten_other"},  # A09
        {"version": 9},
    ],
)
def test_what_is_no_policy_is_refused(acme: Caller, change: dict[str, object]) -> None:
    assert reason_of(acme.post("/v1/policies", LOOSE | change)) == (422, "INVALID_REQUEST")


def test_a_preview_changes_nothing_and_applying_does_what_it_said(
    module_database: Database, acme: Caller, other: Caller, ids: Ids
) -> None:
    acme.post("/v1/policies", LOOSE)
    told_at = {"url": "https://hooks.example.com/x", "event_types": ["analysis.verdict_changed"]}
    assert acme.post("/v1/webhooks", told_at).status_code == 201
    theirs = store_results(module_database, other.tenant_id)
    preview = acme.post("/v1/policies/mine:preview", {"review_minutes": 6}).json()
    assert (preview["policy"], preview["analyses"], preview["moved_count"]) == ("mine@1", 3, 2)
    assert [each["analysis_id"] for each in preview["moved"]] == [ids["high"], ids["middle"]]
    assert {each["after"] for each in preview["moved"]} == {"likely_manipulated"}
    assert preview["review"]["hours_after"] == pytest.approx(0.2)
    assert sum(preview["histogram"]) == 2
    tried = acme.post(
        "/v1/policies:preview", {**LOOSE, "high": 0.47, "filter": "verdict:*"} | {"moved_max": 0}
    )
    assert reason_of(tried) == (422, "INVALID_REQUEST")  # rules that are not kept have no name
    nameless = {name: value for name, value in LOOSE.items() if name != "name"}
    tried = acme.post(
        "/v1/policies:preview", {**nameless, "high": 0.47, "filter": "verdict:*", "moved_max": 0}
    )
    assert (tried.json()["analyses"], tried.json()["moved_count"], tried.json()["moved"]) == (2, 1, [])
    assert acme.get(f"/v1/analyses/{ids['high']}").json()["verdict"]["policy"] == "balanced@1"

    applied = acme.post("/v1/policies/mine:apply", {}).json()
    assert (applied["judged"], applied["moved"], applied["is_active"]) == (3, 2, True)
    shown = acme.get(f"/v1/analyses/{ids['high']}").json()
    assert (shown["verdict"]["value"], shown["verdict"]["policy"]) == ("likely_manipulated", "mine@1")
    assert shown["score"]["calibrated"] == 0.49
    again = acme.post("/v1/policies/mine:apply").json()
    assert (again["judged"], again["moved"]) == (3, 0)
    assert acme.get("/v1/policies/mine").json()["is_active"] is True
    assert other.get(f"/v1/analyses/{theirs['high']}").json()["verdict"]["policy"] == "balanced@1"
    with module_database.transaction(tenant_id=acme.tenant_id) as session:
        told = session.scalars(select(Event.data)).all()
        acts = [
            (line.action, line.details.get("moved")) for line in list_audit(session, AuditSearch("mine@1"))
        ]
        new = store_result(session, acme.tenant_id, "new", make_score())
    assert acts == [
        *(("policy.applied", 0), ("policy.apply_begun", None)),
        *(("policy.applied", 2), ("policy.apply_begun", None)),
        ("policy.created", None),
    ]
    assert {each["analysis_id"] for each in told} == {ids["high"], ids["middle"]}
    assert acme.get(f"/v1/analyses/{new}").json()["verdict"]["policy"] == "mine@1"


def test_a_part_of_history_is_judged_and_new_analyses_are_not(
    module_database: Database, acme: Caller, ids: Ids
) -> None:
    asked = {"filter": f'id = "{ids["middle"]}"', "activate": False}
    assert acme.post("/v1/policies/strict:apply", asked).json()["judged"] == 1
    policies = [each["verdict"]["policy"] for each in acme.get("/v1/analyses").json()["data"]]
    assert policies == ["balanced@1", "strict@1", "balanced@1"]
    with module_database.transaction(tenant_id=acme.tenant_id) as session:
        assert len(session.scalars(select(Analysis.id)).all()) == 3
        new = store_result(session, acme.tenant_id, "new", make_score())
    assert acme.get(f"/v1/analyses/{new}").json()["verdict"]["policy"] == "balanced@1"


def test_a15_the_filter_of_a_change_is_checked(acme: Caller, ids: Ids) -> None:
    for path in ("/v1/policies/strict:preview", "/v1/policies/strict:apply"):
        answer = acme.post(path, {"filter": "1=1; DROP TABLE verdict"})
        assert reason_of(answer) == (422, "INVALID_FILTER")
    assert acme.get("/v1/policies/strict").json()["is_active"] is False


def test_a05_reading_is_not_writing(module_database: Database, acme: Caller) -> None:
    reader = make_caller(
        acme.client, module_database, tenant_id=acme.tenant_id, scopes=frozenset({"results:read"})
    )
    assert reader.post("/v1/policies/strict:preview").status_code == 200
    assert reason_of(reader.post("/v1/policies/strict:apply")) == (403, "MISSING_SCOPE")
    assert reason_of(reader.post("/v1/policies", LOOSE)) == (403, "MISSING_SCOPE")


def test_a_policy_is_shown_while_another_one_is_taken_up(
    module_database: Database, acme: Caller, ids: Ids
) -> None:
    with module_database.transaction(tenant_id=acme.tenant_id) as session:
        activate_policy(session, acme.tenant_id, PRESETS["strict"], actor="k")
        assert acme.get("/v1/policies/strict").json()["is_active"] is False
        assert acme.post("/v1/policies/strict:preview").json()["analyses"] == len(ids)
    assert acme.get("/v1/policies/strict").json()["is_active"] is True


def test_the_policy_of_a_model_is_shown_tried_and_applied_like_a_preset(
    module_database: Database, acme: Caller, model_id: str
) -> None:
    ids = store_results(module_database, acme.tenant_id)
    listed = acme.get("/v1/policies").json()["data"]
    (own,) = [each for each in listed if model_id in each["model_ids"]]
    assert (own["name"], own["version"], own["low"], own["high"]) == ("lv-compact", 1, 0.4, 0.47)
    assert (own["is_active"], own["is_preset"], own["create_time"], own["note"]) == (True, False, None, None)
    for name in ("lv-compact", "lv-compact@1", own["id"]):
        assert acme.get(f"/v1/policies/{name}").json() == own
    foreseen = acme.post("/v1/policies/lv-compact@1:preview").json()
    assert (foreseen["policy"], foreseen["analyses"], foreseen["moved_count"]) == ("lv-compact@1", 3, 1)
    applied = acme.post("/v1/policies/lv-compact@1:apply").json()
    assert applied == {
        "object": "policy_applied", "policy": "lv-compact@1", "is_active": True, "judged": 3, "moved": 1,
        "kept": 0,
    }  # fmt: skip
    shown = acme.get(f"/v1/analyses/{ids['high']}").json()["verdict"]
    assert (shown["value"], shown["policy"]) == ("likely_manipulated", "lv-compact@1")
    acme.post("/v1/policies/strict:apply")
    assert acme.get("/v1/policies/lv-compact").json()["is_active"] is False


def test_a_tenant_goes_back_to_the_policies_of_its_models(
    module_database: Database, acme: Caller, other: Caller, model_id: str
) -> None:
    ids = store_results(module_database, acme.tenant_id)
    acme.post("/v1/policies/strict:apply")
    foreseen = acme.post("/v1/policies/-:preview", {"moved_max": 10}).json()
    assert (foreseen["policy"], foreseen["analyses"], foreseen["moved_count"]) == ("-", 3, 1)
    back = acme.post("/v1/policies/-:apply").json()
    assert (back["policy"], back["is_active"], back["judged"], back["moved"]) == ("-", True, 3, 1)
    verdicts = {each["id"]: each["verdict"] for each in acme.get("/v1/analyses").json()["data"]}
    assert {each["policy"] for each in verdicts.values()} == {"lv-compact@1"}
    assert verdicts[ids["high"]]["value"] == "likely_manipulated"
    assert verdicts[ids["middle"]]["value"] == "inconclusive"
    active = [each["model_ids"] for each in acme.get("/v1/policies").json()["data"] if each["is_active"]]
    assert [model_id] in active
    with module_database.transaction(tenant_id=acme.tenant_id) as session:
        entries = [
            (line.action, line.details.get("policies")) for line in list_audit(session, AuditSearch("-"))
        ]
        new = store_result(session, acme.tenant_id, "new", make_score())  # its host brings ``balanced``
    assert [action for action, _ in entries] == ["policy.applied", "policy.apply_begun"]
    assert "lv-compact@1" in str(entries[0][1])
    assert acme.get(f"/v1/analyses/{new}").json()["verdict"]["policy"] == "balanced@1"
    assert reason_of(acme.get("/v1/policies/-")) == (404, "NOT_FOUND")
    assert acme.get("/v1/analyses?filter=policy%20%3D%20lv-compact").json()["data"]
    reader = make_caller(
        acme.client, module_database, tenant_id=acme.tenant_id, scopes=frozenset({"results:read"})
    )
    assert reason_of(reader.post("/v1/policies/-:apply")) == (403, "MISSING_SCOPE")
    assert other.post("/v1/policies/-:apply").json()["judged"] == 0


def test_what_a_model_of_unknown_policy_has_scored_is_said_to_stay(
    module_database: Database, acme: Caller, model_id: str
) -> None:
    store_results(module_database, acme.tenant_id)
    silent = replace(MODEL, name="silent", weights_sha256="2b" * 32)
    with module_database.transaction(tenant_id=acme.tenant_id) as session:
        left = store_result(session, acme.tenant_id, "left", make_score(), model=silent)
        silent_id = ensure_model(session, silent)
    acme.post("/v1/policies/strict:apply")
    foreseen = acme.post("/v1/policies/-:preview").json()
    assert (foreseen["analyses"], foreseen["kept"], foreseen["kept_model_ids"]) == (4, 1, [silent_id])
    part = acme.post("/v1/policies/-:preview", {"filter": "model != silent"}).json()
    assert (part["analyses"], part["kept"], part["kept_model_ids"]) == (3, 0, [])
    done = acme.post("/v1/policies/-:apply").json()
    assert (done["judged"], done["moved"], done["kept"]) == (3, foreseen["moved_count"], 1)
    assert acme.get(f"/v1/analyses/{left}").json()["verdict"]["policy"] == "strict@1"
    brought = [
        each["name"] for each in acme.get("/v1/policies").json()["data"] if silent_id in each["model_ids"]
    ]
    assert brought == []
    video_id = acme.get(f"/v1/analyses/{left}").json()["video_id"]
    assert acme.send("DELETE", f"/v1/videos/{video_id}").is_success
    after = acme.post("/v1/policies/-:preview").json()
    assert (after["analyses"], after["kept"], after["kept_model_ids"]) == (3, 0, [])


def test_the_name_of_a_model_is_no_name_for_a_policy(acme: Caller, model_id: str) -> None:
    refused = acme.post("/v1/policies", {"name": "lv-compact", "low": 0.5223, "high": 0.9312})
    assert reason_of(refused) == (422, "INVALID_REQUEST")
    assert "is a model" in refused.json()["detail"]
