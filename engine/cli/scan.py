"""``fakesieve scan``: videos and pictures in, one row for each out."""

import os
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from engine.backends.select import default_threads
from engine.bundle import DEFAULT_MODEL, ModelBundle, load_bundle
from engine.cli.batch import MACHINE_REASONS, BatchScanner, Finished
from engine.cli.display import RunDisplay
from engine.cli.inputs import Input, find_inputs
from engine.cli.outputs import INDEX_NAME, OutputPlan
from engine.cli.printers import CsvPrinter, JsonLinesPrinter, JsonPrinter, Printer, TablePrinter
from engine.errors import EngineError
from engine.limits import Limits
from engine.output.files import make_folder
from engine.output.names import choose_stems, escape_for_terminal, to_text
from engine.output.report import IndexEntry, write_index
from engine.policy import DEFAULT_POLICY, Policy, choose_policy, find_policy
from engine.sampling import Sampling
from engine.sandbox.handle import Sandbox
from engine.screen import ScanSettings, ScanTools, open_tools

EXIT_ERROR, EXIT_UNSCORED = 1, 3
DEFAULT_FOLDER = Path("fakesieve-out")


class EngineName(StrEnum):
    """What may run the network."""

    AUTO = "auto"
    ONNXRUNTIME = "onnxruntime"
    OPENVINO = "openvino"
    TORCH = "torch"


class DecoderName(StrEnum):
    """What may decode."""

    PYAV = "pyav"
    DECORD = "decord"


class PolicyName(StrEnum):
    """Which thresholds decide: the model's own or a preset."""

    MODEL = "model"
    BALANCED = "balanced"
    SENSITIVE = "sensitive"
    STRICT = "strict"


_OUTPUT, _LOOK, _LIMITS = "What is written", "How it is looked at", "What an input may cost"


def scan(
    paths: Annotated[list[str], typer.Argument(help="Files, folders and patterns.", show_default=False)],
    *,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print an array of documents.", rich_help_panel=_OUTPUT)
    ] = False,
    as_jsonl: Annotated[
        bool,
        typer.Option("--jsonl", help="Print one document a line, as they come.", rich_help_panel=_OUTPUT),
    ] = False,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print one row for each input.", rich_help_panel=_OUTPUT)
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            help=f"Folder for documents and patch maps (with --overlay or --report: {DEFAULT_FOLDER}).",
            rich_help_panel=_OUTPUT,
            show_default=False,
        ),
    ] = None,
    overlay: Annotated[
        bool, typer.Option("--overlay", help="Write videos with all drawn on them.", rich_help_panel=_OUTPUT)
    ] = False,
    report: Annotated[
        bool, typer.Option("--report", help="Write a page for each input.", rich_help_panel=_OUTPUT)
    ] = False,
    patches: Annotated[
        bool, typer.Option("--patches", help="Put patch maps into the JSON.", rich_help_panel=_OUTPUT)
    ] = False,
    model: Annotated[
        str, typer.Option(help="A name from 'fakesieve model list', or a folder.", rich_help_panel=_LOOK)
    ] = DEFAULT_MODEL,
    engine: Annotated[
        EngineName, typer.Option(help="What runs the network.", rich_help_panel=_LOOK)
    ] = EngineName.AUTO,
    decoder: Annotated[
        DecoderName, typer.Option(help="What decodes.", rich_help_panel=_LOOK)
    ] = DecoderName.PYAV,
    fps: Annotated[
        float | None,
        typer.Option(
            help="Frames looked at per second (default: 1).", min=0.01, max=1000, rich_help_panel=_LOOK
        ),
    ] = None,
    max_samples: Annotated[
        int | None,
        typer.Option(
            help="Frames looked at per video, at most (default: 600).", min=1, rich_help_panel=_LOOK
        ),
    ] = None,
    policy: Annotated[
        PolicyName | None,
        typer.Option(
            help=f"Thresholds of the verdict (default: the model's own, else {DEFAULT_POLICY}).",
            rich_help_panel=_LOOK,
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            help="Inputs at a time (default: the cores, 4 at most).",
            min=1,
            max=64,
            rich_help_panel=_LOOK,
        ),
    ] = None,
    max_bytes: Annotated[int, typer.Option(help="Size of a file.", min=1, rich_help_panel=_LIMITS)] = (
        Limits.size_bytes
    ),
    max_seconds: Annotated[
        float, typer.Option(help="Duration of a video.", min=0.001, max=1e9, rich_help_panel=_LIMITS)
    ] = Limits.duration_us / 1e6,
    max_pixels: Annotated[int, typer.Option(help="Pixels of a frame.", min=1, rich_help_panel=_LIMITS)] = (
        Limits.pixels
    ),
    max_frames: Annotated[int, typer.Option(help="Frames of a video.", min=1, rich_help_panel=_LIMITS)] = (
        Limits.frames
    ),
    max_streams: Annotated[int, typer.Option(help="Streams in a file.", min=1, rich_help_panel=_LIMITS)] = (
        Limits.streams
    ),
    max_memory: Annotated[
        int, typer.Option(help="Bytes that decoding may take.", min=1, max=1 << 48, rich_help_panel=_LIMITS)
    ] = Limits.memory_bytes,
    timeout: Annotated[
        float,
        typer.Option(
            help="Seconds that decoding may keep waiting.", min=0.1, max=1e6, rich_help_panel=_LIMITS
        ),
    ] = Limits.wall_s,
    allow_unsandboxed: Annotated[
        bool,
        typer.Option(
            "--allow-unsandboxed",
            help="Decode without Landlock and seccomp, for files that you trust.",
            rich_help_panel=_LIMITS,
        ),
    ] = False,
) -> None:
    """Screen videos and pictures for manipulated faces.

    Prints one row for each input, also for one that cannot be read.

    Exit codes: 0 all have a score, 1 error, 2 not understood, 3 some have no score, 130 interrupted.
    """
    printer = _choose_printer(as_json=as_json, as_jsonl=as_jsonl, as_csv=as_csv, with_patches=patches)
    bundle = load_bundle(model)
    limits = Limits(
        size_bytes=max_bytes,
        duration_us=round(max_seconds * 1e6),
        pixels=max_pixels,
        streams=max_streams,
        frames=max_frames,
        wall_s=timeout,
        memory_bytes=max_memory,
    )
    settings = ScanSettings(
        sampling=choose_sampling(fps, max_samples),
        limits=limits,
        policy=name_policy(policy, bundle),
        decoder=decoder.value,
    )
    inputs = find_inputs(paths)
    folder = out if out is not None or not (overlay or report) else DEFAULT_FOLDER
    plan = None if folder is None else _plan_outputs(folder, inputs, limits, overlay=overlay, report=report)
    count = min(jobs or default_jobs(), len(inputs))
    with Sandbox.start(limits, allow_unsandboxed=allow_unsandboxed) as sandbox:
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
    tally = _Tally()
    with RunDisplay(len(inputs)) as display:
        for finished in scanner.run(inputs, display):
            with display.set_aside():
                printer.add(finished.result)
            tally.add(finished)
    printer.close()
    tally.tell_faults()
    if plan is not None and plan.with_report:
        write_index(tally.entries, plan.folder / INDEX_NAME, note=plan.headline)
    return tally.exit_code


def _write_nothing(*_: object) -> None:
    return None


class _Tally:
    """Counts what ended how, and keeps the little that is told at the end."""

    def __init__(self) -> None:
        self.entries: list[IndexEntry] = []
        self._faults: list[tuple[str, str]] = []
        self._machine, self._unscored = 0, 0

    def add(self, finished: Finished) -> None:
        result = finished.result
        name = escape_for_terminal(to_text(result.path))
        if finished.entry is not None:
            self.entries.append(finished.entry)
        if finished.output_fault is not None:
            self._note(name, finished.output_fault)
            self._machine += 1
        if result.fault is not None:
            fault = result.fault
            self._note(name, EngineError(fault.reason, fault.message, fault.hint))
            self._machine += fault.reason in MACHINE_REASONS
        self._unscored += not result.outcome.has_score

    def _note(self, name: str, fault: EngineError) -> None:
        seen = escape_for_terminal(to_text(fault.seen))
        self._faults.append((f"{name}: {fault.reason}: {seen}", escape_for_terminal(to_text(fault.hint))))

    def tell_faults(self) -> None:
        """Say on stderr why inputs failed, below whatever stands on stdout."""
        for seen, hint in self._faults:
            typer.echo(f"error: {seen}\nhint: {hint}", err=True)

    @property
    def exit_code(self) -> int:
        if self._machine:
            return EXIT_ERROR
        return EXIT_UNSCORED if self._unscored else 0


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


def choose_sampling(fps: float | None, max_samples: int | None) -> Sampling:
    """Return the sampling for what was asked, the defaults for the rest."""
    usual = Sampling()
    most = usual.max_samples if max_samples is None else max_samples
    return Sampling(
        rate_hz=usual.rate_hz if fps is None else fps,
        min_samples=min(usual.min_samples, most),
        max_samples=most,
    )


def name_policy(name: PolicyName | None, bundle: ModelBundle) -> Policy:
    """Return the policy of a name; without one the model's own, or the default preset if it has none."""
    own = choose_policy(bundle.name, bundle.thresholds)
    if name is None:
        return own
    if name is not PolicyName.MODEL:
        return find_policy(name.value)
    if own.name != bundle.name:
        raise typer.BadParameter(f"no thresholds were fitted for {bundle.name}; name a preset")
    return own


def default_jobs() -> int:
    """Return how many inputs are scanned at a time: one for each core, but each takes half a gigabyte."""
    return max(1, min(4, default_threads()))


def _plan_outputs(
    folder: Path, inputs: Sequence[Input], limits: Limits, *, overlay: bool, report: bool
) -> OutputPlan:
    make_folder(folder)
    stems = choose_stems([found.path for found in inputs])
    places = frozenset(os.path.realpath(found.path) for found in inputs)
    return OutputPlan(folder, tuple(stems), limits, places, with_overlay=overlay, with_report=report)
