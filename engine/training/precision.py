"""The arithmetic of training: bfloat16 where the processor computes in it, float32 elsewhere."""

from contextlib import AbstractContextManager, nullcontext
from functools import cache

import torch

# Instructions with which oneDNN computes bfloat16 convolutions in one pass. Without them it converts each
# number by itself: on two AVX2 cores a step of lv-compact with 16 faces took 20 s, in float32 2 s.
_BF16_SETS = ("avx512_bf16", "amx_bf16", "avx512_bw", "avx_ne_convert", "bf16")


@cache
def has_bf16() -> bool:
    """Whether this processor computes in bfloat16 faster than in float32."""
    able = torch.cpu.get_capabilities()
    return any(bool(able.get(name)) for name in _BF16_SETS)


def mixed_precision() -> AbstractContextManager[object]:
    """Return a context in which networks compute in bfloat16 if that is faster here; weights are float32."""
    return torch.autocast("cpu", dtype=torch.bfloat16) if has_bf16() else nullcontext()
