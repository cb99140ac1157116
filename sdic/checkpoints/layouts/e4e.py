"""The e4e family, e4e and pSp: {state_dict: encoder. decoder., latent_avg, opts}.

Both have the same keys; only `opts.encoder_type` tells them apart.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

import torch

from sdic.checkpoints.bundle import Bundle
from sdic.checkpoints.keymap import Rule
from sdic.checkpoints.layouts.common import (
    Layout,
    State,
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
from sdic.networks.e4e import E4EConfig
from sdic.networks.irse import IR50, WIDTHS
from sdic.networks.stylegan2 import GeneratorConfig
from sdic.types import Geometry

INPUT = 256
"""The side of the family's photos, whatever the generator draws."""
Types = Mapping[str, Mapping[str, Any]]
TYPES: Types = {"Encoder4Editing": {}, "GradualStyleEncoder": {"relative": False}}
"""encoder_type -> what is otherwise in the network's config than for e4e. Other types are other networks."""
DEFAULTS: dict[str, Any] = {
    "encoder_type": "Encoder4Editing",
    "start_from_latent_avg": True,
    "dataset_type": "ffhq_encode",
}
"""What the family's own programs take where nothing is said."""
KINDS = {
    "encoder_type": str,
    "start_from_latent_avg": bool,
    "learn_in_w": bool,
    "dataset_type": str,
    "stylegan_size": int,
    "output_size": int,
}
"""The options that say which network a file holds: each is obeyed, or the file is refused."""
LOSSES = ("lpips_loss.", "id_loss.")

E4E = [
    *ir_body("body."),
    *resnet_body("body."),
    # A head is conv, activation, conv, ...: the convolutions have even numbers.
    *below_it({f"styles.{{i}}.convs.{2 * n}": f"heads.{{i}}.convs.{n}" for n in range(8)}),
    *below_it({"styles.{i}.linear": "heads.{i}.linear", "latlayer1": "lateral1", "latlayer2": "lateral2"}),
    Rule("latent_avg", "latent_avg"),  # put there by the reader: the file has it beside the state dict
]


def encoder_and_generator(
    content: Any,
    bundle: Bundle,
    parts: tuple[str, ...] = (),
    given: Mapping[str, Any] | None = None,
    types: Types = TYPES,
) -> None:
    """Read the two networks that every file of the e4e family holds, as its options say.

    parts: what further keys begin with. given: what the layout says where the options do not. types: what encoders
    there may be.
    """
    what = bundle.source["file"]
    place, state = find_state(content, *NEEDS)
    known = ("encoder.", "decoder.", "latent_avg", *parts)
    for key in state:
        if key.startswith(LOSSES):
            bundle.dropped[key] = "a loss network that the authors saved along; losses load their own files"
        elif not key.startswith(known):
            raise CheckpointError(f"{what}: {key!r} belongs to none of {', '.join(known)}")
    set_aside(content, place, ("latent_avg", "opts"), bundle.dropped)
    latent_avg = content.get("latent_avg", state.get("latent_avg"))
    generator = read_generator(below(state, "decoder."), latent_avg, bundle, "decoder.")
    sizes = generator.config
    options = {**(given or {}), **_options(content)}
    _check(options, sizes, state, what, types)
    missing = [name for name in DEFAULTS if name not in options]
    options = {**DEFAULTS, **options}
    encoder = below(state, "encoder.")
    mean = mean_rows(latent_avg, sizes, what)
    encoder["latent_avg"] = (generator.latent_avg if mean is None else mean).expand(sizes.latent_rows, -1).clone()
    if not options["start_from_latent_avg"]:
        encoder["latent_avg"].zero_()
    switches = {"blocks": IR50, **types[options["encoder_type"]]}
    config = E4EConfig(sizes.latent_rows, sizes.style_dim, widths=WIDTHS, input_size=INPUT, **switches)
    read_network(bundle, "encoder", config, encoder, E4E, "encoder.")
    geometry = Geometry(sizes.resolution, (INPUT, INPUT))
    if "cars" in options["dataset_type"]:
        side = sizes.resolution
        geometry = Geometry(side, (INPUT * 3 // 4, INPUT), (side // 8, side - side // 8, 0, side))
        bundle.source["domain"] = "car"
    bundle.source["geometry"] = geometry.to_text()
    if missing:
        taken = ", ".join(f"{name} ({DEFAULTS[name]} is taken)" for name in missing)
        bundle.assume(f"its options do not say {taken}; photos are {INPUT} px wide and {geometry.input_size[0]} high")


def _options(content: Any) -> dict[str, Any]:
    """The options with which a file was trained, a namespace or a dict of them, as far as they say anything."""
    options = content.get("opts")
    if isinstance(options, argparse.Namespace):
        options = vars(options)
    return {name: value for name, value in options.items() if value is not None} if isinstance(options, Mapping) else {}


def _check(options: Mapping[str, Any], sizes: GeneratorConfig, state: State, what: str, types: Types) -> None:
    """CheckpointError for options that make it another network than those of `types`."""
    for name, kind in KINDS.items():
        if not isinstance(options.get(name, kind()), kind):
            raise CheckpointError(f"{what}: {name} is {str(options[name])[:60]!r}, which is no {kind.__name__}")
    encoder_type = options.get("encoder_type", DEFAULTS["encoder_type"])
    if encoder_type not in types:
        raise CheckpointError(f"{what}: its encoder_type is {encoder_type!r}; sdic reads {' and '.join(types)}")
    if options.get("learn_in_w"):
        raise CheckpointError(
            f"{what}: learn_in_w is on, so its encoder finds one code of W; sdic reads encoders of W+"
        )
    for name in ("stylegan_size", "output_size"):
        if options.get(name, sizes.resolution) != sizes.resolution:
            raise CheckpointError(f"{what}: {name} is {options[name]}, but its generator draws {sizes.resolution} px")
    first: Any = state.get("encoder.input_layer.0.weight")
    wanted = types[encoder_type].get("channels", 3)
    channels = first.shape[1] if isinstance(first, torch.Tensor) and first.ndim == 4 else wanted
    if channels != wanted:
        raise CheckpointError(
            f"{what}: its encoder looks at {channels} channels, not at {wanted} (3: a photo; 6: ReStyle's, photo and "
            f"reconstruction; others: sketches or label maps), as an encoder_type {encoder_type} of sdic does"
        )


def _read(content: Any, bundle: Bundle) -> None:
    encoder_and_generator(content, bundle)
    encoder: Any = bundle.networks["encoder"]
    bundle.source["layout"] = bundle.source["method"] = "e4e" if encoder.config.relative else "psp"


NEEDS = ("encoder.", "decoder.")
LAYOUTS = {
    "e4e": Layout(
        "e4e or pSp {state_dict: encoder. decoder., latent_avg, opts}",
        ("encoder.styles.", "decoder."),
        _read,
        foreign=("residue.", "hypernet."),
    )
}
