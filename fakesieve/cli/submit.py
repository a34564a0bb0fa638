"""``fakesieve submit``: videos become jobs. Local files are uploaded first."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import typer

from engine.output.names import escape_for_terminal, to_text
from fakesieve.cli.place import Place, open_place
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
from fakesieve.errors import NothingMatched, RequestRefused
from fakesieve.ingest.manifest import Manifest, fetch_manifest, read_manifest
from fakesieve.ingest.take import OWN_PREFIX
from fakesieve.jobs.states import Lane
from fakesieve.jobs.submit import NewBatch, NewJob, Submitted, submit_batch, submit_video
from fakesieve.objects import VideoRef
from fakesieve.reasons import Reason
from fakesieve.records.policies import show_active_policy
from fakesieve.values.jobs import DEADLINE_S
from fakesieve.values.videos import SourceKind

_UPLOADS = "uploads"


@dataclass(frozen=True)
class Options:
    """How the jobs of one call are made."""

    lane: Lane
    deadline_s: float
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
    with open_place() as place:
        if policy is not None:
            _check_policy(place, policy)
        options = Options(lane or Lane.STANDARD, deadline_h * 3600, as_json, dry_run)
        listed = Options(lane or Lane.BULK, deadline_h * 3600, as_json, dry_run)
        for each in named:
            if is_address(each) and each.endswith("/"):
                _submit_prefix(place, each, listed)
            else:
                _submit_one(place, each, options)
        if manifest is not None:
            _submit_manifest(place, manifest, listed)


def _check_policy(place: Place, wanted: str) -> None:
    """Refuse before anything is submitted where new analyses are judged by another policy."""
    with place.database.transaction(tenant_id=place.tenant_id) as session:
        active = show_active_policy(session, place.tenant_id)
    refuse_policy(wanted, None if active is None else (active.name, active.version))


def _submit_one(place: Place, given: str, options: Options) -> None:
    if options.is_dry:
        _tell(given, 1, options)
        return
    ref = _parse(given) if is_address(given) else upload_file(place, Path(given))
    kind = SourceKind.API if is_address(given) else SourceKind.UPLOAD
    new = NewJob(place.tenant_id, ref, options.lane, deadline_s=options.deadline_s, source_kind=kind)
    _print(given, ref, submit_video(place.store, new), None, options)


def upload_file(place: Place, path: Path) -> VideoRef:
    """Store a local file in the bucket of the fleet, under its content's hash, and return the object."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    key = f"{_UPLOADS}/{digest[:32]}/{_make_safe(path.name)}"
    return place.open_objects().upload(path, place.settings.bucket, key).ref


def _make_safe(name: str) -> str:
    """Return a file name as the end of a key: bytes that are no UTF-8 become escapes."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")[-200:]


def _submit_prefix(place: Place, address: str, options: Options) -> None:
    bucket, _, prefix = address.removeprefix("s3://").partition("/")

    def find() -> Iterator[NewJob]:
        for facts in place.open_objects().list_objects(bucket, prefix):
            if not facts.ref.key.endswith("/") and not facts.ref.key.startswith(OWN_PREFIX):
                yield NewJob(place.tenant_id, facts.ref, options.lane, deadline_s=options.deadline_s)

    jobs = list(find())
    if not jobs:
        raise NothingMatched(Reason.SOURCE_NOT_FOUND, f"no object lies under {address}")
    _submit_list(place, address, jobs, None, options)


def _submit_manifest(place: Place, given: str, options: Options) -> None:
    found: Manifest
    if is_address(given):
        found = fetch_manifest(place.open_objects(), _parse(given))
    else:
        found = read_manifest(Path(given))
    jobs = list(found.make_jobs(place.tenant_id, options.lane))
    _submit_list(place, given, jobs, f"manifest:{found.sha256}:{options.lane}", options)


def _submit_list(place: Place, name: str, jobs: list[NewJob], key: str | None, options: Options) -> None:
    """Submit a list as one batch; the same list under the same key is completed, not submitted twice."""
    if options.is_dry:
        _tell(name, len(jobs), options)
        return
    batch = NewBatch(place.tenant_id, name[-200:], options.lane, idempotency_key=key)
    done = submit_batch(place.store, batch, jobs)
    for job, submitted in zip(jobs, done.jobs, strict=True):
        _print(job.source.uri, job.source, submitted, done.batch_id, options)


def _parse(address: str) -> VideoRef:
    try:
        return VideoRef.parse_uri(address)
    except ValueError as fault:
        raise RequestRefused(Reason.INVALID_REQUEST, str(fault)) from fault


def _tell(given: str, count: int, options: Options) -> None:
    if options.is_json:
        print_json({"input": to_text(given), "would_submit": count})
    else:
        typer.echo(f"would submit {count}  {escape_for_terminal(given)}")


def _print(given: str, ref: VideoRef, done: Submitted, batch_id: str | None, options: Options) -> None:
    if not options.is_json:
        typer.echo(
            f"{done.job_id}  {escape_for_terminal(given)}" + ("" if done.is_new else "  (submitted before)")
        )
        return
    line: dict[str, Json] = {
        "input": to_text(given),
        "job_id": done.job_id,
        "is_new": done.is_new,
        "source": ref.uri,
        "batch_id": batch_id,
    }
    print_json(line)
