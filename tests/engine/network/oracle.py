"""The network once more, from the formulas of its description, in float64 and by other means.

Nothing here uses the code under test. Maps are numpy arrays ``[C, H, W]`` of one picture; convolutions are
sums of shifted products, windows are found by index, attention and cosine follow their formulas position by
position. The whole network reads a state dict in the names of the paper's reference implementation.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
CHANNELS = (64, 128, 256, 728, 728, 728)

# The tables of the description: rows of the 5x5 filters and their divisors.
SRM_TABLES = (
    ([[0, 0, 0, 0, 0], [0, -1, 2, -1, 0], [0, 2, -4, 2, 0], [0, -1, 2, -1, 0], [0, 0, 0, 0, 0]], 4),
    (
        [
            [-1, 2, -2, 2, -1],
            [2, -6, 8, -6, 2],
            [-2, 8, -12, 8, -2],
            [2, -6, 8, -6, 2],
            [-1, 2, -2, 2, -1],
        ],
        12,
    ),
    ([[0, 0, 0, 0, 0], [0, 0, 0, 0, 0], [0, 1, -2, 1, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]], 2),
)


class Weights(Mapping[str, Array]):
    """A state dict as float64 arrays that remembers which keys were read."""

    def __init__(self, tensors: Mapping[str, object]) -> None:
        self._arrays = {key: np.asarray(value, np.float64) for key, value in tensors.items()}
        self.read: set[str] = set()

    def __getitem__(self, key: str) -> Array:
        value = self._arrays[key]
        self.read.add(key)
        return value

    def __iter__(self):
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)


def relu(values: Array) -> Array:
    return np.where(values > 0, values, 0.0)


def srm(picture: Array) -> Array:
    """Filter a normalised picture, three planes with the same kernel each, and truncate."""
    _, height, width = picture.shape
    padded = np.zeros((3, height + 4, width + 4))
    padded[:, 2:-2, 2:-2] = picture
    out = np.zeros((3, height, width))
    for index, (table, divisor) in enumerate(SRM_TABLES):
        for plane in range(3):
            for row in range(5):
                for column in range(5):
                    shifted = padded[plane, row : row + height, column : column + width]
                    out[index] += table[row][column] / divisor * shifted
    return np.clip(out, -3.0, 3.0)


def convolve(maps: Array, kernel: Array, stride: int = 1, pads: tuple[int, int] | None = None) -> Array:
    """Dense convolution, kernel [O, I, k, k], as a sum over the kernel's taps."""
    size = kernel.shape[-1]
    before, after = pads if pads is not None else (size // 2, size // 2)
    padded = np.pad(maps, ((0, 0), (before, after), (before, after)))
    side = (padded.shape[-1] - size) // stride + 1
    out = np.zeros((len(kernel), side, side))
    for row in range(size):
        for column in range(size):
            reach = stride * (side - 1) + 1
            shifted = padded[:, row : row + reach : stride, column : column + reach : stride]
            out += np.tensordot(kernel[:, :, row, column], shifted, axes=1)
    return out


def convolve_depthwise(
    maps: Array, kernel: Array, stride: int = 1, pads: tuple[int, int] | None = None
) -> Array:
    """Convolution of each channel with its own kernel [C, 1, k, k]."""
    size = kernel.shape[-1]
    before, after = pads if pads is not None else (size // 2, size // 2)
    padded = np.pad(maps, ((0, 0), (before, after), (before, after)))
    side = (padded.shape[-1] - size) // stride + 1
    reach = stride * (side - 1) + 1
    out = np.zeros((len(maps), side, side))
    for row in range(size):
        for column in range(size):
            shifted = padded[:, row : row + reach : stride, column : column + reach : stride]
            out += kernel[:, 0, row, column][:, None, None] * shifted
    return out


def norm(maps: Array, weights: Mapping[str, Array], name: str, eps: float = 1e-5) -> Array:
    """Batch norm in evaluation: (x - mean) / sqrt(var + eps) * weight + bias."""
    mean, variance = weights[f"{name}.running_mean"], weights[f"{name}.running_var"]
    scale = weights[f"{name}.weight"] / np.sqrt(variance + eps)
    shape = (-1,) + (1,) * (maps.ndim - 1)
    return (maps - mean.reshape(shape)) * scale.reshape(shape) + weights[f"{name}.bias"].reshape(shape)


def pool3(maps: Array) -> Array:
    """Maximum over 3x3 at stride 2, one pixel of minus infinity around."""
    padded = np.pad(maps, ((0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    side = (maps.shape[-1] + 2 - 3) // 2 + 1
    reach = 2 * (side - 1) + 1
    shifts = [padded[:, r : r + reach : 2, c : c + reach : 2] for r in range(3) for c in range(3)]
    return np.max(shifts, axis=0)


def separable(maps: Array, weights: Mapping[str, Array], conv: str, norm_name: str) -> Array:
    filtered = convolve_depthwise(maps, weights[f"{conv}.conv1.weight"])
    return norm(convolve(filtered, weights[f"{conv}.pointwise.weight"]), weights, norm_name)


def xception_block(maps: Array, weights: Mapping[str, Array], name: str, places: tuple[int, ...]) -> Array:
    """``places`` are the separable convolutions' positions in ``rep``; position 0 has no ReLU before it."""
    branch = maps
    for place in places:
        rectified = branch if place == 0 else relu(branch)
        branch = separable(rectified, weights, f"{name}.rep.{place}", f"{name}.rep.{place + 1}")
    if f"{name}.skip.weight" not in weights:
        return branch + maps
    skip = convolve(maps, weights[f"{name}.skip.weight"], stride=2)
    return pool3(branch) + norm(skip, weights, f"{name}.skipbn")


def enhance(a: Array, b: Array) -> tuple[Array, Array]:
    """CMCE at each position, the second with the updated first; not rectified."""
    a, b = a.copy(), b.copy()
    for row in range(a.shape[1]):
        for column in range(a.shape[2]):
            p, q = a[:, row, column].copy(), b[:, row, column].copy()
            lengths = max(float(np.sqrt(p @ p)), 1e-8) * max(float(np.sqrt(q @ q)), 1e-8)
            cosine = float(p @ q) / lengths
            p = p + cosine * q
            q = q + cosine * p
            a[:, row, column], b[:, row, column] = p, q
    return a, b


def attend(x: Array, y: Array, weights: Mapping[str, Array], name: str) -> Array:
    """LFGA position by position; not rectified."""
    channels, side = x.shape[0], x.shape[1]
    flat_x, flat_y = x.reshape(channels, -1), y.reshape(channels, -1)

    def project(kind: str, flat: Array) -> Array:
        weight = weights[f"{name}.{kind}_conv.weight"]
        return weight.reshape(len(weight), channels) @ flat + weights[f"{name}.{kind}_conv.bias"][:, None]

    query, key, value = project("query", flat_x), project("key", flat_x), project("value", flat_y)
    out = np.empty_like(flat_y)
    for position in range(side * side):
        scores = query[:, position] @ key
        shares = np.exp(scores - scores.max())
        out[:, position] = value @ (shares / shares.sum())
    return weights[f"{name}.gamma"].item() * out.reshape(channels, side, side) + y


def window(side: int, cells: int) -> tuple[int, int]:
    """Side of the window and what is missing on the left, for a replicate-padded map."""
    width = int(np.ceil(side / cells))
    return width, (width * cells - side) // 2


def patch_features(maps: Array, guide: Array) -> Array:
    """MPFF of one level from its rectified score map [C, s, s] and the guide [C, g, g]: [w*w, g, g]."""
    side, cells = maps.shape[-1], guide.shape[-1]
    width, before = window(side, cells)
    out = np.empty((width * width, cells, cells))
    for i in range(cells):
        for j in range(cells):
            for row in range(width):
                for column in range(width):
                    y = min(max(i * width + row - before, 0), side - 1)
                    x = min(max(j * width + column - before, 0), side - 1)
                    out[row * width + column, i, j] = np.tanh(maps[:, y, x] * guide[:, i, j]).sum()
    return out


def pool_to(maps: Array, cells: int) -> Array:
    """Maximum of each window of the replicate-padded map."""
    side = maps.shape[-1]
    width, before = window(side, cells)
    out = np.empty((len(maps), cells, cells))
    for i in range(cells):
        for j in range(cells):
            ys = np.clip(np.arange(i * width, (i + 1) * width) - before, 0, side - 1)
            xs = np.clip(np.arange(j * width, (j + 1) * width) - before, 0, side - 1)
            out[:, i, j] = maps[:, ys][:, :, xs].max(axis=(1, 2))
    return out


def fuse(pooled: list[Array], deep: Array, weights: Mapping[str, Array]) -> Array:
    """HBFusion of pooled maps and the deep one, all cells at once."""
    cells = deep.shape[1] * deep.shape[2]

    def linear(name: str, flat: Array) -> Array:
        return weights[f"HBFusion.{name}.weight"] @ flat + weights[f"HBFusion.{name}.bias"][:, None]

    left = linear("Trans1", np.concatenate(pooled).reshape(-1, cells))
    right = linear("Trans2", deep.reshape(-1, cells))
    return linear("OutTrans", np.tanh(left * right)).reshape(-1, *deep.shape[1:])


def reference_outputs(
    crop: NDArray[np.uint8], weights: Mapping[str, Array]
) -> tuple[Array, Array, Array | None]:
    """Logits [2], patch logits [2, 19, 19] and projection of one uint8 RGB crop [3, 299, 299]."""
    picture = (crop.astype(np.float64) / 255 - 0.5) / 0.5
    rgb, noise = "xception_rgb.model", "xception_srm.model"
    x, y = stem(picture, weights, rgb), stem(srm(picture), weights, noise)
    x, y = (relu(maps) for maps in enhance(x, y))
    xs, ys = [x], [y]
    for number, places in ((1, (0, 3)), (2, (1, 4))):
        x = xception_block(x, weights, f"{rgb}.block{number}", places)
        y = xception_block(y, weights, f"{noise}.block{number}", places)
        x, y = (relu(maps) for maps in enhance(x, y))
        xs.append(x)
        ys.append(y)
    x = y = xs[2] + ys[2]
    for level, blocks in enumerate(((3,), (4, 5, 6, 7), (8, 9, 10, 11))):
        for number in blocks:
            places = (1, 4) if number == 3 else (1, 4, 7)
            x = xception_block(x, weights, f"{rgb}.block{number}", places)
            y = xception_block(y, weights, f"{noise}.block{number}", places)
        y = relu(attend(x, y, weights, f"lfe{level}"))
        xs.append(x)
        ys.append(y)
    deep = xception_block(y, weights, f"{noise}.block12", (1, 4))
    deep = separable(deep, weights, f"{noise}.conv3", f"{noise}.bn3")
    deep = separable(relu(deep), weights, f"{noise}.conv4", f"{noise}.bn4")
    fused = fuse([pool_to(ys[level], 10) for level in (0, 1, 2, 3, 5)], deep, weights)
    pooled = relu(norm(fused, weights, "cls_header.0")).mean(axis=(1, 2))
    logits = weights["cls_header.5.weight"] @ pooled + weights["cls_header.5.bias"]
    return logits, patch_logits(xs, weights), projection(xs[5], weights)


def stem(maps: Array, weights: Mapping[str, Array], name: str) -> Array:
    maps = relu(norm(convolve(maps, weights[f"{name}.conv1.weight"], stride=2), weights, f"{name}.bn1"))
    return relu(norm(convolve(maps, weights[f"{name}.conv2.weight"]), weights, f"{name}.bn2"))


def score(maps: Array, weights: Mapping[str, Array], level: int) -> Array:
    weight = weights[f"score{level}.conv.weight"]
    return relu(norm(convolve(maps, weight), weights, f"score{level}.bn"))


def patch_logits(xs: list[Array], weights: Mapping[str, Array]) -> Array:
    guide = score(xs[5], weights, 5)
    levels = [patch_features(score(xs[level], weights, level), guide) for level in range(5)]
    features = relu(norm(np.concatenate([*levels, xs[5]]), weights, "seg_header.0"))
    return convolve(features, weights["seg_header.2.weight"])


def projection(x5: Array, weights: Mapping[str, Array]) -> Array | None:
    if "pro_header.2.weight" not in weights:
        return None
    return convolve(relu(norm(x5, weights, "pro_header.0")), weights["pro_header.2.weight"])
