"""How the networks are made fast: folding, layouts, strips, Winograd, synthesis at input size. Nothing above knows how.

`optimize_for_inference` rearranges frozen networks for inference. `accelerate` lets a StyleGAN2 synthesis compute by
its fast form and leaves it fit for training. `slice_volumes` does the same for DIPN in training on a CPU. Each keeps
what is computed, to float rounding; the networks as they are written are the other side of the tests.
"""

from sdic.fast.inference import optimize_for_inference
from sdic.fast.synthesis import accelerate
from sdic.fast.volumes import slice_volumes

__all__ = ["accelerate", "optimize_for_inference", "slice_volumes"]
