"""Training computes in the arithmetic that the processor is fast in."""

from collections.abc import Iterator

import pytest
import torch

from engine.training.precision import has_bf16, mixed_precision


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    has_bf16.cache_clear()
    yield
    has_bf16.cache_clear()


@pytest.mark.parametrize(
    ("able", "dtype"),
    [
        ({"avx2": True, "avx512_bf16": False}, torch.float32),
        ({"avx2": True, "avx512_bw": True}, torch.bfloat16),
        ({"architecture": "unknown"}, torch.float32),
    ],
)
def test_convolutions_are_bfloat16_only_where_the_processor_has_it(
    monkeypatch: pytest.MonkeyPatch, able: dict[str, bool | str], dtype: torch.dtype
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    layer = torch.nn.Conv2d(3, 4, 3)
    with mixed_precision():
        answer = layer(torch.ones(1, 3, 8, 8))
    assert answer.dtype == dtype
    assert layer.weight.dtype == torch.float32
