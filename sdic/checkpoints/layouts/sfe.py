"""StyleFeatureEditor: the files of phase 1 (the inverter) and phase 2 (inverter and Feature Editor).

{state_dict: encoder., ...}: in phase 1 `encoder.` is the inverter, in phase 2 it is the Feature Editor and `inverter.`
the inverter. Full files also hold the generator, e4e, the discriminator in NVIDIA's layout, and latent_avg; "light"
ones do not, and need a file with generator and e4e beside them.
"""

from __future__ import annotations

from typing import Any

import torch

from sdic.checkpoints.bundle import Bundle
from sdic.checkpoints.keymap import beside
from sdic.checkpoints.layouts.common import Layout, below, below_it, find_state, has, read_network, set_aside
from sdic.checkpoints.layouts.e4e import E4E, INPUT
from sdic.checkpoints.layouts.feature_style import ENCODER, sizes_of
from sdic.checkpoints.layouts.stylegan2 import read_generator
from sdic.checkpoints.layouts.stylegan2_ada import discriminator_rules
from sdic.errors import CheckpointError
from sdic.networks.e4e import E4EConfig
from sdic.networks.feature_style import FeatureFuserConfig
from sdic.networks.irse import IR50, WIDTHS
from sdic.types import Geometry

STRIDES, CONTENT_STRIDES = (2, 2, 1, 2), (1, 1)
PARTS = ("norm1", "conv1", "norm2", "act", "conv2", "norm3")
FUSER = below_it({"conv": "mix", **{f"body.{{i}}.body.{n}": f"blocks.{{i}}.{part}" for n, part in enumerate(PARTS)}})
RESOLUTION = 1024
"""What the authors' generator draws; light files do not hold it."""


def _fuser(bundle: Bundle, role: str, state: dict[str, Any], prefix: str) -> None:
    try:
        channels = state["conv.weight"].shape[0]
    except KeyError as error:
        raise CheckpointError(f"{bundle.source['file']} ({prefix}): expected {beside(error.args[0], state)}") from error
    blocks = len({key.split(".")[1] for key in state if key.startswith("body.")})
    config = FeatureFuserConfig(channels, blocks)
    read_network(bundle, role, config, state, FUSER, prefix, kind="feature_fuser")


def _inverter(bundle: Bundle, state: dict[str, Any], prefix: str) -> None:
    what = bundle.source["file"]
    encoder = below(state, "fs_backbone.")
    try:
        config = sizes_of(encoder, STRIDES, CONTENT_STRIDES)
    except (KeyError, ValueError, IndexError) as error:
        raise CheckpointError(f"{what} ({prefix}fs_backbone): not a whole encoder ({error})") from error
    encoder["latent_avg"] = torch.zeros(config.latent_rows, config.style_dim)  # the generator's is added instead
    read_network(bundle, "sfe_encoder", config, encoder, ENCODER, f"{prefix}fs_backbone.", "feature_style_encoder")
    _fuser(bundle, "fuser", below(state, "fuser."), f"{prefix}fuser.")


def _whole(content: Any, state: dict[str, Any], bundle: Bundle) -> None:
    """What full files hold beside the light ones' networks."""
    if not has(state, "decoder."):
        return
    latent_avg = content.get("latent_avg", state.get("latent_avg"))
    generator = read_generator(below(state, "decoder."), latent_avg, bundle, "decoder.")
    sizes = generator.config
    if has(state, "e4e_encoder."):
        encoder = below(state, "e4e_encoder.")
        encoder["latent_avg"] = generator.latent_avg.expand(sizes.latent_rows, -1).clone()
        config = E4EConfig(sizes.latent_rows, sizes.style_dim, IR50, WIDTHS, input_size=INPUT)
        read_network(bundle, "encoder", config, encoder, E4E, "e4e_encoder.")
    if has(state, "discriminator."):
        part, rules = below(state, "discriminator."), discriminator_rules(sizes.resolution)
        read_network(bundle, "discriminator", sizes, part, rules, "discriminator.")


def _read(content: Any, bundle: Bundle, method: str, needs: tuple[str, ...]) -> None:
    place, found = find_state(content, *needs)
    set_aside(content, place, ("latent_avg",), bundle.dropped)
    state = dict(found)
    known = ("encoder.", "inverter.", "decoder.", "e4e_encoder.", "discriminator.", "latent_avg")
    strange = [key for key in state if not key.startswith(known)]
    if strange:
        raise CheckpointError(f"{bundle.source['file']}: {strange[0]!r} belongs to none of {', '.join(known)}")
    if method == "sfe":
        _inverter(bundle, below(state, "inverter."), "inverter.")
        _fuser(bundle, "feature_editor", below(state, "encoder."), "encoder.")
    else:
        _inverter(bundle, below(state, "encoder."), "encoder.")
    _whole(content, state, bundle)
    generator: Any = bundle.networks.get("generator")
    resolution = RESOLUTION if generator is None else generator.config.resolution
    bundle.source["geometry"] = Geometry(resolution, (INPUT, INPUT)).to_text()
    bundle.source["method"] = method


def _layout(method: str, description: str, *needs: str) -> Layout:
    return Layout(description, needs, lambda content, bundle: _read(content, bundle, method, needs))


LAYOUTS = {
    "sfe": _layout(
        "sfe", "StyleFeatureEditor, phase 2 {state_dict: encoder. inverter.}", "inverter.fs_backbone.", "encoder.body."
    ),
    "sfe-inverter": _layout(
        "sfe-inverter", "StyleFeatureEditor, phase 1 {state_dict: encoder.}", "encoder.fs_backbone.", "encoder.fuser."
    ),
}
