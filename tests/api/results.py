"""Results for tests of the API: a tenant with a few stored analyses."""

from sqlalchemy.orm import Session

from engine.results import VideoScore
from fakesieve.database import Database
from fakesieve.records.analyses import store_analysis
from fakesieve.records.models import ModelFacts
from fakesieve.records.videos import upsert_video
from tests.factories import MEDIA, MODEL, hash_text, make_empty_score, make_record, make_score, make_track

SCORES: dict[str, VideoScore] = {
    "high": make_score(0.98, tracks=(make_track(0, (0.98, 0.98, 0.98)),)),
    "middle": make_score(0.9, tracks=(make_track(0, (0.9, 0.95, None)), make_track(1, (0.2, 0.3)))),
    "none": make_empty_score(),
}


def store_result(
    session: Session,
    tenant_id: str,
    label: str,
    score: VideoScore,
    *,
    model: ModelFacts = MODEL,
    external_id: str | None = None,
) -> str:
    """Return the id of an analysis that is stored under a label."""
    video_id = upsert_video(
        session,
        tenant_id=tenant_id,
        sha256=hash_text(label),
        size_bytes=10,
        media=MEDIA,
        external_id=external_id or label,
    )
    record = make_record(
        tenant_id, video_id, score=score, model=model, fingerprint=f"pipeline of {model.weights_sha256[:4]}"
    )
    return store_analysis(session, record)[0]


def store_results(database: Database, tenant_id: str) -> dict[str, str]:
    """Store three analyses, oldest first, and return their ids by label."""
    ids: dict[str, str] = {}
    for label, score in SCORES.items():
        with database.transaction(tenant_id=tenant_id) as session:
            ids[label] = store_result(session, tenant_id, label, score)
    return ids
