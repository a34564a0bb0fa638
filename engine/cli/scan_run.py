"""What ``fakesieve scan`` does once it has understood its arguments and the sandbox is starting."""

import contextlib
import os
from collections.abc import Sequence

import typer

from engine.backends.select import default_threads
from engine.bundle import ModelBundle
from engine.cli.batch import BatchScanner
from engine.cli.display import RunDisplay
from engine.cli.inputs import Input, find_inputs
from engine.cli.outputs import OutputPlan
from engine.cli.printers import CsvPrinter, JsonLinesPrinter, JsonPrinter, Printer, TablePrinter
from engine.cli.scan_options import DEFAULT_FOLDER, OutputForm, PolicyName, ScanRequest
from engine.cli.tally import Tally
from engine.cli.trust import open_bundle
from engine.errors import EngineError
from engine.output.files import make_folder
from engine.output.names import choose_stems
from engine.policy import Policy, choose_policy, find_policy
from engine.sampling import Sampling
from engine.sandbox.handle import Sandbox
from engine.screen import ScanSettings, ScanTools, open_tools


def answer_request(request: ScanRequest, sandbox: Sandbox) -> int:
    """Load the model, scan everything that was named, and return the exit code."""
    bundle = open_bundle(request.model)
    settings = ScanSettings(
        choose_sampling(request.fps, request.max_samples),
        request.limits,
        policy=name_policy(request.policy, bundle),
        decoder=request.decoder,
    )
    inputs = find_inputs(request.paths)
    plan = _plan_outputs(request, inputs)
    printer = _make_printer(request)
    count = min(request.jobs or default_jobs(), len(inputs))
    engine, precision = request.engine, request.precision
    return run_scan(
        inputs, bundle, settings, sandbox, plan, printer, jobs=count, engine=engine, precision=precision
    )


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
    precision: str = "f32",
) -> int:
    """Scan all inputs, print and write what belongs to each, and return the exit code."""
    threads = max(1, default_threads() // jobs)

    def make_tools() -> ScanTools:
        return open_tools(bundle, sandbox, engine=engine, threads=threads, precision=precision)

    scanner = BatchScanner(
        make_tools, settings, sandbox, jobs=jobs, write=_write_nothing if plan is None else plan.write
    )
    tally = Tally()
    try:
        printer.begin()
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
        plan.write_index(tally.entries, bundle)
    return tally.exit_code


def _write_nothing(*_: object) -> None:
    return None


def _make_printer(request: ScanRequest) -> Printer:
    match request.form:
        case OutputForm.JSON:
            return JsonPrinter(with_patches=request.with_patches)
        case OutputForm.JSONL:
            return JsonLinesPrinter(with_patches=request.with_patches)
        case OutputForm.CSV:
            return CsvPrinter()
        case OutputForm.TABLE:
            return TablePrinter(request.model)


def default_jobs() -> int:
    """Return how many inputs are scanned at a time: one for each core, but each takes half a gigabyte."""
    return max(1, min(4, default_threads()))


def _plan_outputs(request: ScanRequest, inputs: Sequence[Input]) -> OutputPlan | None:
    if request.out is None and not (request.with_overlay or request.with_report):
        return None
    folder = request.out or DEFAULT_FOLDER
    make_folder(folder)
    stems = choose_stems([found.path for found in inputs])
    places = frozenset(os.path.realpath(found.path) for found in inputs)
    return OutputPlan(
        folder,
        tuple(stems),
        request.limits,
        places,
        with_overlay=request.with_overlay,
        with_report=request.with_report,
    )


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
