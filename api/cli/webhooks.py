"""``fakesieve webhooks``: where to tell what happened, and whether it arrived."""

from itertools import islice
from typing import Annotated

import typer

from api.cli.connect import open_client
from api.cli.shown import DryRun, show_answers, show_one
from api.schemas.webhooks import DeliveryOut, WebhookOut
from fakesieve.cli.lists import LIMIT, AsCsv, AsJson, Columns, Limit, read_form
from fakesieve.cli.printing import end_list
from fakesieve.errors import Unavailable
from fakesieve.reasons import Reason
from fakesieve.values.webhooks import DeliveryState, EventType

webhooks = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="Register webhooks, try them, and send again what did not arrive.",
)
Webhook = Annotated[str, typer.Argument(metavar="WEBHOOK_ID", show_default=False)]
StateOption = Annotated[DeliveryState | None, typer.Option(help="Only deliveries in this state.")]


@webhooks.command("list")
def list_(*, as_json: AsJson = False, as_csv: AsCsv = False) -> None:
    """List webhooks."""
    form = read_form(as_json=as_json, as_csv=as_csv)
    with open_client() as client:
        show_answers(client.webhooks.iter(), _COLUMNS, form)


@webhooks.command()
def create(
    url: Annotated[str, typer.Argument(help="An https address of yours.")],
    *,
    event: Annotated[
        list[EventType] | None, typer.Option(help="A type of event, may be repeated. Default: all of them.")
    ] = None,
    description: Annotated[str, typer.Option(help="What it is for.")] = "",
    as_json: AsJson = False,
) -> None:
    """Register a webhook; its secret is shown this once."""
    with open_client() as client:
        made = client.webhooks.create(url, event or [], description)
    if made.secret is None:
        seen = f"{made.id} was made, and its secret got lost on the way"
        raise Unavailable(Reason.INTERNAL, seen, f"fakesieve webhooks remove {made.id}, and make another")
    show_one(made, {"webhook": made.id, "url": made.url, "secret": made.secret}, as_json=as_json)


@webhooks.command("test")
def try_out(webhook: Webhook, *, as_json: AsJson = False) -> None:
    """Send a message to try a webhook out; 'fakesieve webhooks deliveries' says how it went."""
    with open_client() as client:
        _show(client.webhooks.test(webhook), as_json=as_json)


@webhooks.command()
def enable(webhook: Webhook, *, as_json: AsJson = False) -> None:
    """Switch a webhook on again."""
    with open_client() as client:
        found = client.webhooks.enable(webhook)
    show_one(found, {"webhook": found.id, "on": found.is_enabled}, as_json=as_json)


@webhooks.command()
def remove(webhook: Webhook, *, dry_run: DryRun = False) -> None:
    """Remove a webhook with the log of its deliveries."""
    with open_client() as client:
        found = client.webhooks.get(webhook)
        if not dry_run:
            client.webhooks.remove(webhook)
    typer.echo(f"{found.id}  {'would be removed' if dry_run else 'removed'}  {found.url}")


@webhooks.command()
def deliveries(
    *,
    webhook: Annotated[str | None, typer.Option(help="Only those of this webhook.")] = None,
    state: StateOption = None,
    limit: Limit = LIMIT,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """List deliveries with their tries, newest first."""
    form = read_form(as_json=as_json, as_csv=as_csv)
    with open_client() as client:
        count = show_answers(client.webhooks.deliveries(webhook, state), _DELIVERIES, form, limit=limit)
    end_list(count, is_narrowed=webhook is not None or state is not None)


@webhooks.command()
def redeliver(
    ids: Annotated[list[str] | None, typer.Argument(metavar="[DELIVERY_ID]...", show_default=False)] = None,
    *,
    failed: Annotated[
        str | None,
        typer.Option(metavar="WEBHOOK_ID", help="All failed deliveries of this webhook.", show_default=False),
    ] = None,
    limit: Limit = LIMIT,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Send ended deliveries again, under their old ids."""
    if not ids and failed is None:
        raise typer.BadParameter("name deliveries, or --failed WEBHOOK_ID")
    with open_client() as client:
        found = [client.webhooks.delivery(each) for each in ids or []]
        if failed is not None:
            client.webhooks.get(failed)  # a list of deliveries is empty where there is no such webhook
            found += islice(client.webhooks.deliveries(failed, DeliveryState.FAILED), limit)
        for each in found:
            if dry_run:
                typer.echo(f"{each.id}  would be sent again  {each.event_type}")
            else:
                _show(client.webhooks.redeliver(each.id), as_json=as_json)
    end_list(len(found), is_narrowed=True)


def _show(found: DeliveryOut, *, as_json: bool) -> None:
    lines = {"delivery": found.id, "event": found.event_type, "state": found.state}
    show_one(found, lines, as_json=as_json)


def _tell_end(found: DeliveryOut) -> str | None:
    if not found.attempts:
        return None
    last = found.attempts[-1]
    parts = [str(last.status) if last.status is not None else None, last.fault and last.fault.value]
    return " ".join(part for part in parts if part)


_COLUMNS: Columns[WebhookOut] = {
    "webhook": lambda each: each.id,
    "on": lambda each: each.is_enabled,
    "why off": lambda each: each.disable_reason,
    "events": lambda each: " ".join(each.event_types) or "all",
    "url": lambda each: each.url,
}
_DELIVERIES: Columns[DeliveryOut] = {
    "delivery": lambda each: each.id,
    "event": lambda each: each.event_type,
    "state": lambda each: each.state,
    "tries": lambda each: len(each.attempts),
    "last": _tell_end,
    "next try": lambda each: each.next_try_time,
    "created": lambda each: each.create_time,
}
