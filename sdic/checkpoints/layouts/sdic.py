"""The release of SDIC: the e4e family's file with DIPN (`DIP.`) and DICN (`SAF.`) in it."""

from __future__ import annotations

from typing import Any

from sdic.checkpoints.bundle import Bundle
from sdic.checkpoints.keymap import Rule, beside
from sdic.checkpoints.layouts.common import Layout, below, find_state, read_network
from sdic.checkpoints.layouts.e4e import encoder_and_generator
from sdic.checkpoints.layouts.stylegan2 import generator_config
from sdic.errors import CheckpointError
from sdic.networks.dicn import DICNConfig
from sdic.networks.dipn import DIPNConfig
from sdic.networks.stylegan2 import Generator

DEAD = "never used by the authors' forward pass"


def _ir_block(source: str, target: str) -> list[Rule]:
    parts = ["norm1", "conv1", "act", "conv2", "norm2"]
    rules = [Rule(f"{source}.res_layer.{n}.{{rest}}", f"{target}.{part}.{{rest}}") for n, part in enumerate(parts)]
    rules.append(Rule(f"{source}.shortcut_layer.0.{{rest}}", f"{target}.project.conv.{{rest}}"))
    rules.append(Rule(f"{source}.shortcut_layer.1.{{rest}}", f"{target}.project.norm.{{rest}}"))
    return rules


def _conv_norm(source: str, target: str) -> list[Rule]:
    """The release's BasicConv: conv and bn."""
    return [
        Rule(f"{source}.conv.{{rest}}", f"{target}.conv.{{rest}}"),
        Rule(f"{source}.bn.{{rest}}", f"{target}.norm.{{rest}}"),
    ]


def _branch_encoder(source: str, target: str) -> list[Rule]:
    return [rule for n in range(5) for rule in _conv_norm(f"{source}.fe{n + 1}", f"{target}.convs.{n}")]


def _up_merge(source: str, target: str) -> list[Rule]:
    return _conv_norm(f"{source}.conv1", f"{target}.up") + _conv_norm(f"{source}.conv2", f"{target}.merge")


def _guided_fusion(source: str, target: str) -> list[Rule]:
    return [
        *_conv_norm(f"{source}.semantic.0", f"{target}.guide.0"),
        Rule(f"{source}.semantic.1.{{rest}}", f"{target}.guide.1.{{rest}}"),
        *_conv_norm(f"{source}.att.0", f"{target}.attention.0"),
        Rule(f"{source}.att.1.{{rest}}", f"{target}.attention.1.{{rest}}"),
        *_conv_norm(f"{source}.agg", f"{target}.output"),
    ]


# The release's `DIP.` (older files: `CGI.`).
DIPN = [
    *(
        Rule(f"{name}.{{rest}}", None, DEAD)
        for name in ("stem_2", "stem_4", "spx", "spx_2", "spx_4", "semantic", "agg")
    ),
    Rule("hourglass_fusion.conv1_up.bn.{rest}", None, DEAD),
    *_branch_encoder("feature1", "photo_encoder"),
    *_branch_encoder("feature2", "initial_encoder"),
    *_up_merge("feature_up.deconv8_4", "up_path.to_quarter"),
    *_up_merge("feature_up.deconv4_2", "up_path.to_half"),
    *_up_merge("feature_up.deconv2_1", "up_path.to_full"),
    *_conv_norm("feature_up.conv4", "up_path.output"),
    *_conv_norm("conv", "branch_output.conv"),
    Rule("desc.{rest}", "branch_output.describe.{rest}"),
    *_conv_norm("corr_stem", "hourglass.down.0.0"),
    *(
        rule
        for stage in range(3)
        for conv in range(2)
        for rule in _conv_norm(
            f"hourglass_fusion.conv{stage + 1}.{conv}", f"hourglass.down.{stage}.{conv + (stage == 0)}"
        )
    ),
    *_conv_norm("hourglass_fusion.conv3_up", "hourglass.up.0"),
    *_conv_norm("hourglass_fusion.conv2_up", "hourglass.up.1"),
    Rule("hourglass_fusion.conv1_up.conv.weight", "hourglass.up_last.weight"),
    *(
        rule
        for level in range(2)
        for conv in range(3)
        for rule in _conv_norm(f"hourglass_fusion.agg_{level}.{conv}", f"hourglass.merge.{level}.{conv}")
    ),
    *_guided_fusion("hourglass_fusion.CGF_32", "hourglass.fuse.0"),
    *_guided_fusion("hourglass_fusion.CGF_16", "hourglass.fuse.1"),
    *_guided_fusion("hourglass_fusion.CGF_8", "hourglass.fuse.2"),
    *_conv_norm("rgb1.0", "head.0"),
    Rule("rgb1.1.{rest}", "head.1.{rest}"),
    Rule("rgb1.2.{rest}", "head.2.{rest}"),
    *(rule for n in range(3) for rule in _ir_block(f"rgb.{n}", f"head.{n + 4}")),
]

# The release's `SAF.` (older files: `residue.`).
DICN = [
    *(Rule(f"{name}.{{rest}}", None, DEAD) for name in ("aff1", "conv1", "aff2", "aff1d.agg", "grid_transform")),
    Rule("conv_layer1.{i}.{rest}", "feature.encode.stem.{i}.{rest}"),
    *_conv_norm("semantic.0", "feature.encode.convs.0"),
    Rule("semantic.1.{rest}", "feature.encode.convs.1.{rest}"),
    *_conv_norm("semantic.2", "feature.encode.convs.2"),
    Rule("semantic.3.{rest}", "feature.encode.convs.3.{rest}"),
    *_conv_norm("att.0", "feature.attention.0"),
    Rule("att.1.{rest}", "feature.attention.1.{rest}"),
    Rule("condition_shift3.{i}.{rest}", "latent.maps.{i}.{rest}"),
    Rule("aff1d.sen.{i}.{rest}", "latent.mix.{i}.{rest}"),
    Rule("aff1d.att.{i}.{rest}", "latent.gamma.{i}.{rest}"),
    Rule("aff1d.att2.{i}.{rest}", "latent.theta.{i}.{rest}"),
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
    "sdic": Layout(
        "SDIC release {state_dict: encoder. decoder. DIP. SAF., latent_avg, opts}",
        NEEDS,
        _read,
    )
}
