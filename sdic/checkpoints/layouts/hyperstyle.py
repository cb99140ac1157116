"""HyperStyle: {state_dict: hypernet. decoder., latent_avg, opts}, and its W encoder, a file of its own of which only
encoder. is used."""

from __future__ import annotations

from typing import Any

import torch

from sdic.checkpoints.bundle import Bundle
from sdic.checkpoints.keymap import Rule, beside
from sdic.checkpoints.layouts.common import (
    Layout,
    below,
    below_it,
    find_state,
    ir_body,
    read_network,
    resnet_body,
    set_aside,
)
from sdic.checkpoints.layouts.stylegan2 import mean_rows, read_generator
from sdic.errors import CheckpointError
from sdic.networks.hyperstyle import HyperNetConfig, WEncoderConfig
from sdic.types import Geometry

INPUT = 256
SHARED = "shared_weight_hypernet."
COPY = "the shared hypernetwork again (compared)"

W_ENCODER = [*ir_body("body."), *below_it({"linear": "linear"})]


def number(layer: int) -> int:
    """A convolution's number among all convolutions and RGB outputs: 0, 2, 3, 5, 6, 8, ..."""
    return (3 * layer + 1) // 2


def hypernet_rules(layers: range) -> list[Rule]:
    """The table of a hypernetwork that changes these layers, the first of which is layer 0."""
    rules = [*resnet_body("body."), Rule(f"{SHARED}{{rest}}", "shared.{rest}"), Rule("latent_avg", "latent_avg")]
    for layer in layers:
        source, ours = f"refinement_blocks.{number(layer)}", f"heads.{layer}"
        rules += below_it({f"{source}.convs.{2 * n}": f"{ours}.convs.{n}" for n in range(8)})
        rules += below_it({f"{source}.linear": f"{ours}.linear"})
        rules += [
            Rule(f"{source}.output.1.weight", f"outputs.{layer}.weight", convert=lambda weight: weight[:, :, 0, 0]),
            Rule(f"{source}.output.1.bias", f"outputs.{layer}.bias"),
        ]
    return rules


def _read(content: Any, bundle: Bundle) -> None:
    what = bundle.source["file"]
    place, state = find_state(content, *NEEDS)
    set_aside(content, place, ("latent_avg", "opts"), bundle.dropped)
    latent_avg = content.get("latent_avg", state.get("latent_avg"))
    generator = read_generator(below(state, "decoder."), latent_avg, bundle, "decoder.")
    sizes = generator.config
    part = below(state, "hypernet.")
    for key in [key for key in part if ".hypernet." in key]:
        tensor, shared = part.pop(key), part.get(SHARED + key.rpartition(".")[2])
        same = shared is not None and (tensor.data_ptr() == shared.data_ptr() or torch.equal(tensor, shared))
        if not same:
            raise CheckpointError(f"{what}: hypernet.{key} is not hypernet.{SHARED}*, as in the authors' files")
        bundle.dropped[f"hypernet.{key}"] = COPY
    layers = range(sizes.layers)
    try:
        wide, narrow = (part[f"refinement_blocks.{number(layer)}.convs.0.weight"] for layer in (0, layers[-1]))
    except KeyError as error:
        raise CheckpointError(f"{what} (hypernet.): expected {beside(error.args[0], part)}") from error
    mean = mean_rows(latent_avg, sizes, what)
    part["latent_avg"] = (generator.latent_avg if mean is None else mean).expand(sizes.latent_rows, -1).clone()
    outputs = [sizes.layer_channels(layer) for layer in layers]
    config = HyperNetConfig(
        *((outputs[0], *outputs[:-1]), tuple(outputs), sizes.latent_rows, sizes.style_dim, tuple(layers)),
        wide_inner=len(wide),
        narrow_inner=len(narrow),
    )
    read_network(bundle, "hypernet", config, part, hypernet_rules(layers), "hypernet.")
    bundle.source["method"] = "hyperstyle"
    options = content.get("opts")
    named = options if isinstance(options, dict) else getattr(options, "__dict__", {})
    geometry = Geometry(sizes.resolution, (INPUT, INPUT))
    if "cars" in str(named.get("dataset_type", "")):
        side = sizes.resolution
        geometry = Geometry(side, (INPUT * 3 // 4, INPUT), (side // 8, side - side // 8, 0, side))
        bundle.source["domain"] = "car"
    bundle.source["geometry"] = geometry.to_text()


def _read_w_encoder(content: Any, bundle: Bundle) -> None:
    place, state = find_state(content, *W_NEEDS)
    set_aside(content, place, (), bundle.dropped)
    for key in state:
        if not key.startswith("encoder."):
            bundle.dropped[key] = "only the encoder of this file is used"
    part = below(state, "encoder.")
    width = part["linear.weight"].shape[0]
    read_network(bundle, "encoder", WEncoderConfig(width), part, W_ENCODER, "encoder.", kind="w_encoder")


NEEDS = ("hypernet.", "decoder.")
W_NEEDS = ("encoder.linear.", "encoder.body.")
LAYOUTS = {
    "hyperstyle": Layout("HyperStyle {state_dict: hypernet. decoder., latent_avg, opts}", NEEDS, _read),
    "hyperstyle_w_encoder": Layout(
        "HyperStyle's W encoder {state_dict: encoder. with one linear, ...}",
        W_NEEDS,
        _read_w_encoder,
        foreign=("encoder.styles.", "hypernet."),
    ),
}
