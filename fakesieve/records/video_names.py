"""How people call videos: by the place where they were first seen."""

from collections.abc import Mapping, Sequence

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session

from fakesieve.records.videos import Source


def name_videos(session: Session, video_ids: Sequence[str]) -> Mapping[str, str]:
    """Return the file name of each video's first place; one that was seen nowhere is missing."""
    rows = session.execute(
        select(Source.video_id, Source.key)
        .where(Source.video_id.in_(video_ids))
        .ext(distinct_on(Source.video_id))
        .order_by(Source.video_id, Source.first_seen_time, Source.id)
    )
    return {row.video_id: row.key.rpartition("/")[2] or row.key for row in rows}
