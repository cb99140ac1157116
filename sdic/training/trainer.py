"""The training run: put together, resumed if it was begun, stepped, recorded.

`Trainer.run` is the table of contents; `Trainer.optimise` is one step.
"""

from __future__ import annotations

import contextlib
import math
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from sdic.config import to_plain, to_yaml
from sdic.data.dataset import Batch, PictureDataset, collate
from sdic.data.sampler import View, derive_seed
from sdic.errors import ConfigError, SdicError
from sdic.evaluation.metrics import Networks, label, metric
from sdic.fast import slice_volumes
from sdic.training import batchnorm, report, state, validation
from sdic.training.config import TrainConfig
from sdic.training.distributed import World, join
from sdic.training.features import build_features, build_loss
from sdic.training.feeding import Feed
from sdic.training.journal import Journal
from sdic.training.optim import WeightAverage, build_optimizer, set_learning_rate
from sdic.training.stack import build_stack, trainable
from sdic.training.step import autocast, training_step
from sdic.utils.files import remove_temporaries, write_atomic

SKIPS_IN_A_ROW = 10  # so many steps that are not finite one after the other are no accident


class Trainer:
    """A run of a config. Everything that can be wrong with the settings or the files is found out here."""

    def __init__(self, config: TrainConfig, world: World):
        self.config = config
        self.world = world
        parts = world.size * config.optim.accumulate
        if config.optim.batch % parts:
            raise ConfigError(
                f"optim.batch={config.optim.batch} cannot be split over {world.size} processes x "
                f"optim.accumulate={config.optim.accumulate}"
            )
        self.folder = Path(config.run.dir)
        self.checkpoints = self.folder / "checkpoints"
        self.stack = build_stack(config.model, config.run.seed).to(world.device)
        batchnorm.prepare(self.stack.compensator, config.model.batchnorm)
        if world.device.type == "cpu":
            slice_volumes(self.stack.compensator)
        self.features = build_features(config).to(world.device)
        self.loss = build_loss(config, self.features)
        self.networks = Networks(self.features.lpips, self.features.embedder)
        self.asked = 0  # the signal that asked this process to stop
        self.agreed = 0  # the same once all processes know of it

    def run(self) -> int:
        """Train to `run.steps`, from the newest state in the run folder if there is one. Returns the exit code."""
        config, world = self.config, self.world
        self.journal = Journal(self.folder, world.leads, config.run.tensorboard)
        try:
            with self._signals():
                self._open_data()
                self._begin()
                batches = self.feed.batches(self.progress.samples)
                while self.progress.step < config.run.steps and not self.stopping:
                    self.optimise(batches)
                    self._after_step()
                return self._finish()
        finally:
            self.journal.close()

    @property
    def stopping(self) -> int:
        """The signal to stop for. Several processes stop at the same step, or they would wait for each other."""
        return self.asked if self.world.size == 1 else self.agreed

    def optimise(self, batches: Iterator[Batch]) -> None:
        """One optimiser step: micro-batches, gradients summed over processes on the last one, checked, applied."""
        config, progress, parameters = self.config, self.progress, trainable(self.stack.compensator)
        self.journal.begin_step()
        self._seed_step()
        batchnorm.set_training(self.stack.compensator, config.model.batchnorm)
        before = [buffer.clone() for buffer in self.stack.compensator.buffers()] if config.run.on_nan == "skip" else []
        sums: dict[str, torch.Tensor] = {}
        names: list[str] = []
        for index in range(config.optim.accumulate):
            batch = next(batches)
            names += batch.names
            last = index == config.optim.accumulate - 1
            with contextlib.nullcontext() if last else self._without_sync():
                terms = self._forward(batch.to(self.world.device))
                self.trained.scaler.scale(terms["loss"] / config.optim.accumulate).backward()
            for name, value in terms.items():
                share = value.detach() / config.optim.accumulate
                sums[name] = sums[name] + share if name in sums else share
        set_learning_rate(self.trained.optimizer, config.optim, progress.step, config.run.steps)
        self.trained.scaler.unscale_(self.trained.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(parameters, config.optim.clip or math.inf)
        values = self._agree({**sums, "grad_norm": norm})
        progress.step += 1
        progress.samples += config.optim.batch
        overflow = config.precision == "fp16" and math.isfinite(values["loss"])  # the scaler lowers its scale by itself
        if overflow or all(math.isfinite(value) for value in values.values()):
            self.trained.scaler.step(self.trained.optimizer)
            self.trained.scaler.update()
            if self.trained.average is not None:
                self.trained.average.update(self.stack.compensator)
            progress.skipped = 0
            if math.isfinite(values["grad_norm"]):
                progress.count += 1
                for name, number in values.items():
                    progress.sums[name] = progress.sums.get(name, 0.0) + number
        else:
            self._not_finite(values, names, bool(torch.isfinite(sums["loss"])))
            self.trained.scaler.update()
            for buffer, old in zip(self.stack.compensator.buffers(), before, strict=True):
                buffer.copy_(old)  # running statistics have seen the bad batch
        self.trained.optimizer.zero_grad(set_to_none=True)
        self.journal.end_step(values["loss"])

    # One step's parts -------------------------------------------------------------------------------------------------

    def _forward(self, batch: Batch) -> dict[str, torch.Tensor]:
        model, precision = self.config.model, self.config.precision
        first = None
        if self.feed.cache is not None:
            with autocast(self.world.device, precision):
                first = self.feed.cache.first_pass(self.stack, batch)
        return training_step(
            self.stack, self.module, self.loss, batch, model.noise, precision, model.activation_checkpointing, first
        )

    def _seed_step(self) -> None:
        """Randomness depends on (seed, rank, step) alone: a resumed run draws what an uninterrupted one does."""
        torch.manual_seed(derive_seed(self.config.run.seed, "step", self.world.rank, self.progress.step))

    def _without_sync(self) -> contextlib.AbstractContextManager[object]:
        ddp = self.module
        return ddp.no_sync() if isinstance(ddp, DistributedDataParallel) else contextlib.nullcontext()

    def _agree(self, values: dict[str, torch.Tensor]) -> dict[str, float]:
        """The means over processes as numbers, and at the same time whether any process was asked to stop."""
        asked = torch.tensor(float(self.asked > 0), device=self.world.device)
        row = self.world.mean(torch.stack([*(value.float() for value in values.values()), asked])).tolist()
        if row[-1] > 0:
            self.agreed = self.asked or int(signal.SIGTERM)
        return dict(zip(values, row, strict=False))

    def _not_finite(self, values: dict[str, float], names: list[str], mine_is_finite: bool) -> None:
        bad = [name for part in self.world.gather([] if mine_is_finite else names) for name in part]
        if not bad:  # the loss was finite everywhere, a gradient was not: any of them may be to blame
            bad = [name for part in self.world.gather(names) for name in part]
        terms = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
        what = f"step {self.progress.step} is not finite ({terms}); pictures: {', '.join(bad)}"
        self.progress.skipped += 1
        if self.config.run.on_nan == "stop":
            raise SdicError(f"{what}. The last checkpoint is kept; run.on_nan=skip leaves such steps out")
        if self.progress.skipped >= SKIPS_IN_A_ROW:
            raise SdicError(f"{what}. This was the {SKIPS_IN_A_ROW}th step in a row; run.on_nan=skip gives up")
        self.journal.say(f"{what}. Left out")

    # What happens between steps ---------------------------------------------------------------------------------------

    def _after_step(self) -> None:
        config, progress = self.config, self.progress
        last = progress.step == config.run.steps

        def due(every: int) -> bool:
            return every > 0 and (progress.step % every == 0 or last)

        if due(config.run.log_every) and progress.count:
            means = {name: total / progress.count for name, total in progress.sums.items()}
            self.journal.record(progress.step, config.run.steps, "train", means)
            progress.sums, progress.count = {}, 0
        if self.feed.held_out is not None and due(config.validation.every):
            self._validate(self.feed.held_out)
        if due(config.run.pictures_every):
            self._draw()
        if due(config.run.save_every) and not last:
            self.save()

    def _validate(self, held_out: PictureDataset) -> None:
        network = self._shown()
        inverter = validation.inverter_of(self.stack, network, self.config.precision)
        wanted = self.config.validation
        values = validation.validate(inverter, held_out, wanted.metrics, self.networks, self.world)
        self.journal.record(self.progress.step, self.config.run.steps, "validation", values)
        value, best = values[label(wanted.best, self.networks)], self.progress.best
        better = best is None or (value < best if metric(wanted.best).better == "lower" else value > best)
        if better:
            self.progress.best = value
            if self.world.leads:
                path = self.checkpoints / "best.safetensors"
                state.write_weights(path, network, self.stack, self.folder.name, self.progress.step)

    def _draw(self) -> None:
        network = self._shown()
        if not self.config.run.pictures or not self.world.leads:
            return
        dataset = self.feed.held_out or self.feed.dataset
        count = min(self.config.run.pictures, len(dataset))
        photos = collate([dataset[View(index, False)] for index in range(count)]).photo.to(self.world.device)
        inverter = validation.inverter_of(self.stack, network, self.config.precision)
        path = self.folder / "pictures" / f"{self.progress.step:08d}.png"
        direction = validation.principal_direction(inverter)
        validation.write_grid(path, validation.picture_grid(inverter, photos, direction))
        self.journal.picture(self.progress.step, path, "pictures")

    def _shown(self) -> nn.Module:
        """The weights that are validated, drawn and exported: the average if there is one."""
        network = self.stack.compensator if self.trained.average is None else self.trained.average.network
        self.world.share_buffers(network)
        return network

    def save(self) -> None:
        """Write the state and the weights, and delete what is no longer kept."""
        network = self._shown()
        if self.world.leads:
            step = self.progress.step
            weights = self.checkpoints / f"weights-{step:08d}.safetensors"
            state.write_weights(weights, network, self.stack, self.folder.name, step)
            state.save_state(self.checkpoints, self.trained, to_plain(self.config), self.stack.hashes)
            state.prune(self.checkpoints, self.config.run.keep_last)
        self.world.wait()

    # Beginning and end ------------------------------------------------------------------------------------------------

    def _open_data(self) -> None:
        self.feed = Feed(self.config, self.stack, self.networks, self.world, self.journal)
        if self.feed.cache is not None:
            self.feed.fill(self.feed.cache, lambda: bool(self.asked))
            self.agreed = max(self.world.gather(self.asked))

    def _begin(self) -> None:
        """Build what changes, load the newest state into it, and write the config down."""
        config, world, compensator = self.config, self.world, self.stack.compensator
        self.progress = state.Progress()
        optimizer = build_optimizer(config.optim, trainable(compensator), config.run.steps)
        scaler = torch.amp.GradScaler(world.device.type, enabled=config.precision == "fp16")
        average = WeightAverage(compensator, config.optim.ema) if config.optim.ema else None
        self.trained = state.Trained(compensator, optimizer, scaler, average, self.progress)
        states = state.list_states(self.checkpoints)
        if states:
            state.load_state(states[-1], self.trained, to_plain(config), self.stack.hashes)
            self.journal.say(f"resuming {self.folder} at step {self.progress.step} of {config.run.steps}")
        else:
            self.journal.say(
                f"{self.folder}: {len(self.feed.dataset)} pictures, {config.run.steps} steps of {config.optim.batch} "
                f"on {world.size} x {world.device.type}"
            )
        world.wait()
        if world.leads:
            remove_temporaries(self.folder)
            write_atomic(self.folder / "config.yaml", to_yaml(config))
        self.journal.start(self.progress.step, config.run.steps)
        self.module: nn.Module = compensator
        if world.size > 1:
            devices = [world.device] if world.device.type == "cuda" else None
            self.module = DistributedDataParallel(compensator, device_ids=devices)

    def _finish(self) -> int:
        config, step = self.config, self.progress.step
        states = state.list_states(self.checkpoints)
        if step and not (states and state.step_of(states[-1]) == step):
            self.save()
        if step < config.run.steps:
            self.journal.say(f"stopped at step {step} of {config.run.steps}, saved; the same command goes on from here")
            return 130 if self.stopping == signal.SIGINT else 0
        self.journal.say(f"done: {self.checkpoints / f'weights-{step:08d}.safetensors'}")
        return 0

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT end the run after the current step; the second one ends it at once."""
        previous: dict[signal.Signals, Any] = {}

        def stop(number: int, frame: object) -> None:
            self.asked = number
            for one, handler in previous.items():
                signal.signal(one, handler)

        with contextlib.suppress(ValueError):  # not in the main thread: whoever runs us there handles signals
            for number in (signal.SIGTERM, signal.SIGINT):
                previous[number] = signal.signal(number, stop)
        try:
            yield
        finally:
            for one, handler in previous.items():
                signal.signal(one, handler)


def train(config: TrainConfig, dry_run: bool = False) -> int:
    """Run a config in this process (one of several under torchrun). Returns the exit code: 0, or 130 after Ctrl-C."""
    if config.run.threads:
        torch.set_num_threads(config.run.threads)
    world = join(config.device)
    try:
        trainer = Trainer(config, world)
        if dry_run:
            if world.leads:
                print(report.describe(config, trainer.stack, trainer.features, trainer.loss, world.size))
            return 0
        return trainer.run()
    finally:
        world.close()
