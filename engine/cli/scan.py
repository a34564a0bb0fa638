"""``fakesieve scan``: videos and pictures in, one row for each out.

Nothing is imported here but what the arguments need: the rest is loaded while the sandbox is starting, for
which the first input waits.
"""

import sys

import typer

from engine.cli import scan_options as options
from engine.errors import Unavailable
from engine.limits import Limits
from engine.model_names import DEFAULT_MODEL
from engine.results import RejectReason
from engine.sandbox.handle import Sandbox


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
    precision: options.Precision = options.PrecisionName.F32,
    decoder: options.Decoder = options.DecoderName.PYAV,
    fps: options.Fps = None,
    max_samples: options.MaxSamples = None,
    policy: options.Thresholds = None,
    jobs: options.Jobs = None,
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
    """Screen videos and pictures for manipulated faces.

    Prints one row for each input, also for one that cannot be read.

    Exit codes: 0 all have a score, 1 error, 2 not understood, 3 some have no score, 130 interrupted.
    """
    limits = options.read_limits(
        max_bytes=max_bytes, max_seconds=max_seconds, max_pixels=max_pixels, max_side=max_side,
        min_side=min_side, max_frames=max_frames, max_streams=max_streams, max_memory=max_memory,
        timeout=timeout, codecs=codecs,
    )  # fmt: skip
    request = options.ScanRequest(
        paths=tuple(paths),
        form=_choose_form(as_json=as_json, as_jsonl=as_jsonl, as_csv=as_csv, with_patches=patches),
        out=out,
        with_patches=patches,
        with_overlay=overlay,
        with_report=report,
        model=model,
        engine=engine.value,
        precision=precision.value,
        decoder=decoder.value,
        fps=fps,
        max_samples=max_samples,
        policy=policy,
        jobs=jobs,
        limits=limits,
    )
    raise typer.Exit(_answer(request, allow_unsandboxed=allow_unsandboxed))


def _answer(request: options.ScanRequest, *, allow_unsandboxed: bool) -> int:
    """Do what was asked for, and return the exit code."""
    _require_stdout()
    with Sandbox.start(request.limits, allow_unsandboxed=allow_unsandboxed) as sandbox:
        # Lazy: decoder, detector and network take 0.3 s to import, in which the sandbox is starting.
        from engine.cli.scan_run import answer_request

        return answer_request(request, sandbox)


def _require_stdout() -> None:
    """Raise Unavailable if stdout was closed, as by ``>&-``, before anything is looked at for nothing."""
    stdout: object = sys.stdout
    if stdout is None:
        raise Unavailable(
            RejectReason.OUTPUT_FAILED,
            "stdout is closed: the results have no place to go",
            "send stdout to a file, or to /dev/null if only the files of --out are wanted",
        )


def _choose_form(*, as_json: bool, as_jsonl: bool, as_csv: bool, with_patches: bool) -> options.OutputForm:
    if as_json + as_jsonl + as_csv > 1:
        raise typer.BadParameter("give one of --json, --jsonl and --csv")
    if with_patches and not (as_json or as_jsonl):
        raise typer.BadParameter("--patches goes with --json or --jsonl; --out writes them as .npz")
    if as_json:
        return options.OutputForm.JSON
    if as_jsonl:
        return options.OutputForm.JSONL
    return options.OutputForm.CSV if as_csv else options.OutputForm.TABLE
