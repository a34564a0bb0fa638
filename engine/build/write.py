"""Write a network as a bundle: weights, graphs that passed the parity gate, and the manifest."""

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import onnx
from safetensors.torch import save

from engine.backends.parity import probe_crops
from engine.build.export import GraphKind, export_graph
from engine.build.parity import ask_network, check_graph
from engine.build.shared import SharedWeights
from engine.bundle import (
    GRAPH,
    MANIFEST,
    SIGNATURE,
    TRIAGE_GRAPH,
    WEIGHTS,
    ModelBundle,
    file_sha256,
    read_manifest,
    write_manifest,
)
from engine.calibrate import Calibration
from engine.errors import BundleInvalid
from engine.network.two_stream import TwoStreamNet
from engine.output.files import name_partial
from engine.policy import Threshold
from engine.results import RejectReason

_GRAPHS = {GRAPH: GraphKind.FULL, TRIAGE_GRAPH: GraphKind.TRIAGE}


def write_bundle(
    net: TwoStreamNet,
    directory: Path,
    *,
    name: str,
    share_weights: bool,
    calibration: Calibration | None = None,
    thresholds: Sequence[Threshold] = (),
    card: Mapping[str, str] | None = None,
) -> ModelBundle:
    """Write a bundle, whole or not at all; a bundle that stands there already is replaced.

    With ``share_weights`` the graphs refer into ``weights.safetensors`` (one copy of the weights, for the
    repository); without it they are folded and stand alone. Raises BundleInvalid if the folder holds
    something else, cannot be written, or a graph answers differently from the network.
    """
    directory = check_target(directory)
    partial = name_partial(directory)
    try:
        partial.mkdir(parents=True)
        _write_files(net, partial, share_weights=share_weights)
        files = {path.name: file_sha256(path) for path in sorted(partial.iterdir())}
        sizes, projects = net.sizes, net.projection is not None
        bundle = ModelBundle(
            partial, name, sizes.network, sizes.input_px, sizes.grid, projects, files,
            calibration, tuple(thresholds), dict(card or {}),
        )  # fmt: skip
        write_manifest(bundle)
        _put_in_place(partial, directory)
    except OSError as fault:
        raise _unwritable(directory, fault) from fault
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return replace(bundle, directory=directory)


def check_target(directory: Path) -> Path:
    """Return the full path of a bundle to be; for callers that work long before they write it.

    Lets nothing be replaced but a bundle and what belongs to it. Raises BundleInvalid if the folder holds
    something else, or none can be made there.
    """
    directory = Path(os.path.abspath(directory))  # noqa: PTH100 - not through a link, which would be replaced
    try:
        _refuse_foreign(directory)
        made = next(folder for folder in directory.parents if folder.exists())
        if not made.is_dir() or not os.access(made, os.W_OK | os.X_OK):
            raise PermissionError(f"no folder can be made in {made}")
    except OSError as fault:
        raise _unwritable(directory, fault) from fault
    return directory


def _unwritable(directory: Path, fault: OSError) -> BundleInvalid:
    hint = "free space, or give another folder"
    return BundleInvalid(RejectReason.OUTPUT_FAILED, f"{directory} cannot be written: {fault}", hint)


def _put_in_place(partial: Path, directory: Path) -> None:
    """Rename a finished bundle; one that stood there goes only when the new one is in its place."""
    if not directory.exists():
        partial.rename(directory)
        return
    old = name_partial(directory)
    directory.rename(old)
    try:
        partial.rename(directory)
    except OSError:
        old.rename(directory)
        raise
    shutil.rmtree(old)


def _refuse_foreign(directory: Path) -> None:
    if not directory.exists():
        return
    found = {path.name for path in directory.iterdir()} if directory.is_dir() else {directory.name}
    own = {MANIFEST, SIGNATURE, *read_manifest(directory).files} if MANIFEST in found else set[str]()
    if found - own:
        raise BundleInvalid(
            RejectReason.OUTPUT_FAILED,
            f"{directory} holds something that is not of a bundle: {min(found - own)}",
            "give a new folder or one that holds a bundle and nothing else; it will be replaced",
        )


def _write_files(net: TwoStreamNet, directory: Path, *, share_weights: bool) -> None:
    weights = directory / WEIGHTS
    tensors = {key: tensor.contiguous() for key, tensor in net.state_dict().items()}
    weights.write_bytes(save(tensors, {"network": net.sizes.network}))
    shared = SharedWeights(weights) if share_weights else None
    crops = probe_crops(net.sizes.input_px, 2)
    expected = ask_network(net, crops)
    for file, kind in _GRAPHS.items():
        onnx.save_model(export_graph(net, kind, shared), directory / file)
        check_graph(directory / file, crops, expected)
