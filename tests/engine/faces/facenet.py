"""The real facenet-pytorch, loaded without a torchvision that fits torch.

Its detector needs one function of torchvision, which is written here; stand-in modules are there only while
its file is read.
"""

import importlib
import importlib.util
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

Suppression = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, float], torch.Tensor]


def batched_nms(boxes: torch.Tensor, scores: torch.Tensor, group: torch.Tensor, limit: float) -> torch.Tensor:
    """What torchvision.ops.boxes.batched_nms does: greedy suppression within each group, best score first."""
    order = torch.argsort(scores, descending=True, stable=True)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    kept: list[int] = []
    while len(order):
        best, rest = int(order[0]), order[1:]
        kept.append(best)
        low = torch.maximum(boxes[best, :2], boxes[rest, :2])
        high = torch.minimum(boxes[best, 2:], boxes[rest, 2:])
        shared = (high - low).clamp(min=0).prod(dim=1)
        union = area[best] + area[rest] - shared
        order = rest[(shared <= limit * union) | (group[rest] != group[best])]
    return torch.tensor(kept, dtype=torch.long)


@contextmanager
def _stand_ins(suppress: Suppression) -> Iterator[None]:
    names = ["torchvision", "torchvision.transforms", "torchvision.transforms.functional"]
    names += ["torchvision.ops", "torchvision.ops.boxes", "facenet_pytorch"]
    before = {name: sys.modules.get(name) for name in names}
    modules: dict[str, Any] = {name: types.ModuleType(name) for name in names}
    modules["torchvision.transforms"].functional = modules["torchvision.transforms.functional"]
    modules["torchvision.ops.boxes"].batched_nms = suppress
    spec = importlib.util.find_spec("facenet_pytorch")
    assert spec is not None, "run 'make test', which installs facenet-pytorch 2.6.0 without dependencies"
    modules["facenet_pytorch"].__path__ = spec.submodule_search_locations  # its own __init__ loads too much
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


def load_mtcnn(smallest_px: int, suppress: Suppression = batched_nms) -> Any:
    """The package's MTCNN with its weights and defaults, for all faces from this size on."""
    with _stand_ins(suppress):
        module = importlib.import_module("facenet_pytorch.models.mtcnn")
    return module.MTCNN(min_face_size=smallest_px, keep_all=True)
