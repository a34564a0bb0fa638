"""Many decisions of people at once, as a calibration needs them."""

import random

from sqlalchemy import text

from fakesieve.database import Database

_DECIDED = text("""
WITH drawn AS (
    SELECT score, n || :mark AS name FROM unnest(cast(:scores AS float8[])) WITH ORDINALITY AS p(score, n)
), filmed AS (
    INSERT INTO video (id, tenant_id, content_sha256, size_bytes, media)
    SELECT 'vid_' || name, tenant_id, encode(sha256(name::bytea), 'hex'), size_bytes, media
    FROM video, drawn WHERE video.id = (SELECT video_id FROM analysis WHERE id = :like)
), copied AS (
    INSERT INTO analysis SELECT (jsonb_populate_record(analysis, jsonb_build_object(
        'id', 'ana_' || take || name, 'video_id', 'vid_' || name, 'pipeline_fingerprint', take || name,
        'score_raw', score, 'score_calibrated', NULL, 'score_low', NULL, 'score_high', NULL))).*
    FROM analysis, drawn, unnest(ARRAY['one', 'two']) AS take WHERE id = :like
    RETURNING id, tenant_id
)
INSERT INTO review_item (id, tenant_id, queue_id, analysis_id, state, rank, decision_id, disposition,
                         decided_by, decide_time)
SELECT 'rev_' || id, tenant_id, :queue, id, 'decided', 0, 'dec_1', :said, 'usr_a', now() FROM copied
""")


def decide_many(database: Database, tenant_id: str, like: str, queue: str, each: int = 80) -> None:
    """Decide so many videos of each kind, scored as an analysis was; each is scored and decided twice.

    The logits of both kinds are normal, of width 2 at 2 and -2.
    """
    draw = random.Random(5)
    for said, middle in (("confirmed_manipulated", 2.0), ("confirmed_authentic", -2.0)):
        scores = [1 / (1 + 2.718281828 ** -(draw.gauss(middle, 2.0))) for _ in range(each)]
        mark = f"{said[10:13]}{tenant_id}"
        values = {"scores": scores, "like": like, "queue": queue, "said": said, "mark": mark}
        with database.transaction(tenant_id=tenant_id) as session:
            session.execute(_DECIDED, values)
