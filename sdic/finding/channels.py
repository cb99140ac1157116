"""Rank the channels of style space for an attribute (StyleSpace, Wu et al. 2021).

Shapes: N codes, L latent rows, D style width, S channels of all style vectors.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from sdic.editing.ganspace import own_codes
from sdic.editing.styles import channel_direction, joined, vectors
from sdic.errors import SdicError
from sdic.finding.find import Found, written
from sdic.finding.opening import Opened, first_of, open_source
from sdic.finding.settings import FindSettings
from sdic.finding.sources import Source
from sdic.networks.stylegan2 import Generator

POPULATION = 10_000  # own codes that a channel's mean and deviation are of
LIMITS = (-5.0, 5.0)  # standard deviations of a channel: StyleCLIP's range
CHECKED = 16  # codes on which a channel's effect is measured


def rank(settings: FindSettings) -> Found:
    """Rank the channels of style space for an attribute (Wu et al. 2021, section 5): how far the styles of pictures
    that have it lie from the mean, in standard deviations of the generator's own, beside how much they differ among
    themselves. The direction is made of the best `take` channels; strength 1 is one standard deviation of each."""
    kind, opened = settings.check(), Opened.of(settings.model, settings.device)
    source = open_source(settings, kind, opened)
    scores = source.column(settings.name)
    known = torch.isfinite(scores).nonzero()[:, 0]
    given = scores[known]
    if len(given.unique()) < 2:
        raise SdicError(f"{settings.name} is the same in all {len(given)} samples: no channel carries it")
    if len(given.unique()) == 2:
        have = known[given == given.max()]
    else:
        have = known[given.argsort()[-max(2, int(len(known) * settings.extremes)) :]]
    config = opened.generator.config
    own = (part[:, None] for part in own_codes(opened.generator, POPULATION))
    mean, deviation, _ = _style_moments(opened.generator, own, None)
    there, spread, count = _style_moments(opened.generator, source.latents(), have)
    if count < 2:
        raise SdicError(f"{count} pictures with {settings.name}: at least 2")
    moved = (there - mean) / deviation
    theta = moved.abs() / (spread / deviation).clamp_min(1e-8)
    names = [f"s{number}.{channel}" for number, v in enumerate(vectors(config)) for channel in range(v.channels)]
    best = theta.argsort(descending=True)[: settings.top].tolist()
    entries = []
    for place in best:
        entry = {"channel": names[place], "theta": float(theta[place]), "sign": 1 if moved[place] > 0 else -1}
        entries.append({**entry, "mean": float(mean[place]), "deviation": float(deviation[place])})
    chosen = entries[: settings.take]
    direction = channel_direction(
        [_shifted(entry) for entry in chosen],
        config,
        name=settings.name,
        unit="standard deviations of the channel" + "s" * (len(chosen) > 1),
        limits=LIMITS,
        source={"found": f"StyleSpace's ranking, {count} pictures with it", "generator": opened.identity},
    )
    if source.measure is not None:
        for entry in entries:
            entry["effect"] = _effect(source, entry, config)
    report = {
        "name": settings.name,
        "file": settings.out,
        "unit": direction.unit,
        "samples": count,
        **source.about,
        "channels": entries,
        "taken": [entry["channel"] for entry in chosen],
        "generator": opened.identity,
        "model": settings.model,
        "domain": opened.domain,
        "left_out": source.problems,
    }
    return written(settings, direction, report)


@torch.no_grad()
def _style_moments(generator: Generator, parts: Iterator[Tensor], chosen: Tensor | None) -> tuple[Tensor, Tensor, int]:
    """Mean and standard deviation [S] of the styles of latents [n, L, D] (those of these numbers), and how many."""
    wanted = None if chosen is None else set(chosen.tolist())
    total, square, count, first = torch.zeros(()), torch.zeros(()), 0, 0
    for part in parts:
        numbers = [n for n in range(len(part)) if wanted is None or first + n in wanted]
        first += len(part)
        for latents in part[numbers].split(64):
            latents = latents.to(generator.latent_avg.device).expand(-1, generator.config.latent_rows, -1)
            styles = joined(generator.synthesis.styles(latents), generator.config).cpu().double()
            total, square, count = total + styles.sum(0), square + styles.square().sum(0), count + len(styles)
    mean = total / max(1, count)
    variance = square / max(1, count) - mean.square()
    return mean, (variance * count / max(1, count - 1)).clamp_min(0).sqrt().clamp_min(1e-8), count


def _shifted(entry: dict[str, Any]) -> tuple[int, int, float]:
    """(style vector, channel, one standard deviation of it towards more of the attribute)."""
    number, channel = map(int, entry["channel"][1:].split("."))
    return number, channel, entry["sign"] * entry["deviation"]


def _effect(source: Source, entry: dict[str, Any], config: Any) -> dict[str, float]:
    """How each attribute moves, in its own standard deviations, where a channel goes one of its own in its sign."""
    assert source.measure is not None
    probes = torch.cat(list(first_of(source, CHECKED)))
    direction = channel_direction([_shifted(entry)], config)
    moved = (source.measure(probes, direction) - source.measure(probes)).mean(0) / source.scores.std(0)
    return dict(zip(source.names, moved.tolist(), strict=True))
