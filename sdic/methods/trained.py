"""What every method says about its training. `sdic.training` does the rest.

Shapes: B batch, H and W size of the method's input, L latent rows, D style width.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any, ClassVar

from torch import Tensor, nn

from sdic.methods.options import NoOptions
from sdic.methods.passes import Step, TrainingPass
from sdic.networks.stylegan2 import Generator
from sdic.types import Geometry


class Trained:
    """The part of an `Inverter` that its training asks for; nothing in it is needed to invert."""

    Options: ClassVar[type]

    trains: ClassVar[tuple[str, ...]] = ()
    """The roles that `sdic train` trains; all others stay frozen. Empty: there is nothing to train."""
    trained_after: ClassVar[tuple[str, ...]] = ()
    """The methods whose trained networks are frozen in its own training, the first one first."""
    stored: ClassVar[tuple[str, ...]] = ()
    """Results of `frozen_pass` that are worth a place on disk while it trains, codes first."""
    channels_last: ClassVar[bool] = False
    """Whether its training lays pictures and features channels last: where that was measured to be faster."""
    Settings: ClassVar[type] = NoOptions
    """What a training says about the networks of `trains`, a dataclass. Options of the same name follow it."""
    Losses: ClassVar[type] = NoOptions
    """Weights of the loss terms that only this method has, a dataclass: the settings `loss.NAME` of its training."""
    released: ClassVar[dict[str, Any]] = {}
    """Settings of the networks as their authors released them."""
    tiny: ClassVar[dict[str, Any]] = {}
    """Settings of the untrained ones in the tiny stack (`sdic.tiny`)."""
    _invert: Any

    def training_pass(self, photo: Tensor, frozen: Mapping[str, Tensor], step: Step) -> TrainingPass:
        """The forward pass of a training step; photo, frozen: as for `_invert`. Methods whose losses look at more than
        the inversion override this."""
        inversion = self._invert(photo, frozen)
        return TrainingPass(inversion, [(photo, inversion.image)])

    def training_passes(self, photo: Tensor, frozen: Mapping[str, Tensor], step: Step) -> Iterator[TrainingPass]:
        """Of methods that go over a photo several times: a pass at a time, each with a graph of its own."""
        yield self.training_pass(photo, frozen, step)

    def code_in_training(self, photo: Tensor, step: Step) -> Tensor:
        """The code [B, L, D] that a latent discriminator looks at in training."""
        return self._invert(photo).latent

    @classmethod
    def trainable(
        cls, settings: Any, generator: Generator, geometry: Geometry, held: Mapping[str, nn.Module] | None = None
    ) -> dict[str, nn.Module]:
        """The networks of `trains` as `settings` describe them: new ones, or those that a file to start from `held`.

        ConfigError where settings, generator and file do not fit.
        """
        raise NotImplementedError(f"{cls.__name__} trains nothing")

    @classmethod
    def options_of(cls, settings: Any) -> dict[str, Any]:
        """The options that follow from a training's settings: those of the same name."""
        return {
            field.name: getattr(settings, field.name) for field in fields(cls.Options) if field.name in vars(settings)
        }
