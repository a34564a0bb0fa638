"""``fakesieve policy``: thresholds of the tenant, tried over history and applied."""

from typing import Annotated

import typer

from api.cli.connect import open_client
from api.cli.shown import DryRun, show_answers, show_one
from api.schemas.policies import (
    ApplyBody,
    MovedOut,
    NewPolicyBody,
    PolicyOut,
    PreviewAsk,
    PreviewOut,
    TryRulesBody,
)
from fakesieve.cli.lists import AsCsv, AsJson, Columns, Filter, Form, read_form, tell

policy = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="List, make, preview and apply policies.",
)
Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME[@VERSION]", help="Or its id; - is each model's own policy.", show_default=False
    ),
]
Threshold = Annotated[float | None, typer.Option(min=0.0, max=1.0, show_default=False)]


@policy.command("list")
def list_(*, as_json: AsJson = False, as_csv: AsCsv = False) -> None:
    """List the presets, the models' own policies and all versions of yours."""
    form = read_form(as_json=as_json, as_csv=as_csv)
    with open_client() as client:
        show_answers(client.policies.iter(), _COLUMNS, form)


@policy.command()
def create(
    name: Annotated[str, typer.Argument(help="The same name again is its next version.")],
    *,
    low: Annotated[float, typer.Option(min=0.0, max=1.0, help="Below it nothing was found.")],
    high: Annotated[float, typer.Option(min=0.0, max=1.0, help="From it on likely manipulated.")],
    min_coverage: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Least share of the time with a scored face.")
    ] = 0.1,
    min_peak_frames: Annotated[
        int, typer.Option(min=1, help="Frames that must reach the score for 'likely manipulated'.")
    ] = 2,
    note: Annotated[str | None, typer.Option(help="Why it was made.")] = None,
    as_json: AsJson = False,
) -> None:
    """Keep a policy. It judges nothing before it is applied."""
    with open_client() as client:
        new = NewPolicyBody(
            name=name,
            low=low,
            high=high,
            min_coverage=min_coverage,
            min_peak_frames=min_peak_frames,
            note=note,
        )
        made = client.policies.create(new)
    lines = {"policy": _label(made), "low": made.low, "high": made.high, "active": made.is_active}
    show_one(made, lines, as_json=as_json)


@policy.command()
def preview(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME[@VERSION]]", help="- is each model's own. Without it --low and --high."
        ),
    ] = None,
    *,
    low: Threshold = None,
    high: Threshold = None,
    wanted: Filter = None,
    minutes: Annotated[float, typer.Option(min=0.1, help="Minutes that a person needs for one video.")] = 4.0,
    moved: Annotated[int, typer.Option(min=0, max=1000, help="Moved analyses to name.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Say what a policy would change over what was scored: verdicts that move, and hours of review."""
    if (name is None) == (low is None) or (low is None) != (high is None):
        raise typer.BadParameter("give a policy, or --low and --high")
    with open_client() as client:
        if low is not None and high is not None:
            rules = TryRulesBody(low=low, high=high, filter=wanted, review_minutes=minutes, moved_max=moved)
            found = client.policies.try_rules(rules)
        else:
            asked = PreviewAsk(filter=wanted, review_minutes=minutes, moved_max=moved)
            found = client.policies.preview(name or "", asked)
    _show_preview(found, as_json=as_json)


@policy.command()
def apply(
    name: Name,
    *,
    wanted: Filter = None,
    history_only: Annotated[
        bool, typer.Option("--history-only", help="Judge what is there, and not what is yet to come.")
    ] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Judge history by a policy, and what comes from now on. Nothing is scored again."""
    with open_client() as client:
        if dry_run:
            _show_preview(client.policies.preview(name, PreviewAsk(filter=wanted)), as_json=as_json)
            return
        done = client.policies.apply(name, ApplyBody(filter=wanted, activate=not history_only))
    lines = {
        "policy": done.policy,
        "judged": done.judged,
        "moved": done.moved,
        "active": done.is_active,
        "stay, as not known": done.kept or None,
    }
    show_one(done, lines, as_json=as_json)


def _show_preview(found: PreviewOut, *, as_json: bool) -> None:
    work = found.review
    lines: dict[str, object] = {
        "policy": found.policy,
        "analyses": found.analyses,
        "verdicts that move": found.moved_count,
        "videos to look at": f"{work.videos_before} -> {work.videos_after}",
        "hours of review": f"{work.hours_before:.1f} -> {work.hours_after:.1f}",
        "stay, as not known": _tell_kept(found),
    }
    for each in found.counts:
        if each.before != each.after:
            lines[f"{tell(each.before)} -> {tell(each.after)}"] = each.count
    show_one(found, lines, as_json=as_json)
    if found.moved and not as_json:
        show_answers(found.moved, _MOVED, Form.TABLE)


def _tell_kept(found: PreviewOut) -> str | None:
    """Say of which models no host has told the policy, and how many verdicts stay for it."""
    return f"{found.kept}, by {', '.join(found.kept_model_ids)}" if found.kept else None


def _label(found: PolicyOut) -> str:
    return f"{found.name}@{found.version}"


def _note(found: PolicyOut) -> str | None:
    if found.is_preset:
        return "preset"
    return found.note if found.create_time else "of a model"


_COLUMNS: Columns[PolicyOut] = {
    "policy": _label,
    "low": lambda each: each.low,
    "high": lambda each: each.high,
    "coverage": lambda each: each.min_coverage,
    "frames": lambda each: each.min_peak_frames,
    "active": lambda each: each.is_active,
    "note": _note,
}
_MOVED: Columns[MovedOut] = {
    "analysis": lambda each: each.analysis_id,
    "score": lambda each: each.score,
    "before": lambda each: each.before,
    "after": lambda each: each.after,
}
