"""Raw photos as pictures to train on and to measure: each becomes the crop of its face when it is read."""

from __future__ import annotations

from PIL import Image

from sdic.data.folder import PictureSource
from sdic.errors import ConfigError
from sdic.faces.finding import Aligner, AlignSettings
from sdic.types import Geometry


class AlignedSource:
    """A source of pictures (`sdic.data.folder.PictureSource`) whose photos are aligned, one face each.

    size: of the crops. Processes that read it open their own detector. ConfigError where all faces are asked for, and
    CheckpointError at once where nothing that finds them is here.
    """

    def __init__(self, source: PictureSource, aligner: Aligner, size: int):
        if aligner.settings.face == "all":
            raise ConfigError("photos to train on or to measure have one face each: --face largest, or a number")
        if aligner.blind:
            aligner.open()
        self.names, self.unread = source.names, source.unread
        self._source, self._aligner, self._size = source, aligner, size

    def read(self, name: str) -> Image.Image:
        """The crop; ImageError for a photo without a face, and for what cannot be read."""
        [found] = self._aligner(self._source.read(name), name, self._size)
        return found.picture

    def check(self, name: str) -> str:
        """As that of the photos; whether a face is there is found out when it is read."""
        return self._source.check(name)


def aligned(source: PictureSource, settings: AlignSettings, geometry: Geometry) -> PictureSource:
    """The source itself where photos are taken as they are (`align` is "never")."""
    if settings.align == "never":
        return source
    height, width = geometry.input_size
    if height != width:
        raise ConfigError(f"--align {settings.align}: these models look at {width}x{height} px, a crop is square")
    return AlignedSource(source, Aligner(settings), geometry.resolution)
