"""The one loop that trains everything: `Trainer.run` is the table of contents, `Trainer.step` is one step.

A task says what is trained (`task.Task`); here is what every training needs: processes, accumulation, half precision,
clipping, steps that are not finite, averages of weights, falling rates, the clock, records, and states from which a run
that was stopped anywhere goes on as if it had not been. Randomness depends on (seed, process, phase, step) alone.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sdic.config import to_yaml
from sdic.errors import CheckpointError, ConfigError, SdicError
from sdic.training import batchnorm, state
from sdic.training.config import TrainingConfig
from sdic.training.distributed import World, join
from sdic.training.optim import WeightAverage, learning_rate
from sdic.training.report import describe
from sdic.training.results import Results
from sdic.training.runlog import RunLog
from sdic.training.state_files import keeping, resume, write_state
from sdic.training.stop import Stop
from sdic.training.task import Entry, Phase, StoppedError, Task
from sdic.utils.files import remove_temporaries, write_atomic

SKIPS_IN_A_ROW = 10  # so many steps that are not finite one after the other are no accident


class Trainer:
    """A run of a task."""

    def __init__(self, task: Task):
        self.task, self.world = task, task.world
        self.config: TrainingConfig = task.config
        optim, size = self.config.optim, self.world.size
        if optim.batch % (size * optim.accumulate):
            raise ConfigError(
                f"optim.batch={optim.batch} cannot be split over {size} processes x "
                f"optim.accumulate={optim.accumulate}; set optim.batch to a multiple of {size * optim.accumulate}"
            )
        self.folder = Path(self.config.run.dir)
        self.checkpoints = self.folder / "checkpoints"
        self.progress = state.Progress()
        self.stop = Stop(self.config.run.minutes, size == 1)

    def run(self) -> int:
        """Train to the end, from the newest state in the run folder if there is one.

        Returns the exit code: 0 when finished or after SIGTERM, 3 after `run.minutes`, 130 after Ctrl-C. SdicError says
        in a line why a run ends before: settings that do not fit the state, a step that is not finite, a full disk.
        """
        with (
            keeping(self.checkpoints),
            closing(RunLog(self.folder, self.world.leads, self.config.run.tensorboard)) as self.log,
            self.stop.on_signals(),
        ):
            self.task.say = self.log.say
            self.results = Results(self.task, self.folder, self.log)
            try:
                self.task.prepare(lambda: self.stop.wish != 0)
                self._begin()
                batches = self.task.batches(self.progress.images)
                while self.done < 1 and not self.stop.agreed:
                    self.step(batches)
                    self._after_step()
                return self._end()
            except StoppedError as stopped:
                self.log.say(f"stopped: {stopped}; the same command goes on from here")
                return self.stop.exit_code

    def step(self, batches: Iterator[Any]) -> None:
        """One batch: every phase whose turn it is, then the averages."""
        task, progress, optim = self.task, self.progress, self.config.optim
        began = time.monotonic()
        parts = [next(batches) for _ in range(optim.accumulate)]
        self.buffers = [b for network in task.networks.values() for b in network.buffers()]
        self.before = [buffer.clone() for buffer in self.buffers] if self.config.run.on_nan == "skip" else []
        values: dict[str, float] = {}
        for phase in task.phases:
            if progress.steps % phase.every == 0 and progress.images >= phase.start:
                values |= self.optimise(phase, parts)
        progress.steps += 1
        progress.images += optim.batch
        for role, average in task.averages.items():
            # Half of an average's weight lies on the last `ema_images`, or on the last twentieth of a young run.
            half = min(optim.ema_images, 0.05 * progress.images)
            average.decay = 0.5 ** (optim.batch / half)
            average.update(task.networks[role])
        task.steps, task.images = progress.steps, progress.images
        task.after_step()
        seconds = time.monotonic() - began
        if self.config.run.fit_minutes:
            progress.seconds += self.world.mean(torch.tensor(seconds, device=task.device)).item()
        self.log.step(next(iter(values.values()), math.nan), optim.batch, seconds)

    def optimise(self, phase: Phase, parts: list[Any]) -> dict[str, float]:
        """One optimiser step: the phase's loss on every micro-batch; its gradient averaged over processes and checked.

        Returns the means of its terms over the whole batch.
        """
        task, config, scaler = self.task, self.config, self.scalers[phase.name]
        for role, network in task.networks.items():
            batchnorm.set_training(network, config.optim.batchnorm)
            if len(task.phases) > 1:
                network.requires_grad_(role in phase.networks)
        parameters = [p for role in phase.networks for p in task.networks[role].parameters()]
        task.seed(phase.name)
        sums: dict[str, Tensor] = {}
        for terms in (terms for part in parts for terms in task.parts(phase.name, part)):
            scaler.scale(terms["loss"] / len(parts)).backward()
            for name, value in terms.items():
                share = value.detach() / len(parts)
                sums[name] = sums[name] + share if name in sums else share
        self.world.average_gradients(parameters)
        self._set_rates(phase)
        scaler.unscale_(phase.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(parameters, config.optim.clip or math.inf)
        values = self._agree({**sums, "grad_norm": norm})
        # In fp16 an infinite gradient of a finite loss is the scale's fault: the scaler leaves it out and lowers it.
        overflow = config.precision == "fp16" and math.isfinite(values["loss"])
        if overflow or all(map(math.isfinite, values.values())):
            scaler.step(phase.optimizer)
            self.progress.skipped = 0
            if math.isfinite(values["grad_norm"]):
                self._count(phase.name, values)
        else:
            self._not_finite(phase, values, parts, bool(torch.isfinite(sums["loss"])))
            for buffer, old in zip(self.buffers, self.before, strict=True):
                buffer.copy_(old)  # running statistics have had the bad batch
        scaler.update()
        phase.optimizer.zero_grad(set_to_none=True)
        return values

    # One step's parts -------------------------------------------------------------------------------------------------

    def _set_rates(self, phase: Phase) -> None:
        if self.config.optim.name != "ranger21":  # which has a schedule of its own
            for group, rate in zip(phase.optimizer.param_groups, self.rates[id(phase.optimizer)], strict=True):
                group["lr"] = learning_rate(self.config.optim, min(self.done, 1.0), 1.0, rate)

    def _agree(self, values: dict[str, Tensor]) -> dict[str, float]:
        """The means over processes as numbers, and at the same time whether any process was asked to stop."""
        wish = torch.tensor(float(self.stop.wish != 0), device=self.task.device)
        *means, wished = self.world.mean(torch.stack([*(value.float() for value in values.values()), wish])).tolist()
        if wished > 0:
            self.stop.agree()
        return dict(zip(values, means, strict=True))

    def _count(self, phase: str, values: dict[str, float]) -> None:
        """Add a phase's terms to the next line of metrics.jsonl."""
        progress, several = self.progress, len(self.task.phases) > 1
        for name, value in values.items():
            key = f"{phase}_{name}" if several and name in ("loss", "grad_norm") else name
            progress.sums[key] = progress.sums.get(key, 0.0) + value
            progress.counts[key] = progress.counts.get(key, 0) + 1

    def _not_finite(self, phase: Phase, values: dict[str, float], parts: list[Any], mine_is_finite: bool) -> None:
        names = [name for part in parts for name in part.names]
        bad = [name for part in self.world.gather([] if mine_is_finite else names) for name in part]
        if not bad:  # the loss was finite everywhere, a gradient was not: any of them may be to blame
            bad = [name for part in self.world.gather(names) for name in part]
        terms = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
        where = f"{self.progress.images} images" + (f", {phase.name}" if len(self.task.phases) > 1 else "")
        what = f"the step after {where} is not finite ({terms}); pictures: {', '.join(bad)}"
        self.progress.skipped += 1
        if self.config.run.on_nan == "stop":
            raise SdicError(f"{what}. The last checkpoint is kept; run.on_nan=skip leaves such steps out")
        if self.progress.skipped >= SKIPS_IN_A_ROW:
            raise SdicError(f"{what}. This was the {SKIPS_IN_A_ROW}th step in a row; run.on_nan=skip gives up")
        self.log.say(f"{what}. Left out")

    @property
    def done(self) -> float:
        """How much of the run is done, 0 to 1, by images or by the clock."""
        run = self.config.run
        by_clock = self.progress.seconds / (60 * run.fit_minutes) if run.fit_minutes else 0.0
        return max(self.progress.images / run.images, by_clock)

    # What happens between steps ---------------------------------------------------------------------------------------

    def _after_step(self) -> None:
        run, progress = self.config.run, self.progress
        last = self.done >= 1

        def due(every: int) -> bool:
            before = progress.images - self.config.optim.batch
            return every > 0 and (progress.images // every > before // every or last)

        if due(run.log_every) and progress.counts:
            means = {name: total / progress.counts[name] for name, total in progress.sums.items()}
            self.results.record(progress.images, "train", means)
            progress.sums, progress.counts = {}, {}
        if due(self.config.validation.every) or last:
            self.results.validate(progress)
        if due(run.pictures_every):
            self.results.draw(self.folder / "pictures" / f"{progress.images:08d}.png", progress.images)
        if due(run.save_every) and not last:
            self.save()

    def save(self) -> None:
        """Write the weights and the state."""
        self.results.share_buffers()
        images = self.progress.images

        def write() -> None:
            self.results.weights(images)
            self.progress.lines = self.log.lines
            whole = state.collect(self.task, self.scalers, self.progress)
            run = self.config.run
            write_state(self.checkpoints, images, whole, run.keep_last, run.piece_mib * 2**20)

        self.results.leading(write)
        self.saved = images

    # Beginning and end ------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Set up what changes, load the newest state into it, and write the config down."""
        config, task, world = self.config, self.task, self.world
        if any(world.gather(self.stop.wish)):
            self.stop.agree()
        self.scalers = {
            phase.name: torch.amp.GradScaler(world.device.type, enabled=config.precision == "fp16")
            for phase in task.phases
        }
        self.rates = {id(p.optimizer): [group["lr"] for group in p.optimizer.param_groups] for p in task.phases}
        averaged = task.averaged if config.optim.ema_images else ()
        task.averages = {role: WeightAverage(task.networks[role]) for role in averaged}
        found = resume(self.checkpoints, lambda *held: state.restore(task, self.scalers, *held), self.log.say)
        self.progress = found or self.progress
        task.steps, task.images = self.progress.steps, self.progress.images
        self.saved = self.progress.images  # of the newest state that is whole
        if len(set(world.gather(self.saved))) > 1:
            raise CheckpointError(f"{self.checkpoints}: the processes do not find the same states there")
        total = f"{config.run.images} images in steps of {config.optim.batch} on {world.size} x {world.device.type}"
        self.log.say(f"resuming {self.folder} at {self.saved} of {total}" if found else f"{self.folder}: {total}")

        def begin() -> None:
            remove_temporaries(self.folder)
            write_atomic(self.folder / "config.yaml", to_yaml(config))
            self.log.start(self.saved, config.run.images, self.progress.lines)

        self.results.leading(begin)

    def _end(self) -> int:
        config, images = self.config, self.progress.images
        if images != self.saved:
            self.save()
        if self.done < 1:
            done = f"{images} of {config.run.images} images"
            self.log.say(f"stopped at {done}, saved; the same command goes on from here")
            return self.stop.exit_code
        self.results.finish(self.progress)
        return 0


def train(entry: Entry, config: TrainingConfig, dry_run: bool = False) -> int:
    """Run a config in this process (one of several under torchrun). Returns the exit code of `Trainer.run`."""
    if entry.run is not None:  # what is found in one go has settings only
        if not dry_run:
            return entry.run(config)
        print(to_yaml(config), end="")
        return 0
    if config.run.threads:
        torch.set_num_threads(config.run.threads)
    world: World = join(config.device)
    try:
        trainer = Trainer(entry.task(config, world))
        if not dry_run:
            return trainer.run()
        if world.leads:
            print(describe(trainer.task))
        return 0
    finally:
        world.close()
