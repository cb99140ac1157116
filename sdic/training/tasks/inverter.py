"""Training of an inverter: any method that says in `trains` which of its networks are trained.

The method's own `training_pass` (its `_invert`, where it does not say otherwise) is the forward pass: what the frozen
networks make of a photo (from the cache, if there is one), then what trains, then the loss of eq. 9 on the output at
the input size, and the method's own terms. No method is named here.

What carries a gradient: the networks of `trains`, and what lies between them and the picture. Nothing else is computed
for the backward pass: no gradient for a frozen weight anywhere, none at all in the frozen pass.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sdic.bundles import read_frozen
from sdic.data.dataset import Batch, collate
from sdic.editing.ganspace import principal_components
from sdic.errors import ConfigError
from sdic.evaluation.metrics import Networks, at_input_size, label, measure
from sdic.fast import accelerate
from sdic.loading import geometry_of
from sdic.losses.joint import JointLoss
from sdic.methods import METHODS, Inverter
from sdic.methods.options import make_options
from sdic.methods.passes import Step
from sdic.training.cache import FirstPassCache
from sdic.training.distributed import World
from sdic.training.latent_critic import CodeCritic
from sdic.training.photos import Photos
from sdic.training.picture_critic import PictureCritic
from sdic.training.task import Entry, Task
from sdic.training.tasks.e4e import offset_norms
from sdic.training.tasks.inverter_settings import InverterConfig, build_loss, build_networks, config_of
from sdic.types import Inversion


class InverterTask(Task):
    """Trains the networks of one method for frozen ones."""

    def __init__(self, method: str, config: InverterConfig, world: World):
        super().__init__(config, world)
        self.name = method
        kind = METHODS[method]
        model: Any = config.model
        bundle = read_frozen(model.frozen, model.generator, model.after)
        roles = [role for role in kind.networks if role not in kind.trains]
        self.frozen = {
            role: bundle.require(role, f"model.frozen={model.frozen}").eval().requires_grad_(False).to(self.device)
            for role in roles
        }
        self.geometry = geometry_of(bundle)
        self.options: Any = make_options(kind.Options, kind.options_of(model), method)
        self.origin = {"frozen": model.frozen, **({"frozen_generator": model.generator} if model.generator else {})}
        self.origin |= {"frozen_after": model.after} if model.after else {}
        self.origin |= {"geometry": self.geometry.to_text()}
        self.origin |= {"domain": bundle.source["domain"]} if "domain" in bundle.source else {}
        generator: Any = accelerate(self.frozen["generator"])
        with self.weights_drawn():
            start = read_frozen(model.start).require if model.start else None
            held = {role: start(role, f"model.start={model.start}") for role in kind.trains} if start else None
            try:
                made = kind.trainable(model, generator, self.geometry, held)
            except ConfigError as error:
                raise ConfigError(f"model.start={model.start} does not fit: {error}" if held else str(error)) from error
        self.networks = {role: self.trained(made[role]) for role in kind.trains}
        self.bound = ("run.seed", "optim.name", *(f"model.{name}" for name in vars(kind.Settings())))
        self.averaged = kind.trains
        self.phases = self.only_phase()
        self.inverter = self.inverter_of(self.networks)
        self.inverter.noise = model.noise
        self.inverter.recompute = model.activation_checkpointing
        self.metric_networks: Networks = build_networks(config, self.device)
        self.joint: JointLoss = build_loss(config, self.metric_networks).to(self.device)
        self.own_weights: dict[str, float] = {name: getattr(config.loss, name) for name in vars(kind.Losses())}
        self.critic: CodeCritic | None = None
        if config.loss.critic > 0:
            with self.weights_drawn("critic"):
                self.critic = CodeCritic(self, generator)
            self.networks = {"critic": self.critic.network, **self.networks}
            self.phases = [*self.critic.phases(), *self.phases]
        self.discriminator: PictureCritic | None = None
        if config.loss.adversarial > 0:
            with self.weights_drawn("discriminator"):
                self.discriminator = PictureCritic(self, self.geometry)
            self.networks = {**self.networks, "discriminator": self.discriminator.network}
            self.phases = [*self.phases, *self.discriminator.phases()]

    def inverter_of(self, networks: Mapping[str, nn.Module]) -> Inverter:
        """The method on the frozen networks and the given ones, as users get it."""
        inverter = METHODS[self.name]({**self.frozen, **networks}, self.geometry, self.options)
        inverter.precision = self.config.precision
        inverter.domain = self.origin.get("domain")
        return inverter

    # The data ---------------------------------------------------------------------------------------------------------

    def prepare(self, stopped: Callable[[], bool]) -> None:
        config = self.config
        cache = None
        if config.data.cache != "off":
            root = Path(config.data.cache_dir) if config.data.cache_dir else Path(config.run.dir).parent / "cache"
            cache = FirstPassCache.of(root, config.data.cache, self.inverter, self.hashes)
        self.photos = Photos(config, self.geometry, self.world, cache, self.say)
        self.held_out = self.photos.open_validation(self.metric_networks)
        if cache is not None:
            with self.autocast():
                self.photos.fill(cache, self.inverter, stopped)

    def batches(self, images: int) -> Iterator[Batch]:
        return self.photos.batches(images, self.micro_batch)

    # The loss ---------------------------------------------------------------------------------------------------------

    def parts(self, phase: str, batch: Batch) -> Iterator[dict[str, Tensor]]:
        """The loss of every pass of the method; terms are those of the last one."""
        inverter, step = self.inverter, Step(self.images, self.own_weights, self.config.model)
        photo = self.laid(batch.photo)
        if self.discriminator is not None and phase in PictureCritic.PHASES:
            yield self.discriminator.loss(phase, photo, batch)
            return
        if self.critic is not None and phase in CodeCritic.PHASES:
            with torch.no_grad(), self.autocast():
                code = inverter.code_in_training(photo, step)
            yield self.critic.loss(phase, code[:, : self.opened].float())
            return
        with self.autocast():
            frozen = {name: self.laid(value) for name, value in self.frozen_pass(batch).items()}
            passes = inverter.training_passes(photo, frozen, step)
        while True:
            with self.autocast():  # not around `yield`: it would be in force outside
                passed = next(passes, None)
                if passed is None:
                    return
                target, output = passed.compared(self.geometry)
            terms = self.terms(target, output, passed.inversion)
            own = {name: value.to(photo) for name, value in passed.terms.items() if self.own_weights[name] > 0}
            loss = sum((self.own_weights[name] * value for name, value in own.items()), passed.share * terms["loss"])
            if self.discriminator is not None and self.images >= self.config.loss.adversarial_from:
                own["fooling_pictures"] = self.discriminator.fooling(output[: passed.fooling * len(photo)], batch)
                loss = loss + self.config.loss.adversarial * own["fooling_pictures"]
            yield {**terms, **own, "loss": loss} if passed.last else {"loss": loss}

    def loss(self, phase: str, batch: Batch) -> dict[str, Tensor]:
        *earlier, last = self.parts(phase, batch)
        return {**last, "loss": sum((part["loss"] for part in earlier), last["loss"])}

    def laid(self, x: Tensor) -> Tensor:
        """Pictures and features as this method's training lays them; other tensors as they are."""
        last = self.inverter.channels_last and x.ndim == 4
        return x.contiguous(memory_format=torch.channels_last) if last else x

    def frozen_pass(self, batch: Batch) -> dict[str, Tensor]:
        """What the frozen networks make of a batch, from the cache where there is one."""
        known = None if self.photos.cache is None else self.photos.cache.complete(self.inverter, batch)
        return self.inverter.frozen_pass(self.laid(batch.photo), known)

    def terms(self, photo: Tensor, output: Tensor, inversion: Inversion) -> dict[str, Tensor]:
        """The joint loss in the photo's float32, whatever the networks ran in. photo, output: [B, 3, H, W]."""
        with torch.autocast(photo.device.type, enabled=False):
            terms = self.joint.of(photo, self.laid(output.to(photo)), inversion.to(photo))
            weights, code = self.config.loss, inversion.latent.to(photo)[:, : self.opened]
            if weights.offsets > 0:
                terms["offsets"] = offset_norms(code, code.shape[1])
                terms["loss"] = terms["loss"] + weights.offsets * terms["offsets"]
            if self.critic is not None:
                terms["fooling"] = self.critic.fooling(code)
                terms["loss"] = terms["loss"] + weights.critic * terms["fooling"]
        return terms

    @property
    def opened(self) -> int | None:
        """How many rows have codes of their own; None: all."""
        return getattr(self.inverter, "opened", None)

    # What is measured, drawn, written ---------------------------------------------------------------------------------

    def current(self) -> Inverter:
        """The inverter whose results count."""
        inverter = self.inverter_of(self.exported())
        inverter._fingerprint = self.hashes["generator"]
        return inverter

    def evaluate(self) -> dict[str, float]:
        """Mean of each metric over the held-out photos that can be read; every process takes its share of them."""
        if self.held_out is None:
            return {}
        inverter, rows, problems = self.current(), {}, []
        for index in range(self.world.rank, len(self.held_out), self.world.size):
            sample = self.held_out[index]
            if sample.problem:  # the photo that stands in for it has its own turn
                problems.append(sample.problem)
                continue
            photo = collate([sample]).photo.to(self.device)
            output = at_input_size(inverter.invert(photo).image, self.geometry)
            values = measure(self.config.validation.metrics, photo, output, self.metric_networks)
            rows[index] = {name: value[0] for name, value in values.items()}
        for problem in sorted(problem for part in self.world.gather(problems) for problem in part):
            self.photos.left_out(problem)
        shared = {index: row for part in self.world.gather(rows) for index, row in part.items()}
        ordered = [shared[index] for index in sorted(shared)]  # summed in one order, however many processes there are
        return {name: sum(row[name] for row in ordered) / len(ordered) for name in ordered[0]} if ordered else {}

    def best(self) -> tuple[str, str]:
        name, better = super().best()
        return label(name, self.metric_networks), better

    def examples(self, count: int) -> Tensor:
        """The first `count` photos that can be read, held-out ones if there are any: [N, 3, H, W]."""
        dataset = self.held_out or self.photos.dataset
        readable = (sample for sample in map(dataset.__getitem__, range(len(dataset))) if not sample.problem)
        return collate(list(islice(readable, count))).photo.to(self.device)

    def picture(self) -> Tensor:
        """One row a photo: photo, what the method shows of its way, output, an edit."""
        inverter = self.current()
        (direction,), rows = principal_components(inverter.generator, 1, samples=512), []
        for photo in self.examples(self.config.run.pictures).split(1):
            inversion = inverter.invert(photo)
            edited = inverter.edit(inversion, direction, 2.0)
            results = [at_input_size(image, self.geometry) for image in (inversion.image, edited)]
            tiles = [photo, *inverter.stages(inversion), *results]
            rows.append(torch.cat([tile.float().cpu() for tile in tiles], 3))
        return torch.cat(rows, 2)[0]

    def exported(self) -> dict[str, nn.Module]:
        return {role: self.average(role) for role in METHODS[self.name].trains}

    def outputs(self, networks: Mapping[str, Any]) -> Tensor:
        inverter = self.inverter_of(networks)
        inverter.precision = "fp32"
        return inverter.invert(self.examples(8)).image

    def header(self) -> dict[str, str]:
        hashes = {f"{role}_sha256": value for role, value in self.hashes.items()}
        return {**self.origin, **self.inverter.header(), **hashes}

    def sizes(self) -> list[str]:
        sizes: Any = self.frozen["generator"].config  # type: ignore[union-attr]
        height, width = self.geometry.input_size
        return [
            f"photos at {width}x{height}, output {sizes.resolution} px, codes {sizes.latent_rows}x{sizes.style_dim}; "
            + ", ".join(f"{name} {value}" for name, value in vars(self.options).items())
        ]

    def on_meta(self, count: int) -> Callable[[], Tensor]:
        parts: Any = copy.deepcopy((self.frozen, self.networks, self.joint))
        step = Step(self.images, self.own_weights, self.config.model)
        frozen, networks, joint = parts
        for module in (*frozen.values(), *networks.values(), joint):
            module.to("meta")
        inverter = METHODS[self.name]({**frozen, **networks}, self.geometry, self.options)
        inverter.recompute = self.config.model.activation_checkpointing
        for network in networks.values():
            network.train()

        def run() -> Tensor:
            photo = torch.empty(count, 3, *self.geometry.input_size, device="meta")
            *_, passed = inverter.training_passes(photo, inverter.frozen_pass(photo), step)
            return joint.of(*passed.compared(self.geometry), passed.inversion)["loss"] + sum(passed.terms.values())

        return run


def entries() -> dict[str, Entry]:
    """The methods that train, as tasks."""
    return {
        name: Entry(
            config_of(kind),
            partial(InverterTask, name),
            f"the method {name}: {' and '.join(role.upper() for role in kind.trains)}",
        )
        for name, kind in METHODS.items()
        if kind.trains
    }
