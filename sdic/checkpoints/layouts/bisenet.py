"""BiSeNet for faces as zllrunning's code names it (79999_iter.pth): a bare state dict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sdic.checkpoints.bundle import Bundle, NoConfig
from sdic.checkpoints.keymap import Rule
from sdic.checkpoints.layouts.common import Layout, below_it, find_state, read_network, set_aside


def _conv_norms(pairs: Mapping[str, str]) -> list[Rule]:
    parts = (("conv", "conv"), ("bn", "norm"))
    return below_it({f"{source}.{a}": f"{ours}.{b}" for source, ours in pairs.items() for a, b in parts})


OUTPUTS = ("conv_out", "conv_out16", "conv_out32")
BISENET = [
    *below_it({"cp.resnet": "body"}),
    *_conv_norms({f"cp.arm{n}.conv": f"refine{n}.conv" for n in (16, 32)}),
    *below_it({f"cp.arm{n}.conv_atten": f"refine{n}.gate" for n in (16, 32)}),
    *below_it({f"cp.arm{n}.bn_atten": f"refine{n}.norm" for n in (16, 32)}),
    *_conv_norms({"cp.conv_head16": "head16", "cp.conv_head32": "head32", "cp.conv_avg": "mean"}),
    *_conv_norms({"ffm.convblk": "fusion.mix"}),
    *below_it({"ffm.conv1": "fusion.fc1", "ffm.conv2": "fusion.fc2"}),
    *_conv_norms({f"{name}.conv": f"outputs.{n}.conv" for n, name in enumerate(OUTPUTS)}),
    *below_it({f"{name}.conv_out": f"outputs.{n}.output" for n, name in enumerate(OUTPUTS)}),
]


def _read(content: Any, bundle: Bundle) -> None:
    place, state = find_state(content, *NEEDS)
    set_aside(content, place, (), bundle.dropped)
    read_network(bundle, "bisenet", NoConfig(), state, BISENET)


NEEDS = ("cp.resnet.", "ffm.", "conv_out.")
LAYOUTS = {"bisenet": Layout("BiSeNet for faces, a bare state dict", NEEDS, _read)}
