"""``fakesieve review``: take work from a queue, and say what was seen."""

from typing import Annotated

import typer

from api.cli.connect import open_client
from api.cli.shown import show_answers, show_one
from api.client import Client
from api.schemas.reviews import DecisionBody, QueueOut, ReviewOut, SkipBody
from fakesieve.cli.lists import AsCsv, AsJson, Columns, read_form
from fakesieve.errors import NothingMatched
from fakesieve.reasons import Reason
from fakesieve.values.reviews import Disposition, ReasonCode

review = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="Take work from a review queue, and decide it.",
)
Item = Annotated[str, typer.Argument(metavar="REVIEW_ID", show_default=False)]
ReasonOption = Annotated[ReasonCode, typer.Option("--reason", help="Why; 'other' needs a comment.")]
CommentOption = Annotated[str | None, typer.Option(help="In your own words.")]


@review.command()
def queues(*, as_json: AsJson = False, as_csv: AsCsv = False) -> None:
    """List the queues."""
    form = read_form(as_json=as_json, as_csv=as_csv)
    with open_client() as client:
        show_answers(client.reviews.queues(), _COLUMNS, form)


@review.command("next")
def next_(
    queue: Annotated[
        str | None, typer.Argument(metavar="[QUEUE_ID|NAME]", help="Default: the first that has work.")
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Claim the next item; it is yours for the lease of its queue. Ends with 4 where nothing waits."""
    with open_client() as client:
        for each in client.reviews.queues():
            if each.is_active and queue in (None, each.id, each.name):
                found = client.reviews.claim_next(each.id)
                if found is not None:
                    _show(client, found, as_json=as_json)
                    return
    raise NothingMatched(Reason.NOT_FOUND, "nothing waits for review", "see 'fakesieve review queues'")


@review.command()
def decide(
    item: Item,
    disposition: Annotated[Disposition, typer.Argument(show_default=False)],
    *,
    reason: ReasonOption,
    comment: CommentOption = None,
    as_json: AsJson = False,
) -> None:
    """Decide an item that you hold. For ten seconds 'fakesieve review undo' takes it back."""
    with open_client() as client:
        decision = DecisionBody(disposition=disposition, reason_code=reason, comment=comment)
        _show(client, client.reviews.decide(item, decision), as_json=as_json)


@review.command()
def undo(item: Item, *, as_json: AsJson = False) -> None:
    """Take your own decision back, within ten seconds."""
    with open_client() as client:
        _show(client, client.reviews.undo(item), as_json=as_json)


@review.command()
def skip(item: Item, *, reason: ReasonOption, comment: CommentOption = None, as_json: AsJson = False) -> None:
    """Pass over an item; others are offered it."""
    with open_client() as client:
        why = SkipBody(reason_code=reason, comment=comment)
        _show(client, client.reviews.skip(item, why), as_json=as_json)


@review.command()
def release(item: Item, *, as_json: AsJson = False) -> None:
    """Give an item back."""
    with open_client() as client:
        _show(client, client.reviews.release(item), as_json=as_json)


def _show(client: Client, found: ReviewOut, *, as_json: bool) -> None:
    finding = found.finding
    lines = {
        "review": found.id,
        "state": found.state,
        "analysis": found.analysis_id,
        "score": "hidden until you have said what you see" if found.is_hidden else finding and finding.score,
        "verdict": finding and finding.verdict,
        "yours until": found.claim_until,
        "decision": found.disposition,
        "look at it": f"{client.sender.url}/r/{found.analysis_id}",
    }
    show_one(found, lines, as_json=as_json)


_COLUMNS: Columns[QueueOut] = {
    "queue": lambda each: each.id,
    "name": lambda each: each.name,
    "open": lambda each: each.items.open,
    "claimed": lambda each: each.items.claimed,
    "decided": lambda each: each.items.decided,
    "blind": lambda each: each.is_blind,
    "gives out": lambda each: each.is_active,
}
