"""What a training run keeps on disk, so that it can be stopped at any moment."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load_file  # pyright: ignore[reportUnknownVariableType]  # untyped package
from torch import Tensor, nn


@dataclass
class RunState:
    """Everything of a run but its tensors; kept beside the checkpoint as ``state.json``."""

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
    """Write ``last.pt`` and ``state.json``; each appears whole or not at all."""
    tensors = {
        "network": network.state_dict(),
        "averaged": averaged.tensors,
        "optimizer": optimizer.state_dict(),
    }
    _write_whole(directory / "last.pt", tensors)
    partial = directory / "state.json.partial"
    partial.write_text(json.dumps(asdict(state), indent=1))
    partial.replace(directory / "state.json")


def save_weights(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write a bare state dict."""
    _write_whole(path, tensors)


def load_weights(network: nn.Module, path: Path) -> None:
    """Load a bare state dict (``.pt``) or the weights of a bundle (``.safetensors``), strictly."""
    if path.suffix == ".safetensors":
        network.load_state_dict(load_file(path))
    else:
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))


def load_checkpoint(
    directory: Path, network: nn.Module, averaged: AveragedWeights, optimizer: torch.optim.Optimizer
) -> RunState:
    """Restore what ``save_checkpoint`` wrote; a folder without checkpoint gives a fresh state."""
    if not (directory / "last.pt").exists():
        return RunState()
    stored = torch.load(directory / "last.pt", map_location="cpu", weights_only=True)
    network.load_state_dict(stored["network"])
    averaged.tensors = stored["averaged"]
    optimizer.load_state_dict(stored["optimizer"])
    return RunState(**json.loads((directory / "state.json").read_text()))


def _write_whole(path: Path, tensors: Mapping[str, object]) -> None:
    partial = path.with_suffix(".partial")
    torch.save(tensors, partial)
    partial.replace(path)
