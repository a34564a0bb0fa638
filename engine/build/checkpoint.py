"""Read checkpoints of the paper's reference implementation, strictly, and give them our names.

The reference has 695 tensors, 701 with the projection head of its semi-supervised variant. Some of them
nothing reads: they must be there with the right shape, and are dropped.
"""

import math
import pickle
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from engine.build.key_list import KINDS, drop_list, keep_list
from engine.build.reference import FUSION_PREFIX, SRM_KEY, KeyTable, Shape, key_table
from engine.errors import BundleInvalid
from engine.network.noise import srm_planes
from engine.network.two_stream import TwoStreamNet
from engine.network.variants import build_lv_xception
from engine.output.files import make_folder
from engine.output.names import escape_controls, to_text
from engine.results import RejectReason

_PREFIX = "module."
_ZIP_START = b"PK\x03\x04"
_NAMED_MAX = 12  # keys of each kind that a refusal names; it counts the rest
_SRM_DIFFERENCE_MAX = 1e-6
# What torch.load raises for files that are cut off, of another kind, or ask for more than tensors.
_LOAD_ERRORS = (
    pickle.UnpicklingError,
    RuntimeError,
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
)


@dataclass(frozen=True)
class KeyFaults:
    """How the tensors of a file differ from the reference's."""

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    misshaped: tuple[str, ...]  # "key (seen shape, wanted shape)"

    def describe(self) -> str:
        """Name the keys by kind; an empty string if there is no fault."""
        return "; ".join(f"{len(keys)} {kind}: {_listed(keys)}" for kind, keys in self._kinds if keys)

    def list_all(self) -> str:
        """Return a line for every key, with its kind; none is left out."""
        return "".join(
            f"{kind}: {escape_controls(to_text(key))}\n" for kind, keys in self._kinds for key in keys
        )

    @property
    def are_told_in_part(self) -> bool:
        """Whether ``describe`` counts some keys without naming them."""
        return any(len(keys) > _NAMED_MAX for _, keys in self._kinds)

    @property
    def _kinds(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        return tuple(zip(KINDS, (self.missing, self.unexpected, self.misshaped), strict=True))


def import_checkpoint(path: Path, *, faults_to: Path | None = None) -> TwoStreamNet:
    """Read a checkpoint into an lv-xception, with its projection head if the file has one.

    Accepts a bare state dict or one under ``state_dict``, with or without a leading ``module.``. Nothing in
    the file is executed. Raises BundleInvalid naming missing, unexpected and misshaped keys; where they are
    too many for a message, ``faults_to`` is written with all of them. It is removed where they are not, as
    then it is of another checkpoint; a file there that is no such list stays. Raises Unavailable where it
    cannot be written or removed.
    """
    tensors = read_state_dict(path)
    projection = any(key.startswith("pro_header.") for key in tensors)
    table = key_table(projection=projection)
    faults = find_faults(tensors, table)
    is_list_wanted = faults.are_told_in_part
    if faults_to is not None and not is_list_wanted:
        drop_list(faults_to)
    if text := faults.describe():
        if faults_to is not None and is_list_wanted:
            make_folder(faults_to.parent)
            is_kept = keep_list(faults_to, faults.list_all())
            text += (
                f"; all of them are in {faults_to}"
                if is_kept
                else f"; not listed: {faults_to} is another file"
            )
        raise _invalid(f"{path.name} is not a checkpoint of the reference: {text}", _hint(faults))
    _check_values(path, tensors)
    net = build_lv_xception(projection=projection)
    own = net.state_dict()
    # The fusion's layers are linear there and 1x1 convolutions here: the same numbers, shaped as ours.
    renamed = {
        ours: tensors[theirs].to(own[ours].dtype).view_as(own[ours]) for ours, theirs in table.live.items()
    }
    net.load_state_dict(renamed)
    return net.eval()


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a checkpoint, names without a leading ``module.``; nothing else in it is run.

    Raises BundleInvalid if the file is no checkpoint or holds anything but tensors where they belong.
    """
    entries = _entries_of(load_torch_file(path))
    if entries is None:
        raise _invalid(f"{path.name} holds no state dict", "give the reference's checkpoint-NN.pth.tar")
    tensors = {str(key).removeprefix(_PREFIX): value for key, value in entries.items()}
    strange = [str(key) for key, value in tensors.items() if not isinstance(value, Tensor)]
    if strange or len(tensors) < len(entries):
        seen = f"no tensor at {_listed(strange)}" if strange else "the same key with and without 'module.'"
        raise _invalid(f"{path.name}: {seen}", "give the file as the reference's training wrote it")
    return cast("dict[str, Tensor]", tensors)


def load_torch_file(path: Path) -> object:
    """Return what ``torch.save`` wrote, tensors on the CPU; nothing in it is run. Raises BundleInvalid."""
    try:
        with warnings.catch_warnings():
            # A file of another pickle protocol is either read or refused; torch also warns of it.
            warnings.filterwarnings("ignore", "Detected pickle protocol")
            return cast("object", torch.load(path, map_location="cpu", weights_only=True))
    except (OSError, *_LOAD_ERRORS) as fault:
        raise _refuse_file(path, fault) from fault


def _refuse_file(path: Path, fault: Exception) -> BundleInvalid:
    if _is_cut_off(path, fault):
        hint = "copy or download it again, and compare its size with the source's"
        return _invalid(f"{path.name} ends too early: it is cut off or empty", hint)
    if isinstance(fault, OSError):
        return _invalid(f"{path} cannot be read: {fault}", "check the path of the checkpoint")
    # Not torch's own words: they advise to load the file without protection.
    return _invalid(
        f"{path.name} is not a checkpoint of tensors alone ({type(fault).__name__})",
        "give a file written by torch.save that holds tensors, numbers and texts; code is never run",
    )


def _is_cut_off(path: Path, fault: Exception) -> bool:
    """Whether a file begins like one of torch.save and does not end like one.

    It is a zip archive; that of torch before 1.6 is a pickle, of which torch itself says that it ends early.
    """
    if isinstance(fault, EOFError) or "unexpected EOF" in str(fault):
        return True
    try:
        with path.open("rb") as stream:
            return stream.read(len(_ZIP_START)) == _ZIP_START and not zipfile.is_zipfile(stream)
    except OSError:
        return False


def _entries_of(content: object) -> Mapping[object, object] | None:
    if isinstance(content, Mapping):
        entries = cast("Mapping[object, object]", content)
        inner = entries.get("state_dict", entries)
        if isinstance(inner, Mapping):
            return cast("Mapping[object, object]", inner)
    return None


def find_faults(tensors: Mapping[str, Tensor], table: KeyTable) -> KeyFaults:
    """Compare names and shapes with the reference's."""
    misshaped = [
        f"{key} (is {tuple(tensors[key].shape)}, should be {shape})"
        for key, shape in table.shapes.items()
        if key in tensors and tuple(tensors[key].shape) not in _accepted_shapes(key, shape)
    ]
    missing = tuple(key for key in table.shapes if key not in tensors)
    return KeyFaults(missing, tuple(key for key in tensors if key not in table.shapes), tuple(misshaped))


def _accepted_shapes(key: str, shape: Shape) -> tuple[Shape, ...]:
    """Return a shape, and for the fusion's matrices also that of the same layer as a 1x1 convolution."""
    is_matrix = key.startswith(FUSION_PREFIX) and len(shape) == 2
    return (shape, (*shape, 1, 1)) if is_matrix else (shape,)


def _check_values(path: Path, tensors: Mapping[str, Tensor]) -> None:
    numbers = {key: tensor for key, tensor in tensors.items() if not key.endswith("num_batches_tracked")}
    wrong = [key for key, tensor in numbers.items() if not _is_sound(key, tensor)]
    if wrong:
        raise _invalid(
            f"{path.name} holds numbers that no training gives in {_listed(wrong)}",
            "the file is damaged or its training diverged: use an earlier checkpoint",
        )
    kernel = tensors[SRM_KEY]
    difference = float((kernel.float() - srm_planes().expand(3, 3, 5, 5)).abs().max())
    if difference > max(_SRM_DIFFERENCE_MAX, torch.finfo(kernel.dtype).eps):
        raise _invalid(
            f"{path.name}: {SRM_KEY} differs by {difference:.1e} from the fixed noise filters",
            "this network was trained on other filters and cannot be run as lv-xception",
        )


def _is_sound(key: str, tensor: Tensor) -> bool:
    """Whether all numbers are finite and, where they are variances, not negative."""
    if not tensor.is_floating_point():
        return False
    # One pass over the numbers; both bounds are not a number as soon as one of them is not.
    low, high = (float(bound) for bound in torch.aminmax(tensor))
    return math.isfinite(low) and math.isfinite(high) and not (key.endswith("running_var") and low < 0)


def _hint(faults: KeyFaults) -> str:
    if len(faults.missing) > len(faults.unexpected) and not faults.unexpected:
        return "the file is cut down or of another network: give the whole checkpoint of LVNet or LVNet_semi"
    return "files of ports rename keys: give the checkpoint of the reference implementation itself"


def _listed(keys: Iterable[str]) -> str:
    names = list(keys)
    rest = f" and {len(names) - _NAMED_MAX} more" if len(names) > _NAMED_MAX else ""
    return ", ".join(names[:_NAMED_MAX]) + rest


def _invalid(seen: str, hint: str) -> BundleInvalid:
    return BundleInvalid(RejectReason.MODEL_INVALID, seen, hint)
