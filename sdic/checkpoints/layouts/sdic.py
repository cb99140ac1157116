"""The release of SDIC: the e4e family's file with DIPN (`DIP.`) and DICN (`SAF.`) in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sdic.checkpoints.bundle import Bundle
from sdic.checkpoints.keymap import Rule, beside
from sdic.checkpoints.layouts.common import Layout, below, below_it, find_state, ir_block, read_network
from sdic.checkpoints.layouts.e4e import encoder_and_generator
from sdic.checkpoints.layouts.stylegan2 import generator_config
from sdic.errors import CheckpointError
from sdic.networks.dicn import DICNConfig
from sdic.networks.dipn import DIPNConfig
from sdic.networks.stylegan2 import Generator

DEAD = "never used by the authors' forward pass"
IR_PARTS = ("norm1", "conv1", "act", "conv2", "norm2")


def _conv_norms(pairs: Mapping[str, str]) -> list[Rule]:
    """The release's BasicConv: conv and bn."""
    parts = (("conv", "conv"), ("bn", "norm"))
    return below_it({f"{source}.{a}": f"{ours}.{b}" for source, ours in pairs.items() for a, b in parts})


def _guided_fusion(source: str, ours: str) -> list[Rule]:
    convs = {"semantic.0": "guide.0", "att.0": "attention.0", "agg": "output"}
    plain = {"semantic.1": "guide.1", "att.1": "attention.1"}
    return [
        *_conv_norms({f"{source}.{theirs}": f"{ours}.{name}" for theirs, name in convs.items()}),
        *below_it({f"{source}.{theirs}": f"{ours}.{name}" for theirs, name in plain.items()}),
    ]


# The release's `DIP.` (older files: `CGI.`).
DIPN = [
    *(
        Rule(f"{name}.{{rest}}", None, DEAD)
        for name in ("stem_2", "stem_4", "spx", "spx_2", "spx_4", "semantic", "agg")
    ),
    Rule("hourglass_fusion.conv1_up.bn.{rest}", None, DEAD),
    *_conv_norms({f"feature1.fe{n + 1}": f"photo_encoder.convs.{n}" for n in range(5)}),
    *_conv_norms({f"feature2.fe{n + 1}": f"initial_encoder.convs.{n}" for n in range(5)}),
    *_conv_norms(
        {
            f"feature_up.deconv{step}.conv{n}": f"up_path.{ours}.{part}"
            for step, ours in (("8_4", "to_quarter"), ("4_2", "to_half"), ("2_1", "to_full"))
            for n, part in ((1, "up"), (2, "merge"))
        }
    ),
    *_conv_norms({"feature_up.conv4": "up_path.output", "conv": "branch_output.conv"}),
    *below_it({"desc": "branch_output.describe"}),
    *_conv_norms({"corr_stem": "hourglass.down.0.0"}),
    *_conv_norms(
        {
            f"hourglass_fusion.conv{stage + 1}.{conv}": f"hourglass.down.{stage}.{conv + (stage == 0)}"
            for stage in range(3)
            for conv in range(2)
        }
    ),
    *_conv_norms({f"hourglass_fusion.conv{3 - n}_up": f"hourglass.up.{n}" for n in range(2)}),
    Rule("hourglass_fusion.conv1_up.conv.weight", "hourglass.up_last.weight"),
    *_conv_norms(
        {f"hourglass_fusion.agg_{level}.{n}": f"hourglass.merge.{level}.{n}" for level in range(2) for n in range(3)}
    ),
    *(rule for n in range(3) for rule in _guided_fusion(f"hourglass_fusion.CGF_{32 >> n}", f"hourglass.fuse.{n}")),
    *_conv_norms({"rgb1.0": "head.0"}),
    *below_it({"rgb1.1": "head.1", "rgb1.2": "head.2"}),
    *(rule for n in range(3) for rule in ir_block(f"rgb.{n}", f"head.{n + 4}", IR_PARTS)),
]

# The release's `SAF.` (older files: `residue.`).
DICN = [
    *(Rule(f"{name}.{{rest}}", None, DEAD) for name in ("aff1", "conv1", "aff2", "aff1d.agg", "grid_transform")),
    *_conv_norms({"semantic.0": "feature.encode.convs.0", "semantic.2": "feature.encode.convs.2"}),
    *_conv_norms({"att.0": "feature.attention.0"}),
    *below_it(
        {
            "conv_layer1.{i}": "feature.encode.stem.{i}",
            "semantic.1": "feature.encode.convs.1",
            "semantic.3": "feature.encode.convs.3",
            "att.1": "feature.attention.1",
            "condition_shift3.{i}": "latent.maps.{i}",
            "aff1d.sen.{i}": "latent.mix.{i}",
            "aff1d.att.{i}": "latent.gamma.{i}",
            "aff1d.att2.{i}": "latent.theta.{i}",
        }
    ),
]


def _read(content: Any, bundle: Bundle) -> None:
    what, parts = bundle.source["file"], ("DIP.", "CGI.", "SAF.", "residue.")
    _, state = find_state(content, *NEEDS)
    size = generator_config(below(state, "decoder."), what).resolution
    given = {"encoder_type": "Encoder4Editing", **({"dataset_type": RELEASED[size]} if size in RELEASED else {})}
    encoder_and_generator(content, bundle, parts, given)
    generator = bundle.networks["generator"]
    assert isinstance(generator, Generator)
    read_network(bundle, "dipn", DIPNConfig(), below(state, "DIP.", "CGI."), DIPN, "DIP.")
    part = below(state, "SAF.", "residue.")
    try:
        maps = part["condition_shift3.0.weight"].shape[0]
        channels = part["semantic.3.weight"].shape[0]
    except KeyError as error:
        raise CheckpointError(f"{what} (SAF): expected {beside(error.args[0], part)}") from error
    config = DICNConfig(generator.config.latent_rows, generator.config.style_dim, channels, latent_maps=maps)
    read_network(bundle, "dicn", config, part, DICN, "SAF.")
    bundle.source["method"] = "sdic"


NEEDS = ("encoder.", "decoder.", ("DIP.", "CGI."))
RELEASED = {1024: "ffhq_encode", 512: "cars_encode"}
"""What the authors released, by the generator's size; a file's own options go before it."""
LAYOUTS = {
    "sdic": Layout("SDIC release {state_dict: encoder. decoder. DIP. SAF., latent_avg, opts}", NEEDS, _read),
}
