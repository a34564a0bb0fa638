"""``fakesieve submit`` over the API: videos become jobs. Local files are uploaded first."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import typer

from api.calls.sender import ApiProblem
from api.cli.connect import open_client
from api.client import Client
from api.schemas.jobs import BatchOut, JobSource, NewBatchBody
from engine.output.names import escape_for_terminal, to_text
from fakesieve.cli.printing import Json, print_json
from fakesieve.cli.submit_options import (
    AsJson,
    DeadlineH,
    DryRun,
    Inputs,
    LaneOption,
    ManifestOption,
    PolicyOption,
    check_files,
    is_address,
    refuse_policy,
)
from fakesieve.errors import NothingMatched
from fakesieve.jobs.states import Lane
from fakesieve.reasons import Reason
from fakesieve.values.jobs import DEADLINE_S

_ITEMS_AT_ONCE = 1000
_NAME_LETTERS_MAX = 200


@dataclass(frozen=True)
class _Order:
    """What one call does, and how its jobs are made."""

    client: Client
    lane: Lane
    deadline_s: int
    is_json: bool
    is_dry: bool


def submit(
    inputs: Inputs = None,
    *,
    manifest: ManifestOption = None,
    lane: LaneOption = None,
    deadline_h: DeadlineH = DEADLINE_S / 3600,
    policy: PolicyOption = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Give videos to the fleet; prints a job id for each.

    The same file may be submitted again: it is then answered from what was found before.
    """
    named = inputs or []
    if not named and manifest is None:
        raise typer.BadParameter("name a file, an object or --manifest")
    check_files([each for each in named if not is_address(each)])
    deadline_s = max(1, round(deadline_h * 3600))
    with open_client() as client:
        if policy is not None:
            _check_policy(client, policy)
        single = _Order(client, lane or Lane.STANDARD, deadline_s, as_json, dry_run)
        listed = _Order(client, lane or Lane.BULK, deadline_s, as_json, dry_run)
        for each in named:
            if is_address(each) and each.endswith("/"):
                _submit_batch(listed, each, _make_body(listed, each, prefix=each), None)
            else:
                _submit_one(single, each)
        if manifest is not None:
            _submit_manifest(listed, manifest)


def _make_body(
    order: _Order,
    name: str,
    *,
    items: list[JobSource] | None = None,
    manifest: str | None = None,
    prefix: str | None = None,
) -> NewBatchBody:
    return NewBatchBody(
        name=name[-_NAME_LETTERS_MAX:],
        lane=order.lane,
        deadline_s=order.deadline_s,
        items=items,
        manifest=manifest,
        prefix=prefix,
    )


def _check_policy(client: Client, wanted: str) -> None:
    """Refuse before anything is submitted where new analyses are judged by another policy."""
    active = next((each for each in client.policies.iter() if each.is_active), None)
    refuse_policy(wanted, None if active is None else (active.name, active.version))


def _submit_one(order: _Order, given: str) -> None:
    if order.is_dry:
        _tell(order, given, {"input": to_text(given), "would_submit": 1})
        return
    source = given if is_address(given) else Path(given)
    job = order.client.submit(source, lane=order.lane, deadline_s=order.deadline_s)
    _print(order, given, job.id, job.source.uri, None)


def _submit_manifest(order: _Order, given: str) -> None:
    if is_address(given):
        _submit_batch(order, given, _make_body(order, given, manifest=given), None)
        return
    # Lazy: it knows the database's words for a job; only a manifest on this machine is read here.
    from fakesieve.ingest.manifest import read_manifest

    found = read_manifest(Path(given))
    items = [
        JobSource(
            uri=row.ref.uri,
            version_id=row.ref.version_id,
            etag=row.ref.etag,
            external_id=row.external_id,
        )
        for row in found.rows
    ]
    for start in range(0, len(items), _ITEMS_AT_ONCE):
        part = _make_body(order, given, items=items[start : start + _ITEMS_AT_ONCE])
        # The same bytes again are the same batch, as long as the API keeps its keys.
        key = f"manifest:{found.sha256}:{order.lane}:{order.deadline_s}:{start}"
        _submit_batch(order, given, part, key)


def _submit_batch(order: _Order, given: str, new: NewBatchBody, key: str | None) -> None:
    try:
        if order.is_dry:
            seen = order.client.batches.preview(new)
            _tell(
                order,
                given,
                {"input": to_text(given), "would_submit": seen.videos, "size_bytes": seen.size_bytes},
            )
            return
        batch = order.client.batches.submit(new, key)
    except ApiProblem as problem:
        if problem.reason is Reason.SOURCE_NOT_FOUND and new.prefix is not None:
            raise NothingMatched(problem.reason, problem.seen, problem.hint) from problem
        raise
    for job_id, uri in _list_jobs(order.client, batch):
        _print(order, uri, job_id, uri, batch.id)


def _list_jobs(client: Client, batch: BatchOut) -> Iterator[tuple[str, str]]:
    """Yield id and object of the jobs of a batch, in the order in which they were made."""
    jobs = list(client.jobs.iter(batch_id=batch.id, page_size=_ITEMS_AT_ONCE))
    yield from ((job.id, job.source.uri) for job in reversed(jobs))


def _print(order: _Order, given: str, job_id: str, uri: str, batch_id: str | None) -> None:
    if order.is_json:
        print_json(
            {"input": to_text(given), "job_id": job_id, "is_new": True, "source": uri, "batch_id": batch_id}
        )
    else:
        typer.echo(f"{job_id}  {escape_for_terminal(given)}")


def _tell(order: _Order, given: str, line: dict[str, Json]) -> None:
    if order.is_json:
        print_json(line)
    else:
        typer.echo(f"would submit {line['would_submit']}  {escape_for_terminal(given)}")
