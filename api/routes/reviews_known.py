"""Known analyses: declared, listed, taken back, and how well reviewers decide on them.

Whoever reviews must not know which they are, so all of it is for those who make the queues.
"""

from fastapi import Response

from api.dependencies import CallerDep, Transaction, require_scope
from api.pagination import Page, PageQuery
from api.problems import describe_responses
from api.router import ApiRouter
from api.schemas.reviews_known import AccuracyListOut, AccuracyOut, KnownOut, MissOut, NewKnownBody
from api.writing import read_before
from fakesieve.reasons import Reason
from fakesieve.records.reviews import KnownAnalysis
from fakesieve.reviews.accuracy import Accuracy, measure_reviewers
from fakesieve.reviews.known import declare_known, list_known, load_known, take_back_known
from fakesieve.scopes import Scope

router = ApiRouter(tags=["reviews"])
_ADMIN = [require_scope(Scope.REVIEW_ADMIN)]
_CHANGED = describe_responses(Reason.STATE_CONFLICT, Reason.UNSUPPORTED_MEDIA_TYPE)


@router.post("/v1/known-analyses", status_code=201, dependencies=_ADMIN, responses=_CHANGED)
def declare_known_analysis(
    body: NewKnownBody, response: Response, caller: CallerDep, session: Transaction
) -> KnownOut:
    """Declare that the truth of an analysis is known. Queues with a ``known_share`` show it to reviewers.

    But not one that somebody has taken from a queue, given feedback on or noted something of.
    """
    draft = body.read()
    known = declare_known(session, caller.tenant_id, body.analysis_id, draft, actor=caller.key_id)
    response.headers["Location"] = f"/v1/known-analyses/{known.analysis_id}"
    return _write(known)


@router.get("/v1/known-analyses", dependencies=_ADMIN)
def list_known_analyses(caller: CallerDep, session: Transaction, page: PageQuery) -> Page[KnownOut]:
    """List analyses whose truth is known, newest first."""
    query = page.bind(caller, "known-analyses")
    lines = list_known(session, before=read_before(query.position), limit=page.limit)
    return query.make(
        Page[KnownOut], lines, _write, lambda line: (line.create_time.isoformat(), line.analysis_id)
    )


@router.get("/v1/known-analyses:measure", dependencies=_ADMIN)
def measure_review_accuracy(session: Transaction) -> AccuracyListOut:
    """Say how well each reviewer decides on known items."""
    found = measure_reviewers(session)
    return AccuracyListOut(reviewers=[_write_accuracy(who, each) for who, each in found.items()])


@router.get("/v1/known-analyses/{analysis_id}", dependencies=_ADMIN)
def show_known_analysis(analysis_id: str, session: Transaction) -> KnownOut:
    """Show what is known of an analysis."""
    return _write(load_known(session, analysis_id))


@router.delete("/v1/known-analyses/{analysis_id}", status_code=204, dependencies=_ADMIN)
def take_back_known_analysis(analysis_id: str, caller: CallerDep, session: Transaction) -> Response:
    """Forget what was known of an analysis; what reviewers said of it counts for nobody any more."""
    take_back_known(session, analysis_id, actor=caller.key_id)
    return Response(status_code=204)


def _write(known: KnownAnalysis) -> KnownOut:
    return KnownOut(
        analysis_id=known.analysis_id,
        truth=known.truth,
        note=known.note,
        declared_by=known.declared_by,
        create_time=known.create_time,
    )


def _write_accuracy(reviewer: str, found: Accuracy) -> AccuracyOut:
    return AccuracyOut(
        reviewer=reviewer,
        decided=found.decided,
        right=found.right,
        wrong=found.wrong,
        inconclusive=found.inconclusive,
        escalated=found.escalated,
        skipped=found.skipped,
        share=found.share,
        interval=found.interval,
        misses=[
            MissOut(
                review_id=miss.item_id,
                analysis_id=miss.analysis_id,
                disposition=miss.said,
                truth=miss.truth,
                decide_time=miss.decide_time,
            )
            for miss in found.misses
        ],
    )
