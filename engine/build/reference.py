"""The tensors of the reference implementation: their names, their shapes, and which of ours each one is."""

from collections.abc import Iterator
from dataclasses import dataclass

Shape = tuple[int, ...]
SRM_KEY = "srm_conv0.kernel"
FUSION_PREFIX = "HBFusion."

_NORM = ("weight", "bias", "running_mean", "running_var")
_COUNTER = "num_batches_tracked"
_CHANNELS = (64, 128, 256, 728, 728, 728)


@dataclass(frozen=True)
class KeyTable:
    """Every tensor that a file must have, and our name for those that the network uses."""

    shapes: dict[str, Shape]  # reference name to shape
    live: dict[str, str]  # our name to reference name


@dataclass(frozen=True)
class _Entry:
    theirs: str
    shape: Shape
    ours: str | None  # null where nothing reads it


def key_table(*, projection: bool) -> KeyTable:
    """List the 695 tensors of the reference, or the 701 of its semi-supervised variant."""
    entries = list(_entries(projection=projection))
    return KeyTable(
        {entry.theirs: entry.shape for entry in entries},
        {entry.ours: entry.theirs for entry in entries if entry.ours is not None},
    )


def _entries(*, projection: bool) -> Iterator[_Entry]:
    yield from _xception("xception_rgb.model", "rgb", with_exit=False)
    yield from _xception("xception_srm.model", "noise", with_exit=True)
    yield _Entry(SRM_KEY, (3, 3, 5, 5), None)
    for level, channels in enumerate(_CHANNELS):
        ours = f"patch_features.scores.{level}"
        yield _Entry(f"score{level}.conv.weight", (512, channels, 1, 1), f"{ours}.conv.weight")
        yield from _norm(f"score{level}.bn", f"{ours}.norm", 512)
    yield from _fusion()
    for level, channels in enumerate(_CHANNELS[:3]):
        yield from _dead_consistency(f"cmc{level}", channels)
    for level in range(3):
        yield from _attention(f"lfe{level}", f"attend.{level}", 728)
    yield from _norm("cls_header.0", "class_head.norm", 4096)
    yield from _affine("cls_header.5", "class_head.linear", (2, 4096))
    yield from _patch_head("seg_header", "patch_head", 814, 2)
    if projection:
        yield from _patch_head("pro_header", "projection", 728, 256)


def _xception(theirs: str, ours: str, *, with_exit: bool) -> Iterator[_Entry]:
    for index, (channels_in, channels_out) in enumerate(((3, 32), (32, 64))):
        layer, number = f"{ours}.part1_0.{index}", index + 1
        shape = (channels_out, channels_in, 3, 3)
        yield _Entry(f"{theirs}.conv{number}.weight", shape, f"{layer}.conv.weight")
        yield from _norm(f"{theirs}.bn{number}", f"{layer}.norm", channels_out)
    yield from _block(f"{theirs}.block1", f"{ours}.part1_1", (64, 128, 128), first=0)
    yield from _block(f"{theirs}.block2", f"{ours}.part1_2", (128, 256, 256))
    yield from _block(f"{theirs}.block3", f"{ours}.part1_3", (256, 728, 728))
    for number in range(4, 12):
        part = f"part2_{(number - 4) // 4}.{(number - 4) % 4}"
        yield from _block(f"{theirs}.block{number}", f"{ours}.{part}", (728, 728, 728, 728))
    last = f"{ours}.part3" if with_exit else None
    yield from _block(f"{theirs}.block12", _inside(last, "block"), (728, 728, 1024))
    for number, widths in ((3, (1024, 1536)), (4, (1536, 2048))):
        layer = _inside(last, f"conv{number}")
        yield from _separable(f"{theirs}.conv{number}", layer, *widths)
        yield from _norm(f"{theirs}.bn{number}", _inside(layer, "norm"), widths[1])
    yield from _affine(f"{theirs}.last_linear.1", None, (2, 2048))


def _block(theirs: str, ours: str | None, widths: tuple[int, ...], *, first: int = 1) -> Iterator[_Entry]:
    """One block; ``first`` is the place of its first convolution: 1, or 0 where no ReLU precedes it."""
    for index, width in enumerate(widths[1:]):
        layer, place = _inside(ours, f"separable.{index}"), first + 3 * index
        yield from _separable(f"{theirs}.rep.{place}", layer, widths[index], width)
        yield from _norm(f"{theirs}.rep.{place + 1}", _inside(layer, "norm"), width)
    if widths[0] != widths[-1]:
        skip = _inside(ours, "skip")
        shape = (widths[-1], widths[0], 1, 1)
        yield _Entry(f"{theirs}.skip.weight", shape, _inside(skip, "conv.weight"))
        yield from _norm(f"{theirs}.skipbn", _inside(skip, "norm"), widths[-1])


def _separable(theirs: str, ours: str | None, channels_in: int, channels_out: int) -> Iterator[_Entry]:
    depthwise, pointwise = (channels_in, 1, 3, 3), (channels_out, channels_in, 1, 1)
    yield _Entry(f"{theirs}.conv1.weight", depthwise, _inside(ours, "depthwise.weight"))
    yield _Entry(f"{theirs}.pointwise.weight", pointwise, _inside(ours, "pointwise.weight"))


def _fusion() -> Iterator[_Entry]:
    """Write the three linear layers of the fusion, which are 1x1 convolutions with us."""
    pooled = sum(_CHANNELS) - _CHANNELS[4]
    layers = (
        ("Trans1", "shallow", pooled, 2048),
        ("Trans2", "deep", 2048, 2048),
        ("OutTrans", "out", 2048, 4096),
    )
    for theirs, ours, channels_in, channels_out in layers:
        yield from _affine(f"{FUSION_PREFIX}{theirs}", f"fusion.{ours}", (channels_out, channels_in))


def _dead_consistency(theirs: str, channels: int) -> Iterator[_Entry]:
    yield from _norm(f"{theirs}.bn", None, channels)
    for stage in ("stage1", "stage2"):
        yield _Entry(f"{theirs}.{stage}.0.weight", (channels, channels, 3, 3), None)
        yield from _norm(f"{theirs}.{stage}.1", None, channels)


def _attention(theirs: str, ours: str, channels: int) -> Iterator[_Entry]:
    yield _Entry(f"{theirs}.gamma", (1,), f"{ours}.gamma")
    inner = channels // 4
    for name, width in (("query", inner), ("key", inner), ("value", channels)):
        yield from _affine(f"{theirs}.{name}_conv", f"{ours}.{name}", (width, channels, 1, 1))
    yield from _norm(f"{theirs}.bn", None, channels)


def _patch_head(theirs: str, ours: str, channels: int, out: int) -> Iterator[_Entry]:
    yield from _norm(f"{theirs}.0", f"{ours}.norm", channels)
    yield _Entry(f"{theirs}.2.weight", (out, channels, 1, 1), f"{ours}.conv.weight")


def _affine(theirs: str, ours: str | None, shape: Shape) -> Iterator[_Entry]:
    yield _Entry(f"{theirs}.weight", shape, _inside(ours, "weight"))
    yield _Entry(f"{theirs}.bias", shape[:1], _inside(ours, "bias"))


def _norm(theirs: str, ours: str | None, channels: int) -> Iterator[_Entry]:
    for name in _NORM:
        yield _Entry(f"{theirs}.{name}", (channels,), _inside(ours, name))
    yield _Entry(f"{theirs}.{_COUNTER}", (), _inside(ours, _COUNTER))


def _inside(prefix: str | None, name: str) -> str | None:
    return None if prefix is None else f"{prefix}.{name}"
