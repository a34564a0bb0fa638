"""The arithmetic of training: bfloat16 where the processor has kernels for it, float32 elsewhere."""

from contextlib import AbstractContextManager, nullcontext
from functools import cache

import torch

# Instructions for which oneDNN has bfloat16 kernels. Without them it converts each number by itself: on two
# AVX2 cores a step of lv-compact with 16 faces took 20 s, in float32 2 s. Nothing else was measured. Plain
# avx512_bw (Skylake, Cascade Lake) has no instruction for bfloat16, which oneDNN emulates there: whether that
# is faster than float32 is not known.
_BF16_SETS = ("avx512_bf16", "amx_bf16", "avx512_bw", "avx_ne_convert", "bf16")


@cache
def has_bf16() -> bool:
    """Whether oneDNN has bfloat16 kernels here; with ``avx512_bw`` alone they may be slower than float32."""
    able = torch.cpu.get_capabilities()
    return any(bool(able.get(name)) for name in _BF16_SETS)


def mixed_precision() -> AbstractContextManager[object]:
    """Return a context in which networks compute in bfloat16 where :func:`has_bf16`; weights are float32."""
    return torch.autocast("cpu", dtype=torch.bfloat16) if has_bf16() else nullcontext()
