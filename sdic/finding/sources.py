"""Where codes and what is known of their pictures come from: drawn and measured, read with a CSV, or inverted photos.

Shapes: N codes, L latent rows, D style width, K attributes.
"""

from __future__ import annotations

import csv
import io
import json
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sdic.changes import Changes
from sdic.direction import StyleDirection
from sdic.editing.ganspace import own_codes
from sdic.errors import ConfigError, SdicError, UnknownNameError
from sdic.networks.stylegan2 import UNCHANGED, Generator
from sdic.runner.inputs import CodeItem, codes_in
from sdic.runner.run import run
from sdic.runner.settings import RunSettings
from sdic.utils.files import write_atomic
from sdic.utils.text import one_line, read_small_text

LARGEST = 256 << 20  # bytes of a CSV; CelebA's has 27 MB
Measure = Callable[..., Tensor]
"""Latents [N, L, D], and a direction of style space to apply once, or None -> attributes of their pictures [N, K]."""


@dataclass(frozen=True)
class Source:
    """names: K attributes. scores [N, K], NaN where one is not known. latents: gives all codes from the first on, in
    parts [n, L, D], or [n, 1, D] where every row is the same. measure: None where nothing measures pictures. about:
    for the report. problems: what was left out, and why."""

    names: tuple[str, ...]
    scores: Tensor
    latents: Callable[[], Iterator[Tensor]]
    measure: Measure | None = None
    about: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def column(self, name: str) -> Tensor:
        """Scores [N] of an attribute; UnknownNameError lists those that are there."""
        if name not in self.names:
            raise UnknownNameError("attribute", name, self.names)
        return self.scores[:, self.names.index(name)]


def measure_with(generator: Generator, network: Any, batch: int) -> Measure:
    """What an attribute network finds in the generator's pictures."""
    size = getattr(network, "smallest", 0)
    if generator.config.resolution < size:
        raise ConfigError(f"the attribute network looks at pictures of at least {size} px")

    @torch.no_grad()
    def measure(latents: Tensor, styles: StyleDirection | None = None) -> Tensor:
        device, rows = generator.latent_avg.device, generator.config.latent_rows
        once = torch.ones(1, device=device)
        changes = UNCHANGED if styles is None else Changes(style_shifts=styles.to(device).shifts(once))
        parts = []
        for part in latents.split(batch):
            codes = part.to(device).expand(-1, rows, -1)
            pictures = generator.synthesis(codes, changes=changes).clamp(-1, 1)
            parts.append(network(pictures).float().cpu())
        return torch.cat(parts)

    return measure


def drawn(
    generator: Generator, network: Any, count: int, seed: int, batch: int, identity: dict[str, Any], folder: Path
) -> Source:
    """`count` of the generator's own codes, measured by a network. What is measured is kept in `folder` as it comes:
    the same call, or one for more codes, goes on from there."""
    measure = measure_with(generator, network, batch)

    def latents() -> Iterator[Tensor]:
        return (part[:, None] for part in own_codes(generator, count, seed))

    names = tuple(network.config.names)
    scores = _measured(latents, measure, count, len(names), batch, {**identity, "seed": seed}, folder)
    if not torch.isfinite(scores).all():
        raise SdicError("the attribute network gives values that are not finite for this generator's pictures")
    return Source(names, scores, latents, measure, {"source": "attribute network", "drawn": count, "seed": seed})


def _measured(
    latents: Callable[[], Iterator[Tensor]],
    measure: Measure,
    count: int,
    width: int,
    batch: int,
    identity: dict[str, Any],
    folder: Path,
) -> Tensor:
    """Scores [count, width]: those that an earlier call kept, and the others now."""
    key = "-".join(str(value)[:12] for value in identity.values())
    path, about = folder / f"scores-{key}.f32", folder / f"scores-{key}.json"
    if not (about.is_file() and path.is_file() and _is(about, identity)):
        folder.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
        write_atomic(about, json.dumps(identity, indent=1))
    row = 4 * width
    done = min(count, path.stat().st_size // row)
    with open(path, "r+b") as handle:
        handle.truncate(max(done, path.stat().st_size // row) * row)  # a kill may leave a part of a row
        handle.seek(done * row)
        bar, first = progress(count, done), 0
        for codes in latents():
            for part in codes.split(batch):
                skipped = min(len(part), max(0, done - first))
                if skipped < len(part):
                    handle.write(measure(part[skipped:]).contiguous().numpy().astype("<f4").tobytes())
                    handle.flush()
                    bar(len(part) - skipped)
                first += len(part)
        handle.seek(0)
        content = handle.read(count * row)
    return torch.from_numpy(np.frombuffer(content, "<f4").reshape(count, width).astype(np.float32))


def _is(path: Path, identity: dict[str, Any]) -> bool:
    try:
        found: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(found == identity)


def progress(total: int, done: int) -> Callable[[int], None]:
    """Says how far it is: a bar on a terminal, a line now and then elsewhere."""
    from tqdm import tqdm

    bar = tqdm(total=total, initial=done, unit="picture", mininterval=0.5 if sys.stderr.isatty() else 30.0)

    def more(count: int) -> None:
        bar.update(count)
        if bar.n >= total:
            bar.close()

    return more


def labelled(names: Sequence[str], table: Tensor, codes: Tensor, about: dict[str, Any], problems: list[str]) -> Source:
    """Codes [N, L, D] in memory, with what is known of them [N, K]."""
    return Source(tuple(names), table, lambda: iter(codes.split(256)), None, about, problems)


def read_labels(path: Path) -> tuple[list[str], list[str], Tensor]:
    """(names of rows, names of columns, numbers [N, K] with NaN for empty cells) of a CSV whose first line names the
    columns and whose first column names photos. Columns are parted by commas, semicolons or tabs.

    ConfigError names the line that is wrong.
    """
    text = read_small_text(path, LARGEST, ConfigError)
    head = text[: text.find("\n")] if "\n" in text else text
    mark = max(",;\t", key=head.count)
    try:
        lines = [line for line in csv.reader(io.StringIO(text), delimiter=mark, strict=True) if line]
    except csv.Error as error:
        raise ConfigError(f"{path}: not a readable CSV ({one_line(error)})") from error
    columns = [name.strip() for name in lines[0][1:]] if lines else []
    if not columns or len(lines) < 2 or len(set(columns)) < len(columns) or not all(columns):
        raise ConfigError(f"{path}: a CSV of labels begins with a line such as `file,smile,age`, each name once")
    rows, numbers = [], torch.full((len(lines) - 1, len(columns)), math.nan)
    for place, line in enumerate(lines[1:]):
        where = f"{path}, line {place + 2}"
        if len(line) != len(columns) + 1:
            raise ConfigError(f"{where}: {len(line)} cells, where the first line names {len(columns) + 1}")
        rows.append(line[0].strip())
        for column, cell in enumerate(line[1:]):
            try:
                numbers[place, column] = float(cell) if cell.strip() else math.nan
            except ValueError as error:
                raise ConfigError(f"{where}: {columns[column]} is {one_line(cell, 40)!r}, not a number") from error
            if math.isinf(float(numbers[place, column])):
                raise ConfigError(f"{where}: {columns[column]} is not a finite number")
    return rows, columns, numbers


def read_codes(path: Path) -> Tensor:
    """All codes [N, L, D] of a file; CheckpointError or ConfigError for one that holds none."""
    items = codes_in(path, path.name)
    parts = []
    for item in items:
        if not isinstance(item, CodeItem):
            raise ConfigError(f"{path}: {item.problem}")
        parts.append(item.content(0))
    return torch.stack(parts)


def inverted(photos: str, model: str, device: str, out: Path) -> tuple[list[str], Tensor, list[str]]:
    """(names, codes [N, L, D], what could not be read) of the photos below a folder or zip, inverted by a model.

    It is a run of `sdic invert` in the folder `out`: the same call goes on where it was stopped. SdicError where no
    photo could be inverted.
    """
    settings = RunSettings([photos], str(out), model, device=device, save_latents=True, sheet_rows=0)
    run(settings, "invert")
    outcomes = json.loads((out / "report.json").read_text(encoding="utf-8"))["files"]
    names, codes, problems = [], [], []
    for outcome in outcomes:
        file = next((file for file in outcome["outputs"] if file.startswith("latents/")), "")
        if outcome["status"] in ("done", "skipped") and file:
            names.append(outcome["name"])
            codes.append(torch.from_numpy(np.load(out / file)))
        elif outcome["status"] != "ignored":
            problems.append(f"{outcome['name']}: {outcome['reason']}")
    if not codes:
        raise SdicError(f"{photos}: none of its photos could be inverted ({'; '.join(problems[:3])})")
    return names, torch.stack(codes), problems


def matched(rows: Sequence[str], numbers: Tensor, names: Sequence[str]) -> tuple[Tensor, list[str]]:
    """(numbers [N, K] of photos by name, NaN for those that the CSV does not name; rows without a photo).

    A row names a photo by its path, or by its file's name alone, with or without the ending.
    """
    known: dict[str, int] = {}
    for place, row in enumerate(rows):
        for key in (row, Path(row).name, Path(row).stem):
            known.setdefault(key, place)
    found = torch.full((len(names), numbers.shape[1]), math.nan)
    used = set()
    for place, name in enumerate(names):
        number = next((known[key] for key in (name, Path(name).name, Path(name).stem) if key in known), None)
        if number is not None:
            found[place] = numbers[number]
            used.add(number)
    if not used:
        raise ConfigError(
            f"the CSV names none of the photos: it begins with {', '.join(rows[:3])}, they with {', '.join(names[:3])}"
        )
    return found, [row for place, row in enumerate(rows) if place not in used]
