"""What the trainings on a set of pictures share: the set, its batches, and where its result comes from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from sdic.changes import Noise
from sdic.data.samples import Places, SampleSet, endless, open_samples
from sdic.training.task import StoppedError, Task
from sdic.types import Geometry


class SamplesTask(Task):
    """A task on a `SampleSet`."""

    bound = (*Task.bound, "data.source", "data.resolution", "data.count", "data.chunk")
    samples: SampleSet
    generator: Any

    @property
    def geometry(self) -> Geometry:
        """Picture sizes of what is trained, for the header of its files: squares of `data.resolution`."""
        side = self.config.data.resolution
        return Geometry(side, (side, side))

    def open(self, recipe: dict[str, Any], count: int, stopped: Callable[[], bool] = lambda: False) -> SampleSet:
        """`count` pictures by a domain's recipe, or the user's. StoppedError where it was stopped before."""
        where = self.world.rank, self.world.size
        found = open_samples(self.config.data, count, self.device, recipe, *where, stopped, self.say)
        if any(self.world.gather(self.config.data.known and len(found) < count)):
            raise StoppedError(f"{len(found)} pictures are drawn")
        return found

    def open_unseen(self, kind: str, count: int, stopped: Callable[[], bool] = lambda: False, **more: Any) -> SampleSet:
        """Pictures of a domain that are not trained on; of one's own there are only those that are."""
        if not self.config.data.known:
            return self.samples
        recipe = {"kind": kind, "split": "validation", "chunk": min(self.config.data.chunk, count), **more}
        return self.open(recipe, count, stopped)

    @property
    def pictures_a_step(self) -> int:
        """Pictures of the set that a step takes, over all processes."""
        return self.config.optim.batch

    def batches(self, images: int) -> Iterator[Places]:
        first = images // self.config.optim.batch * self.pictures_a_step
        size = self.pictures_a_step // (self.world.size * self.config.optim.accumulate)
        where = self.world.rank, self.world.size
        return endless(self.samples, self.config.run.seed, self.config.data.flip, first, *where, size)

    def noise(self, count: int) -> Noise:
        """The noise of one pass of `self.generator` for `count` pictures, the same over any number of processes."""
        if self.config.noise == "fixed":
            return "fixed"
        sizes = self.generator.config
        resolutions = [sizes.layer_resolution(layer) for layer in range(sizes.layers)]
        return {layer: self.randn(count, 1, size, size) for layer, size in enumerate(resolutions)}

    def header(self) -> dict[str, str]:
        named = {"domain": self.config.data.source} if self.config.data.known else {}
        return {**super().header(), "geometry": self.geometry.to_text(), **named}
