"""``fakesieve erase``: a video leaves every store, and a receipt says so."""

import sys
import time
from datetime import UTC
from pathlib import Path
from typing import Annotated

import typer

from api.calls.paths import fill_path
from api.cli.connect import open_client
from api.cli.shown import DryRun, show_one, show_whole
from api.client import Client
from api.schemas.erasure import ErasureOut
from api.schemas.videos import VideoOut
from engine.output.names import escape_for_terminal
from fakesieve.cli.lists import AsJson
from fakesieve.cli.printing import dump_line, open_output
from fakesieve.errors import FleetError, RequestRefused, Unavailable
from fakesieve.reasons import Reason
from fakesieve.values.erasure import ErasureState
from fakesieve.values.videos import SourceKind

_PAUSE_S = 2.0


def erase(
    ids: Annotated[list[str], typer.Argument(metavar="VIDEO_ID...", show_default=False)],
    *,
    receipt: Annotated[
        Path | None, typer.Option(help="File for the receipts, one JSON object a line; waits for them.")
    ] = None,
    with_sources: Annotated[
        bool, typer.Option("--with-sources", help="Also the objects in your own buckets.")
    ] = False,
    dry_run: DryRun = False,
    yes: Annotated[bool, typer.Option("--yes", "--no-input", help="Do not ask.")] = False,
    timeout: Annotated[float, typer.Option(min=0.0, help="Seconds to wait for the receipts.")] = 300.0,
    as_json: AsJson = False,
) -> None:
    """Erase videos with all that was found in them. There is no way back."""
    with open_client() as client:
        _announce(client, ids, with_sources=with_sources)
        if dry_run:
            return
        if not yes:
            _ask(len(ids))
        done, refused = _begin(client, ids, with_sources=with_sources)
        if receipt is not None:
            done = _wait(client, done, timeout)
            with open_output(receipt) as output:
                output.writelines(dump_line(show_whole(each)) for each in done)
    for each in done:
        lines = {"video": each.video_id, "erasure": each.id, "state": each.state, "sha256": each.sha256}
        show_one(each, lines, as_json=as_json)
    if refused:
        seen = "; ".join(f"{name}: {fault.seen}" for name, fault in refused.items())
        raise RequestRefused(
            next(iter(refused.values())).reason, seen, "erase these again when nothing holds them"
        )


def _begin(
    client: Client, ids: list[str], *, with_sources: bool
) -> tuple[list[ErasureOut], dict[str, FleetError]]:
    """Begin every erasure that may begin; returns those, and what was said against the others by video."""
    begun, refused = list[ErasureOut](), dict[str, FleetError]()
    for each in ids:
        try:
            begun.append(client.videos.erase(each, with_sources=with_sources))
        except FleetError as fault:  # what was begun has no way back: its receipt is told all the same
            refused[each] = fault
    return begun, refused


def _announce(client: Client, ids: list[str], *, with_sources: bool) -> None:
    """Say on stderr what is about to go; refuses a video that is not there before any is erased."""
    for video in [client.videos.get(each) for each in ids]:
        typer.echo(escape_for_terminal(_describe(video, with_sources=with_sources)), err=True)


def _describe(video: VideoOut, *, with_sources: bool) -> str:
    """Say what would go with a video, or that a legal hold keeps all of it."""
    if video.hold_time is not None:
        since = f"{video.hold_time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
        return f"{video.id}  stays: it is under a legal hold since {since}"
    also = "and its objects" if with_sources else "but not its objects"
    places = {True: list[str](), False: list[str]()}
    for source in video.sources or []:
        places[source.kind is SourceKind.UPLOAD].append(source.uri)
    parts = [f"{video.id}  {video.size_bytes} bytes"]
    parts += [
        f"{says} {', '.join(places[own])}"
        for says, own in (("with its uploads", True), (also, False))
        if places[own]
    ]
    return ", ".join(parts)


def _ask(count: int) -> None:
    videos = "1 video" if count == 1 else f"{count} videos"
    if not sys.stdin.isatty():
        seen = f"{videos} would be erased and nobody is there to confirm it"
        raise RequestRefused(Reason.INVALID_REQUEST, seen, "add --yes, or look first with --dry-run")
    typer.confirm(f"Erase {videos} for good?", abort=True, err=True)


def _wait(client: Client, begun: list[ErasureOut], timeout_s: float) -> list[ErasureOut]:
    """Return the receipts once each is complete. Raises Unavailable when the time is over."""
    end = time.monotonic() + timeout_s
    done = begun
    while any(each.state is ErasureState.RUNNING for each in done):
        if time.monotonic() >= end:
            seen = f"not every erasure was complete within {timeout_s:g} s"
            receipts = ", ".join(fill_path("/v1/erasures/{}", each.id) for each in done)
            raise Unavailable(Reason.DEADLINE_EXCEEDED, seen, f"the fleet goes on; see {receipts}")
        time.sleep(_PAUSE_S)
        done = [client.videos.erasure(each.id) for each in done]
    return done
