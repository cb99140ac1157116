"""The models that sdic knows by name (`sdic.cards` lists them), and where their files are looked for.

Nothing is downloaded silently: a missing file's error says where to get it and what to run. The models of the domain
"portraits" are this project's own and come with it.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import sys
from pathlib import Path

from sdic.cards import MODELS, ModelCard, WeightFile
from sdic.errors import CheckpointError, UnknownNameError
from sdic.utils.files import data_folders, write_atomic
from sdic.utils.text import read_small_text

REPOSITORY = Path(__file__).resolve().parent.parent
INSTALLED = Path(sys.prefix) / "share" / "sdic" / "pretrained"
ENVIRONMENT = "SDIC_PRETRAINED"
NOTE_LIMIT = 4096  # bytes of a hash note
FAMILIES = (
    *("sdic", "e4e", "restyle", "hyperstyle", "hfgi", "fs", "sfe", "styleres", "pti", "wplus"),
    *("measures", "faces"),
)
"""The files of `sdic.cards` that hold cards."""
for _name in FAMILIES:
    importlib.import_module(f"sdic.cards.{_name}")


def card(name: str) -> ModelCard:
    """The card of a model; UnknownNameError lists the known ones."""
    if name not in MODELS:
        raise UnknownNameError("model", name, MODELS)
    return MODELS[name]


def known_sha256(wanted: WeightFile, path: Path) -> str | None:
    """The hash that a file must have: the list's own, or the one that was recorded when it was first read here."""
    note = _note(path)
    if wanted.sha256 is not None or not note.is_file():
        return wanted.sha256 if path.name == Path(wanted.name).name else None
    words = read_small_text(note, NOTE_LIMIT, CheckpointError).split()
    if not words or not re.fullmatch("[0-9a-f]{64}", words[0]):
        raise CheckpointError(
            f"{note}: must begin with the sha256 of {path.name}, 64 letters of 0-9a-f; it is damaged. Delete it if "
            f"{path.name} is as it should be: it is written again"
        )
    return words[0]


def remember_sha256(path: Path, digest: str, replace: bool = False) -> None:
    """Record a file's hash beside it, so that a later change is noticed; a folder that cannot be written to is left.

    replace: whoever has just written the file takes the place of an older record.
    """
    if replace or not _note(path).exists():
        with contextlib.suppress(OSError):
            write_atomic(_note(path), f"{digest}  {path.name}\n")


def _note(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def search_folders() -> list[Path]:
    """Where weight files are looked for, in order: $SDIC_PRETRAINED, ./pretrained, the repository's pretrained/, and
    where `pip install` puts the latter (if it is there)."""
    usual = (Path("pretrained").absolute(), REPOSITORY / "pretrained")
    return data_folders(ENVIRONMENT, *usual, installed=INSTALLED)


def examples_meant(word: str) -> Path | None:
    """The bundled photos where `word` means them: it is "examples", and nothing where the user stands is called so.

    They are portraits whose parameters are known (labels.csv). None for every other word; CheckpointError where they
    are meant and this copy has none.
    """
    if word != "examples" or os.path.lexists(word):
        return None
    folders = [folder / "portraits" for folder in search_folders()]
    found = next((folder / "examples" for folder in folders if (folder / "examples").is_dir()), None)
    if found is None:
        looked = ", ".join(map(str, folders))
        raise CheckpointError(
            f"{Path(word).absolute()}: no such file or folder, and no examples came with this copy of sdic "
            f"(looked in {looked})"
        )
    return found


def find_file(wanted: WeightFile) -> Path | None:
    """The file, or its converted form (same name, .safetensors), in the first folder that has either."""
    for folder in search_folders():
        for name in (wanted.name, str(Path(wanted.name).with_suffix(".safetensors"))):
            if (folder / name).is_file():
                return folder / name
    return None


def require_file(wanted: WeightFile, model: str) -> Path:
    """`find_file`, or a CheckpointError that says what to do."""
    found = find_file(wanted)
    if found is not None:
        return found
    looked = ", ".join(map(str, search_folders()))
    converted = Path(wanted.name).with_suffix(".safetensors").name
    remedy = (
        f"Make it: {wanted.made_by}, or set {ENVIRONMENT} to the folder that holds {wanted.name}"
        if wanted.made_by
        else f"Fetch it: sdic download {model}. Or put it there under this name, or: sdic convert FILE --out "
        f"pretrained/{converted}, or set {ENVIRONMENT} to its folder"
    )
    raise CheckpointError(
        f"model {model!r} needs the file {wanted.name}, looked for in {looked}. It comes from {wanted.source} "
        f"(licence: {wanted.licence}). {remedy}. `sdic models` lists every model and what is here."
    )
