"""A small network that draws a sharp face from a coarse one, as the decoder of a face swap does.

The decoder of a face-swap autoencoder knows a face from few numbers and draws the rest: skin without pores,
hair and teeth as a convolution network paints them. Real faces that were made coarse and drawn anew by a
network of ours carry the same traces. It is trained on the real faces of the training people, by distance
of pixels, edges and ImageNet features and, after its first third, against a critic of patches (Isola et al.,
Image-to-Image Translation with Conditional Adversarial Networks, CVPR 2017); its state at three moments of
training is kept, since no two decoders paint alike.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.arrays import F32, U8
from engine.build.checkpoint import load_torch_file
from engine.errors import BundleInvalid
from engine.network.lite import LiteStream, load_lite0_weights, read_lite0_weights
from engine.network.two_stream import normalise
from engine.results import RejectReason
from engine.training.colour import add_grain
from engine.training.face_space import affine_between, mean_shape, warp_aligned
from engine.training.faces import FaceContext, FaceRecord, load_context
from engine.training.layout import lay_channels_last
from engine.training.precision import mixed_precision

SIDE = 176  # pixels of the aligned face, forehead included
_TOP, _BOTTOM = 0.32, 0.94  # where brows and chin of the mean face lie, as shares of the side
_COARSE = (20, 60)  # side of the coarse face in pixels, in training
_DRAWN = (28, 110)  # and for forgeries: from less no face comes out, and from more a good one
_PATCH = 96  # pixels of the pieces that are trained on; the network is convolutional
_FITTED = 3000  # faces
_STAGES = 3


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1, padding_mode="replicate")
        self.second = nn.Conv2d(width, width, 3, padding=1, padding_mode="replicate")

    def forward(self, features: Tensor) -> Tensor:
        return features + self.second(functional.leaky_relu(self.first(features), 0.1))


class RedrawNet(nn.Module):
    """Coarse RGB in 0 to 1, ``[B, 3, H, W]`` with sides that are multiples of 4, to a sharp picture."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Conv2d(48, 48, 3, padding=1, padding_mode="replicate")
        self.coarse = nn.Sequential(*[_Residual(48) for _ in range(5)])
        self.widen_twice = nn.Conv2d(48, 4 * 32, 3, padding=1, padding_mode="replicate")
        self.middle = _Residual(32)
        self.widen_again = nn.Conv2d(32, 4 * 16, 3, padding=1, padding_mode="replicate")
        self.leave = nn.Conv2d(16, 3, 3, padding=1, padding_mode="replicate")

    def forward(self, pictures: Tensor) -> Tensor:
        """Draw the pictures anew; values may leave 0 to 1 slightly."""
        features = self.coarse(self.enter(functional.pixel_unshuffle(pictures, 4)))
        features = functional.leaky_relu(functional.pixel_shuffle(self.widen_twice(features), 2), 0.1)
        features = self.middle(features)
        features = functional.leaky_relu(functional.pixel_shuffle(self.widen_again(features), 2), 0.1)
        return self.leave(features)


class Redrawer:
    """Draws aligned faces with one of the kept states of the network."""

    def __init__(self, shape: F32, networks: list[RedrawNet]) -> None:
        self._shape, self._networks = shape, [network.eval() for network in networks]

    def align(self, face: FaceContext) -> tuple[U8, F32]:
        """The face as RGB [SIDE, SIDE, 3], and the affine [2, 3] from its picture to there."""
        affine = affine_between(face.landmarks, self._shape)
        return warp_aligned(face.picture, affine, SIDE), affine

    @torch.inference_mode()
    def draw(self, aligned: U8, donor: U8 | None, share: float, rng: np.random.Generator) -> U8:
        """Make a face [SIDE, SIDE, 3] coarse, mix in ``share`` of another, and draw it anew."""
        mixed = aligned if donor is None else cv2.addWeighted(aligned, 1 - share, donor, share, 0)
        coarse = _make_coarse(np.asarray(mixed, np.uint8), int(rng.integers(*_DRAWN)), rng)
        network = self._networks[int(rng.integers(len(self._networks)))]
        drawn = network(_to_tensor(coarse[None]))[0].clamp(0.0, 1.0).permute(1, 2, 0).numpy()
        return np.asarray(drawn * 255.0 + 0.5).astype(np.uint8)


def place_drawn(drawn: U8, affine: F32, height: int, width: int) -> U8:
    """Warp an aligned face back into a picture [height, width, 3]; outside it, edges are repeated."""
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    placed = cv2.warpAffine(drawn, affine, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(placed, np.uint8)


def load_redrawer(path: Path) -> Redrawer:
    """Read what ``fit_redrawer`` wrote. Raises BundleInvalid when the file is missing or damaged."""
    stored = cast("dict[str, Any]", load_torch_file(path))
    networks: list[RedrawNet] = []
    try:
        for state in stored["states"]:
            network = RedrawNet()
            network.load_state_dict(state)
            networks.append(lay_channels_last(network))
        return Redrawer(stored["shape"].numpy(), networks)
    except (LookupError, TypeError, AttributeError, RuntimeError) as fault:
        hint = "remove it and give --imagenet: the run trains it again"
        raise BundleInvalid(RejectReason.MODEL_INVALID, f"{path} draws no faces: {fault}", hint) from fault


def fit_redrawer(
    records: list[FaceRecord],
    imagenet: Path,
    out: Path,
    seed: int,
    *,
    steps: int = 2400,
    batch: int = 24,
    on_log: Callable[[dict[str, float]], None] = lambda _: None,
) -> Path:
    """Train the network on faces of ``records`` and write its states; a file that is there is kept.

    ``imagenet`` are the published EfficientNet-Lite0 weights, by whose features pictures are compared.
    About 15 minutes on two cores.
    """
    if out.exists():
        return out
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    chosen = [records[int(i)] for i in rng.permutation(len(records))[:_FITTED]]
    shape = _place(mean_shape([r.landmarks for r in chosen]))
    contexts = (load_context(record) for record in chosen)
    faces = np.stack(
        [warp_aligned(face.picture, affine_between(face.landmarks, shape), SIDE) for face in contexts]
    )
    fit = _Fit(imagenet)
    states: list[dict[str, Tensor]] = []
    for step in range(1, steps + 1):
        pieces = _draw_batch(faces, batch, rng)
        figures = fit.step(*pieces, against_critic=step > steps // 3)
        is_kept = step in {steps * part // _STAGES for part in range(1, _STAGES + 1)}
        if is_kept or step % 50 == 0:
            on_log({"redraw_step": float(step), **figures})
        if is_kept:
            states.append({k: v.detach().clone() for k, v in fit.network.state_dict().items()})
    return save_redrawer(shape, states, out)


def save_redrawer(shape: F32, states: list[dict[str, Tensor]], out: Path) -> Path:
    """Write the mean shape [68, 2] and the states of the network, whole or not at all."""
    partial = out.with_suffix(".partial.pt")
    torch.save({"shape": torch.from_numpy(shape), "states": states}, partial)
    partial.replace(out)
    return out


class _Fit:
    """The network, its critic and what they learn from."""

    def __init__(self, imagenet: Path) -> None:
        self.network = lay_channels_last(RedrawNet())
        self._critic = _make_critic()
        self._features = _Features(imagenet)
        self._draws = torch.optim.Adam(self.network.parameters(), lr=5e-4, betas=(0.8, 0.99))
        self._judges = torch.optim.Adam(self._critic.parameters(), lr=2e-4, betas=(0.5, 0.99))

    def step(self, sharp: Tensor, coarse: Tensor, *, against_critic: bool) -> dict[str, float]:
        with mixed_precision():
            painted: Tensor = self.network(coarse)
        drawn = painted.float()
        terms: dict[str, Tensor] = {
            "pixels": (drawn - sharp).abs().mean(),
            "edges": (_edges(drawn) - _edges(sharp)).abs().mean(),
            "features": 0.15 * self._features.distance(drawn, sharp),
        }
        if against_critic:
            terms["critic"] = -0.02 * self._critic(drawn).mean()
        self._draws.zero_grad(set_to_none=True)
        torch.stack(list(terms.values())).sum().backward()
        self._draws.step()
        if against_critic:
            self._judges.zero_grad(set_to_none=True)
            wrong = functional.relu(1 - self._critic(sharp)).mean()
            wrong = wrong + functional.relu(1 + self._critic(drawn.detach())).mean()
            wrong.backward()
            self._judges.step()
            terms["judged"] = wrong
        return {name: float(value.detach()) for name, value in terms.items()}


class _Features(nn.Module):
    """Distance of pictures by the features of a network trained on ImageNet (Johnson et al., ECCV 2016)."""

    def __init__(self, imagenet: Path) -> None:
        super().__init__()
        stream = LiteStream(with_exit=False)
        load_lite0_weights(stream, read_lite0_weights(imagenet))
        self._parts = nn.ModuleList([stream.part1_0, stream.part1_1, stream.part1_2]).eval()
        self.requires_grad_(requires_grad=False)

    def distance(self, drawn: Tensor, sharp: Tensor) -> Tensor:
        a, b = normalise(drawn * 255.0), normalise(sharp * 255.0)
        total = torch.zeros(())
        for part in self._parts:
            with mixed_precision():
                a, b = part(a), part(b)
            scale = b.float().abs().mean() + 1e-3
            total = total + (a.float() - b.float()).abs().mean() / scale
        return total


def _make_critic() -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels_in, channels_out in ((3, 32), (32, 64), (64, 96)):
        convolution = nn.Conv2d(channels_in, channels_out, 4, stride=2, padding=1)
        layers += [nn.utils.parametrizations.spectral_norm(convolution), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Conv2d(96, 1, 3))


def _draw_batch(faces: U8, count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Sharp and coarse pieces [B, 3, P, P] of randomly drawn faces."""
    sharp: list[U8] = []
    coarse: list[U8] = []
    for index in rng.integers(0, len(faces), count):
        face = faces[index][:, ::-1] if rng.random() < 0.5 else faces[index]
        top, left = rng.integers(0, SIDE - _PATCH + 1, 2)
        made = _make_coarse(np.ascontiguousarray(face), int(rng.integers(*_COARSE)), rng)
        sharp.append(face[top : top + _PATCH, left : left + _PATCH])
        coarse.append(made[top : top + _PATCH, left : left + _PATCH])
    return _to_tensor(np.stack(sharp)), _to_tensor(np.stack(coarse))


def _make_coarse(face: U8, side: int, rng: np.random.Generator) -> U8:
    """Shrink a square face to ``side`` pixels and enlarge it again, one time in two with grain added."""
    small = np.asarray(cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA), np.uint8)
    if rng.random() < 0.5:
        small = add_grain(small, rng.uniform(2.0, 8.0), rng)
    return np.asarray(cv2.resize(small, face.shape[1::-1], interpolation=cv2.INTER_CUBIC), np.uint8)


def _to_tensor(pictures: U8) -> Tensor:
    tensor = torch.from_numpy(np.ascontiguousarray(pictures.transpose(0, 3, 1, 2)))
    return (tensor.float() / 255.0).contiguous(memory_format=torch.channels_last)


def _edges(pictures: Tensor) -> Tensor:
    """Differences to the right and lower neighbours, [B, 6, H - 1, W - 1]."""
    right = pictures[..., :-1, 1:] - pictures[..., :-1, :-1]
    down = pictures[..., 1:, :-1] - pictures[..., :-1, :-1]
    return torch.cat([right, down], 1)


def _place(shape: F32) -> F32:
    """The mean shape [68, 2] in pixels of the aligned face, its middle in the middle of the width."""
    low, high = shape.min(0), shape.max(0)
    scale = (_BOTTOM - _TOP) * SIDE / float(high[1] - low[1])
    middle = np.array([(low[0] + high[0]) / 2, low[1]], np.float32)
    return ((shape - middle) * scale + np.array([SIDE / 2, _TOP * SIDE], np.float32)).astype(np.float32)
