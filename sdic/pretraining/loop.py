"""The loop that every stage runs in: steps, records, pictures, states, the clock.

Randomness depends on (seed, stage, step) alone, so that a run that was stopped anywhere goes on as if it had not been.
"""

from __future__ import annotations

import json
import math
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sdic.config import to_plain, to_yaml
from sdic.data.sampler import derive_seed
from sdic.errors import CheckpointError, SdicError
from sdic.pretraining.bank import OutOfTimeError
from sdic.pretraining.config import OptimConfig
from sdic.pretraining.stage import Stage
from sdic.pretraining.state import write_state
from sdic.training.journal import Journal
from sdic.training.state_files import keeping, resume
from sdic.utils.files import write_atomic
from sdic.utils.images import write_png


def train(stage: Stage) -> bool:
    """Run a stage from where it stands. True when it is finished, False when the clock or a signal ended it before.

    The result lies in `run.dir/result`: safetensors, config.yaml, metrics.json, samples.png. SdicError where a loss
    stops being finite or the disk is full; CheckpointError where the state in `run.dir` is of other settings.
    """
    run, folder = stage.run, Path(stage.run.dir)
    if (folder / "result" / "metrics.json").is_file():
        return True
    began = time.monotonic()
    deadline = began + 60 * run.minutes if run.minutes else math.inf
    with keeping(folder / "state"):
        journal = Journal(folder, True, False)
        try:
            torch.manual_seed(derive_seed(run.seed, stage.name, "weights"))
            stage.prepare(0.0 if deadline == math.inf else deadline, journal.say)
            return _Loop(stage, journal, deadline).go()
        except OutOfTimeError as stop:
            journal.say(f"stopped after {run.minutes:g} minutes: {stop}; the same command goes on")
            return False
        finally:
            journal.close()


class _Loop:
    def __init__(self, stage: Stage, journal: Journal, deadline: float):
        self.stage, self.run, self.journal, self.deadline = stage, stage.run, journal, deadline
        self.folder = Path(stage.run.dir)
        self.step = 0
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}
        self.signal = 0
        self.last = math.nan  # the first term as recorded last, for the progress bar
        self.elapsed = 0.0  # seconds of stepping, over all calls
        self.clock = (time.monotonic(), 0)
        self.rates = {name: [g["lr"] for g in o.param_groups] for name, o in stage.optimizers.items()}

    def go(self) -> bool:
        run, stage = self.run, self.stage
        lines = resume(self.folder / "state", self._load, self.journal.say)
        self.journal.start(self.step, run.steps, lines)
        write_atomic(self.folder / "config.yaml", to_yaml(stage.config))
        self.clock = (time.monotonic(), self.step)
        with self._signals():
            while self.progress < 1 and not self.signal and time.monotonic() < self.deadline:
                began = time.monotonic()
                self._advance()
                self._due()
                self.elapsed += time.monotonic() - began
        if self.progress < 1:
            self._save()
            self.journal.say(f"stopped at step {self.step} of {run.steps}; the same command goes on")
            return False
        self._finish()
        return True

    @property
    def progress(self) -> float:
        """How much of the run is done, 0 to 1, by steps or by the clock."""
        by_clock = self.elapsed / (60 * self.run.fit_minutes) if self.run.fit_minutes else 0.0
        return max(self.step / self.run.steps, by_clock)

    def _advance(self) -> None:
        stage, run = self.stage, self.run
        torch.manual_seed(derive_seed(run.seed, stage.name, self.step))
        self._set_rates()
        self.journal.begin_step()
        for name, value in stage.step(self.step).items():
            self.sums[name] = self.sums[name] + value.detach() if name in self.sums else value.detach().clone()
            self.counts[name] = self.counts.get(name, 0) + 1
        self.step += 1
        if stage.averages:
            # Half of an average's weight lies on the last `ema_images`, or the last twentieth of a young run.
            half = min(run.ema_images, max(0.05 * self.step * run.batch, 1e-9))
            for name, average in stage.averages.items():
                average.decay = 0.5 ** (run.batch / half)
                average.update(stage.networks[name])
        self.journal.end_step(self.last)

    def _set_rates(self) -> None:
        final = getattr(self.stage.config, "optim", OptimConfig()).final_lr
        factor = final + (1 - final) * 0.5 * (1 + math.cos(math.pi * min(1.0, self.progress)))
        for name, optimizer in self.stage.optimizers.items():
            for group, rate in zip(optimizer.param_groups, self.rates[name], strict=True):
                group["lr"] = rate * factor

    def _due(self) -> None:
        run, step = self.run, self.step
        last = step == run.steps

        def due(every: int) -> bool:
            return every > 0 and step % every == 0 and not last

        if due(run.log_every) or last:
            self._log()
        if due(run.pictures_every):
            self._draw(self.folder / "pictures" / f"{step:08d}.png")
        if due(run.evaluate_every):
            self.journal.record(step, run.steps, "evaluation", self._evaluate())
        if due(run.save_every):
            self._save()

    def _log(self) -> None:
        means = {name: float(total) / self.counts[name] for name, total in self.sums.items()}
        self.sums, self.counts = {}, {}
        self.last = next(iter(means.values()), math.nan)
        now = time.monotonic()
        seen = (self.step - self.clock[1]) * self.run.batch
        self.journal.record(self.step, self.run.steps, "train", means)
        self.journal.say(f"{seen / max(now - self.clock[0], 1e-9):.0f} images/s")
        self.clock = (now, self.step)
        bad = [name for name, value in means.items() if not math.isfinite(value)]
        if bad:
            raise SdicError(f"{self.stage.name}: {', '.join(bad)} is not finite at step {self.step}; lower optim.lr")

    def _evaluate(self) -> dict[str, float]:
        with torch.random.fork_rng():
            torch.manual_seed(derive_seed(self.run.seed, self.stage.name, "evaluation"))
            return self.stage.evaluate()

    def _draw(self, path: Path) -> None:
        with torch.no_grad(), torch.random.fork_rng():
            torch.manual_seed(derive_seed(self.run.seed, self.stage.name, "pictures"))
            grid = self.stage.picture()
        if grid is not None:
            write_png(path, grid.float().clamp(-1, 1).cpu())

    def _finish(self) -> None:
        self._save()
        if self.sums:  # ended by the clock between two records
            self._log()
        result = self.folder / "result"
        result.mkdir(parents=True, exist_ok=True)
        self._draw(result / "samples.png")
        values = self._evaluate()
        self.journal.record(self.step, self.run.steps, "evaluation", values)
        files = self.stage.export(result)
        write_atomic(result / "config.yaml", to_yaml(self.stage.config))
        write_atomic(result / "metrics.json", json.dumps({"steps": self.step, **values}, indent=2) + "\n")
        sizes = ", ".join(f"{path.name} {path.stat().st_size / 2**20:.2f} MiB" for path in files)
        self.journal.say(f"finished: {sizes}")

    # The state --------------------------------------------------------------------------------------------------------

    def _save(self) -> None:
        stage = self.stage
        state = {
            "settings": _bound(stage),
            "step": self.step,
            "sums": self.sums,
            "counts": self.counts,
            "elapsed": self.elapsed,
            "lines": self.journal.lines,
            "networks": {name: network.state_dict() for name, network in stage.networks.items()},
            "optimizers": {name: optimizer.state_dict() for name, optimizer in stage.optimizers.items()},
            "averages": {name: average.network.state_dict() for name, average in stage.averages.items()},
            "extra": stage.extra,
        }
        write_state(self.folder / "state", self.step, state)

    def _load(self, path: Path, state: dict[str, Any]) -> int | None:
        """Go on from a state; returns how many lines metrics.jsonl had then (older states do not know)."""
        stage = self.stage
        if state["settings"] != _bound(stage):
            raise CheckpointError(
                f"{self.folder}: was begun with other settings ({state['settings']}, now {_bound(stage)}); "
                "use another run.dir, or delete this one"
            )
        for name, network in stage.networks.items():
            network.load_state_dict(state["networks"][name])
        for name, optimizer in stage.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        for name, average in stage.averages.items():
            average.network.load_state_dict(state["averages"][name])
        for name in stage.extra:
            stage.extra[name] = state["extra"][name].to(stage.device)
        self.step = state["step"]
        self.sums = {name: value.to(stage.device) for name, value in state["sums"].items()}
        self.counts = dict(state["counts"])
        self.elapsed = state["elapsed"]
        return state.get("lines")

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Ctrl-C and SIGTERM end the run after the step they come in; a second one ends it at once."""

        def note(number: int, frame: object) -> None:
            if self.signal:
                raise KeyboardInterrupt
            self.signal = number

        before = {}
        try:
            for number in (signal.SIGINT, signal.SIGTERM):
                before[number] = signal.signal(number, note)
        except ValueError:  # not the main thread: whoever runs us handles signals
            pass
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _bound(stage: Stage) -> dict[str, Any]:
    """Settings that a state cannot be continued without."""
    plain = to_plain(stage.config)
    plain["data"].pop("cache")  # where rendered pictures lie does not matter
    return {"stage": stage.name, "seed": plain["run"]["seed"], **{k: plain[k] for k in ("model", "data") if k in plain}}
