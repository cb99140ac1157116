"""Numerical operations with a plain reference beside every fast path.

`use_reference()` makes every fast operation, and every network built on them, compute through the reference instead.
Tests compare the two, and `scripts/benchmark.py` times them.
"""

from sdic.ops.backend import is_reference, use_reference
from sdic.ops.fir import blur, downsample, upfirdn2d_reference, upsample_rgb
from sdic.ops.modulated_conv import StyledConvWeights, styled_conv, styled_conv_reference

__all__ = [
    "StyledConvWeights",
    "blur",
    "downsample",
    "is_reference",
    "styled_conv",
    "styled_conv_reference",
    "upfirdn2d_reference",
    "upsample_rgb",
    "use_reference",
]
