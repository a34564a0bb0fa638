"""One name for everything that can move a number: the pipeline's fingerprint.

Two results with the same fingerprint and the same input agree, up to the last bits that processors and thread
counts change; results with different fingerprints must not be mixed. Thresholds of policies are not in it,
because a score can be decided again without scoring again.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from enum import Enum
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from engine.backends.protocol import Backend
from engine.bundle import ModelBundle
from engine.faces.crop import CROP_MARGIN
from engine.faces.detect import FaceDetector
from engine.faces.link import TRACK_RULES, TrackRules
from engine.faces.quality import QUALITY_RULES, QualityRules
from engine.limits import Limits
from engine.score import ScoringParams

if TYPE_CHECKING:  # types only: the fingerprint reads the fields of the sampling and plans nothing
    from engine.sampling import Sampling

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]

CODE = (
    "container.py",
    "probe.py",
    "sampling.py",
    "decode.py",
    "decoders/*.py",
    "targets.py",
    "faces/*.py",
    "predict.py",
    "collect.py",
    "evidence.py",
    "screen.py",
    "backends/*.py",
    "network/*.py",
    "aggregate.py",
    "regions.py",
    "segments.py",
    "missing.py",
    "score.py",
    "calibrate.py",
)
"""Modules whose text is part of the fingerprint: a changed comment costs a new scan, a missed change would
cost mixed results. ``network/*.py`` is there for the engine ``torch``; others run the bundle's graph."""

LIMITS = ("pixels", "frames", "memory_bytes")
"""Limits that take samples away and leave a result: a picture that grows in mid-video, frames that an index
lists and the file lacks, a decoder out of memory. With the same limit the same samples are lost.

``wall_s`` takes some away too, but the load of the machine says which, so that equal values would not make
equal results; the result names what was cut off. All others refuse an input whole, and give no number.
"""

DECODER_PACKAGES = {"pyav": "av", "decord": "decord2"}
ENGINE_PACKAGES = {
    "onnxruntime": "onnxruntime",
    "openvino": "openvino",
    "torch": "torch",
    "onnxruntime-cuda": "onnxruntime-gpu",
    "onnxruntime-tensorrt": "onnxruntime-gpu",
}
# Packages that bring the same module; one of them is installed.
_SAME_MODULE = {"onnxruntime": "onnxruntime-gpu"}


@dataclass(frozen=True)
class PipelineParts:
    """What the fingerprint is made of; every field holds values that JSON knows."""

    network: Mapping[str, Json]  # name, input size, grid, hash of every file
    calibration: Mapping[str, Json] | None
    engine: Mapping[str, Json]  # name, version, precision
    detector: Mapping[str, Json]  # name, hash, parameters
    tracking: Mapping[str, Json]
    quality: Mapping[str, Json]
    crop: Mapping[str, Json]
    sampling: Mapping[str, Json]
    limits: Mapping[str, Json]  # those of ``LIMITS``
    decoder: Mapping[str, Json]  # name, version, digest of its binaries (FFmpeg among them)
    libraries: Mapping[str, Json]
    scoring: Mapping[str, Json]
    code: str


def pipeline_fingerprint(parts: PipelineParts) -> str:
    """Return the SHA-256, hex, of the canonical JSON of the parts."""
    return hashlib.sha256(canonical_json(to_json(parts)).encode()).hexdigest()


def canonical_json(value: Json) -> str:
    """Return the one text of a value: keys sorted, no spaces, shortest digits that read back the same.

    Raises ValueError for numbers that are not finite, which JSON does not know.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def to_json(value: object) -> Json:
    """Bring dataclasses, mappings, sequences, enums and plain values into the form of JSON.

    A float that is whole is written as an integer, so that 1 and 1.0 are the same parameter. Raises
    TypeError for anything else.
    """
    if is_dataclass(value) and not isinstance(value, type):
        return to_json(asdict(value))
    if isinstance(value, Enum):
        return to_json(value.value)
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        return int(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in cast(Mapping[Any, object], value).items()}
    if isinstance(value, Sequence):
        return [to_json(item) for item in cast(Sequence[object], value)]
    raise TypeError(f"{type(value).__name__} has no JSON form")


def describe_pipeline(
    bundle: ModelBundle,
    backend: Backend,
    detector: FaceDetector,
    sampling: "Sampling",
    *,
    decoder: str = "pyav",
    limits: Limits | None = None,
    scoring: ScoringParams | None = None,
    tracking: TrackRules = TRACK_RULES,
    quality: QualityRules = QUALITY_RULES,
) -> PipelineParts:
    """Gather everything that can move a number of a scan with these parts."""
    calibration = bundle.calibration
    return PipelineParts(
        network={
            "name": bundle.network,
            "input_size": bundle.input_size,
            "grid": bundle.grid,
            "files": to_json(dict(bundle.files)),
        },
        calibration=None if calibration is None else _fields(calibration),
        engine={
            "name": backend.name,
            "precision": backend.precision,
            "version": _version(ENGINE_PACKAGES.get(backend.name, backend.name)),
        },
        detector={
            "name": detector.name,
            "sha256": detector.sha256,
            "parameters": to_json(detector.parameters),
        },
        tracking=_fields(tracking),
        quality=_fields(quality),
        crop={"margin": CROP_MARGIN, "size": bundle.input_size},
        sampling=_fields(sampling),
        limits={name: value for name, value in _fields(limits or Limits()).items() if name in LIMITS},
        decoder={"name": decoder, **_decoder_facts(DECODER_PACKAGES.get(decoder, decoder))},
        libraries={name: _version(name) for name in ("numpy", "opencv-python-headless", "onnxruntime")},
        scoring=_fields(scoring or ScoringParams()),
        code=_own_code(),
    )


# Once for a process: it runs the code that it has loaded, whatever an update puts in its place meanwhile.
@cache
def _own_code() -> str:
    return code_digest()


@cache
def _decoder_facts(package: str) -> Mapping[str, Json]:
    return describe_package(package)


def _fields(value: object) -> dict[str, Json]:
    form = to_json(value)
    assert isinstance(form, dict)
    return form


def describe_package(name: str) -> dict[str, Json]:
    """Return the version of an installed package and a digest of its binaries, as its wheel lists them.

    The wheel of a decoder carries its own FFmpeg, so this names the build that decodes without loading it.
    """
    try:
        found = distribution(name)
    except PackageNotFoundError:  # importable without metadata, as from a bare folder
        return {"version": None, "binaries": None}
    lines = (found.read_text("RECORD") or "").splitlines()
    binaries = sorted(line for line in lines if ".so" in line.split(",")[0])
    return {"version": found.version, "binaries": hashlib.sha256("\n".join(binaries).encode()).hexdigest()}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        other = _SAME_MODULE.get(package)
        return None if other is None else _version(other)


def code_digest(folder: Path = Path(__file__).parent, patterns: Sequence[str] = CODE) -> str:
    """Return the SHA-256 of the text of the modules that compute numbers, with their names."""
    digest = hashlib.sha256()
    for path in sorted({path for pattern in patterns for path in folder.glob(pattern)}):
        text = path.read_bytes().replace(b"\r\n", b"\n")
        digest.update(f"{path.relative_to(folder).as_posix()}\0{len(text)}\0".encode() + text)
    return digest.hexdigest()
