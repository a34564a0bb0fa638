"""Write a trained network as an ONNX graph, in fewer steps than it has and without changing its answers.

In ONNX Runtime the full graph of lv-xception is hardly faster than a plain export; the one without the map
is. Figures are in ``docs/explanation/network.md``.

Norms and gammas are folded into the convolutions before them, maps are padded before the score convolutions
and not after (64 channels instead of 512), and replicate-padded pools are plain max pools. With shared
weights the norms stay nodes and every array lies in ``weights.safetensors``, so that a bundle holds its
weights once; engines fold such norms when they load the graph, and run as fast.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import onnx
from onnx import TensorProto, helper

from engine.build.graph import Attribute
from engine.build.layers import LayerWriter, float64
from engine.build.shared import SharedWeights
from engine.network.fusion import grid_padding
from engine.network.noise import NOISE_CLIP
from engine.network.two_stream import MANIPULATED, REAL, CellHead, CellVote, TwoStreamNet
from engine.network.variants import map_sides


class GraphKind(StrEnum):
    """What a graph answers."""

    FULL = "full"  # logits and patch logits
    TRIAGE = "triage"  # logits alone: 8 % less work in lv-xception, as much in lv-compact, whose cells vote


@dataclass(frozen=True)
class _Streams:
    """Names of the maps that the heads read."""

    localisation: list[str]  # x0 to x5
    pooled: list[str]  # y0, y1, y2, y3, y5 on the grid of y6
    deep: str  # y6


def export_graph(net: TwoStreamNet, kind: GraphKind, shared: SharedWeights | None = None) -> onnx.ModelProto:
    """Write one graph: ``crops`` uint8 ``[batch, 3, H, W]`` RGB in, ``logits`` and ``patch_logits`` out.

    Raises BundleInvalid if ``shared`` lacks an array.
    """
    sizes = net.sizes
    layers = LayerWriter(net, shared, f"{sizes.network}-{kind}")
    maps = _streams(layers, net)
    fused = layers.fuse(maps.pooled, maps.deep, net.fusion, net.class_head.norm)
    with_patches = kind is GraphKind.FULL or net.vote is not None
    patches = _patch_logits(layers, net, maps.localisation) if with_patches else None
    layers.graph.name_output(_class_logits(layers, net, fused, patches), "logits")
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 2])]
    if kind is GraphKind.FULL:
        assert patches is not None
        layers.graph.name_output(patches, "patch_logits")
        shape = ["batch", 2, sizes.grid, sizes.grid]
        outputs.append(helper.make_tensor_value_info("patch_logits", TensorProto.FLOAT, shape))
    shape = ["batch", 3, sizes.input_px, sizes.input_px]
    crops = helper.make_tensor_value_info("crops", TensorProto.UINT8, shape)
    return layers.graph.model([crops], outputs, {"network": sizes.network, "kind": kind})


def _streams(layers: LayerWriter, net: TwoStreamNet) -> _Streams:
    sizes, rgb, noise = net.sizes, net.rgb, net.noise
    x, y = _pictures(layers, net)
    xs: list[str] = []
    ys: list[str] = []
    shallow = ((rgb.part1_0, noise.part1_0), (rgb.part1_1, noise.part1_1), (rgb.part1_2, noise.part1_2))
    for rgb_part, noise_part in shallow:
        x, y = layers.layer(x, rgb_part), layers.layer(y, noise_part)
        x, y = layers.enhance(x, y, rectify=sizes.rectify)
        xs.append(x)
        ys.append(y)
    x = y = layers.graph.op("Add", x, y)
    late = ((rgb.part1_3, noise.part1_3), (rgb.part2_0, noise.part2_0), (rgb.part2_1, noise.part2_1))
    for (rgb_part, noise_part), attention in zip(late, net.attention_layers(), strict=True):
        x, y = layers.layer(x, rgb_part), layers.layer(y, noise_part)
        y = layers.attend(x, y, attention, sizes.grid)
        xs.append(x)
        ys.append(y)
    assert noise.part3 is not None
    return _Streams(xs, _pooled(layers, ys, map_sides(sizes)), layers.layer(y, noise.part3))


def _pictures(layers: LayerWriter, net: TwoStreamNet) -> tuple[str, str]:
    graph = layers.graph
    crops = graph.op("Cast", "crops", attributes={"to": TensorProto.FLOAT})
    pictures = graph.op("Sub", graph.op("Div", crops, layers.scalar(127.5)), layers.scalar(1.0))
    grey = graph.op("ReduceSum", pictures, layers.integers(1))
    planes = graph.constant("srm", float64(net.srm.planes).astype(np.float32))
    attributes: dict[str, Attribute] = {"kernel_shape": [5, 5], "pads": [2, 2, 2, 2]}
    residuals = graph.op("Conv", grey, planes, attributes=attributes)
    return pictures, layers.clip(residuals, -NOISE_CLIP, NOISE_CLIP)


def _pooled(layers: LayerWriter, maps: list[str], sides: tuple[int, ...]) -> list[str]:
    deep_side = -(-sides[-1] // 2)
    pooled: list[str] = []
    for level in (0, 1, 2, 3, 5):
        before, after, cell = grid_padding(sides[level], deep_side)
        pooled.append(layers.max_pool(maps[level], cell, cell, (before, after)))
    return pooled


def _class_logits(layers: LayerWriter, net: TwoStreamNet, fused: str, patches: str | None) -> str:
    graph, head = layers.graph, net.class_head
    rectified = graph.op("Relu", fused)
    if isinstance(head, CellHead):
        assert net.vote is not None
        assert patches is not None
        return _vote(layers, net.vote, (patches, layers.conv(rectified, head.conv)))
    flat = graph.op("Flatten", graph.op("GlobalAveragePool", rectified))
    return layers.linear(flat, head.linear)


def _vote(layers: LayerWriter, vote: CellVote, maps: tuple[str, str]) -> str:
    graph = layers.graph
    means: list[str] = []
    for logits, counts in zip(maps, vote.counts, strict=True):
        halves = [
            graph.op("Gather", logits, layers.integers(index), attributes={"axis": 1})
            for index in (MANIPULATED, REAL)
        ]
        margins = graph.op("Flatten", graph.op("Sub", *halves))
        for count in counts:
            highest = graph.op("TopK", margins, layers.integers(count), outputs=2)
            means.append(graph.op("ReduceMean", highest, layers.integers(1), attributes={"keepdims": 1}))
    weights = graph.constant("vote_weights", np.array(vote.weights, np.float32)[:, None])
    word = graph.op("MatMul", layers.concat(means), weights)
    half = graph.op("Mul", layers.linear(word, vote.linear), layers.scalar(0.5))
    return layers.concat([graph.op("Neg", half), half])


def _patch_logits(layers: LayerWriter, net: TwoStreamNet, maps: list[str]) -> str:
    grid, sides = net.sizes.grid, map_sides(net.sizes)
    scores = net.patch_features.score_layers()
    guide = layers.conv_norm(maps[-1], scores[-1])
    levels: list[str] = []
    for value, side, score in zip(maps[:-1], sides[:-1], scores[:-1], strict=True):
        padded = layers.conv_norm(layers.pad_to_grid(value, side, grid), score)
        cell = grid_padding(side, grid)[2]
        levels.append(layers.agreement(padded, guide, score.conv.out_channels, grid, cell))
    features = layers.norm(layers.concat([*levels, maps[-1]]), net.patch_head.norm)
    return layers.conv(layers.graph.op("Relu", features), net.patch_head.conv)
