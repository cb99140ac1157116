"""Key tables of the files that users bring. One list of rules for each network of each layout.

The source side is spelled as the files have it; the target side is our networks' names.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sdic.checkpoints.keymap import Rule
from sdic.errors import CheckpointError


def _first(tensor: Tensor) -> Tensor:
    return tensor[0]  # the files keep a leading axis of one for the batch


def _scalar(tensor: Tensor) -> Tensor:
    return tensor.reshape(())


def _flat(tensor: Tensor) -> Tensor:
    return tensor.reshape(-1)


def _is_the_fir_filter(key: str, tensor: Tensor) -> None:
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    expected = torch.outer(taps, taps) / 64
    for gain in (1.0, 4.0):
        if tensor.shape == (4, 4) and torch.allclose(tensor.cpu().float(), expected * gain, atol=1e-5):
            return
    raise CheckpointError(f"{key}: the filter is not [1,3,3,1] x [1,3,3,1]; this generator was built with another one")


FIR = "the [1,3,3,1] filter is a constant of our operations (its value was checked)"
DEAD = "never used by the authors' forward pass"

# rosinality/stylegan2-pytorch, under `g_ema`; under `decoder.` in the files of the e4e family.
GENERATOR = [
    # style.0 is a normalisation without weights, so the first linear layer is number 1
    Rule("style.{i}.{rest}", "mapping.layers.{i-1}.{rest}"),
    Rule("input.input", "synthesis.const"),
    Rule("conv1.conv.weight", "synthesis.convs.0.weight", convert=_first),
    Rule("conv1.conv.modulation.{rest}", "synthesis.convs.0.affine.{rest}"),
    Rule("conv1.noise.weight", "synthesis.convs.0.noise_strength", convert=_scalar),
    Rule("conv1.activate.bias", "synthesis.convs.0.bias"),
    Rule("to_rgb1.conv.weight", "synthesis.to_rgb.0.weight", convert=_first),
    Rule("to_rgb1.conv.modulation.{rest}", "synthesis.to_rgb.0.affine.{rest}"),
    Rule("to_rgb1.bias", "synthesis.to_rgb.0.bias", convert=_flat),
    Rule("convs.{i}.conv.weight", "synthesis.convs.{i+1}.weight", convert=_first),
    Rule("convs.{i}.conv.modulation.{rest}", "synthesis.convs.{i+1}.affine.{rest}"),
    Rule("convs.{i}.noise.weight", "synthesis.convs.{i+1}.noise_strength", convert=_scalar),
    Rule("convs.{i}.activate.bias", "synthesis.convs.{i+1}.bias"),
    Rule("convs.{i}.conv.blur.kernel", None, FIR, check=_is_the_fir_filter),
    Rule("to_rgbs.{i}.conv.weight", "synthesis.to_rgb.{i+1}.weight", convert=_first),
    Rule("to_rgbs.{i}.conv.modulation.{rest}", "synthesis.to_rgb.{i+1}.affine.{rest}"),
    Rule("to_rgbs.{i}.bias", "synthesis.to_rgb.{i+1}.bias", convert=_flat),
    Rule("to_rgbs.{i}.upsample.kernel", None, FIR, check=_is_the_fir_filter),
    Rule("noises.noise_{i}", "synthesis.convs.{i}.noise"),
]

DISCRIMINATOR = [
    Rule("convs.0.0.weight", "from_rgb.conv.weight"),
    Rule("convs.0.1.bias", "from_rgb.bias"),
    Rule("convs.{i}.conv1.0.weight", "blocks.{i-1}.conv1.conv.weight"),
    Rule("convs.{i}.conv1.1.bias", "blocks.{i-1}.conv1.bias"),
    Rule("convs.{i}.conv2.0.kernel", None, FIR, check=_is_the_fir_filter),
    Rule("convs.{i}.conv2.1.weight", "blocks.{i-1}.conv2.conv.weight"),
    Rule("convs.{i}.conv2.2.bias", "blocks.{i-1}.conv2.bias"),
    Rule("convs.{i}.skip.0.kernel", None, FIR, check=_is_the_fir_filter),
    Rule("convs.{i}.skip.1.weight", "blocks.{i-1}.skip.weight"),
    Rule("final_conv.0.weight", "final_conv.conv.weight"),
    Rule("final_conv.1.bias", "final_conv.bias"),
    Rule("final_linear.0.{rest}", "final_linear.{rest}"),
    Rule("final_linear.1.{rest}", "output.{rest}"),
]


def ir_body(prefix: str) -> list[Rule]:
    """The IR / IR-SE body as TreB1eN's code names it."""
    block = "body.{i}.res_layer"
    ours = prefix + "blocks.{i}"
    return [
        Rule("input_layer.0.{rest}", f"{prefix}stem.conv.{{rest}}"),
        Rule("input_layer.1.{rest}", f"{prefix}stem.norm.{{rest}}"),
        Rule("input_layer.2.{rest}", f"{prefix}stem.act.{{rest}}"),
        Rule("body.{i}.shortcut_layer.0.{rest}", f"{ours}.project.conv.{{rest}}"),
        Rule("body.{i}.shortcut_layer.1.{rest}", f"{ours}.project.norm.{{rest}}"),
        Rule(f"{block}.0.{{rest}}", f"{ours}.norm1.{{rest}}"),
        Rule(f"{block}.1.{{rest}}", f"{ours}.conv1.{{rest}}"),
        Rule(f"{block}.2.{{rest}}", f"{ours}.act.{{rest}}"),
        Rule(f"{block}.3.{{rest}}", f"{ours}.conv2.{{rest}}"),
        Rule(f"{block}.4.{{rest}}", f"{ours}.norm2.{{rest}}"),
        Rule(f"{block}.5.{{rest}}", f"{ours}.se.{{rest}}"),
    ]


E4E = [
    *ir_body("body."),
    # A head is conv, activation, conv, ...: the convolutions have even numbers.
    *(Rule(f"styles.{{i}}.convs.{2 * n}.{{rest}}", f"heads.{{i}}.convs.{n}.{{rest}}") for n in range(8)),
    Rule("styles.{i}.linear.{rest}", "heads.{i}.linear.{rest}"),
    Rule("latlayer1.{rest}", "lateral1.{rest}"),
    Rule("latlayer2.{rest}", "lateral2.{rest}"),
    Rule("latent_avg", "latent_avg"),  # put there by the reader: the file has it beside the state dict
]

FACE_EMBEDDER = [
    *ir_body("body."),
    Rule("output_layer.0.{rest}", "norm1.{rest}"),
    Rule("output_layer.3.{rest}", "linear.{rest}"),
    Rule("output_layer.4.{rest}", "norm2.{rest}"),
]

MOCO = [
    Rule(
        "module.encoder_q.fc.{rest}", None, "the projection head of MoCo's pretraining; the embedding is read before it"
    ),
    Rule("module.encoder_k.{rest}", None, "the momentum copy of the same network"),
    Rule("module.queue", None, "MoCo's queue of negatives"),
    Rule("module.queue_ptr", None, "MoCo's queue of negatives"),
    Rule("module.encoder_q.{rest}", "body.{rest}"),
]


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
