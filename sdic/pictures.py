"""The picture level: paths, PIL pictures and uint8 arrays in, PIL pictures out.

    model = sdic.open_model("sdic-ffhq")
    inversion = model.invert("me.png")
    model.edit(inversion, "age", 3).save("older.png")

The tensor level below it is `sdic.load`; `PictureInverter.inverter` leads there.
"""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sdic.direction import Direction
from sdic.domains import DOMAINS
from sdic.editing.directions import Located, check_fits, direction_names, found_elsewhere, locate
from sdic.editing.lists import read_edits
from sdic.editing.masks import FEATHER, Region, mask_of, softened, visible_size
from sdic.errors import ConfigError, ImageError
from sdic.evaluation.amounts import Amount, Measurer, network_of
from sdic.faces.alignment import FaceCrop
from sdic.faces.finding import Aligned, Aligner, AlignSettings
from sdic.faces.pasting import EditedFace, paste
from sdic.loading import load
from sdic.methods import Inverter
from sdic.methods.mixing import parse_rows
from sdic.types import Inversion
from sdic.utils.colour import to_rgb
from sdic.utils.decoding import only_image_errors
from sdic.utils.images import fit, read_picture, to_picture, to_tensor

Picture: TypeAlias = "str | os.PathLike[str] | Image.Image | np.ndarray[Any, Any]"
"""A file, a PIL picture of any mode, or an array [H, W, 3] (or [H, W], [H, W, 4]) of uint8."""


def open_model(
    name_or_path: str | os.PathLike[str],
    device: str = "auto",
    *,
    domain: str | None = None,
    attributes: str = "",
    **options: Any,
) -> PictureInverter:
    """A model by its name (`sdic models` lists them) or a weight file, at the picture level; options as `sdic.load`.

    domain: whose direction names are meant, for a file that does not say what it draws.
    attributes: the network in whose unit amounts are, a model or file; "" is the domain's, "none" is none.
    """
    return PictureInverter(load(name_or_path, device, **options), domain, attributes)


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
    attributes: the network in whose unit amounts are, a model or file; "" is the domain's, "none" is none.
    """

    def __init__(self, inverter: Inverter, domain: str | None = None, attributes: str = ""):
        self.inverter = inverter
        self.domain = (domain_of(inverter) or "") if domain is None else domain
        self._attributes = network_of(self.domain, attributes)
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
        mask: Picture | Region | Tensor | None = None,
        **options: Any,
    ) -> Any:
        """Edited pictures: one PIL picture for one photo and one strength, else a list of them.

        direction: a name ("age"; `directions()` lists them), a direction file, a Direction, or several of these.
        strength: for one direction a number, a sweep of one photo, or one per photo; None takes the direction's usual
        one. For several directions one number each, and they act together. Where a network measures what a direction
        changes, a number is in its unit, for every photo: 20 is twenty years (`amounts` says what is reached).
        mask: where the edit acts: a picture of the size of the model's, white there, a `Region`, or a tensor as for
            `Inverter.edit`; elsewhere the inversion stays, bit for bit.
        options: of the method, for this edit alone.
        """
        options = {**options, "mask": self._mask(mask)}
        if isinstance(direction, str | Direction):
            amount = self._located(direction)[0] if strength is None else strength
            taken = self._taken(inversion, self.direction(direction), amount, options)
            images = self.inverter.edit(inversion, self.direction(direction), taken, **options)
            single = isinstance(amount, int | float) and len(inversion) == 1
        else:
            amounts = [self._located(item)[0] for item in direction] if strength is None else strength
            if isinstance(amounts, int | float):
                amounts = [amounts] * len(direction)
            found = [self.direction(item) for item in direction]
            every = [self._taken(inversion, item, each, options) for item, each in zip(found, amounts, strict=False)]
            images = self.inverter.edit(inversion, found, every if len(every) == len(amounts) else amounts, **options)
            single = len(images) == 1
        pictures = [to_picture(image) for image in self.inverter.geometry.visible(images)]
        return pictures[0] if single else pictures

    def amounts(
        self, inversion: Inversion, direction: str | Direction, asked: float | Sequence[float], **options: Any
    ) -> list[Amount]:
        """What becomes of amounts of a direction of one photo: the strength of each, and what it reaches. ConfigError
        where nothing measures what it changes."""
        found = self.direction(direction)
        if self.measurer is None or not self.measurer.measures(found):
            known = ", ".join(self.measurer.names) if self.measurer else "nothing"
            raise ConfigError(f"what {found.name!r} changes is not measured for {self.inverter.name}; {known} is")
        several = [float(asked)] if isinstance(asked, int | float) else list(asked)
        return self.measurer.amounts(self.inverter, inversion, found, several, **options)

    @functools.cached_property
    def measurer(self) -> Measurer | None:
        """What measures amounts; None where they are strengths, in each direction's own unit."""
        return Measurer(self._attributes, self.inverter.device) if self._attributes else None

    def _taken(self, inversion: Inversion, direction: Direction, amount: Any, options: dict[str, Any]) -> Any:
        """The strengths for an amount, a number or several: themselves, where nothing measures what changes."""
        if self.measurer is None or not self.measurer.measures(direction):
            return amount
        asked = [float(value) for value in torch.as_tensor(amount, dtype=torch.float64).flatten().tolist()]
        asked = asked * len(inversion) if len(asked) == 1 else asked
        return self.measurer.strengths(self.inverter, inversion, direction, asked, **options)

    def edits(
        self, inversion: Inversion, path: str | os.PathLike[str], name: str = "", **options: Any
    ) -> dict[str, Any]:
        """Name -> picture (or a list of them, for several photos), for every edit of a YAML list (docs/editing.md).

        name: the photo's, without ending, where the list has a folder of masks.
        """
        found = {}
        for edit in read_edits(path, self.domain):
            mask = edit.region and edit.region.draw(visible_size(self.inverter.geometry), name)
            directions = [located.load(self.inverter.generator) for located in edit.directions]
            found[edit.label] = self.edit(inversion, directions, edit.strengths, mask, **options)
        return found

    def interpolate(self, first: Inversion, second: Inversion, t: float | Sequence[float]) -> Any:
        """Between two photos: the picture at t, from 0 (`first`) to 1 (`second`), or a list of them. As inversions, to
        be edited further: `self.inverter.interpolate`."""
        places = [t] if isinstance(t, int | float) else list(t)
        pictures = [self.picture(self.inverter.interpolate(first, second, place)) for place in places]
        return pictures[0] if isinstance(t, int | float) else pictures

    def mix(self, first: Inversion, second: Inversion, rows: str | Sequence[int], strength: float = 1.0) -> Any:
        """Style mixing: `first` with latent rows of `second`, such as "8-17", "fine" or [8, 9]: a picture, or a list
        for several photos."""
        numbers = parse_rows(rows, self.inverter.generator.config.latent_rows) if isinstance(rows, str) else rows
        return self.picture(self.inverter.mix(first, second, numbers, strength))

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

    def _mask(self, mask: Picture | Region | Tensor | None) -> Tensor | None:
        if mask is None or isinstance(mask, Tensor):
            return mask
        size = visible_size(self.inverter.geometry)
        if isinstance(mask, Region):
            return mask.draw(size)
        name = str(mask) if isinstance(mask, str | os.PathLike) else "the mask"
        return softened(mask_of(np.array(_open(mask).convert("L")), size, name), round(FEATHER * size[0]))

    def _located(self, direction: str | Direction) -> tuple[float, Direction]:
        """(usual strength, direction); what was looked up once is kept."""
        if isinstance(direction, Direction):
            return 1.0, direction
        if direction not in self._directions:
            located = locate(direction, self.domain)
            found = located.load(self.inverter.generator)
            check_fits(found, self.inverter.generator, self.domain)
            if note := found_elsewhere(found, self.inverter.fingerprint):
                warnings.warn(note, stacklevel=2)
            self._directions[direction] = (located, found)
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
