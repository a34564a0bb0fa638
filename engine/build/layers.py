"""How each layer of the network is written as nodes of a graph."""

from collections.abc import Iterable
from typing import cast

import numpy as np
from torch import Tensor, nn

from engine.arrays import F64
from engine.build.graph import Attribute, GraphWriter
from engine.build.shared import SharedWeights
from engine.network.fusion import BilinearFusion, GuidedAttention, grid_padding
from engine.network.layers import Activation, ConvNorm
from engine.network.lite import InvertedResidual
from engine.network.xception import SeparableConvNorm, XceptionBlock, XceptionExit

_COSINE_FLOOR = 1e-8


class LayerWriter:
    """Writes layers into a graph. A feature map is known by the name of its value.

    Without ``shared``, arrays are kept in the graph with norms and gammas folded into them; with it, the
    arrays of the file are referred to and norms stay nodes.
    """

    def __init__(self, net: nn.Module, shared: SharedWeights | None, name: str) -> None:
        self.graph = GraphWriter(name)
        self._shared = shared
        modules = cast("Iterable[tuple[str, nn.Module]]", net.named_modules())
        self._names = {module: path for path, module in modules}

    def layer(self, value: str, module: nn.Module) -> str:
        """Write any part of a backbone."""
        match module:
            case nn.Sequential():
                for inner in module:
                    value = self.layer(value, inner)
                return value
            case ConvNorm():
                return self.conv_norm(value, module)
            case InvertedResidual():
                return self._inverted_residual(value, module)
            case SeparableConvNorm():
                return self._separable(value, module)
            case XceptionBlock():
                return self._xception_block(value, module)
            case XceptionExit():
                value = self._xception_block(value, module.block)
                return self._separable(self._separable(value, module.conv3), module.conv4)
            case _:
                raise TypeError(f"no way to write {type(module).__name__} as a graph")

    def conv_norm(self, value: str, module: ConvNorm) -> str:
        """Convolution, norm, activation."""
        return self.activate(self.conv(value, module.conv, module.norm, module.pads), module.activation)

    def activate(self, value: str, activation: Activation) -> str:
        """Write the activation, if any."""
        match activation:
            case Activation.NONE:
                return value
            case Activation.RELU:
                return self.graph.op("Relu", value)
            case Activation.RELU6:
                return self.clip(value, 0.0, 6.0)

    def clip(self, value: str, low: float, high: float) -> str:
        """Limit to a range."""
        return self.graph.op("Clip", value, self.scalar(low), self.scalar(high))

    def scalar(self, number: float) -> str:
        """Keep one float32 number."""
        return self.graph.constant(f"number_{number:g}", np.array(number, dtype=np.float32))

    def integers(self, *numbers: int) -> str:
        """Keep a list of int64 numbers."""
        label = "integers_" + "_".join(str(number) for number in numbers)
        return self.graph.constant(label, np.array(numbers, dtype=np.int64))

    def conv(
        self,
        value: str,
        module: nn.Conv2d,
        norm: nn.BatchNorm2d | None = None,
        pads: tuple[int, int] = (0, 0),
        gain: nn.Parameter | None = None,
    ) -> str:
        """Write a convolution followed by a norm or multiplied by a one-number ``gain``."""
        attributes: dict[str, Attribute] = {
            "kernel_shape": list(module.kernel_size),
            "strides": list(module.stride),
            "pads": [pads[0], pads[0], pads[1], pads[1]],
            "group": module.groups,
        }
        if self._shared is None:
            label = self._names[module]
            weight, bias = folded(module, norm, gain)
            arrays = [self.graph.constant(f"{label}.weight", weight.astype(np.float32))]
            if bias is not None:
                arrays.append(self.graph.constant(f"{label}.bias", bias.astype(np.float32)))
            return self.graph.op("Conv", value, *arrays, attributes=attributes)
        arrays = [
            self.array(module, "weight"),
            *([] if module.bias is None else [self.array(module, "bias")]),
        ]
        value = self.graph.op("Conv", value, *arrays, attributes=attributes)
        return value if norm is None else self.norm(value, norm)

    def array(self, module: nn.Module, field: str) -> str:
        """Refer to a parameter or buffer of a module as it is."""
        label = f"{self._names[module]}.{field}"
        if self._shared is not None:
            return self.graph.external(self._shared.tensor(label))
        return self.graph.constant(label, float64(getattr(module, field)).astype(np.float32))

    def linear(self, value: str, module: nn.Linear) -> str:
        """Write a dense layer with bias on ``[B, n]``."""
        arrays = (self.array(module, "weight"), self.array(module, "bias"))
        return self.graph.op("Gemm", value, *arrays, attributes={"transB": 1})

    def norm(self, value: str, module: nn.BatchNorm2d) -> str:
        """Write a batch norm that no convolution precedes."""
        fields = ("weight", "bias", "running_mean", "running_var")
        arrays = [self.array(module, field) for field in fields]
        return self.graph.op("BatchNormalization", value, *arrays, attributes={"epsilon": module.eps})

    def _inverted_residual(self, value: str, module: InvertedResidual) -> str:
        inner = value if module.expand is None else self.conv_norm(value, module.expand)
        narrowed = self.conv_norm(self.conv_norm(inner, module.depthwise), module.project)
        return self.graph.op("Add", narrowed, value) if module.has_skip else narrowed

    def _separable(self, value: str, module: SeparableConvNorm) -> str:
        if module.rectify:
            value = self.graph.op("Relu", value)
        filtered = self.conv(value, module.depthwise, pads=(1, 1))
        return self.conv(filtered, module.pointwise, module.norm)

    def _xception_block(self, value: str, module: XceptionBlock) -> str:
        branch = value
        for separable in module.separable:
            branch = self.layer(branch, separable)
        if module.skip is None:
            return self.graph.op("Add", branch, value)
        return self.graph.op("Add", self.max_pool(branch, 3, 2, (1, 1)), self.conv_norm(value, module.skip))

    def max_pool(self, value: str, kernel: int, stride: int, pads: tuple[int, int]) -> str:
        """Write a square maximum pool."""
        attributes: dict[str, Attribute] = {
            "kernel_shape": [kernel, kernel],
            "strides": [stride, stride],
            "pads": [pads[0], pads[0], pads[1], pads[1]],
        }
        return self.graph.op("MaxPool", value, attributes=attributes)

    def enhance(self, first: str, second: str, *, rectify: bool) -> tuple[str, str]:
        """CMCE: the second map takes the first one as already updated."""
        similarity = self._cosine(first, second)
        first = self.graph.op("Add", first, self.graph.op("Mul", similarity, second))
        second = self.graph.op("Add", second, self.graph.op("Mul", similarity, first))
        if not rectify:
            return first, second
        return self.graph.op("Relu", first), self.graph.op("Relu", second)

    def _cosine(self, first: str, second: str) -> str:
        channels, floor = self.integers(1), self.scalar(_COSINE_FLOOR)
        dot = self.graph.op("ReduceSum", self.graph.op("Mul", first, second), channels)
        norms = [
            self.graph.op("Max", self.graph.op("ReduceL2", value, channels), floor)
            for value in (first, second)
        ]
        return self.graph.op("Div", dot, self.graph.op("Mul", *norms))

    def attend(self, localisation: str, classification: str, module: GuidedAttention, side: int) -> str:
        """LFGA over all positions of two ``side`` x ``side`` maps."""
        query = self._flat(self.conv(localisation, module.query), module.query)
        key = self._flat(self.conv(localisation, module.key), module.key)
        folds = self._shared is None
        value = self.conv(classification, module.value, gain=module.gamma if folds else None)
        value = self._flat(value, module.value)
        turned = self.graph.op("Transpose", query, attributes={"perm": [0, 2, 1]})
        attention = self.graph.op("Softmax", self.graph.op("MatMul", turned, key), attributes={"axis": -1})
        attention = self.graph.op("Transpose", attention, attributes={"perm": [0, 2, 1]})
        gathered = self.graph.op("MatMul", value, attention)
        if not folds:
            gathered = self.graph.op("Mul", gathered, self.array(module, "gamma"))
        shape = self.integers(0, module.value.out_channels, side, side)
        fused = self.graph.op("Add", self.graph.op("Reshape", gathered, shape), classification)
        return self.graph.op("Relu", fused) if module.rectify else fused

    def _flat(self, value: str, module: nn.Conv2d) -> str:
        return self.graph.op("Reshape", value, self.integers(0, module.out_channels, -1))

    def pad_to_grid(self, value: str, side: int, cells: int) -> str:
        """Repeat the edges of a map until it is a whole number of cells."""
        before, after, _ = grid_padding(side, cells)
        if before == after == 0:
            return value
        pads = self.integers(0, 0, before, before, 0, 0, after, after)
        return self.graph.op("Pad", value, pads, attributes={"mode": "edge"})

    def agreement(self, shallow: str, guide: str, channels: int, cells: int, cell: int) -> str:
        """MPFF of one level: tanh of the product with the guide, summed over channels."""
        if cell > 1:
            guide = self._repeat(guide, channels, cells, cell)
        agreement = self.graph.op("Tanh", self.graph.op("Mul", shallow, guide))
        # The sum as a convolution with ones: engines that block channels keep their layout for it, where a
        # reduction makes them write both 47 MB maps of lv-xception's first level out again (16 of 257 ms).
        ones = self.graph.constant("ones", np.ones((1, channels, 1, 1), np.float32))
        summed = self.graph.op("Conv", agreement, ones)
        if cell == 1:
            return summed
        return self.graph.op("SpaceToDepth", summed, attributes={"blocksize": cell})

    def _repeat(self, guide: str, channels: int, cells: int, cell: int) -> str:
        scales = self.graph.constant(f"scales_{cell}", np.array([1, 1, cell, cell], np.float32))
        attributes: dict[str, Attribute] = {
            "mode": "nearest",
            "coordinate_transformation_mode": "asymmetric",
            "nearest_mode": "floor",
        }
        repeated = self.graph.op("Resize", guide, "", scales, attributes=attributes)
        self.graph.declare(repeated, channels, cells * cell, cells * cell)
        return repeated

    def fuse(self, pooled: list[str], deep: str, module: BilinearFusion, norm: nn.BatchNorm2d) -> str:
        """HBFusion of maps already on the deep grid, with the class head's norm behind it."""
        shallow = self.conv(self.concat(pooled), module.shallow)
        product = self.graph.op("Mul", shallow, self.conv(deep, module.deep))
        return self.conv(self.graph.op("Tanh", product), module.out, norm)

    def concat(self, values: list[str]) -> str:
        """Join maps along their channels."""
        return self.graph.op("Concat", *values, attributes={"axis": 1})


def folded(conv: nn.Conv2d, norm: nn.BatchNorm2d | None, gain: nn.Parameter | None) -> tuple[F64, F64 | None]:
    """Fold a norm and a gain into a convolution's weight and bias (null if nothing has one), in float64."""
    weight = float64(conv.weight)
    bias = None if conv.bias is None else float64(conv.bias)
    if norm is not None:
        assert norm.running_mean is not None
        assert norm.running_var is not None
        factor = float64(norm.weight) / np.sqrt(float64(norm.running_var) + norm.eps)
        weight = weight * factor[:, None, None, None]
        before = 0.0 if bias is None else bias
        bias = (before - float64(norm.running_mean)) * factor + float64(norm.bias)
    if gain is not None:
        weight = weight * float64(gain)
        bias = None if bias is None else bias * float64(gain)
    return weight, bias


def float64(tensor: Tensor) -> F64:
    """Copy a tensor into a numpy array of double precision."""
    return tensor.detach().cpu().double().numpy()
