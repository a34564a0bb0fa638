"""Networks, checkpoints and bundles with random weights, for tests that need some model, not a good one."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from engine.build.checkpoint import import_checkpoint
from engine.build.reference import SRM_KEY, key_table
from engine.build.write import write_bundle
from engine.bundle import ModelBundle
from engine.network.fusion import GuidedAttention
from engine.network.lite import LiteStream
from engine.network.two_stream import CellVote, TwoStreamNet
from engine.network.variants import LV_COMPACT, build_lv_compact, patch_areas
from tests.engine.network.oracle import SRM_TABLES

# Two threads wait for each other, and on a core shared with other work such a wait lasted 30 times the work.
torch.set_num_threads(1)


def randomise(net: nn.Module, seed: int) -> None:
    """Give norms statistics and attentions gammas, so that nothing hides behind a default."""
    generator = torch.Generator().manual_seed(seed)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0, 0.2, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
            module.weight.data.uniform_(0.5, 1.5, generator=generator)
            module.bias.data.normal_(0, 0.2, generator=generator)
        elif isinstance(module, CellVote):
            module.linear.weight.data.uniform_(0.5, 1.5, generator=generator)
            module.linear.bias.data.normal_(0, 0.5, generator=generator)
        elif isinstance(module, GuidedAttention):
            module.gamma.data.uniform_(0.5, 1.5, generator=generator)


def random_compact(seed: int, *, projection: bool = False) -> TwoStreamNet:
    """An lv-compact in evaluation mode with weights from the seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = build_lv_compact(projection=projection)
    randomise(net, seed)
    return net.eval()


def random_mean_head(seed: int) -> TwoStreamNet:
    """An lv-compact whose class is the mean over positions, as in the paper and in lv-xception."""
    sizes = replace(LV_COMPACT, vote_shares=())
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        streams = LiteStream(with_exit=False), LiteStream(with_exit=True)
        net = TwoStreamNet(sizes, *streams, patch_areas=patch_areas(sizes), projection=False)
    randomise(net, seed)
    return net.eval()


def compact_bundle(folder: Path, *, share_weights: bool = True, seed: int = 1) -> ModelBundle:
    """Write a bundle of a random lv-compact into a folder."""
    return write_bundle(random_compact(seed), folder, name="random-compact", share_weights=share_weights)


def xception_bundle(folder: Path, *, seed: int = 3) -> ModelBundle:
    """Write a bundle of lv-xception into a folder, of a random checkpoint as the reference writes them."""
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = folder / "checkpoint.pth.tar"
    torch.save({"state_dict": reference_tensors(seed, projection=False)}, checkpoint)
    net = import_checkpoint(checkpoint)
    checkpoint.unlink()
    return write_bundle(net, folder, name="random-xception", share_weights=True)


def random_crops(count: int, side: int, seed: int = 5) -> np.ndarray:
    """Crops uint8 [count, 3, side, side] of smooth shades with a little noise, as pictures are."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:side, 0:side] / side
    waves = random.uniform(1, 12, (count, 3, 2, 1, 1))
    shades = 128 + 70 * np.sin(waves[:, :, 0] * rows + waves[:, :, 1] * columns)
    return np.clip(shades + random.normal(0, 6, shades.shape), 0, 255).astype(np.uint8)


def reference_tensors(seed: int, *, projection: bool) -> dict[str, Tensor]:
    """Random tensors under the names of the reference; no gamma is zero, all norms have statistics."""
    random = np.random.default_rng(seed)
    return {
        key: torch.from_numpy(_reference_tensor(random, key, shape))
        for key, shape in key_table(projection=projection).shapes.items()
    }


def _reference_tensor(random: np.random.Generator, key: str, shape: tuple[int, ...]) -> np.ndarray:
    if key == SRM_KEY:
        planes = [np.array(table, np.float64) / divisor for table, divisor in SRM_TABLES]
        return np.stack([np.stack([plane] * 3) for plane in planes]).astype(np.float32)
    if key.endswith("num_batches_tracked"):
        return np.array(7, np.int64)
    if key.endswith("running_var"):
        return random.uniform(0.5, 1.5, shape).astype(np.float32)
    if key.endswith("gamma"):
        return random.uniform(0.5, 1.0, shape).astype(np.float32)
    if len(shape) == 1 and key.endswith("weight"):  # a norm's; below one, so that 24 blocks do not explode
        return random.uniform(0.2, 0.7, shape).astype(np.float32)
    if len(shape) == 1:
        return random.normal(0, 0.15, shape).astype(np.float32)
    gain = (
        12.0 if "query" in key or "key_conv" in key else 1.5
    )  # attention that is neither flat nor a single peak
    scale = math.sqrt(gain / math.prod(shape[1:]))
    return random.standard_normal(shape, np.float32) * np.float32(scale)


def published_lite0_weights(stream: LiteStream) -> dict[str, torch.Tensor]:
    """Other random weights for the stream, under the names of the published network."""
    other = LiteStream(with_exit=stream.part3 is not None)
    randomise(other, 9)
    tensors = {}

    def put(prefix: str, conv: str, norm: str, layer: torch.nn.Module) -> None:
        for key, value in layer.state_dict().items():
            ours, field = key.split(".", 1)
            tensors[f"{prefix}{conv if ours == 'conv' else norm}.{field}"] = value

    put("", "_conv_stem", "_bn0", other.part1_0[0])
    if other.part3 is not None:
        put("", "_conv_head", "_bn1", other.part3[-1])
    for index, block in enumerate(other.blocks()):
        prefix = f"_blocks.{index}."
        if block.expand is not None:
            put(prefix, "_expand_conv", "_bn0", block.expand)
        put(prefix, "_depthwise_conv", "_bn1", block.depthwise)
        put(prefix, "_project_conv", "_bn2", block.project)
    tensors["_fc.weight"] = torch.zeros(1000, 1280)
    return tensors
