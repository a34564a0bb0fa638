"""Reviews: queues, items that people claim and decide, and the list of what was said.

The reviewer is whoever the key belongs to.
"""

import csv
import io
from collections.abc import Iterator
from functools import partial
from typing import Annotated

from fastapi import Query, Request, Response
from starlette.responses import StreamingResponse

from api.dependencies import CallerDep, ServicesDep, Transaction, prove_key, require_scope
from api.files import send_file
from api.pagination import Page, PageQuery
from api.problems import describe_responses
from api.router import ApiRouter
from api.schemas.reviews import (
    AppealBody,
    ClaimOut,
    DecisionBody,
    EntryOut,
    ExportFormat,
    NewQueueBody,
    QueueOut,
    RevealBody,
    ReviewOut,
    SecondOpinionBody,
    SkipBody,
)
from api.writing import read_before
from api.writing_reviews import write_entry, write_queue, write_review
from fakesieve.reasons import Reason
from fakesieve.records.reviews import ReviewQueue
from fakesieve.reviews.again import appeal_decision, ask_second_opinion
from fakesieve.reviews.claim import claim_item, claim_next, release_item
from fakesieve.reviews.decide import decide_item, reopen_item, reveal_score, skip_item, undo_decision
from fakesieve.reviews.entries import list_entries, page_entries
from fakesieve.reviews.items import ItemFilter, list_items, view_item
from fakesieve.reviews.queues import change_queue, count_items, create_queue, list_queues, load_queue
from fakesieve.scopes import Scope
from fakesieve.values.reviews import Disposition, EntryKind, ReviewKind, ReviewState

router = ApiRouter(tags=["reviews"])
_WRITE, _READ = [require_scope(Scope.REVIEW_WRITE)], [require_scope(Scope.REVIEW_READ)]
# Who reviews makes no queues: one of their own would let them decide again what was decided against them.
_ADMIN = [require_scope(Scope.REVIEW_ADMIN)]
_CHANGED = describe_responses(Reason.STATE_CONFLICT, Reason.UNSUPPORTED_MEDIA_TYPE)
IdQuery = Annotated[str | None, Query(max_length=100)]


@router.post("/v1/review-queues", status_code=201, dependencies=_ADMIN, responses=_CHANGED)
def create_review_queue(
    body: NewQueueBody, response: Response, caller: CallerDep, session: Transaction
) -> QueueOut:
    """Make a queue: a filter over analyses whose matches people look at."""
    queue = create_queue(session, caller.tenant_id, body.read(), actor=caller.key_id)
    response.headers["Location"] = f"/v1/review-queues/{queue.id}"
    return write_queue(queue, {})


@router.get("/v1/review-queues", dependencies=_READ)
def list_review_queues(caller: CallerDep, session: Transaction, page: PageQuery) -> Page[QueueOut]:
    """List queues, oldest first, with what waits in them."""
    query = page.bind(caller, "review-queues")
    queues = list_queues(session, after=read_before(query.position), limit=page.limit)
    counts = count_items(session, [queue.id for queue in queues])
    return query.make(
        Page[QueueOut],
        queues,
        lambda queue: write_queue(queue, counts[queue.id]),
        lambda queue: (queue.create_time.isoformat(), queue.id),
    )


@router.get("/v1/review-queues/{queue_id}", dependencies=_READ)
def show_review_queue(queue_id: str, session: Transaction) -> QueueOut:
    """Show a queue."""
    return _write(session, load_queue(session, queue_id))


@router.post("/v1/review-queues/{queue_id}:open", dependencies=_ADMIN, responses=_CHANGED)
def open_review_queue(queue_id: str, caller: CallerDep, session: Transaction) -> QueueOut:
    """Let a queue give out items again."""
    return _write(session, change_queue(session, queue_id, is_active=True, actor=caller.key_id))


@router.post("/v1/review-queues/{queue_id}:close", dependencies=_ADMIN, responses=_CHANGED)
def close_review_queue(queue_id: str, caller: CallerDep, session: Transaction) -> QueueOut:
    """Give out nothing more from a queue."""
    return _write(session, change_queue(session, queue_id, is_active=False, actor=caller.key_id))


@router.post("/v1/review-queues/{queue_id}:claim", dependencies=_WRITE, responses=_CHANGED)
def claim_from_queue(queue_id: str, caller: CallerDep, session: Transaction) -> ClaimOut:
    """Get the next item of a queue, for as long as its lease lasts; nobody else gets it meanwhile."""
    found = claim_next(session, queue_id, caller.key_id)
    return ClaimOut(review=None if found is None else write_review(view_item(session, found)))


@router.get("/v1/reviews", dependencies=_READ)
def list_reviews(
    caller: CallerDep,
    session: Transaction,
    page: PageQuery,
    queue_id: IdQuery = None,
    state: ReviewState | None = None,
    kind: ReviewKind | None = None,
    disposition: Disposition | None = None,
    analysis_id: IdQuery = None,
) -> Page[ReviewOut]:
    """List items, newest first.

    Of a queue with a `known_share`, keys without `review:admin` see no open item that waits for a first look.
    """
    asked = {
        "queue_id": queue_id,
        "state": state,
        "kind": kind,
        "disposition": disposition,
        "analysis_id": analysis_id,
    }
    query = page.bind(caller, "reviews", asked)
    only = ItemFilter(queue_id, state, kind, disposition, analysis_id)
    views = list_items(session, only, before=read_before(query.position), limit=page.limit)
    return query.make(
        Page[ReviewOut], views, write_review, lambda view: (view.create_time.isoformat(), view.id)
    )


@router.get("/v1/reviews/{review_id}", dependencies=_READ)
def show_review(review_id: str, session: Transaction) -> ReviewOut:
    """Show an item."""
    return write_review(view_item(session, review_id))


@router.post("/v1/reviews/{review_id}:claim", dependencies=_WRITE, responses=_CHANGED)
def claim_review(review_id: str, caller: CallerDep, session: Transaction) -> ReviewOut:
    """Claim this item, or lengthen the lease of one that is held already."""
    claim_item(session, review_id, caller.key_id)
    return write_review(view_item(session, review_id))


@router.post("/v1/reviews/{review_id}:release", dependencies=_WRITE, responses=_CHANGED)
def release_review(review_id: str, caller: CallerDep, session: Transaction) -> ReviewOut:
    """Give an item back."""
    release_item(session, review_id, caller.key_id)
    return write_review(view_item(session, review_id))


@router.post("/v1/reviews/{review_id}:reveal", dependencies=_WRITE, responses=_CHANGED)
def reveal_review(review_id: str, body: RevealBody, caller: CallerDep, session: Transaction) -> ReviewOut:
    """Commit to a first word about a blind item, and see its score."""
    reveal_score(session, review_id, caller.key_id, body.disposition)
    return write_review(view_item(session, review_id))


@router.post("/v1/reviews/{review_id}:decide", dependencies=_WRITE, responses=_CHANGED)
def decide_review(review_id: str, body: DecisionBody, caller: CallerDep, session: Transaction) -> ReviewOut:
    """Decide an item that is held. It is announced after ten seconds, within which it can be taken back."""
    decide_item(session, review_id, caller.key_id, body.read())
    return write_review(view_item(session, review_id))


@router.post("/v1/reviews/{review_id}:undo", dependencies=_WRITE, responses=_CHANGED)
def undo_review(review_id: str, caller: CallerDep, session: Transaction) -> ReviewOut:
    """Take one's own decision back, within ten seconds."""
    undo_decision(session, review_id, caller.key_id)
    return write_review(view_item(session, review_id))


@router.post("/v1/reviews/{review_id}:skip", dependencies=_WRITE, responses=_CHANGED)
def skip_review(review_id: str, body: SkipBody, caller: CallerDep, session: Transaction) -> ReviewOut:
    """Pass over an item; others are offered it, until three people have passed."""
    skip_item(session, review_id, caller.key_id, body.reason_code, body.comment)
    return write_review(view_item(session, review_id))


@router.post("/v1/reviews/{review_id}:reopen", dependencies=_WRITE, responses=_CHANGED)
def reopen_review(review_id: str, caller: CallerDep, session: Transaction) -> ReviewOut:
    """Offer an item again that too many people have passed over."""
    reopen_item(session, review_id, caller.key_id)
    return write_review(view_item(session, review_id))


@router.post(
    "/v1/reviews/{review_id}:second_opinion", status_code=201, dependencies=_WRITE, responses=_CHANGED
)
def ask_for_second_opinion(
    review_id: str,
    response: Response,
    caller: CallerDep,
    session: Transaction,
    body: SecondOpinionBody | None = None,
) -> ReviewOut:
    """Have somebody else look at a decided item; the answer is the new one."""
    is_blind = body is None or body.is_blind
    child = ask_second_opinion(session, review_id, caller.key_id, is_blind=is_blind)
    response.headers["Location"] = f"/v1/reviews/{child}"
    return write_review(view_item(session, child))


@router.post("/v1/reviews/{review_id}:appeal", status_code=201, dependencies=_WRITE, responses=_CHANGED)
def appeal_review(
    review_id: str, body: AppealBody, response: Response, caller: CallerDep, session: Transaction
) -> ReviewOut:
    """Object to a decision; somebody who did not make it looks again."""
    child = appeal_decision(session, review_id, caller.key_id, body.statement)
    response.headers["Location"] = f"/v1/reviews/{child}"
    return write_review(view_item(session, child))


@router.get("/v1/review-entries", dependencies=_READ)
def list_review_entries(
    caller: CallerDep,
    session: Transaction,
    page: PageQuery,
    kind: EntryKind | None = None,
    analysis_id: IdQuery = None,
    review_id: IdQuery = None,
) -> Page[EntryOut]:
    """List what was said, newest first: decisions, skips, what was taken back, feedback."""
    asked = {"kind": kind, "analysis_id": analysis_id, "review_id": review_id}
    query = page.bind(caller, "review-entries", asked)
    entries = list_entries(
        session,
        kinds=() if kind is None else (kind,),
        analysis_id=analysis_id,
        item_id=review_id,
        before=read_before(query.position),
        limit=page.limit,
    )
    return query.make(
        Page[EntryOut], entries, write_entry, lambda entry: (entry.create_time.isoformat(), entry.id)
    )


@router.get(
    "/v1/review-entries:export",
    dependencies=_READ,
    response_class=StreamingResponse,
    responses={200: {"description": "A file", "content": {"text/csv": {}, "application/jsonl": {}}}},
)
def export_review_entries(
    request: Request,
    caller: CallerDep,
    services: ServicesDep,
    format: Annotated[ExportFormat, Query()] = ExportFormat.CSV,  # noqa: A002 - the name on the wire
) -> StreamingResponse:
    """Write all that was said into a file, newest first. For keys with `review:admin` without known items."""
    # For training. A key that reviews would tell known items by what its list has and its file has not.
    real_only = Scope.REVIEW_ADMIN in caller.scopes
    found = page_entries(services.database, caller.tenant_id, caller.key_id, real_only=real_only)
    entries = (write_entry(entry) for entry in found)
    lines = write_entries_csv(entries) if format is ExportFormat.CSV else _write_jsonl(entries)
    kind = "text/csv; charset=utf-8" if format is ExportFormat.CSV else "application/jsonl"
    return send_file(
        request,
        lambda: (line.encode() for line in lines),
        caller,
        services,
        prove=partial(prove_key, request),
        media_type=kind,
        name=f"review-entries.{format.value}",
    )


def _write_jsonl(entries: Iterator[EntryOut]) -> Iterator[str]:
    for entry in entries:
        yield entry.model_dump_json() + "\n"


def write_entries_csv(entries: Iterator[EntryOut]) -> Iterator[str]:
    """Yield the lines of a file of CSV, with its head, and nothing that a spreadsheet takes for a formula."""
    names = [name for name in EntryOut.model_fields if name not in {"object", "tracks"}]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n")
    writer.writerow([*names, "tracks"])
    for entry in entries:
        form = entry.model_dump(mode="json")
        tracks = ";".join(f"{each.ordinal}={each.disposition}/{each.reason_code}" for each in entry.tracks)
        writer.writerow([_make_plain(form[name]) for name in names] + [tracks])
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
    yield buffer.getvalue()


def _make_plain(value: object) -> object:
    """Return text that no spreadsheet takes for a formula."""
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r", "\n")):
        return "'" + value
    return value


def _write(session: Transaction, queue: ReviewQueue) -> QueueOut:
    return write_queue(queue, count_items(session, [queue.id])[queue.id])
