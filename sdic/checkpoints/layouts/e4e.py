"""The e4e family: {state_dict: encoder. decoder., latent_avg, opts}."""

from __future__ import annotations

from typing import Any

from sdic.checkpoints.bundle import Bundle
from sdic.checkpoints.keymap import Rule
from sdic.checkpoints.layouts.common import Layout, below, has, ir_body, read_network, state_of
from sdic.checkpoints.layouts.stylegan2 import read_generator
from sdic.errors import CheckpointError
from sdic.networks.e4e import E4EConfig
from sdic.networks.irse import IR50, WIDTHS

E4E = [
    *ir_body("body."),
    # A head is conv, activation, conv, ...: the convolutions have even numbers.
    *(Rule(f"styles.{{i}}.convs.{2 * n}.{{rest}}", f"heads.{{i}}.convs.{n}.{{rest}}") for n in range(8)),
    Rule("styles.{i}.linear.{rest}", "heads.{i}.linear.{rest}"),
    Rule("latlayer1.{rest}", "lateral1.{rest}"),
    Rule("latlayer2.{rest}", "lateral2.{rest}"),
    Rule("latent_avg", "latent_avg"),  # put there by the reader: the file has it beside the state dict
]


def encoder_and_generator(content: Any, what: str) -> Bundle:
    """The two networks that every file of the e4e family holds."""
    state = state_of(content)
    dropped: dict[str, str] = {}
    latent_avg = content.get("latent_avg")
    generator = read_generator(below(state, "decoder."), latent_avg, what, dropped, "decoder.")
    rows, width = generator.config.latent_rows, generator.config.style_dim
    mean = generator.latent_avg if latent_avg is None else latent_avg.float()
    mean = mean.expand(rows, width) if mean.ndim == 1 else mean
    if tuple(mean.shape) != (rows, width):
        raise CheckpointError(f"{what}: latent_avg is {list(mean.shape)}, the generator needs [{rows}, {width}]")
    encoder_state = {**below(state, "encoder."), "latent_avg": mean.clone()}
    config = E4EConfig(rows, width, IR50, WIDTHS)
    encoder = read_network("encoder", config, encoder_state, E4E, f"{what} (encoder)", dropped, "encoder.")
    return Bundle({"generator": generator, "encoder": encoder}, {"file": what}, dropped)


LAYOUTS = {
    "e4e": Layout(
        "e4e {state_dict: encoder. decoder., latent_avg, opts}",
        lambda content: (
            has(state_of(content), "encoder.styles.", "decoder.")
            and not has(state_of(content), "residue.")
            and not has(state_of(content), "hypernet.")
        ),
        encoder_and_generator,
    )
}
