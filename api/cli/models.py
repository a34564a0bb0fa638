"""``fakesieve models`` and ``fakesieve rescore``: what models are used for, and what another would say."""

from typing import Annotated

import typer

from api.cli.connect import open_client
from api.cli.shown import DryRun, show_answers, show_one
from api.schemas.models import RESCORE_MAX, ComparisonOut, FlipOut, ModelOut, RescoreBody, RolledBackOut
from fakesieve.cli.lists import AsCsv, AsJson, Columns, Filter, Form, read_form, tell
from fakesieve.cli.printing import EXIT_NOTHING
from fakesieve.jobs.states import Lane
from fakesieve.values.models import ModelAlias

models = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="List models, name what each is used for, and compare them.",
)
Name = Annotated[str, typer.Argument(metavar="MODEL_ID|ALIAS", show_default=False)]
AliasOption = Annotated[ModelAlias, typer.Option("--as", help="What it is used for.")]


@models.command("list")
def list_(*, as_json: AsJson = False, as_csv: AsCsv = False) -> None:
    """List the models that made a score or that a host runs."""
    form = read_form(as_json=as_json, as_csv=as_csv)
    with open_client() as client:
        show_answers(client.models.iter(), _COLUMNS, form)


@models.command()
def promote(name: Name, *, alias: AliasOption = ModelAlias.CHAMPION, as_json: AsJson = False) -> None:
    """Call a model the champion, or what --as says. Hosts go on with the one that FAKESIEVE_MODEL names."""
    with open_client() as client:
        _show(client.models.promote(name, alias), as_json=as_json)


@models.command()
def shadow(name: Name, *, as_json: AsJson = False) -> None:
    """Call a model the shadow, to compare it by that name. No host runs it for that."""
    with open_client() as client:
        _show(client.models.promote(name, ModelAlias.SHADOW), as_json=as_json)


@models.command()
def rollback(
    *, alias: AliasOption = ModelAlias.CHAMPION, dry_run: DryRun = False, as_json: AsJson = False
) -> None:
    """Give a name back to the model before; a second time goes back one more. Hosts go on with theirs."""
    with open_client() as client:
        _show_way_back(client.models.roll_back(alias, dry_run=dry_run), as_json=as_json)


@models.command()
def compare(base: Name, other: Name, *, wanted: Filter = None, as_json: AsJson = False) -> None:
    """Show the verdicts that differ between two models, over the videos that both have scored."""
    with open_client() as client:
        _show_flips(client.models.compare(base, other, wanted), as_json=as_json)


def rescore(
    *,
    model: Annotated[str, typer.Option(help="Id of a model, or challenger and the like.")],
    wanted: Filter = None,
    diff: Annotated[
        bool, typer.Option("--diff", help="Wait for the end, then show what flips against the champion.")
    ] = False,
    lane: Annotated[Lane, typer.Option(help="How urgent it is.")] = Lane.BULK,
    limit: Annotated[
        int, typer.Option(min=1, max=RESCORE_MAX, help="Jobs at most; videos out of reach do not count.")
    ] = 1000,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Score videos again that a filter finds and that a model has not scored; prints the batch."""
    with open_client() as client:
        asked = RescoreBody(model=model, filter=wanted, lane=lane, videos_max=limit, dry_run=dry_run)
        done = client.models.rescore(asked)
        reached = done.videos - done.unreachable
        lines = {
            "would score" if dry_run else "scores": reached,
            "out of reach": done.unreachable or None,
            "left out, a job waits or runs": done.live or None,
            "more may fit": None if done.is_whole else "counting stopped before the last: narrow the filter",
            "hosts": f"{done.hosts} with the model, {done.other_hosts} with another",
            "batch": done.batch_id,
        }
        if not (diff and as_json):
            show_one(done, lines, as_json=as_json)
        if diff:
            if done.batch_id is not None:
                client.wait_batch(done.batch_id)
            _show_flips(client.models.compare(ModelAlias.CHAMPION, model, wanted), as_json=as_json)
    if reached == 0 and not diff:
        raise typer.Exit(EXIT_NOTHING)


def _show(found: ModelOut, *, as_json: bool) -> None:
    lines = {"model": found.id, "name": found.name, "used as": _list_aliases(found), "hosts": found.hosts}
    show_one(found, lines, as_json=as_json)


def _show_way_back(found: RolledBackOut, *, as_json: bool) -> None:
    left, verb = found.from_model, "goes" if found.is_done else "would go"
    lines = {
        f"{found.alias.value} {verb} back to": f"{found.name} {found.weights_sha256[:12]} {found.id}",
        "from": f"{left.name} {left.weights_sha256[:12]} {left.id}",
        "hosts": found.hosts,
    }
    show_one(found, lines, as_json=as_json)


def _list_aliases(found: ModelOut) -> str:
    return ", ".join(each.value for each in found.aliases)


def _show_flips(found: ComparisonOut, *, as_json: bool) -> None:
    lines: dict[str, object] = {"videos of both": found.videos, "flips": found.flip_count}
    for each in found.counts:
        if each.before != each.after:
            lines[f"{tell(each.before)} -> {tell(each.after)}"] = each.count
    lines["mean difference"] = found.mean_difference
    show_one(found, lines, as_json=as_json)
    if found.flips and not as_json:
        show_answers(found.flips, _FLIPS, Form.TABLE)


_COLUMNS: Columns[ModelOut] = {
    "model": lambda each: each.id,
    "name": lambda each: each.name,
    "weights": lambda each: each.weights_sha256[:12],
    "used as": _list_aliases,
    "hosts": lambda each: each.hosts,
    "first seen": lambda each: each.create_time,
}
_FLIPS: Columns[FlipOut] = {
    "video": lambda each: each.video_id,
    "base": lambda each: each.base,
    "score": lambda each: each.base_score,
    "other": lambda each: each.other,
    "its score": lambda each: each.other_score,
}
