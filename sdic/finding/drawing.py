"""Draw a generator's pictures for people to label: pictures by number, and the codes that they are of."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from sdic.domains import DOMAINS
from sdic.editing.ganspace import own_codes
from sdic.errors import ConfigError
from sdic.finding.opening import Opened
from sdic.finding.sources import progress
from sdic.utils.files import atomic_file, write_atomic
from sdic.utils.images import to_picture, write_png


@torch.no_grad()
def draw(model: str, out: str, samples: int = 100, seed: int = 0, device: str = "auto") -> Path:
    """Write OUT/00000.png, ... and OUT/codes.npy [N, D]; returns the latter.

    A CSV that names these pictures goes with the codes: `sdic directions find --labels CSV --codes OUT/codes.npy`. The
    same call goes on where it was stopped; one for more pictures draws those that are missing. ConfigError for a folder
    that holds pictures of another generator or seed.
    """
    if samples < 1:
        raise ConfigError(f"samples must be at least 1, got {samples}")
    opened, folder = Opened.of(model, device), Path(out)
    about, identity = folder / "codes.json", {"generator": opened.identity, "seed": seed}
    folder.mkdir(parents=True, exist_ok=True)
    if about.is_file() and json.loads(about.read_text(encoding="utf-8")) != identity:
        raise ConfigError(f"{folder}: holds pictures of another generator or seed; choose another folder")
    write_atomic(about, json.dumps(identity))
    geometry = DOMAINS[opened.domain].geometry if opened.domain in DOMAINS else None
    generator, bar = opened.generator, progress(samples, 0)
    codes: list[torch.Tensor] = []
    for part in own_codes(generator, samples, seed):
        for code in part:
            path = folder / f"{len(codes):05d}.png"
            codes.append(code)
            if not path.is_file():
                latent = code.to(generator.latent_avg.device).expand(1, generator.config.latent_rows, -1)
                image = generator.synthesis(latent)
                write_png(path, to_picture((image if geometry is None else geometry.visible(image))[0]))
            bar(1)
    with atomic_file(folder / "codes.npy") as handle:
        np.save(handle, torch.stack(codes).numpy())
    return folder / "codes.npy"
