"""The picture level: paths, PIL pictures and uint8 arrays in, PIL pictures out.

    model = sdic.open_model("sdic-ffhq")
    inversion = model.invert("me.png")
    model.edit(inversion, "age", 3).save("older.png")

The tensor level below it is `sdic.load`; `PictureInverter.inverter` leads there.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import torch
from PIL import Image

from sdic.direction import Direction
from sdic.domains import DOMAINS
from sdic.editing.directions import Located, direction_names, locate
from sdic.errors import ConfigError, ImageError
from sdic.faces.alignment import FaceCrop
from sdic.faces.finding import Aligned, Aligner, AlignSettings
from sdic.faces.pasting import EditedFace, paste
from sdic.loading import load
from sdic.methods import Inverter
from sdic.types import Inversion
from sdic.utils.colour import to_rgb
from sdic.utils.decoding import only_image_errors
from sdic.utils.images import fit, read_picture, to_picture, to_tensor

Picture: TypeAlias = "str | os.PathLike[str] | Image.Image | np.ndarray[Any, Any]"
"""A file, a PIL picture of any mode, or an array [H, W, 3] (or [H, W], [H, W, 4]) of uint8."""


def open_model(
    name_or_path: str | os.PathLike[str], device: str = "auto", *, domain: str | None = None, **options: Any
) -> PictureInverter:
    """A model by its name (`sdic models` lists them) or a weight file, at the picture level; options as `sdic.load`.

    domain: whose direction names are meant, for a file that does not say what it draws.
    """
    return PictureInverter(load(name_or_path, device, **options), domain)


def domain_of(inverter: Inverter) -> str | None:
    """The domain ("face", ...) whose directions fit a model: its own, or where its files name none, the first of the
    same picture sizes, which a warning says."""
    if inverter.domain is not None:
        return inverter.domain
    assumed = next((name for name, known in DOMAINS.items() if known.geometry == inverter.geometry), None)
    if assumed is not None:
        warnings.warn(
            f"{inverter.name}: its files name no domain; by its picture sizes the directions of {assumed!r} are meant "
            "(--domain NAME says otherwise)",
            stacklevel=2,
        )
    return assumed


def is_of_faces(inverter: Inverter) -> bool:
    """Whether a model looks at faces aligned as FFHQ's: by its domain, or where its files name none, by its sizes."""
    sizes = [known for known in DOMAINS.values() if inverter.domain is None and known.geometry == inverter.geometry]
    named = [DOMAINS[inverter.domain]] if inverter.domain in DOMAINS else []
    return any(known.faces for known in named + sizes[:1])


def with_crops(inversion: Inversion, crops: Sequence[FaceCrop | None]) -> Inversion:
    """The inversion of crops of raw photos, and where they lie in them; None for a photo that is no crop."""
    if not any(crops):
        return inversion
    numbers = torch.tensor([[0.0] * 11 if crop is None else crop.numbers() for crop in crops])
    return replace(inversion, extras={**inversion.extras, "crop": numbers.to(inversion.latent.device)})


class PictureInverter:
    """`invert` photos, `edit` inversions, see them as pictures; everything else is the inverter's.

    domain: whose direction names are meant; None finds out from the model, "" is none.
    """

    def __init__(self, inverter: Inverter, domain: str | None = None):
        self.inverter = inverter
        self.domain = (domain_of(inverter) or "") if domain is None else domain
        self._directions: dict[str, tuple[Located, Direction]] = {}

    def invert(
        self, picture: Picture | Sequence[Picture], *, align: str = "auto", face: str = "largest", landmarks: str = ""
    ) -> Inversion:
        """One photo or a list of them -> an Inversion of as many images, or of all faces with `face="all"`.

        Photos must be aligned as the domain's are. Models of faces align raw photos themselves, as FFHQ's are: `align`
        is "auto", "always" (for any model of square pictures) or "never"; `face` "largest", "all" or the N-th from the
        left; `landmarks` a file of them by name, instead of a detector. `extras["crop"]` then says where each image
        lies in its photo, and `paste` puts edits back. What had to be cropped or enlarged is warned of; ImageError says
        what cannot be read, or that no face is there.
        """
        aligner = self._aligner(AlignSettings(align, face, os.fspath(landmarks)))
        photos: list[Any] = list(picture) if isinstance(picture, list | tuple) else [picture]
        if not photos:
            raise ValueError("no photos to invert")
        tensors, crops = [], []
        for photo in photos:
            for one in _aligned(photo, aligner, self.inverter.geometry.resolution):
                fitted, notes = fit(one.picture, self.inverter.geometry)
                for note in (*one.notes, *notes):
                    warnings.warn(note, stacklevel=2)
                tensors.append(to_tensor(fitted))
                crops.append(one.crop)
        return with_crops(self.inverter.invert(torch.stack(tensors)), crops)

    def paste(self, photo: Picture, inversion: Inversion, edited: Image.Image | Sequence[Image.Image]) -> Image.Image:
        """Edited pictures back in the raw photo that they are of: the photo at its size and in its mode.

        inversion: of the photo's faces, as `invert` gave it. edited: a picture for each of its images, as `edit` gives
        them. What is pasted is the difference from the inversion: an edit of nothing changes nothing. ImageError where
        the photo was not cropped, or it is another one. `sdic.faces.ownmode` reads and writes files as they were.
        """
        pictures = [edited] if isinstance(edited, Image.Image) else list(edited)
        before = [to_picture(image) for image in self.inverter.geometry.visible(inversion.image)]
        numbers = inversion.extras["crop"].tolist() if "crop" in inversion.extras else [[0.0] * 11] * len(before)
        crops = [FaceCrop.from_numbers(row) for row in numbers]
        if len(pictures) != len(crops) or None in crops:
            raise ImageError(f"{len(pictures)} edits of {len(crops)} images, {crops.count(None)} of them not cropped")
        faces = [EditedFace(*both) for both in zip(pictures, crops, before, strict=True)]  # type: ignore[arg-type]
        return paste(photo if isinstance(photo, Image.Image) else _open(photo), faces)

    def _aligner(self, settings: AlignSettings) -> Aligner | None:
        """None where photos are taken as they are."""
        aligner = Aligner(settings)
        faces = self.domain in DOMAINS and DOMAINS[self.domain].faces
        if settings.align == "never" or (settings.align == "auto" and not faces):
            return None
        height, width = self.inverter.geometry.input_size
        if height != width:
            raise ConfigError(f"a model that looks at {width}x{height} px takes no crops of faces, which are square")
        return aligner

    def edit(
        self,
        inversion: Inversion,
        direction: str | Direction | Sequence[str | Direction],
        strength: float | Sequence[float] | None = None,
        **options: Any,
    ) -> Any:
        """Edited pictures: one PIL picture for one photo and one strength, else a list of them.

        direction: a name ("age"; `directions()` lists them), a direction file, a Direction, or several of these.
        strength: for one direction a number, a sweep of one photo, or one per photo; None takes the direction's usual
        one. For several directions one number each, and they act together.
        options: of the method, for this edit alone.
        """
        if isinstance(direction, str | Direction):
            amount = self._located(direction)[0] if strength is None else strength
            images = self.inverter.edit(inversion, self.direction(direction), amount, **options)
            single = isinstance(amount, int | float) and len(inversion) == 1
        else:
            amounts = [self._located(item)[0] for item in direction] if strength is None else strength
            if isinstance(amounts, int | float):
                amounts = [amounts] * len(direction)
            images = self.inverter.edit(inversion, [self.direction(item) for item in direction], amounts, **options)
            single = len(images) == 1
        pictures = [to_picture(image) for image in self.inverter.geometry.visible(images)]
        return pictures[0] if single else pictures

    def picture(self, inversion: Inversion) -> Any:
        """The inversion as a picture (the part that shows the photo): one PIL picture, or a list for several photos."""
        pictures = [to_picture(image) for image in self.inverter.geometry.visible(inversion.image)]
        return pictures[0] if len(pictures) == 1 else pictures

    def direction(self, direction: str | Direction) -> Direction:
        """A direction by name or file, for this model; errors as `sdic.load_direction`."""
        return self._located(direction)[1]

    def directions(self) -> list[str]:
        """The names that `edit` knows for this model."""
        return direction_names(self.domain)

    def _located(self, direction: str | Direction) -> tuple[float, Direction]:
        """(usual strength, direction); what was looked up once is kept."""
        if isinstance(direction, Direction):
            return 1.0, direction
        if direction not in self._directions:
            located = locate(direction, self.domain)
            self._directions[direction] = (located, located.load(self.inverter.generator))
        located, found = self._directions[direction]
        return located.default, found


def _aligned(photo: Picture, aligner: Aligner | None, size: int) -> list[Aligned]:
    opened = _open(photo)
    if aligner is None:
        return [Aligned(opened)]
    name = os.fspath(photo) if isinstance(photo, str | os.PathLike) else "photo"
    return aligner(to_rgb(opened), name, size)


def _open(photo: Picture) -> Image.Image:
    """ImageError and nothing else for what is wrong with a photo."""
    if isinstance(photo, Image.Image):
        with only_image_errors():  # a file that Pillow has opened and not yet decoded
            photo.load()
        return photo
    if isinstance(photo, np.ndarray):
        if photo.dtype != np.uint8 or photo.ndim not in (2, 3) or (photo.ndim == 3 and photo.shape[2] not in (3, 4)):
            raise ImageError(f"an array must be uint8 [H, W, 3], got {photo.dtype} {list(photo.shape)}")
        return Image.fromarray(photo)
    return read_picture(photo)
