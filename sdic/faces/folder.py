"""Folders of raw photos to folders of crops, and back: what `sdic align` and `sdic paste` do."""

from __future__ import annotations

import hashlib
import io
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from sdic.data.folder import ZipSource
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


@dataclass(frozen=True)
class Photo:
    """A photo's file, or the one of a zip. name: relative to the folder or zip it was found in."""

    path: Path
    name: str
    archive: ZipSource | None = None

    def source(self) -> Path | io.BytesIO:
        """Its file, or its bytes; ImageError for what cannot be unpacked."""
        return self.path if self.archive is None else io.BytesIO(self.archive.data(self.name))

    def digest(self) -> str:
        """Hex sha256 of its bytes; ImageError."""
        if self.archive is not None:
            return hashlib.sha256(self.archive.data(self.name)).hexdigest()
        try:
            return sha256_of(self.path)
        except (SdicError, OSError) as error:
            raise ImageError(f"{self.path}: cannot be read ({one_line(error)})") from error

    def where(self) -> dict[str, str]:
        """Where it lies, for the record."""
        return {"photo": str(self.path.resolve()), **({} if self.archive is None else {"member": self.name})}


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
        for photo in photos_of(inputs, out, say):
            try:
                _align_one(photo, out, aligner, settings, record, say)
            except ImageError as error:
                failed += 1
                say(f"{photo.name}: {one_line(error)}")
            if time.monotonic() - written > SECONDS:
                _write_record(out, record)
                written = time.monotonic()
    finally:
        _write_record(out, record)
    return failed


def _align_one(
    photo: Photo, out: Path, aligner: Aligner, settings: dict[str, Any], record: dict[str, Any], say: Say
) -> None:
    name = photo.name.lstrip("/")
    same = {**photo.where(), "sha256": photo.digest(), "settings": settings}
    done = [crop for crop, entry in record.items() if {key: entry.get(key) for key in same} == same]
    if done and all((out / crop).is_file() for crop in done):
        return
    found = aligner(read_picture(photo.source()), name, settings["size"])
    stem = str(PurePosixPath(name).with_suffix(""))
    for number, one in enumerate(found, 1):
        crop = f"{stem}-{number}.png" if aligner.settings.face == "all" else f"{stem}.png"
        other = _where(record.get(crop, same))
        if other != _where(same) and Path(other[0]).exists():
            taken = " in ".join(filter(None, reversed(other)))
            raise ImageError(f"{crop} is the crop of {taken} already; photos of one name go into folders of their own")
        write_png(out / crop, one.picture)
        record[crop] = {**same, "crop": None if one.crop is None else asdict(one.crop)}
        for note in one.notes:
            say(f"{name}: {note}")


def paste_folder(edited: Path, record: Path, out: Path, say: Say) -> int:
    """Paste every edited crop of a folder into its photo, which is written to OUT under its own name and in its own
    format; how many photos failed. Crops that the folder does not have are left as they are in the photo."""
    entries = read_record(record)
    faces: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for crop, entry in entries.items():
        if (edited / crop).is_file():
            faces[_where(entry)].append(crop)
    if not faces:
        raise ConfigError(
            f"{edited}: none of the {len(entries)} crops of {record} is in it, such as {next(iter(entries))}"
        )
    failed = 0
    for (file, member), crops in faces.items():
        name = Path(crops[0]).parent / PurePosixPath(member or file).name
        try:
            photo = Photo(Path(file), member, ZipSource(file, packed=True) if member else None)
            if photo.digest() != entries[crops[0]]["sha256"]:
                raise ImageError("it is another photo than the one that was aligned")
            original = read_original(photo.source())
            parts = [_edited(edited / crop, record.parent / crop, entries[crop]["crop"], say) for crop in crops]
            result = paste(original.picture, [part for part in parts if part is not None])
            write_like(out / name, result, original)
        except (ImageError, ConfigError, OSError, KeyError) as error:  # KeyError: the zip has no such photo any more
            failed += 1
            say(f"{' in '.join(filter(None, (member, file)))}: {one_line(error)}")
    return failed


def _where(entry: dict[str, Any]) -> tuple[str, str]:
    """(file, name in the zip that it is, or "") of a photo by its entry."""
    return entry["photo"], entry.get("member", "")


def _edited(path: Path, before: Path, crop: Any, say: Say) -> EditedFace | None:
    if crop is None:
        say(f"{path}: its photo was aligned as it is; nothing is to be pasted")
        return None
    there = before.is_file() and before.resolve() != path.resolve()
    return EditedFace(read_picture(path), _crop_of(crop), read_picture(before) if there else None)


def photos_of(inputs: Iterable[str], skip: Path, say: Say) -> Iterator[Photo]:
    """Every photo of files, folders and zips, sorted by name.

    ConfigError for a path that is not there, or a zip that cannot be read; pictures that cannot be read are said.
    """
    for word in inputs:
        root = Path(word)
        if root.is_dir():
            found = sorted(walk_files(root, skip), key=lambda entry: entry[1])
        elif root.suffix.lower() == ".zip" and root.is_file():
            archive = ZipSource(root, packed=True)
            for name, problem in sorted({**archive.unread, **archive.problems}.items()):
                say(f"{name}: {problem}")
            yield from (Photo(root, name, archive) for name in archive.names if name not in archive.problems)
            continue
        elif root.exists():
            found = [(root, root.name, "")]
        else:
            raise ConfigError(f"{root.absolute()}: no such file or folder")
        for path, name, problem in found:
            kind = what_is(path)
            if problem or kind.unread:
                say(f"{name}: {problem or kind.unread}")
            elif kind.picture:
                yield Photo(path, name)


def read_record(path: Path) -> dict[str, Any]:
    """crops.json: name of a crop -> {photo, sha256, settings, crop}. ImageError for any other file."""
    text = read_small_text(path, RECORD_LIMIT, ImageError)
    try:
        record = json.loads(text)["crops"]
        for name, entry in record.items():
            texts = entry["photo"], entry["sha256"], entry.get("member", "")
            good = all(isinstance(text, str) for text in texts) and not Path(name).is_absolute()
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
