"""``fakesieve scan``: videos and pictures in, one row for each out."""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

import typer

from engine.backends.select import default_threads
from engine.bundle import DEFAULT_MODEL, ModelBundle, load_bundle
from engine.cli import scan_options as options
from engine.cli.batch import BatchScanner
from engine.cli.display import RunDisplay
from engine.cli.inputs import Input, find_inputs
from engine.cli.outputs import OutputPlan
from engine.cli.printers import CsvPrinter, JsonLinesPrinter, JsonPrinter, Printer, TablePrinter
from engine.cli.tally import Tally
from engine.errors import EngineError
from engine.limits import Limits
from engine.output.files import make_folder
from engine.output.names import choose_stems
from engine.sandbox.handle import Sandbox
from engine.screen import ScanSettings, ScanTools, open_tools


def scan(
    paths: options.Paths,
    *,
    as_json: options.AsJson = False,
    as_jsonl: options.AsJsonl = False,
    as_csv: options.AsCsv = False,
    out: options.Out = None,
    overlay: options.Overlay = False,
    report: options.Report = False,
    patches: options.Patches = False,
    model: options.Model = DEFAULT_MODEL,
    engine: options.Engine = options.EngineName.AUTO,
    decoder: options.Decoder = options.DecoderName.PYAV,
    fps: options.Fps = None,
    max_samples: options.MaxSamples = None,
    policy: options.Thresholds = None,
    jobs: options.Jobs = None,
    max_bytes: options.MaxBytes = Limits.size_bytes,
    max_seconds: options.MaxSeconds = Limits.duration_us / 1e6,
    max_pixels: options.MaxPixels = Limits.pixels,
    max_frames: options.MaxFrames = Limits.frames,
    max_streams: options.MaxStreams = Limits.streams,
    max_memory: options.MaxMemory = Limits.memory_bytes,
    timeout: options.Timeout = Limits.wall_s,
    codecs: options.Codecs = Limits.codecs,
    allow_unsandboxed: options.AllowUnsandboxed = False,
) -> None:
    """Screen videos and pictures for manipulated faces.

    Prints one row for each input, also for one that cannot be read.

    Exit codes: 0 all have a score, 1 error, 2 not understood, 3 some have no score, 130 interrupted.
    """
    printer = _choose_printer(as_json=as_json, as_jsonl=as_jsonl, as_csv=as_csv, with_patches=patches)
    limits = Limits(
        size_bytes=max_bytes, duration_us=round(max_seconds * 1e6), pixels=max_pixels, frames=max_frames,
        streams=max_streams, memory_bytes=max_memory, wall_s=timeout, codecs=options.read_codecs(codecs),
    )  # fmt: skip
    sampling = options.choose_sampling(fps, max_samples)
    # Before the model is read: the sandbox needs longer to start, and the first input waits for it.
    with Sandbox.start(limits, allow_unsandboxed=allow_unsandboxed) as sandbox:
        bundle = load_bundle(model)
        settings = ScanSettings(
            sampling, limits, policy=options.name_policy(policy, bundle), decoder=decoder.value
        )
        inputs = find_inputs(paths)
        plan = _plan_outputs(out, inputs, limits, overlay=overlay, report=report)
        count = min(jobs or default_jobs(), len(inputs))
        code = run_scan(inputs, bundle, settings, sandbox, plan, printer, jobs=count, engine=engine.value)
    raise typer.Exit(code)


def run_scan(
    inputs: Sequence[Input],
    bundle: ModelBundle,
    settings: ScanSettings,
    sandbox: Sandbox,
    plan: OutputPlan | None,
    printer: Printer,
    *,
    jobs: int,
    engine: str = "auto",
) -> int:
    """Scan all inputs, print and write what belongs to each, and return the exit code."""
    threads = max(1, default_threads() // jobs)

    def make_tools() -> ScanTools:
        return open_tools(bundle, sandbox, engine=engine, threads=threads)

    scanner = BatchScanner(
        make_tools, settings, sandbox, jobs=jobs, write=_write_nothing if plan is None else plan.write
    )
    tally = Tally()
    try:
        with RunDisplay(len(inputs)) as display:
            for finished in scanner.run(inputs, display):
                with display.set_aside():
                    printer.add(finished.result)
                tally.add(finished)
    except BaseException:
        # Stopped or broken: what was printed stays whole for its reader; stdout itself may be the reason.
        with contextlib.suppress(EngineError, OSError):
            printer.close()
        raise
    printer.close()
    tally.tell_faults()
    if plan is not None and plan.with_report:
        plan.write_index(tally.entries)
    return tally.exit_code


def _write_nothing(*_: object) -> None:
    return None


def _choose_printer(*, as_json: bool, as_jsonl: bool, as_csv: bool, with_patches: bool) -> Printer:
    if as_json + as_jsonl + as_csv > 1:
        raise typer.BadParameter("give one of --json, --jsonl and --csv")
    if with_patches and not (as_json or as_jsonl):
        raise typer.BadParameter("--patches goes with --json or --jsonl; --out writes them as .npz")
    if as_json:
        return JsonPrinter(with_patches=with_patches)
    if as_jsonl:
        return JsonLinesPrinter(with_patches=with_patches)
    return CsvPrinter() if as_csv else TablePrinter()


def default_jobs() -> int:
    """Return how many inputs are scanned at a time: one for each core, but each takes half a gigabyte."""
    return max(1, min(4, default_threads()))


def _plan_outputs(
    out: Path | None, inputs: Sequence[Input], limits: Limits, *, overlay: bool, report: bool
) -> OutputPlan | None:
    if out is None and not (overlay or report):
        return None
    folder = out or options.DEFAULT_FOLDER
    make_folder(folder)
    stems = choose_stems([found.path for found in inputs])
    places = frozenset(os.path.realpath(found.path) for found in inputs)
    return OutputPlan(folder, tuple(stems), limits, places, with_overlay=overlay, with_report=report)
