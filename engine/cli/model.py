"""``fakesieve model``: imports, packs, calibrates, signs, lists, shows and verifies bundles."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from engine.backends.select import check_engines
from engine.bundle import MANIFEST, SIGNATURE, ModelBundle, list_bundles, load_bundle, write_manifest
from engine.calibrate import LEAST_REAL, Calibration, move_thresholds
from engine.cli.trust import open_bundle
from engine.errors import BundleInvalid
from engine.output.names import escape_for_terminal, to_text
from engine.policy import Threshold
from engine.results import RejectReason

model = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="Import, pack, calibrate, sign, list, show and verify models.",
)
FACES_SET = "single pictures of people that training never saw, half of them forged by the training program"
NameOrFolder = Annotated[
    str, typer.Argument(help="A name from 'fakesieve model list', or a bundle's folder.")
]


@model.command("import")
def import_model(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint of the paper's reference implementation.")],
    *,
    out: Annotated[Path, typer.Option(help="Folder of the new bundle; a bundle there is replaced.")],
    name: Annotated[str | None, typer.Option(help="Name of the model; by default the folder's.")] = None,
) -> None:
    """Turn a checkpoint of LVNet (695 tensors) or LVNet_semi (701) into a bundle."""
    # Lazy: these need torch and onnx, which the other commands do without.
    from engine.build.checkpoint import import_checkpoint
    from engine.build.write import check_target, write_bundle
    from engine.bundle import file_sha256

    out = check_target(out)  # before minutes are spent
    typer.echo(f"reading {escape_for_terminal(to_text(checkpoint))}", err=True)
    net = import_checkpoint(checkpoint, faults_to=out.with_name(f"{out.name}.keys.txt"))
    card = {
        "source": f"checkpoint {checkpoint.name} of the reference implementation",
        "source_sha256": file_sha256(checkpoint),
        "error_rates": "not measured: run 'fakesieve evaluate' on material like yours",
    }
    typer.echo("writing and checking the graphs", err=True)
    bundle = write_bundle(net, out, name=name or out.name, share_weights=False, card=card)
    typer.echo(f"{bundle.directory}")


@model.command("pack")
def pack(
    weights: Annotated[
        Path, typer.Argument(help="Trained weights: best.pt of a run, or weights.safetensors.")
    ],
    *,
    faces: Annotated[Path, typer.Option(help="Face folder; its 'val' people give the thresholds.")],
    boxes: Annotated[Path, typer.Option(help="boxes.npz of the run; made if it is not there.")],
    card: Annotated[Path, typer.Option(help="JSON object: what a reader should know, by subject.")],
    out: Annotated[Path, typer.Option(help="Folder of the bundle; a bundle there is replaced.")],
    name: Annotated[str | None, typer.Option(help="Name of the model; by default the folder's.")] = None,
) -> None:
    """Turn weights trained by 'fakesieve train' into a bundle with thresholds."""
    # Lazy: these need torch and onnx, which the other commands do without.
    from engine.build.write import check_target
    from engine.network.variants import build_lv_compact
    from engine.training.checkpoint import load_weights
    from engine.training.pack import pack_model, read_card
    from engine.training.prepare import read_split

    out = check_target(out)  # before minutes are spent
    network = build_lv_compact()
    load_weights(network, weights)
    read = read_card(card)
    held_out = read_split(faces, boxes, "val", LEAST_REAL)
    typer.echo(f"scoring {len(held_out)} real faces", err=True)
    bundle = pack_model(network, held_out, out, name=name or out.name, card=read)
    typer.echo(f"{bundle.directory}")


@model.command("calibrate")
def calibrate(
    name_or_folder: NameOrFolder,
    *,
    faces: Annotated[
        Path | None, typer.Option(help="Face folder: its 'val' people, as they are and forged, are the set.")
    ] = None,
    boxes: Annotated[
        Path | None, typer.Option(help="boxes.npz of the run; made if it is not there. Goes with --faces.")
    ] = None,
    metrics: Annotated[
        Path | None, typer.Option(help="metrics.json of an evaluation: its calibration and its thresholds.")
    ] = None,
    prior: Annotated[
        float, typer.Option(help="Share of manipulated inputs that --faces assumes.", min=0.0001, max=0.9999)
    ] = 0.5,
) -> None:
    """Fit the probabilities of a model, and write them into its manifest.

    Give --faces with --boxes, or --metrics.
    """
    if (metrics is None) == (faces is None) or (boxes is None) != (faces is None):
        raise typer.BadParameter("give --faces with --boxes, or --metrics")
    bundle = load_bundle(name_or_folder)
    try:
        fitted, thresholds = _read_metrics(metrics, bundle) if metrics else _fit(bundle, faces, boxes, prior)
    except (OSError, ValueError) as fault:
        hint = "see docs/howto/train.md for what a calibration is fitted on"
        raise BundleInvalid(RejectReason.MODEL_INVALID, f"no calibration: {fault}", hint) from fault
    try:
        write_manifest(replace(bundle, calibration=fitted, thresholds=thresholds))
    except OSError as fault:
        seen, hint = f"{bundle.directory} cannot be written: {fault}", "calibrate a copy in a folder of yours"
        raise BundleInvalid(RejectReason.OUTPUT_FAILED, seen, hint) from fault
    typer.echo(json.dumps(fitted.to_json(), indent=2))


_Fit = tuple[Calibration, tuple[Threshold, ...]]


def _read_metrics(metrics: Path, bundle: ModelBundle) -> _Fit:
    # Lazy: brings the evaluation's plots, which the other commands do without.
    from engine.evaluation.fits import read_fits

    return read_fits(metrics, bundle.weights_sha256)


def _fit(bundle: ModelBundle, faces: Path | None, boxes: Path | None, prior: float) -> _Fit:
    """Fit on the people of a face folder that training never saw; the thresholds move along."""
    # Lazy: the forgeries need torch, which the other commands do without.
    from engine.training.prepare import read_split
    from engine.training.probabilities import fit_on_faces

    assert faces is not None
    assert boxes is not None
    held_out = read_split(faces, boxes, "val")
    typer.echo(f"scoring {len(held_out)} real faces and as many forgeries of them", err=True)
    fitted = fit_on_faces(bundle, held_out, fitted_on=FACES_SET, prior=prior)
    return fitted, move_thresholds(bundle.thresholds, bundle.calibration, fitted)


@model.command("sign")
def sign_model(
    folder: Annotated[Path, typer.Argument(help="Folder of the bundle that you approve.")],
    *,
    key: Annotated[Path, typer.Option(help="Your Ed25519 private key, PEM without a password.")],
) -> None:
    """Sign a model's manifest, after its files were verified; workers can ask for it.

    A signature by another key stays; one by the same key is replaced.
    """
    # Lazy: brings the library of signatures, which the other commands do without.
    from engine.signature import sign_manifest

    bundle = load_bundle(folder)
    line = sign_manifest((bundle.directory / MANIFEST).read_bytes(), key)
    _, identity, _ = line.split(" ")
    target = bundle.directory / SIGNATURE
    try:
        others = target.read_text(encoding="ascii").splitlines(keepends=True) if target.exists() else []
        kept = [other for other in others if identity not in other.split(" ")]
        partial = target.with_suffix(".partial")
        partial.write_text("".join([*kept, line]), encoding="ascii")
        partial.replace(target)
    except (OSError, ValueError) as fault:
        seen, hint = f"{target} cannot be written: {fault}", "sign a copy in a folder of yours"
        raise BundleInvalid(RejectReason.OUTPUT_FAILED, seen, hint) from fault
    typer.echo(f"{identity}")


@model.command("list")
def list_models(
    *, as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of lines.")] = False
) -> None:
    """List the models that are shipped."""
    names = list_bundles()
    for line in [json.dumps(names)] if as_json else names:
        typer.echo(line)


@model.command("show")
def show_model(name_or_folder: NameOrFolder) -> None:
    """Print a model's manifest as JSON, after its files were verified."""
    bundle = open_bundle(name_or_folder)
    typer.echo((bundle.directory / MANIFEST).read_text(encoding="utf-8"), nl=False)


@model.command("verify")
def verify_model(name_or_folder: NameOrFolder) -> None:
    """Check every hash of a model, and that all installed engines answer alike with it.

    With FAKESIEVE_MODEL_KEYS the signature, too.
    """
    bundle = open_bundle(name_or_folder)
    for file in sorted(bundle.files):
        typer.echo(f"{file}: SHA-256 as in the manifest")
    if bundle.signed_by is not None:
        typer.echo(f"{MANIFEST}: signed by {bundle.signed_by}")
    _report_engines(bundle)


def _report_engines(bundle: ModelBundle) -> None:
    for line in check_engines(bundle):
        typer.echo(line)
