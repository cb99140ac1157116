"""The layouts of other people's files: how to tell them apart, and which table belongs to which part.

Supported: SDIC releases, e4e, StyleGAN2 (rosinality), ArcFace, CurricularFace, MoCo v2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sdic.checkpoints import tables
from sdic.checkpoints.bundle import Bundle, EmbedderConfig, build
from sdic.checkpoints.keymap import Renamed, Rule, load_into, rename
from sdic.checkpoints.layouts import stylegan2_ada
from sdic.errors import CheckpointError
from sdic.networks.dicn import DICNConfig
from sdic.networks.dipn import DIPNConfig
from sdic.networks.e4e import E4EConfig
from sdic.networks.irse import IR50, WIDTHS
from sdic.networks.stylegan2 import Generator, GeneratorConfig

State = Mapping[str, Tensor]


@dataclass(frozen=True)
class Layout:
    """One foreign layout. recognise: whether a loaded object has it. read: the object and the file's name -> a
    bundle."""

    description: str
    recognise: Callable[[Any], bool]
    read: Callable[[Any, str], Bundle]


def detect_format(content: Any, what: str) -> str:
    """The name of the layout of what `load_tensors` returned; CheckpointError if it is none that we know."""
    for name, layout in FORMATS.items():
        if layout.recognise(content):
            return name
    keys = list(content)[:6] if isinstance(content, Mapping) else type(content).__name__
    known = "; ".join(f"{name}: {layout.description}" for name, layout in FORMATS.items())
    raise CheckpointError(f"{what}: a layout that sdic does not know (it begins with {keys}). Known layouts: {known}")


def read_foreign(content: Any, what: str, layout: str | None = None) -> Bundle:
    """Build the networks of a loaded file; `layout` forces one of `FORMATS`, None detects it."""
    name = detect_format(content, what) if layout is None else layout
    bundle = FORMATS[name].read(content, what)
    bundle.source["layout"] = name
    return bundle


def _state(content: Any, key: str = "state_dict") -> State:
    return content[key] if isinstance(content, Mapping) and isinstance(content.get(key), Mapping) else {}


def _has(state: Any, *prefixes: str) -> bool:
    return isinstance(state, Mapping) and all(any(str(key).startswith(prefix) for key in state) for prefix in prefixes)


def _part(state: State, *prefixes: str) -> dict[str, Tensor]:
    """The keys below the first prefix that occurs, without it."""
    for prefix in prefixes:
        part = {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}
        if part:
            return part
    raise CheckpointError(f"no keys below {' or '.join(prefixes)}")


def _network(
    role: str, config: Any, state: State, rules: Sequence[Rule], what: str, dropped: dict[str, str], prefix: str = ""
) -> Any:
    """Build a network and fill it through a table."""
    renamed = rename(state, rules, what)
    dropped.update({prefix + key: reason for key, reason in renamed.dropped.items()})
    return _filled(role, config, renamed, what)


def _filled(role: str, config: Any, renamed: Renamed, what: str) -> Any:
    network = build(role, config)
    load_into(network, renamed, what)
    return network


def generator_config(state: State, what: str) -> GeneratorConfig:
    """The sizes of a rosinality generator, read off its tensors."""
    try:
        style_dim = state["style.1.weight"].shape[0]
        depth = sum(key.startswith("style.") and key.endswith(".weight") for key in state)
        blocks = 1 + max(int(key.split(".")[1]) for key in state if key.startswith("to_rgbs."))
        widths = [state["input.input"].shape[1]]
        widths += [state[f"convs.{2 * block}.conv.weight"].shape[1] for block in range(blocks)]
    except (KeyError, ValueError) as error:
        raise CheckpointError(f"{what}: not a whole StyleGAN2 generator, {error} is missing") from error
    resolution = 4 << blocks
    config = GeneratorConfig(resolution, style_dim, depth, channels=tuple(widths))
    standard = GeneratorConfig(resolution, style_dim, depth)
    sizes = [4 << n for n in range(blocks + 1)]
    return standard if [standard.channels_at(size) for size in sizes] == widths else config


def _generator(state: State, latent_avg: Tensor | None, what: str, dropped: dict[str, str], prefix: str) -> Generator:
    """Build a generator. Without a `latent_avg` the mean of 10,000 mapped codes is computed."""
    config = generator_config(state, what)
    renamed = rename(state, tables.GENERATOR, what)
    dropped.update({prefix + key: reason for key, reason in renamed.dropped.items()})
    for layer in range(config.layers):  # files of other tools may lack the noise buffers
        size = config.layer_resolution(layer)
        draw = torch.Generator().manual_seed(layer)
        renamed.state.setdefault(f"synthesis.convs.{layer}.noise", torch.randn(1, 1, size, size, generator=draw))
    mean = (
        torch.zeros(config.style_dim)
        if latent_avg is None
        else latent_avg.float().reshape(-1, config.style_dim).mean(0)
    )
    renamed.state["latent_avg"] = mean
    generator = _filled("generator", config, renamed, what)
    if latent_avg is None:
        generator.latent_avg.copy_(generator.mean_latent())
    return generator


def _encoder_and_generator(content: Any, what: str) -> Bundle:
    """The two networks that every file of the e4e family holds."""
    state = _state(content)
    dropped: dict[str, str] = {}
    latent_avg = content.get("latent_avg")
    generator = _generator(_part(state, "decoder."), latent_avg, what, dropped, "decoder.")
    rows, width = generator.config.latent_rows, generator.config.style_dim
    mean = generator.latent_avg if latent_avg is None else latent_avg.float()
    mean = mean.expand(rows, width) if mean.ndim == 1 else mean
    if tuple(mean.shape) != (rows, width):
        raise CheckpointError(f"{what}: latent_avg is {list(mean.shape)}, the generator needs [{rows}, {width}]")
    encoder_state = {**_part(state, "encoder."), "latent_avg": mean.clone()}
    config = E4EConfig(rows, width, IR50, WIDTHS)
    encoder = _network("encoder", config, encoder_state, tables.E4E, f"{what} (encoder)", dropped, "encoder.")
    return Bundle({"generator": generator, "encoder": encoder}, {"file": what}, dropped)


def _read_sdic(content: Any, what: str) -> Bundle:
    state = _state(content)
    bundle = _encoder_and_generator(content, what)
    generator = bundle.networks["generator"]
    assert isinstance(generator, Generator)
    known = ("encoder.", "decoder.", "DIP.", "CGI.", "SAF.", "residue.")
    for key in state:
        if key.startswith(("lpips_loss.", "id_loss.")):
            bundle.dropped[key] = "a loss network that the authors saved along; losses load their own files"
        elif not key.startswith(known):
            raise CheckpointError(f"{what}: {key!r} belongs to none of {', '.join(known)}")
    dropped = bundle.dropped
    dipn = _network("dipn", DIPNConfig(), _part(state, "DIP.", "CGI."), tables.DIPN, f"{what} (DIP)", dropped, "DIP.")
    part = _part(state, "SAF.", "residue.")
    try:
        maps = part["condition_shift3.0.weight"].shape[0]
        channels = part["semantic.3.weight"].shape[0]
    except KeyError as error:
        raise CheckpointError(f"{what} (SAF): {error} is missing") from error
    config = DICNConfig(generator.config.latent_rows, generator.config.style_dim, channels, latent_maps=maps)
    dicn = _network("dicn", config, part, tables.DICN, f"{what} (SAF)", dropped, "SAF.")
    bundle.networks.update(dipn=dipn, dicn=dicn)
    return bundle


def _read_stylegan2(content: Any, what: str) -> Bundle:
    dropped: dict[str, str] = {}
    for key in ("g", "g_optim", "d_optim"):
        if key in content:
            dropped[key] = "training state; the averaged generator g_ema is what is used"
    networks: dict[str, Any] = {
        "generator": _generator(content["g_ema"], content.get("latent_avg"), what, dropped, "g_ema.")
    }
    if isinstance(content.get("d"), Mapping):
        config = networks["generator"].config
        networks["discriminator"] = _network(
            "discriminator", config, content["d"], tables.DISCRIMINATOR, f"{what} (d)", dropped, "d."
        )
    return Bundle(networks, {"file": what}, dropped)


def _read_embedder(kind: str) -> Callable[[Any, str], Bundle]:
    def read(content: Any, what: str) -> Bundle:
        dropped: dict[str, str] = {}
        network = _network("face_embedder", EmbedderConfig(kind), content, tables.FACE_EMBEDDER, what, dropped)
        return Bundle({"face_embedder": network}, {"file": what}, dropped)

    return read


def _read_moco(content: Any, what: str) -> Bundle:
    dropped: dict[str, str] = {}
    with torch.device("cpu"):  # it keeps constants that no file holds, so it cannot be built without memory
        from sdic.networks.identity import MoCoEmbedder

        network = MoCoEmbedder()
    renamed = rename(_state(content), tables.MOCO, what)
    dropped.update(renamed.dropped)
    load_into(network, renamed, what)
    return Bundle({"moco": network}, {"file": what}, dropped)


FORMATS: dict[str, Layout] = {
    "sdic": Layout(
        "SDIC release {state_dict: encoder. decoder. DIP. SAF., latent_avg, opts}",
        lambda content: (
            _has(_state(content), "encoder.", "decoder.")
            and (_has(_state(content), "DIP.") or _has(_state(content), "CGI."))
        ),
        _read_sdic,
    ),
    "e4e": Layout(
        "e4e {state_dict: encoder. decoder., latent_avg, opts}",
        lambda content: (
            _has(_state(content), "encoder.styles.", "decoder.")
            and not _has(_state(content), "residue.")
            and not _has(_state(content), "hypernet.")
        ),
        _encoder_and_generator,
    ),
    "stylegan2": Layout(
        "StyleGAN2 in rosinality's layout {g_ema, latent_avg}",
        lambda content: _has(_state(content, "g_ema"), "style.", "convs."),
        _read_stylegan2,
    ),
    "moco": Layout(
        "MoCo v2 ResNet-50 {state_dict: module.encoder_q.}",
        lambda content: _has(_state(content), "module.encoder_q.layer4."),
        _read_moco,
    ),
    "arcface": Layout(
        "ArcFace IR-SE50, a bare state dict",
        lambda content: _has(content, "output_layer.", "body.23.res_layer.5.") and not _has(content, "body.24."),
        _read_embedder("arcface"),
    ),
    "curricularface": Layout(
        "CurricularFace IR-101, a bare state dict",
        lambda content: _has(content, "output_layer.", "body.48."),
        _read_embedder("curricularface"),
    ),
    "stylegan2-ada": Layout(stylegan2_ada.DESCRIPTION, stylegan2_ada.recognise, stylegan2_ada.read),
}
"""The layouts, in the order in which they are tried."""

__all__ = ["FORMATS", "Layout", "detect_format", "generator_config", "read_foreign"]
