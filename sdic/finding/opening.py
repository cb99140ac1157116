"""What a search begins with: the generator, and the codes with what is known of their pictures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sdic.domains import DOMAINS
from sdic.errors import ConfigError
from sdic.fast import accelerate
from sdic.feature_networks import attribute_network
from sdic.finding.settings import FindSettings
from sdic.finding.sources import Source, drawn, inverted, labelled, matched, read_codes, read_labels
from sdic.loading import load, read_frozen
from sdic.networks.stylegan2 import Generator
from sdic.utils.tensors import fingerprint, resolve_device


@dataclass(frozen=True)
class Opened:
    """A generator to search in. identity: its fingerprint. domain: "" where its files name none."""

    generator: Generator
    identity: str
    domain: str

    @classmethod
    def of(cls, model: str, device: str) -> Opened:
        """The generator of a model, a weight file (also one with nothing else in it) or a training run, frozen."""
        bundle = None if Path(model).is_dir() else read_frozen(model)
        if bundle is not None and "generator" in bundle.networks:
            generator: Any = bundle.require("generator", model)
            identity, domain = fingerprint(generator), bundle.source.get("domain", "")
        else:
            inverter = load(model, "cpu", optimize=False)
            generator, identity, domain = inverter.generator, inverter.fingerprint, inverter.domain or ""
        generator = generator.eval().requires_grad_(False).to(resolve_device(device))
        return cls(accelerate(generator), identity, domain)  # type: ignore[arg-type]


def open_source(settings: FindSettings, kind: str, opened: Opened) -> Source:
    """Codes and what is known of their pictures."""
    out = Path(settings.out)
    work = Path(settings.work) if settings.work else out.with_suffix(".work")
    if kind == "network":
        name = settings.attributes or (DOMAINS[opened.domain].attributes if opened.domain in DOMAINS else "")
        if not name:
            raise ConfigError(
                f"{settings.model}: no network measures attributes of domain {opened.domain or 'unknown'!r}; name one "
                "(--attributes FILE), or give labels (--labels CSV) or photos (--with FOLDER --without FOLDER)"
            )
        network = attribute_network(name).to(opened.generator.latent_avg.device)
        if settings.name not in network.config.names:
            raise ConfigError(f"{name} measures {', '.join(network.config.names)}, not {settings.name}")
        identity = {"generator": opened.identity, "network": fingerprint(network)}
        source = drawn(opened.generator, network, settings.samples, settings.seed, settings.batch, identity, work)
        return replace(source, about={**source.about, "network": name})
    if kind == "folders":
        folders = {"with": settings.present, "without": settings.absent}
        parts = [inverted(folder, settings.model, settings.device, work / word) for word, folder in folders.items()]
        codes = torch.cat([part[1] for part in parts])
        label = torch.cat([torch.full((len(part[1]), 1), 1.0 - place) for place, part in enumerate(parts)])
        about = {"source": "two folders of photos", "with": len(parts[0][1]), "without": len(parts[1][1])}
        return _fitting(labelled([settings.name], label, codes, about, parts[0][2] + parts[1][2]), opened, codes)
    rows, columns, numbers = read_labels(Path(settings.labels))
    problems: list[str] = []
    if settings.codes:
        codes = read_codes(Path(settings.codes))
        if len(codes) != len(rows):
            raise ConfigError(f"{settings.labels} has {len(rows)} rows, and {settings.codes} holds {len(codes)} codes")
    else:
        names, codes, problems = inverted(settings.photos, settings.model, settings.device, work / "photos")
        numbers, left = matched(rows, numbers, names)
        problems += [f"{row}: no such photo" for row in left]
    about = {"source": "labels", "labels": settings.labels, "codes": len(codes)}
    return _fitting(labelled(columns, numbers, codes, about, problems), opened, codes)


def _fitting(source: Source, opened: Opened, codes: Tensor) -> Source:
    """The source, whose codes must be the generator's."""
    config = opened.generator.config
    if codes.shape[1] not in (1, config.latent_rows) or codes.shape[2] != config.style_dim:
        raise ConfigError(
            f"codes of this generator are {config.latent_rows} rows x {config.style_dim}, these are "
            f"{list(codes.shape[1:])}; they belong to another generator"
        )
    return source


def first_of(source: Source, count: int) -> Iterator[Tensor]:
    """The first `count` codes of a source, in parts [n, L, D]."""
    left = count
    for part in source.latents():
        if left <= 0:
            return
        yield part[:left]
        left -= len(part[:left])
