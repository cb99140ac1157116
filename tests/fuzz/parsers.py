"""Every parser of files that come from elsewhere: the files it begins with, how it is called, what it may raise.

A parser is added by an entry in `PARSERS`. `tests/fuzz` sweeps the registry with a few hundred damaged files each;
`scripts/fuzz.py` does so with as many as are asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sdic.errors import CheckpointError, ConfigError, ImageError
from tests.fuzz import seeds
from tests.fuzz.mutate import mutations
from tests.fuzz.structure import damaged


@dataclass(frozen=True)
class Parser:
    """seeds: writes whole files into an empty folder and returns their paths. parse: reads one file, with a damaged
    copy's bytes in the place of the whole file's. allowed: every class of exception that may come out of it; anything
    else is a mistake. damage: how copies of a file's bytes are damaged, (bytes, count, seed) -> copies. beginnings:
    names of seed files that are refused themselves, since a whole one would be large."""

    seeds: Callable[[Path], list[Path]]
    parse: Callable[[Path], object]
    allowed: tuple[type[Exception], ...]
    damage: Callable[[bytes, int, int], Iterator[bytes]] = mutations
    beginnings: tuple[str, ...] = ()


def read_weights(path: Path) -> object:
    """Weight files, ours and foreign ones. May raise: CheckpointError."""
    from sdic.checkpoints import read_bundle

    return read_bundle(path)


def read_tflite(path: Path) -> object:
    """TensorFlow Lite files. May raise: CheckpointError."""
    from sdic.checkpoints.tflite import read_tflite

    return read_tflite(path.read_bytes(), path.name)


def read_inversion(path: Path) -> object:
    """Saved inversions. May raise: CheckpointError."""
    from sdic.types import Inversion

    return Inversion.load(path)


def read_direction(path: Path) -> object:
    """Direction files; the first component where there are several. May raise: CheckpointError, ConfigError."""
    from sdic.editing.directions import read_direction
    from sdic.errors import ConfigError
    from sdic.networks.stylegan2 import GeneratorConfig

    try:
        return read_direction(path, config=GeneratorConfig(style_dim=16))
    except ConfigError:  # several components, and none was chosen
        return read_direction(path, component=0, config=GeneratorConfig(style_dim=16))


def read_config(path: Path) -> object:
    """Settings of a command, a training here. May raise: ConfigError."""
    from sdic.config import load_config
    from sdic.training.task import find_task

    return load_config(find_task("sdic").config, path)


def read_edits(path: Path) -> object:
    """Lists of edits. May raise: ConfigError."""
    from sdic.editing.lists import read_edits

    return read_edits(path, "tiny")


def read_manifest(path: Path) -> object:
    """A list of directions. May raise: ConfigError."""
    from sdic.editing.manifest import read_manifest

    return read_manifest(path)


def read_labels(path: Path) -> object:
    """A CSV of labels. May raise: ConfigError."""
    from sdic.finding.sources import read_labels

    return read_labels(path)


def read_hash_note(path: Path) -> object:
    """The hash beside a weight file. May raise: CheckpointError."""
    from sdic.zoo import WeightFile, known_sha256

    return known_sha256(WeightFile(path.stem, "", ""), path.with_suffix(""))


def read_photo(path: Path) -> object:
    """Pictures. May raise: ImageError."""
    from sdic.utils.images import read_picture

    return read_picture(path, 1_000_000)


def read_landmarks(path: Path) -> object:
    """Landmarks of photos. May raise: ImageError."""
    from sdic.faces.points import read_landmarks

    return read_landmarks(path)


def read_crops(path: Path) -> object:
    """Where crops lie in their photos. May raise: ImageError."""
    from sdic.faces.folder import read_record

    return read_record(path)


def read_zip(path: Path) -> None:
    """Zips of photos, as a training reads them. May raise: ConfigError; ImageError for one of the photos."""
    from sdic.data.sources import Request, open_source

    source, names, _ = open_source(Request("zip", str(path)))
    for name in names:
        source.read(name)


def read_names(path: Path) -> object:
    """Lists of names. May raise: ConfigError."""
    from sdic.data.folder import choose, read_name_list

    return choose([f"folder/{index:03d}.png" for index in range(40)], read_name_list(path), path.name)


PARSERS: dict[str, Parser] = {
    "picture": Parser(seeds.pictures, read_photo, (ImageError,)),
    "dataset zip": Parser(seeds.zips, read_zip, (ConfigError, ImageError), damaged, ("deflated.zip",)),
    "name list": Parser(seeds.name_lists, read_names, (ConfigError,)),
    "foreign weights": Parser(seeds.foreign_weights, read_weights, (CheckpointError,), damaged, ("e4e.pt",)),
    "tflite": Parser(seeds.tflite_files, read_tflite, (CheckpointError,), mutations, ("iris.tflite",)),
    "our weights": Parser(seeds.our_weights, read_weights, (CheckpointError,), damaged),
    "inversion": Parser(seeds.inversions, read_inversion, (CheckpointError,), damaged),
    "direction": Parser(seeds.directions, read_direction, (CheckpointError, ConfigError), damaged),
    "landmarks": Parser(seeds.landmarks, read_landmarks, (ImageError,)),
    "crops": Parser(seeds.crops, read_crops, (ImageError,)),
    "config": Parser(seeds.configs, read_config, (ConfigError,), damaged),
    "edit-list": Parser(seeds.edit_lists, read_edits, (ConfigError,), damaged),
    "manifest": Parser(seeds.manifests, read_manifest, (ConfigError,), damaged),
    "labels": Parser(seeds.labels, read_labels, (ConfigError,)),
    "hash note": Parser(seeds.hash_notes, read_hash_note, (CheckpointError,)),
}
"""By name."""
