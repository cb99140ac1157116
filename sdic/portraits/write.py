"""Writing a split to a folder or zip of PNGs with its labels: ``python -m sdic.portraits.write --help``."""

from __future__ import annotations

import argparse
import csv
import functools
import io
import itertools
import json
import multiprocessing
import shutil
import sys
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch

from sdic.errors import ConfigError, SdicError
from sdic.settings import require
from sdic.utils.files import atomic_file, remove_temporaries, write_atomic
from sdic.utils.images import write_png

from .law import LAW
from .params import SPECS, PortraitParams
from .renderer.draw import render
from .splits import SPLITS, split_params, split_seeds

LABELS, SETTINGS = "labels.csv", "portraits.json"
Progress = Callable[[int, int], None]


def picture_name(seed: int) -> str:
    """File name of the portrait of one seed."""
    return f"{seed:08d}.png"


def label_columns() -> list[str]:
    """Columns of the labels: file, seed, split, then every parameter.

    A field of one number has its own name, a colour name_r, name_g, name_b (sRGB 0..1), any other field of k numbers
    name_0 to name_(k-1). Choices are written by name; units are those of :class:`PortraitParams`.
    """
    columns = ["file", "seed", "split"]
    for spec in SPECS:
        if spec.width == 1:
            columns.append(spec.name)
        else:
            parts = "rgb" if spec.unit == "sRGB" else [str(i) for i in range(spec.width)]
            columns += [f"{spec.name}_{part}" for part in parts]
    return columns


def label_rows(params: PortraitParams, seeds: Sequence[int], split: str) -> Iterator[list[str]]:
    """One row of :func:`label_columns` for each portrait; numbers have six significant digits."""
    columns: list[list[list[str]]] = []  # field, portrait, number
    for spec in SPECS:
        values = getattr(params, spec.name).view(len(params), -1).tolist()
        columns.append([[spec.choices[v] if spec.choices else f"{v:.6g}" for v in row] for row in values])
    for i, seed in enumerate(seeds):
        yield [picture_name(seed), str(seed), split] + [text for column in columns for text in column[i]]


def write_split(
    split: str,
    out: str | Path,
    count: int,
    size: int = 128,
    *,
    start: int = 0,
    antialias: bool = True,
    device: torch.device | str = "cpu",
    batch: int = 256,
    workers: int = 1,
    progress: Progress | None = None,
) -> int:
    """Write portraits `start` to `start + count - 1` of a split; returns how many pictures were drawn.

    `out` is a folder, or a zip (uncompressed) if it ends in .zip. Every file appears under its final name only when it
    is whole. Pictures that exist are not drawn again, so a call that was interrupted, or made with a smaller count, can
    be continued; the pictures of a zip in the making wait in a folder beside it. labels.csv (see :func:`label_columns`)
    covers this call's portraits; portraits.json notes the settings. `workers` processes draw `batch` portraits at a
    time; `progress` hears how many of `count` are there, first before anything is drawn.

    Raises UnknownNameError, and ConfigError for impossible numbers or an `out` that holds another split or size, or
    portraits of another law.
    """
    require(batch >= 1, f"batch must be at least 1, not {batch}")
    require(workers >= 1, f"workers must be at least 1, not {workers}")
    out = Path(out)
    seeds = split_seeds(split, count, start)
    settings = {"split": split, "size": size, "antialias": antialias, "law": LAW}
    zipped = out.suffix == ".zip"
    folder = out.with_name(out.name + ".partial") if zipped else out
    present: set[str] = set()
    if zipped and out.exists():
        with zipfile.ZipFile(out) as archive:
            _check_settings(archive.read(SETTINGS) if SETTINGS in archive.namelist() else None, settings, out)
            present.update(archive.namelist())
    if folder.exists():
        left = [path.name for path in folder.iterdir()]
        noted = folder / SETTINGS
        if left:
            _check_settings(noted.read_bytes() if noted.exists() else None, settings, folder)
        present.update(name for name in left if name.endswith(".png"))
        remove_temporaries(folder)
    missing = [seed for seed in seeds if picture_name(seed) not in present]
    if not missing and zipped and out.exists() and not folder.exists() and _covers(out, seeds):
        return 0
    write_atomic(folder / SETTINGS, json.dumps(settings, indent=2) + "\n")
    draw = functools.partial(_draw_batch, split, folder, size, antialias, str(device))
    numbers = _drawn(draw, [missing[i : i + batch] for i in range(0, len(missing), batch)], workers)
    for done in itertools.accumulate(numbers, initial=count - len(missing)):
        if progress is not None:
            progress(done, count)
    write_atomic(folder / LABELS, _labels(split, seeds, start))
    if zipped:
        _pack(folder, out, seeds)
    return len(missing)


def _check_settings(found: bytes | None, wanted: dict[str, object], where: Path) -> None:
    if found is None or json.loads(found) != wanted:
        held = "something else" if found is None else json.dumps(json.loads(found))
        raise ConfigError(f"{where} holds {held}, not {json.dumps(wanted)}; choose another place or remove it")


def _covers(archive_path: Path, seeds: range) -> bool:
    """Whether the labels of a finished zip are those of exactly these seeds."""
    with zipfile.ZipFile(archive_path) as archive:
        rows = csv.reader(io.StringIO(archive.read(LABELS).decode()))
        return [row[1] for row in rows][1:] == [str(seed) for seed in seeds]


def _drawn(draw: Callable[[Sequence[int]], int], batches: list[Sequence[int]], workers: int) -> Iterator[int]:
    """What `draw` returns for each batch of seeds, as the batches are finished."""
    if workers == 1 or len(batches) < 2:
        yield from map(draw, batches)
        return
    # Processes rather than threads: the tensors are too small for an operation to be worth splitting.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, spawn, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        yield from pool.map(draw, batches)


def _draw_batch(split: str, folder: Path, size: int, antialias: bool, device: str, seeds: Sequence[int]) -> int:
    """Draw and write the pictures of some seeds, in rising order; returns how many."""
    # Missing seeds mostly follow each other: draw the span's parameters and keep those asked for.
    span = split_params(split, seeds[-1] - seeds[0] + 1, seeds[0] - SPLITS[split].first, device)
    params = span[[seed - seeds[0] for seed in seeds]]
    for seed, picture in zip(seeds, render(params, size, antialias=antialias).cpu(), strict=True):
        write_png(folder / picture_name(seed), picture)
    return len(seeds)


def _labels(split: str, seeds: range, start: int) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(label_columns())
    for i in range(0, len(seeds), 1024):
        part = seeds[i : i + 1024]
        writer.writerows(label_rows(split_params(split, len(part), start + i), part, split))
    return text.getvalue()


def _pack(folder: Path, out: Path, seeds: range) -> None:
    """Move the pictures of `folder`, and those already in `out`, into a new `out`."""
    names = [SETTINGS, LABELS, *map(picture_name, seeds)]
    older = zipfile.ZipFile(out) if out.exists() else None
    with atomic_file(out) as handle, zipfile.ZipFile(handle, "w", zipfile.ZIP_STORED) as archive:
        if older is not None:  # pictures of earlier calls are kept, though the labels no longer name them
            names += sorted(set(older.namelist()) - set(names))
        for name in names:
            path = folder / name
            data = path.read_bytes() if older is None or path.exists() else older.read(name)
            # A fixed date makes equal pictures equal archives.
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data)
    if older is not None:
        older.close()
    shutil.rmtree(folder)


def _report(started: float) -> Progress:
    before: list[int] = []  # how many were there already

    def report(done: int, total: int) -> None:
        before.append(done)
        rate = (done - before[0]) / (time.monotonic() - started)
        left = f", {rate:.1f} a second, {(total - done) / rate / 60:.1f} min left" if done > before[0] else ""
        print(f"{done} of {total} portraits{left}", file=sys.stderr)

    return report


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="portraits", description="Write a split of the portraits as PNGs with labels."
    )
    parser.add_argument("--split", required=True, help=", ".join(f"{s.name} ({s.doc})" for s in SPLITS.values()))
    parser.add_argument("--count", type=int, required=True, help="how many portraits")
    parser.add_argument("--out", required=True, help="a folder, or a file ending in .zip")
    parser.add_argument("--size", type=int, default=128, help="side in pixels (default 128)")
    parser.add_argument("--start", type=int, default=0, help="number of the first portrait within the split")
    parser.add_argument("--batch", type=int, default=256, help="portraits drawn together (default 256)")
    parser.add_argument("--workers", type=int, default=1, help="processes that draw at the same time (default 1)")
    parser.add_argument("--device", default="cpu", help="cpu (default), cuda, ...")
    parser.add_argument(
        "--no-antialias",
        dest="antialias",
        action="store_false",
        help="one sample a pixel: twice as fast, with jagged edges",
    )
    args = parser.parse_args(arguments)
    # The tensors are small: a second thread slows an operation down more often than not.
    torch.set_num_threads(1)
    try:
        drawn = write_split(**vars(args), progress=_report(time.monotonic()))
    except SdicError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{args.out}: {args.count} portraits, {drawn} of them new")
    return 0


if __name__ == "__main__":
    sys.exit(main())
