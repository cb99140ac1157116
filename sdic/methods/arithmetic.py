"""In what arithmetic the networks compute, and how many images they take at a time."""

from __future__ import annotations

import platform
from typing import Literal

import torch

from sdic.errors import ConfigError, did_you_mean

Precision = Literal["fp32", "bf16", "fp16"]
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
LARGEST, AT_ONCE = 1024, 8
"""So many pictures of so many pixels squared go through a GPU at a time, and smaller ones in proportion."""


def check_precision(precision: str) -> None:
    """ConfigError for an arithmetic that is none of the three."""
    if precision not in ("fp32", *DTYPES):
        known = ("fp32", *DTYPES)
        raise ConfigError(
            f"precision must be one of {', '.join(known)}, got {precision!r}{did_you_mean(str(precision), known)}"
        )


def slow_on_cpu(precision: str) -> str:
    """What to say of an arithmetic that is slower than fp32 on this machine's CPU; "" where it is not known to be.

    Measured on an AMD EPYC with AVX512-BF16, one thread, portraits and tiny at 64 px, time beside fp32: bf16 takes 1.5
    to 1.8 for e4e, 1.3 for the generator, 1.3 to 1.5 for an edit (a whole inversion .9, thanks to DIPN's volumes); fp16
    takes 3 for e4e, 8 for an edit and 50 for an inversion. Matrix units (AMX) may turn this round.
    """
    if precision == "fp32" or platform.machine().lower() not in ("x86_64", "amd64"):
        return ""
    units = {"bf16": "_is_amx_tile_supported", "fp16": "_is_amx_fp16_supported"}[precision]
    if getattr(torch.cpu, units, lambda: False)():
        return ""
    factor = {"bf16": "up to twice as", "fp16": "many times as"}[precision]
    return f"precision {precision} is {factor} slow as fp32 on this CPU, and less exact; use fp32"


def images_at_once(device: torch.device, resolution: int) -> int:
    """How many images go through the networks at a time, so that memory does not grow with the length of a sweep."""
    return 1 if device.type == "cpu" else max(1, AT_ONCE * LARGEST**2 // resolution**2)
