"""How people call videos: by the place where they were first seen."""

from collections.abc import Mapping, Sequence

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session

from fakesieve.records.upload_names import call_place, name_uploads
from fakesieve.records.videos import Source, Video


def name_videos(session: Session, video_ids: Sequence[str]) -> Mapping[str, str]:
    """Return the file name of each video's first place; one that was seen nowhere is missing.

    What was uploaded is called as its uploader has called it.
    """
    rows = session.execute(
        select(Source.video_id, Source.bucket, Source.key)
        .where(Source.video_id.in_(video_ids))
        .ext(distinct_on(Source.video_id))
        .order_by(Source.video_id, Source.first_seen_time, Source.id)
    ).all()
    names = name_uploads(session, [(row.bucket, row.key) for row in rows])
    return {row.video_id: call_place((row.bucket, row.key), names) for row in rows}


def name_video(session: Session, video: Video) -> str:
    """Return the name that people know a video by: its file's, else its owner's own id, else ours."""
    return name_videos(session, [video.id]).get(video.id) or video.external_id or video.id
