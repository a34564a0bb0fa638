"""What ``fakesieve scan`` can be told: its options by subject. Nothing heavy is imported for them."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from engine.limits import CODECS, Limits
from engine.policy import DEFAULT_POLICY

DEFAULT_FOLDER = Path("fakesieve-out")
_OUTPUT, _LOOK, _LIMITS = "What is written", "How it is looked at", "What an input may cost"


class EngineName(StrEnum):
    """What may run the network."""

    AUTO = "auto"
    ONNXRUNTIME = "onnxruntime"
    OPENVINO = "openvino"
    TORCH = "torch"
    ONNXRUNTIME_CUDA = "onnxruntime-cuda"
    ONNXRUNTIME_TENSORRT = "onnxruntime-tensorrt"


class PrecisionName(StrEnum):
    """Which arithmetic the network may be computed in."""

    F32 = "f32"
    BF16 = "bf16"
    F16 = "f16"


class DecoderName(StrEnum):
    """What may decode."""

    PYAV = "pyav"
    DECORD = "decord"


class OutputForm(StrEnum):
    """What stands on stdout."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"


class PolicyName(StrEnum):
    """Which thresholds decide: the model's own or a preset."""

    MODEL = "model"
    BALANCED = "balanced"
    SENSITIVE = "sensitive"
    STRICT = "strict"


Paths = Annotated[
    list[str], typer.Argument(metavar="PATH", help="Files, folders and patterns.", show_default=False)
]

# What is written.
AsJson = Annotated[bool, typer.Option("--json", help="Print an array of documents.", rich_help_panel=_OUTPUT)]
AsJsonl = Annotated[
    bool, typer.Option("--jsonl", help="Print one document a line, as they come.", rich_help_panel=_OUTPUT)
]
AsCsv = Annotated[bool, typer.Option("--csv", help="Print one row for each input.", rich_help_panel=_OUTPUT)]
Out = Annotated[
    Path | None,
    typer.Option(
        help=f"Folder for documents and patch maps (with --overlay or --report: {DEFAULT_FOLDER}).",
        rich_help_panel=_OUTPUT,
        show_default=False,
    ),
]
Overlay = Annotated[
    bool, typer.Option("--overlay", help="Write videos with all drawn on them.", rich_help_panel=_OUTPUT)
]
Report = Annotated[
    bool, typer.Option("--report", help="Write a page for each input.", rich_help_panel=_OUTPUT)
]
Patches = Annotated[
    bool, typer.Option("--patches", help="Put patch maps into the JSON.", rich_help_panel=_OUTPUT)
]

# How it is looked at.
Model = Annotated[
    str, typer.Option(help="A name from 'fakesieve model list', or a folder.", rich_help_panel=_LOOK)
]
Engine = Annotated[EngineName, typer.Option(help="What runs the network.", rich_help_panel=_LOOK)]
Precision = Annotated[
    PrecisionName,
    typer.Option(
        help="Arithmetic of the network: bf16 with --engine openvino on a processor that has it, f16 with "
        "--engine onnxruntime-tensorrt. Scores move with it.",
        rich_help_panel=_LOOK,
    ),
]
Decoder = Annotated[DecoderName, typer.Option(help="What decodes.", rich_help_panel=_LOOK)]
Fps = Annotated[
    float | None,
    typer.Option(
        help="Frames looked at per second (default: 1). Of each video at least 32 are looked at, so a rate "
        "below 32 over its seconds changes nothing.",
        min=0.01,
        max=1000,
        rich_help_panel=_LOOK,
    ),
]
MaxSamples = Annotated[
    int | None,
    typer.Option(help="Frames looked at per video, at most (default: 600).", min=1, rich_help_panel=_LOOK),
]
Thresholds = Annotated[
    PolicyName | None,
    typer.Option(
        help=f"Thresholds of the verdict (default: the model's own, else {DEFAULT_POLICY}).",
        rich_help_panel=_LOOK,
    ),
]
Jobs = Annotated[
    int | None,
    typer.Option(
        help="Inputs at a time (default: the cores, 4 at most).", min=1, max=64, rich_help_panel=_LOOK
    ),
]

# What an input may cost.
MaxBytes = Annotated[int, typer.Option(help="Size of a file.", min=1, rich_help_panel=_LIMITS)]
MaxSeconds = Annotated[
    float,
    typer.Option(help="Duration of a video.", min=0.001, max=1e9, rich_help_panel=_LIMITS),
]
MaxPixels = Annotated[int, typer.Option(help="Pixels of a frame.", min=1, rich_help_panel=_LIMITS)]
MaxFrames = Annotated[
    int, typer.Option(help="Frames of a video.", min=1, max=4_000_000, rich_help_panel=_LIMITS)
]  # times of more would not fit into one message of the sandbox
MaxStreams = Annotated[int, typer.Option(help="Streams in a file.", min=1, rich_help_panel=_LIMITS)]
MaxSide = Annotated[
    int, typer.Option(help="Longer side of a frame in pixels.", min=1, max=32_766, rich_help_panel=_LIMITS)
]  # OpenCV moves no picture with a longer one
MinSide = Annotated[
    int, typer.Option(help="Shorter side of a frame in pixels.", min=1, max=32_766, rich_help_panel=_LIMITS)
]
MaxMemory = Annotated[
    int, typer.Option(help="Bytes that decoding may take.", min=1, max=1 << 48, rich_help_panel=_LIMITS)
]
Timeout = Annotated[
    float,
    typer.Option(
        help="Seconds that decoding may keep waiting.",
        min=0.1,
        max=1e6,
        rich_help_panel=_LIMITS,
    ),
]
Codecs = Annotated[
    str, typer.Option(help="Codecs of videos that are accepted, by commas.", rich_help_panel=_LIMITS)
]
AllowUnsandboxed = Annotated[
    bool,
    typer.Option(
        "--allow-unsandboxed",
        help="Decode without Landlock and seccomp, for files that you trust.",
        rich_help_panel=_LIMITS,
    ),
]


def read_codecs(text: str) -> str:
    """Return the codecs of ``--codecs`` in the form of ``Limits``."""
    names = sorted({name.strip().lower() for name in text.split(",") if name.strip()})
    if not names or set(names) - set(CODECS):
        raise typer.BadParameter(f"codecs are {', '.join(CODECS)}; give some of them by commas, not {text!r}")
    return ",".join(names)


def read_limits(
    *,
    max_bytes: int,
    max_seconds: float,
    max_pixels: int,
    max_side: int,
    min_side: int,
    max_frames: int,
    max_streams: int,
    max_memory: int,
    timeout: float,
    codecs: str,
) -> Limits:
    """Return what an input may cost, from the options that say it: one definition for all commands."""
    if min_side > max_side:
        raise typer.BadParameter(f"--min-side {min_side} is above --max-side {max_side}: nothing could pass")
    return Limits(
        size_bytes=max_bytes,
        duration_us=round(max_seconds * 1e6),
        pixels=max_pixels,
        side_px=max_side,
        min_side_px=min_side,
        frames=max_frames,
        streams=max_streams,
        memory_bytes=max_memory,
        wall_s=timeout,
        codecs=read_codecs(codecs),
    )


@dataclass(frozen=True)
class ScanRequest:
    """What the command line asks for, as it was understood; null stands for what was not said."""

    paths: tuple[str, ...]
    form: OutputForm
    out: Path | None
    with_patches: bool
    with_overlay: bool
    with_report: bool
    model: str
    engine: str
    precision: str
    decoder: str
    fps: float | None
    max_samples: int | None
    policy: PolicyName | None
    jobs: int | None
    limits: Limits
