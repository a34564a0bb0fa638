"""What an erasure has to clear, found before anything is removed and kept until all of it is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from sqlalchemy import ColumnElement, Select, and_, false, func, or_, select
from sqlalchemy.orm import Session

from fakesieve.objects import VideoRef
from fakesieve.places import Places, find_owner
from fakesieve.records.analysis_tables import Analysis
from fakesieve.records.jobs import Job, WorkerHost
from fakesieve.records.table import Id
from fakesieve.records.tenants import load_places
from fakesieve.records.uploads import Upload
from fakesieve.records.videos import Source, Video
from fakesieve.values.videos import SourceKind

HOST_SILENCE_S = 3_600.0
"""A worker process that was silent for so long is gone; the next one on its machine removes what it left."""


@dataclass(frozen=True)
class ErasurePlan:
    """Where a video lies. ``objects`` are to be removed, ``held`` may lie in worker hosts' scratch folders.

    ``n_kept`` counts the places in the caller's own buckets that are left as they are, ``n_held`` those which
    another tenant keeps for a legal hold. ``marks`` are what kept answers to requests may name beside the
    other ids: uploads, and the hash of the video. ``removed`` are the objects that tries have removed so far.
    """

    objects: tuple[VideoRef, ...]
    held: tuple[VideoRef, ...]
    job_ids: tuple[str, ...]
    analysis_ids: tuple[str, ...]
    n_kept: int
    marks: tuple[str, ...] = ()
    n_held: int = 0
    removed: tuple[VideoRef, ...] = field(default=(), compare=False)

    def to_json(self) -> dict[str, object]:
        """Return the form that the erasure's row holds until it is completed."""
        return {
            "objects": [_write_ref(ref) for ref in self.objects],
            "held": [_write_ref(ref) for ref in self.held],
            "job_ids": list(self.job_ids),
            "analysis_ids": list(self.analysis_ids),
            "n_kept": self.n_kept,
            "marks": list(self.marks),
            "n_held": self.n_held,
            "removed": [_write_ref(ref) for ref in self.removed],
        }

    @classmethod
    def from_json(cls, form: Mapping[str, object]) -> "ErasurePlan":
        """Read the form of ``to_json``."""
        return cls(
            _read_refs(form["objects"]),
            _read_refs(form["held"]),
            tuple(cast("list[str]", form["job_ids"])),
            tuple(cast("list[str]", form["analysis_ids"])),
            cast("int", form["n_kept"]),
            tuple(cast("list[str]", form.get("marks", []))),  # plans of an earlier release have none of these
            cast("int", form.get("n_held", 0)),
            _read_refs(form.get("removed", [])),
        )


def make_plan(session: Session, video: Video, bucket: str, *, with_sources: bool) -> ErasurePlan:
    """Find everything that hangs on a video, a job included that has not got as far as knowing it.

    What lies in the tenant's folders of the fleet's own ``bucket`` is ours to remove, however its job named
    it. Objects that lie in the caller's own buckets go only ``with_sources``, and only from places that the
    tenant may still name: others may have theirs there by now. What another tenant keeps for a legal hold
    stays.
    """
    places = Places.read(video.tenant_id, bucket, load_places(session, video.tenant_id))
    sources = session.scalars(select(Source).where(Source.video_id == video.id)).all()
    refs = [VideoRef(source.bucket, source.key, source.version_id, source.etag) for source in sources]
    own = [
        ref
        for source, ref in zip(sources, refs, strict=True)
        if source.kind is SourceKind.UPLOAD
        or (ref.bucket == bucket and find_owner(ref.key) == video.tenant_id)
    ]
    named = [ref for ref in refs if with_sources and ref not in own and places.may_read(ref)]
    held = [ref for ref in named if _is_held(session, video.tenant_id, ref)]
    ours = [ref for ref in refs if ref in own or (ref in named and ref not in held)]
    uploads = session.scalars(
        select(Upload).where(or_(Upload.sha256 == video.content_sha256, _lies_at(refs)))
    ).all()
    known = {(ref.bucket, ref.key) for ref in refs}
    strays = [
        VideoRef(upload.bucket, upload.key, upload.version_id, upload.etag)
        for upload in uploads
        if (upload.bucket, upload.key) not in known
    ]
    return ErasurePlan(
        objects=tuple(ours + strays),
        held=tuple(refs + strays),
        job_ids=tuple(session.scalars(_find_jobs(video, refs + strays))),
        analysis_ids=tuple(session.scalars(select(Analysis.id).where(Analysis.video_id == video.id))),
        n_kept=len(refs) - len(ours) - len(held),
        n_held=len(held),
        marks=(video.content_sha256, *(upload.id for upload in uploads)),
    )


def _is_held(session: Session, tenant_id: str, ref: VideoRef) -> bool:
    """Whether another tenant has the same object for a video under a legal hold."""
    return bool(session.scalar(select(func.is_held_by_another(tenant_id, ref.bucket, ref.key))))


def find_job_ids(session: Session, video_id: str, known: Sequence[str]) -> tuple[str, ...]:
    """Return the jobs of a plan with those that have come to name the video since it was made."""
    since = session.scalars(select(Job.id).where(Job.video_id == video_id))
    return tuple(dict.fromkeys((*known, *since)))


def find_hosts(session: Session) -> list[str]:
    """Return the worker processes that may hold a copy of any video."""
    heard = func.now() - func.make_interval(0, 0, 0, 0, 0, 0, HOST_SILENCE_S)
    return list(session.scalars(select(WorkerHost.owner).where(WorkerHost.beat_time >= heard)))


def _lies_at(refs: list[VideoRef]) -> ColumnElement[bool]:
    return or_(false(), *[and_(Upload.bucket == ref.bucket, Upload.key == ref.key) for ref in refs])


def _find_jobs(video: Video, refs: list[VideoRef]) -> Select[Id]:
    unknown = [
        and_(
            Job.video_id.is_(None),
            Job.source_bucket == ref.bucket,
            Job.source_key == ref.key,
            or_(Job.source_etag.is_(None), Job.source_etag == ref.etag),
        )
        for ref in refs
    ]
    return select(Job.id).where(Job.tenant_id == video.tenant_id, or_(Job.video_id == video.id, *unknown))


def _write_ref(ref: VideoRef) -> dict[str, str | None]:
    return {"bucket": ref.bucket, "key": ref.key, "version_id": ref.version_id, "etag": ref.etag}


def _read_refs(forms: object) -> tuple[VideoRef, ...]:
    return tuple(_read_ref(form) for form in cast("list[dict[str, str | None]]", forms))


def _read_ref(form: dict[str, str | None]) -> VideoRef:
    bucket, key = form["bucket"], form["key"]
    assert bucket is not None
    assert key is not None
    return VideoRef(bucket, key, form["version_id"], form["etag"])
