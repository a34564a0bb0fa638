"""``fakesieve evaluate``: measures a model on labelled videos and pictures."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from engine.backends.select import default_threads
from engine.bundle import ModelBundle
from engine.cli import scan_options as options
from engine.cli.scan_run import choose_sampling, default_jobs, name_policy
from engine.cli.tally import EXIT_UNSCORED
from engine.cli.trust import open_bundle
from engine.evaluation.files import (
    METRICS_NAME,
    SCORES_NAME,
    RunFacts,
    named_estimates,
    write_metrics,
    write_scores,
)
from engine.evaluation.fits import fit_model
from engine.evaluation.frames import draw_peak
from engine.evaluation.manifest import Item, ManifestInvalid, read_items
from engine.evaluation.measures import Evaluation, ItemResult, PeakFace, measure_results
from engine.evaluation.report import MEASURE_NAMES, REPORT_NAME, headline, write_report
from engine.evaluation.run import screen_items
from engine.limits import Limits
from engine.model_names import DEFAULT_MODEL
from engine.output.files import make_folder
from engine.results import RejectReason
from engine.sandbox.handle import Sandbox
from engine.screen import ScanSettings, ScanTools, describe_model, fingerprint_tools, open_tools

EXIT_USAGE = 2


def evaluate(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="DIR_OR_MANIFEST",
            help="CSV with path,label[,method,video_id,mask,subset,compression,pair_id], a folder that "
            "holds manifest.csv, or one with the folders real and fake.",
        ),
    ],
    *,
    out: Annotated[Path, typer.Option(help="Folder for report.html, metrics.json and scores.csv.")] = Path(
        "evaluation"
    ),
    model: Annotated[str, typer.Option(help="Name of a model, or a bundle's folder.")] = DEFAULT_MODEL,
    engine: options.Engine = options.EngineName.AUTO,
    precision: options.Precision = options.PrecisionName.F32,
    max_samples: Annotated[
        int | None, typer.Option(help="Frames looked at per video, at most (default: 600).", min=1)
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(help="Files at a time (default: the cores, 4 at most).", min=1, max=64)
    ] = None,
    max_bytes: options.MaxBytes = Limits.size_bytes,
    max_seconds: options.MaxSeconds = Limits.duration_us / 1e6,
    max_pixels: options.MaxPixels = Limits.pixels,
    max_side: options.MaxSide = Limits.side_px,
    min_side: options.MinSide = Limits.min_side_px,
    max_frames: options.MaxFrames = Limits.frames,
    max_streams: options.MaxStreams = Limits.streams,
    max_memory: options.MaxMemory = Limits.memory_bytes,
    timeout: options.Timeout = Limits.wall_s,
    codecs: options.Codecs = Limits.codecs,
    allow_unsandboxed: options.AllowUnsandboxed = False,
) -> None:
    """Measure a model on labelled files, with intervals, and write a report."""
    limits = options.read_limits(
        max_bytes=max_bytes, max_seconds=max_seconds, max_pixels=max_pixels, max_side=max_side,
        min_side=min_side, max_frames=max_frames, max_streams=max_streams, max_memory=max_memory,
        timeout=timeout, codecs=codecs,
    )  # fmt: skip
    items = _read_items(source)
    bundle = open_bundle(model)
    make_folder(out)  # before hours are spent
    settings = ScanSettings(choose_sampling(None, max_samples), limits, policy=name_policy(None, bundle))
    count = min(jobs or default_jobs(), len(items))
    chosen = {"engine": engine.value, "precision": precision.value}
    threads = max(1, default_threads() // count)
    with Sandbox.start(limits, allow_unsandboxed=allow_unsandboxed) as sandbox:
        tools = [open_tools(bundle, sandbox, threads=threads, **chosen) for _ in range(count)]
        evaluation = measure_results(_screen(items, tools, settings), bundle.thresholds, settings.policy)
        _write_files(out, evaluation, _describe(bundle, tools[0], settings, source), sandbox, limits)
    _print_summary(evaluation, out)
    if evaluation.unscored:
        raise typer.Exit(EXIT_UNSCORED)


def _write_files(
    out: Path, evaluation: Evaluation, facts: RunFacts, sandbox: Sandbox, limits: Limits
) -> None:
    """Write what was measured; the report's pictures are decoded for it once more."""

    def draw(path: Path, peak: PeakFace) -> tuple[bytes, bytes]:
        return draw_peak(path, peak, sandbox, limits)

    write_metrics(out / METRICS_NAME, evaluation, facts, fit_model(evaluation.results, facts.source))
    write_scores(out / SCORES_NAME, evaluation)
    write_report(out / REPORT_NAME, evaluation, facts, draw)


def _read_items(source: Path) -> tuple[Item, ...]:
    """Read the list of files; one that is wrong ends the command as a wrong use."""
    try:
        return read_items(source)
    except ManifestInvalid as error:
        seen = f"error: {RejectReason.INVALID_MANIFEST}: {error}"
        typer.echo(f"{seen}\nhint: see docs/reference/evaluation.md for the columns", err=True)
        raise typer.Exit(EXIT_USAGE) from error


def _screen(
    items: tuple[Item, ...], tools: list[ScanTools], settings: ScanSettings
) -> tuple[ItemResult, ...]:
    """Screen the files; progress goes to a terminal and nowhere else."""
    if not sys.stderr.isatty():
        return screen_items(items, tools, settings, lambda _: None)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("screening", total=len(items))
        return screen_items(items, tools, settings, lambda _: progress.advance(bar))


def _describe(bundle: ModelBundle, tools: ScanTools, settings: ScanSettings, source: Path) -> RunFacts:
    used = describe_model(tools)
    policy = settings.policy
    return RunFacts(
        model=used.name,
        weights_sha256=used.weights_sha256,
        engine=used.engine,
        precision=used.precision,
        fingerprint=fingerprint_tools(tools, settings),
        policy=f"{policy.name} version {policy.version}: low {policy.low:.3g}, high {policy.high:.3g}",
        is_calibrated=tools.calibration is not None,
        card=bundle.card,
        source=source.name or str(source),
        max_samples=settings.sampling.max_samples,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _print_summary(evaluation: Evaluation, out: Path) -> None:
    typer.echo(headline(evaluation))
    for name, estimate in named_estimates(evaluation.overall).items():
        if estimate.value is None:
            continue
        ends = "" if estimate.low is None else f"  95 % interval {estimate.low:.3f} to {estimate.high:.3f}"
        typer.echo(f"{MEASURE_NAMES[name]:<28}{estimate.value:.3f}{ends}")
    if evaluation.unscored:
        typer.echo(f"{len(evaluation.unscored)} of {len(evaluation.results)} files have no score")
    typer.echo(f"report: {out / REPORT_NAME}")
