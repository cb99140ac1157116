"""Methods that look at what they have found, and find more: several passes, each with the picture of the one before."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from sdic.methods.base import Inverter
from sdic.methods.passes import Step, TrainingPass
from sdic.types import Inversion


class IterativeInverter(Inverter):
    """An inversion is the last of `passes`. In training every pass has a loss and a graph of its own: what a pass takes
    from the one before carries no gradient. `passes` of its options says how many there are."""

    opened: int | None = None
    """How many rows have codes of their own, in a training that opens them one by one; None: all."""

    @abstractmethod
    def passes(self, photo: Tensor, frozen: Mapping[str, Tensor] | None = None) -> Iterator[Inversion]:
        """Photo [B, 3, H, W] at the input size -> what is found, pass by pass. frozen: as for `_invert`."""

    def progress(self, images: int, settings: Any) -> None:
        """Called before a training step, after so many images: what changes as a training goes on."""

    def training_passes(self, photo: Tensor, frozen: Mapping[str, Tensor], step: Step) -> Iterator[TrainingPass]:
        self.progress(step.images, step.settings)
        for count, inversion in enumerate(self.passes(photo, frozen), 1):
            yield TrainingPass(inversion, [(photo, inversion.image)], last=count == self.options.passes)

    def _invert(self, photo: Tensor, frozen: Mapping[str, Tensor] | None = None) -> Inversion:
        for inversion in self.passes(photo, frozen):  # noqa: B007 - only the last is kept in memory
            pass
        return inversion
