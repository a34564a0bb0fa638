"""What a training run keeps on disk, so that it can be stopped at any moment."""

import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file  # pyright: ignore[reportUnknownVariableType]  # untyped package
from torch import Tensor, nn

from engine.build.checkpoint import load_torch_file
from engine.errors import BundleInvalid
from engine.network.two_stream import TwoStreamNet
from engine.output.files import write_whole
from engine.results import RejectReason

BEST_NAME = "best.pt"
_LAST_NAME = "last.pt"
_STATE_NAME = "state.json"


@dataclass
class RunState:
    """Everything of a run but its tensors; kept in the checkpoint, and for readers as ``state.json``."""

    step: int = 0
    images: int = 0
    seconds: float = 0.0
    best: float = 0.0  # held-out frame AUC of the best averaged weights
    best_step: int = 0
    curve: list[dict[str, float]] = field(default_factory=list)


class AveragedWeights:
    """Exponential moving average of a network's parameters and buffers, kept in float32."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.tensors = {k: v.detach().clone() for k, v in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Move towards the network; early on the average follows faster, so that it forgets the start."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, value in network.state_dict().items():
            if value.dtype.is_floating_point:
                self.tensors[name].lerp_(value, 1 - decay)
            else:
                self.tensors[name].copy_(value)


def save_checkpoint(
    directory: Path,
    network: nn.Module,
    averaged: AveragedWeights,
    optimizer: torch.optim.Optimizer,
    state: RunState,
) -> None:
    """Write ``last.pt``, which alone is read again, and ``state.json``; each appears whole or not at all.

    Raises Unavailable (OUTPUT_FAILED).
    """
    written = json.dumps(asdict(state), indent=1)
    content = {
        "network": network.state_dict(),
        "averaged": averaged.tensors,
        "optimizer": optimizer.state_dict(),
        # In one file with the tensors: a run killed between two files would resume newer weights at an older
        # step. As text, since only that gives back numbers of all kinds without running code.
        "state": written,
    }
    _write_whole(directory / _LAST_NAME, content)
    write_whole(directory / _STATE_NAME, written.encode())


def save_weights(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write a bare state dict. Raises Unavailable (OUTPUT_FAILED)."""
    _write_whole(path, tensors)


def load_weights(network: TwoStreamNet, path: Path) -> None:
    """Load a bare state dict (``.pt``) or the weights of a bundle (``.safetensors``).

    The projection head is free: it serves training alone, so one that the network lacks is dropped, and one
    that the file lacks stays as it was made. All else must fit. Raises BundleInvalid.
    """
    tensors = _read_weights(path)
    own = network.state_dict()
    kept = {key: tensor for key, tensor in tensors.items() if key in own or not _is_projection(key)}
    fresh = {key: own[key] for key in own if _is_projection(key) and key not in kept}
    _fit_weights(network, kept | fresh, path)


def _is_projection(key: str) -> bool:
    return key.startswith("projection.")


def _read_weights(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (OSError, SafetensorError) as fault:
            raise _invalid(f"{path} cannot be read: {fault}", "check the path of the weights") from fault
    content = load_torch_file(path)
    tensors = cast("dict[object, object]", content) if isinstance(content, dict) else {}
    if "averaged" in tensors:
        raise _invalid(f"{path} is a run's checkpoint to resume from", "give best.pt of the same folder")
    if not tensors or not all(isinstance(tensor, Tensor) for tensor in tensors.values()):
        raise _invalid(f"{path} holds more than weights, or none", "give best.pt of a run")
    return cast("dict[str, Tensor]", tensors)


def _fit_weights(network: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Load tensors into a network. Raises BundleInvalid with the counts of those that do not fit."""
    own = network.state_dict()
    missing, unexpected = own.keys() - tensors.keys(), tensors.keys() - own.keys()
    misshaped = {key for key in own.keys() & tensors.keys() if own[key].shape != tensors[key].shape}
    if missing or unexpected or misshaped:
        counts = (
            f"{len(missing)} tensors missing, {len(unexpected)} unexpected, {len(misshaped)} of another shape"
        )
        hint = "give weights of lv-compact: best.pt of a run, or its bundle's weights.safetensors"
        raise _invalid(f"{path} is of another network: {counts}", hint)
    network.load_state_dict(tensors)


def load_checkpoint(
    directory: Path, network: TwoStreamNet, averaged: AveragedWeights, optimizer: torch.optim.Optimizer
) -> RunState:
    """Restore what ``save_checkpoint`` wrote; a folder without checkpoint gives a fresh state.

    A run that was killed right after it had saved its best weights has them in ``last.pt`` alone; they are
    written to ``best.pt`` here. Raises BundleInvalid for files that are damaged, or of a run with another
    setting of similarity learning, Unavailable (OUTPUT_FAILED) if ``best.pt`` cannot be written.
    """
    last = directory / _LAST_NAME
    if not last.exists():
        return RunState()
    try:
        stored = cast("dict[str, Any]", load_torch_file(last))
        _check_similarity(network, stored["network"], directory)
        _fit_weights(network, stored["network"], last)
        averaged.tensors = stored["averaged"]
        optimizer.load_state_dict(stored["optimizer"])
        if "state" not in stored:  # of a run begun before the state was kept in it
            return RunState(**json.loads((directory / _STATE_NAME).read_text()))
        state = RunState(**json.loads(stored["state"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as fault:
        seen = f"the run in {directory} cannot be resumed: {type(fault).__name__}: {fault}"
        hint = "give another folder with --out; --weights with the best.pt of this one keeps what it learned"
        raise _invalid(seen, hint) from fault
    if state.best and state.best_step == state.step:
        save_weights(directory / BEST_NAME, averaged.tensors)
    return state


def _check_similarity(network: TwoStreamNet, stored: Mapping[str, Tensor], directory: Path) -> None:
    """Refuse to change the losses within a run: its optimiser has no state for the other's projection."""
    was_similar = any(map(_is_projection, stored))
    if was_similar != (network.projection is not None):
        begun = "with" if was_similar else "without"
        seen = f"the run in {directory} was begun {begun} --similarity"
        raise _invalid(seen, f"resume it {begun} --similarity, or give another folder with --out")


def _invalid(seen: str, hint: str) -> BundleInvalid:
    return BundleInvalid(RejectReason.MODEL_INVALID, seen, hint)


def _write_whole(path: Path, content: Mapping[str, object]) -> None:
    # Made in memory first, 80 MB at most: where a disk is full torch raises a bare RuntimeError, which may
    # be anything.
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_whole(path, buffer.getbuffer())
