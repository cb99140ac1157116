"""InterFaceGAN (Shen et al. 2020) in W: a direction for every attribute, in the attribute's own unit.

Codes are drawn, their pictures scored; a linear classifier between the two extremes has the direction as its normal.
The direction is then measured: how far the score moves when codes move, so that strength 1 is one year or one degree,
and how far the other scores move along.

Shapes: N codes, D style width, L latent rows, K attributes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import yaml
from torch import Tensor

from sdic.direction import Direction
from sdic.editing.boundaries import calibrate, classifier_normal, edit_vector
from sdic.editing.directions import save_direction
from sdic.editing.manifest import MANIFEST
from sdic.errors import ConfigError, UnknownNameError
from sdic.portraits.params import field_spec
from sdic.portraits.samples import LABELS
from sdic.portraits.splits import split_params
from sdic.portraits.truth import draw as draw_portraits
from sdic.portraits.vector import vector_layout
from sdic.settings import require, setting
from sdic.training.frozen import require_network
from sdic.training.task import Entry, grid, register
from sdic.utils.files import write_atomic
from sdic.utils.images import write_png
from sdic.utils.tensors import resolve_device


@dataclass
class DirectionsConfig:
    """InterFaceGAN on a generator."""

    generator: str = setting("pretrained/portraits/generator.safetensors", "file of the generator")
    attributes: str = setting("pretrained/portraits/attributes.safetensors", "file of the attribute network")
    encoder: str = setting("", "file of an encoder: units are measured on its codes of portraits; empty: on own codes")
    names: list[str] = setting(["age", "yaw", "smile"], "what gets a direction: its attributes, or other parameters")
    units: list[str] = setting(["years", "degrees", "of the smile's scale, -1 to 1"], "what strength 1 of each is")
    spans: list[float] = setting([40.0, 40.0, 1.0], "the largest changes asked for, in these units")
    defaults: list[float] = setting([20.0, 20.0, 0.5], "the strength of each where none is asked for")
    samples: int = setting(20_000, "codes drawn and scored")
    batch: int = setting(64, "pictures scored at once")
    extremes: float = setting(0.1, "share at either end that the classifier gets")
    condition: bool = setting(True, "each direction leaves the other names' readouts as they are")
    along: Literal["normal", "covariance"] = setting(
        "covariance", "the shortest move by Euclid's length (as published) or by that of the codes' covariance"
    )
    probes: int = setting(256, "codes on which a unit and purity are measured")
    domain: str = setting("portraits", "the domain in the manifest, and the folder of the files")
    folder: str = setting("editings", "holds manifest.yaml")
    seed: int = setting(0, "of the codes")
    device: str = setting("auto", "auto, cpu, cuda, cuda:1, mps")

    def __post_init__(self) -> None:
        lengths = {len(self.names), len(self.units), len(self.spans), len(self.defaults)}
        require(len(lengths) == 1, "names, units, spans and defaults need one entry each")
        require(0 < self.extremes <= 0.5, f"extremes is a share of at most a half, got {self.extremes}")


def readouts(network: Any, names: Sequence[str]) -> Callable[[Tensor], Tensor]:
    """What reads the named attributes off pictures: [N, 3, H, W] -> [N, K], each in its unit.

    A name is one of the network's attributes, or a parameter of portraits that it was trained on beside them, as the
    renderer counts it; of a colour, the mean of its channels. ConfigError for what it does not know.
    """
    known = network.config.names
    layout = {name: places for name, places in vector_layout().items() if not field_spec(name).choices}
    further = layout if network.config.extra == LABELS else {}
    for name in names:
        if name not in known and name not in further:
            raise UnknownNameError("attribute of the network", name, [*known, *further])

    def read(pictures: Tensor) -> Tensor:
        found = network.outputs(network.pooled(pictures)).float()
        first, rest = network.in_units(found), found[:, len(known) :]
        columns = []
        for name in names:
            if name in known:
                columns.append(first[:, known.index(name)])
            else:
                spec, scaled = field_spec(name), rest[:, further[name]].mean(1)
                columns.append((scaled + 1) / 2 * (spec.high - spec.low) + spec.low)
        return torch.stack(columns, 1)

    return read


def purity(before: Tensor, after: Tensor, spread: Tensor, step: float) -> list[float]:
    """How far each of K attributes moves for one unit of a direction, in units of its own spread: K numbers.

    before, after [N, K]: attributes without and with a move of `step` units. spread [K]: standard deviations over the
    generator's pictures. The mean over pictures of the size of the change: changes of either sign do not cancel.
    """
    return ((after - before).abs().mean(0) / spread / abs(step)).tolist()


@torch.no_grad()
def find_directions(config: DirectionsConfig) -> dict[str, dict[str, Any]]:
    """Find, calibrate and write all directions and their manifest; returns what was measured, by name."""
    device = resolve_device(config.device)
    generator: Any = require_network(config.generator, "generator", "finding directions").to(device)
    network: Any = require_network(config.attributes, "attribute_net", "finding directions").to(device)
    read, rows = readouts(network, config.names), generator.config.latent_rows

    def attributes(codes: Tensor) -> Tensor:
        latents = codes if codes.ndim == 3 else codes[:, None].expand(-1, rows, -1)
        return torch.cat([read(generator.synthesis(part).clamp(-1, 1)) for part in latents.split(config.batch)])

    draw = torch.Generator().manual_seed(config.seed)
    z = torch.randn(config.samples, generator.config.style_dim, generator=draw)
    codes = generator.mapping(z.to(device))
    scores = attributes(codes)
    found = [classifier_normal(codes, column, config.extremes) for column in scores.t()]
    normals = torch.stack([normal for normal, _ in found])
    probes = _inverted(config, device) if config.encoder else codes[: config.probes]
    before, spread = attributes(probes), scores.std(0)
    covariance = torch.cov(codes.t()) if config.along == "covariance" else None
    report: dict[str, dict[str, Any]] = {}
    cards = []
    vectors: list[Direction] = []
    folder = Path(config.folder) / config.domain
    for place, name in enumerate(config.names):
        chosen = (normals, place) if config.condition else (normals[place : place + 1], 0)
        normal = edit_vector(*chosen, covariance)
        curve = calibrate(probes, normal, lambda w, k=place: attributes(w)[:, k], config.spans[place])  # type: ignore[misc]
        delta = normal * curve.per_unit
        step = config.defaults[place]
        after = attributes(probes + step * delta)
        moved = dict(zip(config.names, (after - before).mean(0).tolist(), strict=True))
        moves = purity(before, after, spread, step)
        report[name] = {
            "accuracy": found[place][1],
            "spread": float(spread[place]),
            **asdict(curve),
            "side_effects": {"at": step, **{other: value for other, value in moved.items() if other != name}},
            "purity": dict(zip(config.names, moves, strict=True)),
        }
        source = {"found": f"linear SVM on {config.samples} codes, extremes {config.extremes:g}, seed {config.seed}"}
        direction = Direction(delta.cpu(), name=name, unit=config.units[place], limits=curve.limits, source=source)
        save_direction(folder / f"{name}.safetensors", direction)
        vectors.append(direction)
        cards.append(_card(config, name, direction, step, source["found"]))
    write_png(folder / "sheet.png", sheet(generator, vectors, config.spans, codes[:2]))
    write_cards(Path(config.folder) / MANIFEST, config.domain, cards)
    return report


def _inverted(config: DirectionsConfig, device: torch.device) -> Tensor:
    """[N, L, D]: an encoder's codes of portraits, with details, that nothing was trained on."""
    encoder: Any = require_network(config.encoder, "encoder", "finding directions").to(device)
    photos = draw_portraits(split_params("validation", config.probes), encoder.config.input_size, device)
    return torch.cat([encoder(part) for part in photos.split(config.batch)])


def sheet(generator: Any, directions: Sequence[Direction], spans: Sequence[float], codes: Tensor) -> Tensor:
    """[3, H, W]: a row for each code [N, D] and direction, at -1, -1/2, 0, 1/2 and 1 of its span."""
    shares = torch.linspace(-1, 1, 5, device=codes.device)
    rows = []
    for code in codes:
        latent = code.expand(len(shares), generator.config.latent_rows, -1)
        for direction, span in zip(directions, spans, strict=True):
            rows.append(generator.synthesis(latent + direction.shift(latent, span * shares)).clamp(-1, 1).cpu())
    return grid(torch.cat(rows), len(shares))


def _card(config: DirectionsConfig, name: str, direction: Direction, default: float, source: str) -> dict[str, Any]:
    assert direction.limits is not None
    return {
        "name": name,
        "domain": config.domain,
        "file": f"{config.domain}/{name}.safetensors",
        "kind": direction.kind,
        "default": default,
        "limits": [round(value, 3) for value in direction.limits],
        "unit": direction.unit,
        "source": f"this repository, sdic train directions: {source}",
        "licence": "MIT",
    }


def write_cards(path: Path, domain: str, cards: list[dict[str, Any]]) -> None:
    """Put cards at the end of a manifest, in place of what an earlier call put there; the rest of its text stays.

    ConfigError where the manifest is not one whose `directions` come last.
    """
    begin, end = f"  # {domain}: found by `sdic train directions`\n", f"  # end of {domain}\n"
    text = path.read_text(encoding="utf-8") if path.is_file() else "directions:\n"
    text = text.replace(f"  # {domain}: found by `sdic pretrain directions`\n", begin)  # its name before
    if begin in text and end in text:
        text = text[: text.index(begin)] + text[text.index(end) + len(end) :]
    block = yaml.safe_dump(cards, sort_keys=False, default_flow_style=None, width=118)
    block = "".join(f"  {line}\n" for line in block.splitlines())
    text = text.rstrip("\n") + "\n" + begin + block + end
    try:
        listed = yaml.safe_load(text)["directions"]
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise ConfigError(f"{path}: cannot be extended, its list of directions must come last") from error
    if [entry["name"] for entry in listed[-len(cards) :]] != [card["name"] for card in cards]:
        raise ConfigError(f"{path}: cannot be extended, its list of directions must come last")
    write_atomic(path, text)


def _run(config: DirectionsConfig) -> int:
    print(json.dumps(find_directions(config), indent=2))
    return 0


register("directions", Entry(DirectionsConfig, None, "portraits: age, yaw, smile and more in W, in their units", _run))
