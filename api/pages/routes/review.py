"""The review page: what was found in one video, and what a person says of it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import Query, Request, Response
from sqlalchemy.orm import Session

from api.dependencies import ServicesDep
from api.pages import review_words
from api.pages.headers import write_policy
from api.pages.items import Before, find_item
from api.pages.notices import DoneDep
from api.pages.people import Person, PersonDep
from api.pages.router import PageRouter, PageTransaction
from api.pages.templates import render
from api.problems import not_found
from api.services import Services
from api.video_links import find_origins, find_places
from engine.output import words
from engine.results import EvidenceReason, FaceRegion
from fakesieve.logging import get_logger
from fakesieve.people.accounts import load_preferences, name_people
from fakesieve.records.evidence import Evidence, describe_maps, load_evidence
from fakesieve.records.face_quality import measure_faces
from fakesieve.records.review_notes import ReviewNote
from fakesieve.records.video_names import name_video
from fakesieve.reviews.decide import SKIPS_MAX
from fakesieve.reviews.entries import list_entries
from fakesieve.reviews.notes import list_notes
from fakesieve.reviews.sightings import Sighting, keep_sighting, list_sightings

SEGMENT_US = 120_000_000
"""Boxes and maps are sent in pieces of so much video."""
ENTRIES_MAX = 50
MEASURED_MAX = 5000
"""Samples of faces that are measured before the page is sent; of more, what they were like is asked for."""
_DISPOSITIONS = tuple(
    (value.value, text, str(key)) for key, (value, text) in enumerate(review_words.DISPOSITIONS.items(), 1)
)
_REASONS = tuple((value.value, text) for value, text in review_words.REASONS.items())
_NOTICES = {
    "decided": "Your decision is stored.",
    "undone": "Your decision was taken back.",
    "claimed": "It is yours.",
    "revealed": "What you said is stored. Here is the score.",
    "asked": "Somebody else will be asked to look.",
    "appealed": "The appeal is stored. Somebody who did not decide will look.",
    "released": "You have given it back.",
    "reopened": "It is offered again, also to those who have skipped it.",
    "noted": "Your note is kept.",
    "unnoted": "The note was removed.",
}

_log = get_logger(__name__)
router = PageRouter()


@dataclass(frozen=True)
class Said:
    """What people said of an analysis and who has looked at it, with the names of who wrote notes."""

    entries: Sequence[review_words.EntryLine] = ()
    notes: Sequence[ReviewNote] = ()
    sightings: Sequence[tuple[str, Sighting]] = ()
    authors: Mapping[str, str] = field(default_factory=dict[str, str])


@router.get("/r/{analysis_id}")
def show_review(
    analysis_id: str,
    request: Request,
    person: PersonDep,
    session: PageTransaction,
    services: ServicesDep,
    done: DoneDep,
    quality: Annotated[bool, Query()] = False,  # noqa: FBT002 - of the address
) -> Response:
    """Show one analysis. ``t`` and ``track`` of the address are for the browser alone.

    What the samples of very many faces were like is told with ``quality`` only, and else by ``send_quality``.
    """
    evidence = load_evidence(session, analysis_id)
    if evidence is None:
        raise not_found("analysis", analysis_id)
    before = find_item(session, analysis_id, person)
    hidden = before.is_hidden
    # Of the whole video: the page shows no more than some of its faces, and all of them are measured.
    is_measured = quality or evidence.analysis.faces_detected <= MEASURED_MAX
    spans = review_words.list_spans(evidence.segments)
    said = _list_said(session, person, analysis_id, before)
    refs = find_places(session, services.settings.bucket, person.tenant_id, evidence.video.id)
    page = render(
        request,
        "review.html",
        policy=write_policy(media=find_origins(services, refs)),
        **_word_evidence(evidence),
        evidence=evidence,
        facts=json.dumps(write_facts(evidence, spans, before, said.notes)),
        name=name_video(session, evidence.video),
        hidden=hidden,
        spans=[] if hidden else spans,
        tracks=review_words.list_tracks(evidence.tracks, is_hidden=hidden),
        quality=say_quality(session, evidence) if is_measured and not hidden else None,
        map_note=review_words.say_maps(describe_maps(session, analysis_id)),
        said=said,
        preferences=load_preferences(session, person.id),
        duration_us=find_duration(evidence),
        before=before,
        may_undo=_may_undo(before, person),
        dispositions=_DISPOSITIONS,
        reasons=_REASONS,
        skips_max=SKIPS_MAX,
        notice=done.say(_NOTICES),
    )
    _keep_sighting(services, person, analysis_id, is_hidden=hidden)
    return page


def _word_evidence(evidence: Evidence) -> dict[str, Any]:
    """Return what the page says of an analysis, the same to whoever looks."""
    return {
        "headline": review_words.say_headline(evidence),
        "tone": review_words.TONES[evidence.judgement.verdict.value],
        "why": review_words.say_why(evidence),
        "warnings": review_words.list_warnings(evidence.analysis),
        "card": review_words.list_card(evidence.card),
        "missing": review_words.list_missing(evidence.card),
        "video_facts": review_words.list_video_facts(evidence.video, evidence.sources),
        "base_rates": review_words.make_base_rates(),
        "colours": review_words.TRACK_COLOURS,
    }


def write_facts(
    evidence: Evidence, spans: list[review_words.SpanLine], before: Before, notes: Sequence[ReviewNote]
) -> dict[str, object]:
    """Return what the modules of the page need to know, without a score where it is hidden."""
    video, policy = evidence.video, evidence.judgement.policy
    duration_us = find_duration(evidence)
    return {
        "analysis": evidence.analysis.id,
        "width": video.width,
        "height": video.height,
        "codec": f"{video.container or 'unknown container'}, {video.codec or 'unknown codec'}",
        "duration_us": duration_us,
        "segment_us": SEGMENT_US,
        "frame_us": find_frame(evidence),
        "low": policy.low,
        "high": policy.high,
        "hidden": before.is_hidden,
        "colours": review_words.TRACK_COLOURS,
        "reasons": [words.EVIDENCE[reason] for reason in EvidenceReason],
        "tracks": [
            {
                "ordinal": line.ordinal,
                "id": line.id,
                "start_us": line.start_us,
                "end_us": line.end_us,
                "score": None if before.is_hidden else words.format_score(line.score),
            }
            for line in review_words.list_tracks(evidence.tracks, is_hidden=before.is_hidden)
        ],
        "spans": []
        if before.is_hidden
        else [
            {
                "start_us": span.start_us,
                "end_us": span.end_us,
                "kind": span.kind.value,
                "track": span.track,
                "what": span.what,
            }
            for span in spans
        ],
        "regions": [] if before.is_hidden else [words.REGIONS[region] for region in FaceRegion],
        "notes": [
            {"start_us": note.start_us, "end_us": note.end_us, "track": note.ordinal, "text": note.text}
            for note in notes
        ],
    }


def find_duration(evidence: Evidence) -> int:
    """Return the length that the time line shows: that of the file, and no sample lies behind it."""
    last = max((track.end_us for track in evidence.tracks), default=0)
    return max(evidence.video.duration_us or 0, evidence.analysis.total_us, last)


def find_frame(evidence: Evidence) -> int | None:
    """Return about how long a frame of the video lasts; None where it is not known."""
    frames = evidence.analysis.frames_in_video
    return round(find_duration(evidence) / frames) if frames else None


def say_quality(session: Session, evidence: Evidence) -> Mapping[int, str]:
    """Return what the samples of each face were like, by its number."""
    found = measure_faces(session, evidence.analysis, evidence.video)
    return {each.ordinal: review_words.say_quality(found.get(each.ordinal)) for each in evidence.tracks}


def _may_undo(before: Before, person: Person) -> bool:
    return before.may_undo and before.item is not None and before.item.decided_by == person.id


def _keep_sighting(services: Services, person: Person, analysis_id: str, *, is_hidden: bool) -> None:
    """Write down who looks; where the audit log is busy the page is shown all the same (decision 0026)."""
    if not keep_sighting(services.database, person.tenant_id, analysis_id, person.id, is_hidden=is_hidden):
        services.metrics.lost_sightings.inc()
        _log.error("sighting.lost", analysis=analysis_id, person=person.id, is_hidden=is_hidden)


def _list_said(session: Session, person: Person, analysis_id: str, before: Before) -> Said:
    """Return what others said and did, of which whoever has yet to judge for themselves is told nothing."""
    if before.is_hidden:
        return Said()
    entries = list_entries(session, analysis_id=analysis_id, limit=ENTRIES_MAX)
    notes = list_notes(session, analysis_id)
    sightings = list_sightings(session, person.tenant_id, analysis_id)
    people = {entry.reviewer for entry in entries} | {note.author for note in notes}
    names = name_people(session, people | {each.user_id for each in sightings})
    return Said(
        [review_words.write_entry(entry, names) for entry in entries],
        notes,
        [(names.get(each.user_id, each.user_id), each) for each in sightings],
        names,
    )
