"""The models that sdic knows by name: what they are, which files they need, where those come from.

Nothing is downloaded silently: a missing file's error says where to get it and what to run.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sdic.errors import CheckpointError, UnknownNameError
from sdic.types import Geometry
from sdic.utils.files import write_atomic

REPOSITORY = Path(__file__).resolve().parent.parent
ENVIRONMENT = "SDIC_PRETRAINED"
DRIVE = "https://drive.google.com/file/d/{}/view"

DOMAINS: dict[str, Geometry] = {
    "face": Geometry(1024, (256, 256)),
    "car": Geometry(512, (192, 256), (64, 448, 0, 512)),
    "tiny": Geometry(64, (64, 64)),
}
"""Picture sizes of each domain."""


@dataclass(frozen=True)
class WeightFile:
    """name: below the pretrained folder. source: address or how it is made. licence. sha256: None until known."""

    name: str
    source: str
    licence: str
    sha256: str | None = None


@dataclass(frozen=True)
class ModelCard:
    """method: a name in the methods' registry, or None for a network that only losses and metrics use.
    files: any of the alternatives in `files` gives the whole model. paper: numbers as published (Table 1 unless said).
    options: passed to the method. seed: built from a seed, not from files."""

    name: str
    domain: str
    method: str | None
    description: str
    files: tuple[WeightFile, ...] = ()
    paper: dict[str, float] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    seed: int | None = None


_NO_LICENCE = "none stated by the authors"
_SDIC_FACE = WeightFile("sdic_ffhq.pt", DRIVE.format("1-IcTTzXTNq_W8pNEC5tzN-srH0uzpKEW"), _NO_LICENCE)
_SDIC_CAR = WeightFile("sdic_cars.pt", DRIVE.format("1_Dfu06wuRqgFLXnc98HJv8QuBiLjrQgG"), _NO_LICENCE)
_E4E_FACE = WeightFile(
    "e4e_ffhq_encode.pt", "https://github.com/omertov/encoder4editing (model list in its README)", "MIT"
)

MODELS: dict[str, ModelCard] = {
    card.name: card
    for card in (
        ModelCard(
            "sdic-ffhq",
            "face",
            "sdic",
            "SDIC as released by its authors, faces, 1024 px",
            (_SDIC_FACE,),
            {
                "id": 0.871,
                "ssim": 0.815,
                "psnr": 27.672,
                "lpips": 0.057,
                "l2": 0.007,
                "seconds": 0.321,
                "edit_id": 0.726,
            },
        ),
        ModelCard("sdic-cars", "car", "sdic", "SDIC as released by its authors, cars, 512 px", (_SDIC_CAR,)),
        ModelCard(
            "e4e-ffhq",
            "face",
            "e4e",
            "e4e, faces, 1024 px",
            (_E4E_FACE,),
            {
                "id": 0.495,
                "ssim": 0.537,
                "psnr": 19.390,
                "lpips": 0.206,
                "l2": 0.050,
                "seconds": 0.033,
                "edit_id": 0.452,
            },
        ),
        ModelCard(
            "stylegan2-ffhq",
            "face",
            None,
            "StyleGAN2 config-f generator, faces, 1024 px (for training e4e or SDIC)",
            (
                WeightFile(
                    "stylegan2-ffhq-config-f.pt",
                    DRIVE.format("1EM87UquaoQmk17Q8d5kYIAHqu0dkYqdT"),
                    "Nvidia Source Code License-NC",
                ),
            ),
        ),
        ModelCard(
            "arcface",
            "face",
            None,
            "ArcFace IR-SE50, the identity loss for faces",
            (WeightFile("model_ir_se50.pth", DRIVE.format("1KW7bjndL3QG3sxBbZxreGHigcCCpsDgn"), "MIT"),),
        ),
        ModelCard(
            "curricularface",
            "face",
            None,
            "CurricularFace IR-101, the identity metric of the tables",
            (
                WeightFile(
                    "CurricularFace_Backbone.pth",
                    "https://github.com/HuangYG123/CurricularFace (model list in its README)",
                    "MIT",
                ),
            ),
        ),
        ModelCard(
            "moco",
            "car",
            None,
            "MoCo v2 ResNet-50, the identity loss for other domains",
            (
                WeightFile(
                    "moco_v2_800ep_pretrain.pt", DRIVE.format("18rLcNGdteX5LwT7sv_F7HWr12HpVEzVe"), "CC BY-NC 4.0"
                ),
            ),
        ),
        ModelCard(
            "tiny",
            "tiny",
            "sdic",
            "untrained 64 px stack built from a seed: shows that everything runs, not how well",
            seed=0,
        ),
        ModelCard("tiny-e4e", "tiny", "e4e", "the e4e part of the untrained 64 px stack", seed=0),
    )
}
"""Every model by name."""


def card(name: str) -> ModelCard:
    """The card of a model; UnknownNameError lists the known ones."""
    if name not in MODELS:
        raise UnknownNameError("model", name, MODELS)
    return MODELS[name]


def known_sha256(wanted: WeightFile, path: Path) -> str | None:
    """The hash that a file must have: the list's own, or the one that was recorded when it was first read here."""
    note = _note(path)
    if wanted.sha256 is not None or not note.is_file():
        return wanted.sha256 if path.name == wanted.name else None
    return note.read_text().split()[0]


def remember_sha256(path: Path, digest: str) -> None:
    """Record a file's hash beside it, so that a later change is noticed; a folder that cannot be written to is left."""
    if not _note(path).exists():
        with contextlib.suppress(OSError):
            write_atomic(_note(path), f"{digest}  {path.name}\n")


def _note(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def search_folders() -> list[Path]:
    """Where weight files are looked for, in order: $SDIC_PRETRAINED, ./pretrained, the repository's pretrained/."""
    named = os.environ.get(ENVIRONMENT)
    folders = [Path(named)] if named else []
    return [*folders, Path("pretrained").absolute(), REPOSITORY / "pretrained"]


def find_file(wanted: WeightFile) -> Path | None:
    """The file, or its converted form (same name, .safetensors), in the first folder that has either."""
    for folder in search_folders():
        for name in (wanted.name, str(Path(wanted.name).with_suffix(".safetensors"))):
            if (folder / name).is_file():
                return folder / name
    return None


def need_file(wanted: WeightFile, model: str) -> Path:
    """`find_file`, or a CheckpointError that says what to do."""
    found = find_file(wanted)
    if found is not None:
        return found
    looked = ", ".join(dict.fromkeys(str(folder) for folder in search_folders()))
    raise CheckpointError(
        f"model {model!r} needs the file {wanted.name}, looked for in {looked}. It comes from {wanted.source} "
        f"(licence: {wanted.licence}). Put it there under this name, or say where it is: sdic convert FILE --out "
        f"pretrained/{Path(wanted.name).with_suffix('.safetensors').name}, or set {ENVIRONMENT} to its folder. "
        "`sdic models` lists every model and what is here."
    )
