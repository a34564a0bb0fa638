"""One of everything that has an id, of one tenant, for tests that ask for all operations."""

from collections.abc import Callable

from fakesieve.database import Database
from fakesieve.ids import IdPrefix, new_id
from fakesieve.records.calibrations import CalibrationFit
from tests.api.callers import Caller
from tests.api.results import store_results


def make_one_of_each(caller: Caller, database: Database, clip: Callable[[str], str]) -> dict[str, str]:
    """Return the ids of all that was made, by the name that the document gives the place of each."""
    found = store_results(database, caller.tenant_id)
    shown = {label: caller.get(f"/v1/analyses/{name}").json() for label, name in found.items()}
    queue = _make(caller, "/v1/review-queues", {"name": "all"})
    known = {"analysis_id": found["high"], "truth": "confirmed_manipulated", "note": "we made it"}
    assert caller.post("/v1/known-analyses", known).status_code == 201
    assert caller.send("PUT", "/v1/retention-classes/brief", {"keep_s": 100_000}).status_code == 200
    hook = _make(caller, "/v1/webhooks", {"url": "https://hooks.example/"})
    said = {"analysis_id": found["high"], "category": "false_negative"}
    # Before the export: of one that tells of an erased video nothing stays.
    erasure = _make(caller, f"/v1/videos/{shown['none']['video_id']}:erase")
    return {
        "analysis_id": found["high"],
        "ordinal": "0",
        "video_id": shown["high"]["video_id"],
        "model": shown["high"]["model"]["id"],
        "upload_id": _make(
            caller, "/v1/uploads", {"size_bytes": 100, "content_type": "video/mp4", "sha256": "0" * 64}
        ),
        "job_id": _make(caller, "/v1/jobs", {"uri": clip("isolation/a.mp4")}),
        "batch_id": _make(caller, "/v1/batches", {"name": "n", "items": [{"uri": clip("isolation/b.mp4")}]}),
        "queue_id": queue,
        "review_id": _make(caller, f"/v1/review-queues/{queue}:claim"),
        "webhook_id": hook,
        "delivery_id": _make(caller, f"/v1/webhooks/{hook}:test"),
        "policy": _make(caller, "/v1/policies", {"name": "mine", "low": 0.2, "high": 0.8}),
        "export_id": _make(caller, "/v1/exports", {"format": "csv"}),
        "erasure_id": erasure,
        "key_id": _make(caller, "/v1/keys", {"name": "another", "scopes": ["jobs:read"]}),
        "feedback_id": _make(caller, "/v1/feedback", said),
        "calibration_id": _store_calibration(caller, database, shown["high"]["model"]["id"]),
        "name": "brief",
    }


def _store_calibration(caller: Caller, database: Database, model_id: str) -> str:
    """Return the id of a fit, for which the API would ask for a hundred decisions."""
    fit = CalibrationFit(
        id=new_id(IdPrefix.CALIBRATION),
        tenant_id=caller.tenant_id,
        model_id=model_id,
        method="platt",
        slope=1.0,
        intercept=0.0,
        prior=0.5,
        n=160,
        n_manipulated=80,
        ece_before=0.2,
        ece_after=0.1,
        ece_low=0.05,
        ece_high=0.15,
        created_by=caller.key_id,
    )
    with database.transaction(tenant_id=caller.tenant_id) as session:
        session.add(fit)
        return fit.id


def _make(caller: Caller, path: str, body: object = None) -> str:
    answer = caller.post(path, body)
    assert answer.status_code < 300, answer.text
    found = answer.json()
    return str(found.get("review", found)["id"])
