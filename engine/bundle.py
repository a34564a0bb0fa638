"""A model bundle: one folder with weights, graphs and a manifest that names the hash of every file.

Nothing of a bundle is parsed before its hash is checked; its graphs may refer to files of the bundle only.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

from engine.calibrate import Calibration
from engine.errors import BundleInvalid
from engine.model_names import DEFAULT_MODEL
from engine.onnx_files import external_locations
from engine.policy import Threshold
from engine.results import RejectReason

MODELS_FOLDER = Path(__file__).parent / "models"
MANIFEST, WEIGHTS, GRAPH, TRIAGE_GRAPH = "manifest.json", "weights.safetensors", "model.onnx", "triage.onnx"
SIGNATURE = "manifest.sig"  # beside the manifest, where somebody signed it
SCHEMA_VERSION = 1
_MANIFEST_BYTES_MAX = 1 << 20
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class ModelBundle:
    """What a bundle's manifest says; its files have the hashes that stand here."""

    directory: Path
    name: str
    network: str  # "lv-compact" or "lv-xception"
    input_size: int  # side of the crops in pixels
    grid: int  # side of the patch map
    has_projection: bool
    files: Mapping[str, str]  # file name to SHA-256 in hex
    calibration: Calibration | None = None  # null: scores of this model are not probabilities
    thresholds: tuple[Threshold, ...] = ()
    card: Mapping[str, str] = field(default_factory=dict[str, str])  # what a reader should know, by subject
    # How it was read, not what it says: so no part of whether two are the same.
    manifest_sha256: str = field(default="", compare=False)  # of the manifest's bytes
    signed_by: str | None = field(default=None, compare=False)  # id of a trusted key, if one was asked for

    def __post_init__(self) -> None:
        if not self.name or not self.network or self.input_size < 1 or self.grid < 1:
            raise ValueError("a bundle has a name, a network and sizes from one")
        for name, digest in self.files.items():
            if not _FILE_NAME.fullmatch(name) or name in (MANIFEST, SIGNATURE):
                raise ValueError(f"{name!r} is no name of a file of a bundle")
            if not _SHA256.fullmatch(digest):
                raise ValueError(f"the hash of {name} is not 64 hexadecimal digits")
        if missing := {WEIGHTS, GRAPH} - set(self.files):
            raise ValueError(f"{', '.join(sorted(missing))} is missing")

    @property
    def weights_sha256(self) -> str:
        """Hash of the weights: what names a model in results."""
        return self.files[WEIGHTS]

    def path(self, file: str) -> Path:
        """Return where a file of the bundle lies. Raises BundleInvalid if it has none of that name."""
        if file not in self.files:
            raise _invalid(f"{self.name} has no {file}", "import or train it again with this version")
        return self.directory / file


def load_bundle(name_or_dir: str | Path = DEFAULT_MODEL, trusted: Path | None = None) -> ModelBundle:
    """Read and verify a bundle: a name that ``list_bundles`` gives, or a folder.

    ``trusted`` is a PEM file of public keys, one of which must have signed the manifest; without it any
    bundle that is whole will do. Raises BundleInvalid naming the file that is missing, altered, malformed or
    not signed.
    """
    directory = find_bundle(name_or_dir)
    bundle = read_manifest(directory, trusted)
    for file, digest in bundle.files.items():
        _verify_file(directory / file, digest)
    for file in bundle.files:
        if file.endswith(".onnx"):
            _verify_locations(directory / file, bundle)
    return bundle


def find_bundle(name_or_dir: str | Path) -> Path:
    """Return the folder that a name or path means. Raises BundleInvalid if there is none."""
    path = Path(name_or_dir)
    shipped = MODELS_FOLDER / path
    try:
        if len(path.parts) == 1 and (shipped / MANIFEST).is_file():
            return shipped
        if (path / MANIFEST).is_file():
            return path
    except OSError as fault:  # a name longer than the system takes, a folder that may not be read
        raise _invalid(
            f"no model {str(name_or_dir)[:80]!r}: {fault.strerror}", "give a model's name"
        ) from fault
    known = ", ".join(list_bundles()) or "none"
    raise _invalid(
        f"no model {str(name_or_dir)!r}", f"known models: {known}; or give a folder with {MANIFEST}"
    )


def list_bundles(folder: Path = MODELS_FOLDER) -> tuple[str, ...]:
    """Return the names of the bundles in a folder, by default those that are shipped."""
    return tuple(sorted(manifest.parent.name for manifest in folder.glob(f"*/{MANIFEST}")))


def read_manifest(directory: Path, trusted: Path | None = None) -> ModelBundle:
    """Read the manifest without looking at the other files. Raises BundleInvalid as ``load_bundle`` does."""
    path = directory / MANIFEST
    try:
        with path.open("rb") as stream:
            text = stream.read(_MANIFEST_BYTES_MAX + 1)
        if len(text) > _MANIFEST_BYTES_MAX:
            raise ValueError(f"larger than {_MANIFEST_BYTES_MAX} bytes")
        signed_by = None if trusted is None else _find_signer(text, directory, trusted)
        bundle = _bundle_from_json(directory, json.loads(text))
        return replace(bundle, manifest_sha256=hashlib.sha256(text).hexdigest(), signed_by=signed_by)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as fault:
        raise _invalid(f"{path} cannot be read: {fault!r}", "import or train the model again") from fault


def _find_signer(manifest: bytes, directory: Path, trusted: Path) -> str:
    # Lazy: most scans ask for no signature, and the library takes a while to load.
    from engine.signature import check_signature

    return check_signature(manifest, directory / SIGNATURE, trusted)


def _bundle_from_json(directory: Path, form: Mapping[str, object]) -> ModelBundle:
    if form["schema_version"] != SCHEMA_VERSION:
        raise ValueError(f"schema_version is {form['schema_version']}, not {SCHEMA_VERSION}")
    files = cast(Mapping[str, Mapping[str, object]], form["files"])
    thresholds = cast("list[dict[str, float | int | bool]]", form.get("thresholds") or [])
    calibration = cast("Mapping[str, str | float | int | None] | None", form.get("calibration"))
    card = cast(Mapping[str, object], form.get("card") or {})
    return ModelBundle(
        directory=directory,
        name=str(form["name"]),
        network=str(form["network"]),
        input_size=int(cast(int, form["input_size"])),
        grid=int(cast(int, form["grid"])),
        has_projection=bool(form["has_projection"]),
        files={name: str(entry["sha256"]) for name, entry in files.items()},
        calibration=None if calibration is None else Calibration.from_json(calibration),
        thresholds=tuple(Threshold.from_json(entry) for entry in thresholds),
        card={subject: str(text) for subject, text in card.items()},
    )


def write_manifest(bundle: ModelBundle) -> None:
    """Write the manifest of a bundle whose files are in place, whole or not at all."""
    form = {
        "schema_version": SCHEMA_VERSION,
        "name": bundle.name,
        "network": bundle.network,
        "input_size": bundle.input_size,
        "grid": bundle.grid,
        "has_projection": bundle.has_projection,
        "files": {
            name: {"sha256": digest, "size_bytes": (bundle.directory / name).stat().st_size}
            for name, digest in sorted(bundle.files.items())
        },
        "calibration": None if bundle.calibration is None else bundle.calibration.to_json(),
        "thresholds": [threshold.to_json() for threshold in bundle.thresholds],
        "card": dict(bundle.card),
    }
    partial = bundle.directory / f"{MANIFEST}.partial"
    partial.write_text(json.dumps(form, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    (bundle.directory / SIGNATURE).unlink(missing_ok=True)  # it was of another manifest
    partial.replace(bundle.directory / MANIFEST)


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _verify_file(path: Path, digest: str) -> None:
    if path.is_symlink() or not path.is_file():
        raise _invalid(f"{path} is not there as a plain file", "copy the whole bundle, or make it again")
    if (seen := file_sha256(path)) != digest:
        raise _invalid(
            f"{path} has SHA-256 {seen}, the manifest says {digest}",
            "the file was changed or cut off: copy the bundle again",
        )


def _verify_locations(path: Path, bundle: ModelBundle) -> None:
    # A name of the bundle has no separator, so it cannot lead out of the folder.
    if strange := external_locations(path) - set(bundle.files):
        raise _invalid(
            f"{path} refers to {', '.join(map(repr, sorted(strange)))} outside of the bundle",
            "do not use this bundle: make it again from its checkpoint",
        )


def _invalid(seen: str, hint: str) -> BundleInvalid:
    return BundleInvalid(RejectReason.MODEL_INVALID, seen, hint)
