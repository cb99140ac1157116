"""The release of HFGI: the e4e family's file with ADA (`grid_align.`) and the consultation (`residue.`) in it."""

from __future__ import annotations

from typing import Any

from sdic.checkpoints.bundle import Bundle
from sdic.checkpoints.keymap import Rule, beside
from sdic.checkpoints.layouts.common import Layout, below, below_it, find_state, ir_block, read_network
from sdic.checkpoints.layouts.e4e import INPUT, encoder_and_generator
from sdic.errors import CheckpointError
from sdic.networks.hfgi import ADAConfig, ConsultationConfig

IR_PARTS = ("norm1", "conv1", "act", "conv2", "norm2")
STEM = {f"conv_layer1.{n}": n for n in range(3)}

ADA = [
    *below_it({source: f"down.0.{n}" for source, n in STEM.items()}),
    *(rule for n in range(1, 4) for rule in ir_block(f"conv_layer{n + 1}.{{i}}", f"down.{n}.{{i}}", IR_PARTS)),
    *(rule for n in range(3) for rule in ir_block(f"dconv_layer{n + 1}.{{i}}", f"up.{n}.{{i}}", IR_PARTS)),
]
CONSULTATION: list[Rule] = [
    *below_it({source: f"stem.{n}" for source, n in STEM.items()}),
    *(rule for n in range(2) for rule in ir_block(f"conv_layer{n + 2}.{{i}}", f"stages.{n}.{{i}}", IR_PARTS)),
    *below_it({"condition_scale3.{i}": "scale.{i}", "condition_shift3.{i}": "shift.{i}"}),
]


def _read(content: Any, bundle: Bundle) -> None:
    _, state = find_state(content, *NEEDS)
    encoder_and_generator(content, bundle, ("residue.", "grid_align."))
    read_network(bundle, "ada", ADAConfig(), below(state, "grid_align."), ADA, "grid_align.")
    part = below(state, "residue.")
    if "condition_shift3.2.weight" not in part:
        raise CheckpointError(
            f"{bundle.source['file']} (residue): expected {beside('condition_shift3.2.weight', part)}"
        )
    config = ConsultationConfig(feature_channels=len(part["condition_shift3.2.weight"]), map_size=INPUT)
    read_network(bundle, "consultation", config, part, CONSULTATION, "residue.")
    bundle.source["method"] = "hfgi"


NEEDS = ("encoder.", "decoder.", "residue.", "grid_align.")
LAYOUTS = {
    "hfgi": Layout("HFGI release {state_dict: encoder. decoder. residue. grid_align., latent_avg, opts}", NEEDS, _read),
}
