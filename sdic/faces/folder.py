"""Folders of raw photos to folders of crops, and back: what `sdic align` and `sdic paste` do."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sdic.errors import ConfigError, ImageError, SdicError
from sdic.faces.alignment import FaceCrop
from sdic.faces.finding import Aligner
from sdic.faces.ownmode import read_original, write_like
from sdic.faces.pasting import EditedFace, paste
from sdic.utils.files import sha256_of, walk_files, write_atomic
from sdic.utils.images import read_picture, what_is, write_png
from sdic.utils.text import one_line, read_small_text

RECORD = "crops.json"
RECORD_LIMIT = 256 << 20
SECONDS = 20.0  # between two writings of the record
Say = Callable[[str], None]


def align_folder(inputs: Iterable[str], out: Path, aligner: Aligner, size: int, say: Say) -> int:
    """Write the crops of all photos as PNG, and where they lie as OUT/crops.json; how many photos failed.

    A crop is named as its photo, with -1, -2, ... (from the left) where all faces are wanted. A photo whose crops are
    here already, by its hash and the settings, is skipped.
    """
    settings = {**asdict(aligner.settings), "size": size}
    if aligner.settings.landmarks:
        settings["landmarks"] = sha256_of(aligner.settings.landmarks)
    record = read_record(out / RECORD) if (out / RECORD).exists() else {}
    failed, written = 0, time.monotonic()
    try:
        for path, name in photos_of(inputs, out, say):
            try:
                failed += not _align_one(path, name, out, aligner, settings, record, say)
            except ImageError as error:
                failed += 1
                say(f"{name}: {one_line(error)}")
            if time.monotonic() - written > SECONDS:
                _write_record(out, record)
                written = time.monotonic()
    finally:
        _write_record(out, record)
    return failed


def _align_one(
    path: Path, name: str, out: Path, aligner: Aligner, settings: dict[str, Any], record: dict[str, Any], say: Say
) -> bool:
    digest = _digest(path)
    same = {"photo": str(path.resolve()), "sha256": digest, "settings": settings}
    done = [crop for crop, entry in record.items() if {key: entry.get(key) for key in same} == same]
    if done and all((out / crop).is_file() for crop in done):
        return True
    found = aligner(read_picture(path), name, settings["size"])
    stem = str(Path(name).with_suffix(""))
    for number, one in enumerate(found, 1):
        crop = f"{stem}-{number}.png" if aligner.settings.face == "all" else f"{stem}.png"
        other = record.get(crop, {}).get("photo", same["photo"])
        if other != same["photo"] and Path(other).exists():
            raise ImageError(f"{crop} is the crop of {other} already; photos of one name go into folders of their own")
        write_png(out / crop, one.picture)
        record[crop] = {**same, "crop": None if one.crop is None else asdict(one.crop)}
        for note in one.notes:
            say(f"{name}: {note}")
    return True


def paste_folder(edited: Path, record: Path, out: Path, say: Say) -> int:
    """Paste every edited crop of a folder into its photo, which is written to OUT under its own name and in its own
    format; how many photos failed. Crops that the folder does not have are left as they are in the photo."""
    entries = read_record(record)
    faces: defaultdict[str, list[str]] = defaultdict(list)
    for crop, entry in entries.items():
        if (edited / crop).is_file():
            faces[entry["photo"]].append(crop)
    if not faces:
        raise ConfigError(
            f"{edited}: none of the {len(entries)} crops of {record} is in it, such as {next(iter(entries))}"
        )
    failed = 0
    for photo, crops in faces.items():
        name = Path(crops[0]).parent / Path(photo).name
        try:
            if _digest(Path(photo)) != entries[crops[0]]["sha256"]:
                raise ImageError("it is another photo than the one that was aligned")
            original = read_original(photo)
            parts = [_edited(edited / crop, record.parent / crop, entries[crop]["crop"], say) for crop in crops]
            result = paste(original.picture, [part for part in parts if part is not None])
            write_like(out / name, result, original)
        except (ImageError, OSError) as error:
            failed += 1
            say(f"{photo}: {one_line(error)}")
    return failed


def _digest(photo: Path) -> str:
    try:
        return sha256_of(photo)
    except (SdicError, OSError) as error:
        raise ImageError(f"{photo}: cannot be read ({one_line(error)})") from error


def _edited(path: Path, before: Path, crop: Any, say: Say) -> EditedFace | None:
    if crop is None:
        say(f"{path}: its photo was aligned as it is; nothing is to be pasted")
        return None
    there = before.is_file() and before.resolve() != path.resolve()
    return EditedFace(read_picture(path), _crop_of(crop), read_picture(before) if there else None)


def photos_of(inputs: Iterable[str], skip: Path, say: Say) -> Iterable[tuple[Path, str]]:
    """(path, name relative to the folder it was found in) of every photo of files and folders, sorted by name.

    ConfigError for a path that is not there; pictures that cannot be read are said.
    """
    for word in inputs:
        root = Path(word)
        if root.is_dir():
            found = sorted(walk_files(root, skip), key=lambda entry: entry[1])
        elif root.exists():
            found = [(root, root.name, "")]
        else:
            raise ConfigError(f"{root.absolute()}: no such file or folder")
        for path, name, problem in found:
            kind = what_is(path)
            if problem or kind.unread:
                say(f"{name}: {problem or kind.unread}")
            elif kind.picture:
                yield path, name


def read_record(path: Path) -> dict[str, Any]:
    """crops.json: name of a crop -> {photo, sha256, settings, crop}. ImageError for any other file."""
    text = read_small_text(path, RECORD_LIMIT, ImageError)
    try:
        record = json.loads(text)["crops"]
        for name, entry in record.items():
            good = isinstance(entry["photo"], str) and isinstance(entry["sha256"], str) and not Path(name).is_absolute()
            if not good or ".." in Path(name).parts:
                raise ValueError(f"{one_line(name, 80)} has no photo, or leads out of its folder")
            if entry["crop"] is not None:
                _crop_of(entry["crop"])
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ImageError(f"{path}: no record of crops as `sdic align` writes it ({one_line(error)})") from error
    return dict(record)


def _crop_of(entry: Any) -> FaceCrop:
    return FaceCrop.from_text(json.dumps(entry))


def _write_record(out: Path, record: dict[str, Any]) -> None:
    write_atomic(out / RECORD, json.dumps({"crops": record}, indent=1, sort_keys=True))
