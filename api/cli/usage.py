"""``fakesieve usage``: what the tenant has used, and may use."""

from typing import Annotated

import typer

from api.cli.connect import open_client
from api.cli.shown import show_answers, show_whole
from api.schemas.keys import UsageDay
from fakesieve.cli.lists import AsCsv, AsJson, Columns, Form, read_form
from fakesieve.cli.printing import print_json


def usage(
    *,
    days: Annotated[int, typer.Option(min=1, max=366, help="Days to look back.")] = 31,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Show jobs and video time that were billed, by day."""
    form = read_form(as_json=as_json, as_csv=as_csv)
    with open_client() as client:
        found = client.usage(days)
    if form is Form.JSON:
        print_json(show_whole(found))
        return
    if form is Form.TABLE:
        typer.echo(f"live jobs   {found.jobs_live}")
        typer.echo(f"this month  {found.month_video_ms / 60_000:.1f} minutes of video")
    show_answers(found.days, _COLUMNS, form)


_COLUMNS: Columns[UsageDay] = {
    "day": lambda each: each.day,
    "jobs": lambda each: each.jobs,
    "video_ms": lambda each: each.video_ms,
}
