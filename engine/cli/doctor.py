"""``fakesieve doctor``: says whether this machine can scan, and what to do about what is missing.

What a check needs is imported by the check itself: a package that is missing or broken must be told as one
finding among the others, and not keep them from being looked at.
"""

import json
import os
import platform
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import typer

from engine.errors import EngineError
from engine.limits import format_size

EXIT_ERROR = 1
_PACKAGES = ("av", "numpy", "opencv-python-headless", "onnxruntime", "jinja2", "rich", "typer")
_LEAST_SPACE_BYTES = 500_000_000
_FFMPEG_PARTS = ("libavformat", "libavcodec", "libavutil", "libswscale")


class Status(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Check:
    """One thing that was looked at. A hint says what to do unless all is well."""

    name: str
    status: Status
    seen: str
    hint: str = ""

    def __post_init__(self) -> None:
        if (self.status is Status.OK) == bool(self.hint):
            raise ValueError("a check has a hint exactly when something is amiss")


def doctor(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of lines.")] = False,
    model: Annotated[
        str | None, typer.Option(help="The model to check (default: that of scan).", show_default=False)
    ] = None,
) -> None:
    """Check that this machine can scan. Exit code 1 if something that scanning needs is missing."""
    tell(run_checks(model), as_json=as_json)


def tell(checks: Sequence[Check], *, as_json: bool) -> None:
    """Print what was found. Raises ``typer.Exit`` with code 1 where a check failed, else 0."""
    if as_json:
        typer.echo(json.dumps([asdict(check) for check in checks], indent=1))
    else:
        for check in checks:
            typer.echo(f"{check.status:<5} {check.name}: {check.seen}")
            if check.hint:
                typer.echo(f"      hint: {check.hint}")
    raise typer.Exit(EXIT_ERROR if any(check.status is Status.FAIL for check in checks) else 0)


def run_checks(model: str | None = None) -> list[Check]:
    """Look at everything that scanning needs; what fails does not stop the rest."""
    steps: tuple[tuple[str, Callable[[], Sequence[Check]]], ...] = (
        ("python", lambda: [check_python()]),
        ("packages", lambda: [check_packages()]),
        ("FFmpeg", lambda: [check_ffmpeg()]),
        ("processor", lambda: [check_cpu()]),
        ("engines", check_engines),
        ("sandbox", lambda: [check_sandbox()]),
        ("face detector", lambda: [check_detector()]),
        ("model", lambda: [check_model(model)]),
        ("temporary folder", lambda: [check_space()]),
    )
    return [check for name, step in steps for check in guard(name, step)]


def guard(name: str, step: Callable[[], Sequence[Check]]) -> Sequence[Check]:
    """Take a step; what it raises is told as a check that failed."""
    try:
        return step()
    except EngineError as fault:
        return [Check(name, Status.FAIL, f"{fault.reason}: {fault.seen}", fault.hint)]
    except ImportError as fault:
        hint = "install fakesieve anew: pip install --force-reinstall fakesieve"
        return [Check(name, Status.FAIL, f"{fault}", hint)]
    except Exception as fault:  # noqa: BLE001 - edge of one check: it is told, and the others go on
        traceback.print_exc()
        hint = "this is a fault of fakesieve or of the machine: please report it with the lines above"
        return [Check(name, Status.FAIL, f"{type(fault).__name__}: {fault}", hint)]


def check_python() -> Check:
    """Whether the interpreter is one that this program is made for."""
    seen = f"{platform.python_version()} ({sys.executable}), {platform.platform(terse=True)}"
    if (3, 11) <= sys.version_info[:2] < (3, 14):
        return Check("python", Status.OK, seen)
    return Check("python", Status.WARN, seen, "use Python 3.11, 3.12 or 3.13")


def check_packages() -> Check:
    """Which libraries are installed."""
    found: list[str] = []
    missing: list[str] = []
    for name in _PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    if missing:
        seen = f"missing: {', '.join(missing)}"
        return Check("packages", Status.FAIL, seen, f"pip install {' '.join(missing)}")
    return Check("packages", Status.OK, ", ".join(found))


def check_ffmpeg() -> Check:
    """Which FFmpeg the decoder carries, and whether it can write overlays."""
    # Lazy, as said at the top.
    import av

    versions = {name: ".".join(map(str, av.library_versions[name])) for name in _FFMPEG_PARTS}
    seen = ", ".join(f"{name} {number}" for name, number in versions.items())
    if "libx264" in av.codecs_available:
        return Check("FFmpeg", Status.OK, f"{seen}, with libx264")
    hint = "overlay videos need it: install the av wheel from PyPI (pip install --force-reinstall av)"
    return Check("FFmpeg", Status.WARN, f"{seen}, without libx264", hint)


def check_cpu() -> Check:
    """How many cores may be used, and of which processor."""
    usable = len(os.sched_getaffinity(0))
    return Check("processor", Status.OK, f"{usable} of {os.cpu_count()} cores, {_processor_name()}")


def _processor_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def check_engines() -> list[Check]:
    """Which engines can run the network; only the first one is needed."""
    # Lazy, as said at the top.
    from engine.backends.select import list_engines

    checks: list[Check] = []
    for place, engine in enumerate(list_engines()):
        name = f"engine {engine.name}"
        if engine.refusal is None:
            checks.append(Check(name, Status.OK, f"version {engine.version}"))
        elif place:
            checks.append(Check(name, Status.OK, f"optional and not there: {engine.refusal}"))
        else:
            checks.append(Check(name, Status.FAIL, engine.refusal, engine.hint or "install it"))
    return checks


def check_sandbox() -> Check:
    """How well the decoder is confined."""
    # Lazy, as said at the top.
    from engine.sandbox.handle import Sandbox, SandboxLevel

    with Sandbox.start() as sandbox:
        state = sandbox.inspect()
    if state.level is SandboxLevel.FULL:
        return Check("sandbox", Status.OK, state.description)
    hint = (
        "use a kernel with Landlock or seccomp; until then scan, evaluate and demo need --allow-unsandboxed"
    )
    return Check("sandbox", Status.FAIL, state.description, hint)


def check_detector() -> Check:
    """Whether the face detector loads."""
    # Lazy, as said at the top.
    from engine.faces.detect import load_detector

    detector = load_detector()
    return Check("face detector", Status.OK, f"{detector.name}, {detector.sha256[:12]}")


def check_model(name: str | None) -> Check:
    """Whether the model's files are those of its manifest and the default engine can load it."""
    # Lazy, as said at the top.
    from engine.backends.select import choose_backend
    from engine.cli.trust import open_bundle
    from engine.model_names import DEFAULT_MODEL

    bundle = open_bundle(name or DEFAULT_MODEL)
    backend = choose_backend(bundle, threads=1)
    seen = f"{bundle.name} ({bundle.network}), weights {bundle.weights_sha256[:12]}, on {backend.name}"
    signed = "" if bundle.signed_by is None else f", which {bundle.signed_by} signed"
    return Check("model", Status.OK, f"{seen}; all hashes as in the manifest{signed}")


def check_space() -> Check:
    """Whether there is room for temporary files."""
    folder = "no usable one"
    try:
        folder = tempfile.gettempdir()  # raises where no candidate can be written
        free = shutil.disk_usage(folder).free
        with tempfile.NamedTemporaryFile(dir=folder):
            pass
    except OSError as fault:
        hint = "make the folder writable, or set TMPDIR to one that is"
        return Check("temporary folder", Status.WARN, f"{folder}: {fault.strerror}", hint)
    seen = f"{folder}, {format_size(free)} free"
    if free < _LEAST_SPACE_BYTES:
        return Check("temporary folder", Status.WARN, seen, "free some space, or set TMPDIR elsewhere")
    return Check("temporary folder", Status.OK, seen)
