"""The optimisers of the field, each resuming exactly, and the average of the weights.

"Ranger" in e4e, HFGI, HyperStyle and SDIC means RAdam + Lookahead(6, 0.5) + gradient centralization: `ranger`. The
package ranger21 is another algorithm of a similar name; the authors' requirements list it, so it is here too.
"""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from sdic.training.config import OptimConfig

logger = logging.getLogger(__name__)


def build_optimizer(config: OptimConfig, parameters: Iterable[nn.Parameter], steps: int) -> torch.optim.Optimizer:
    """The optimiser that `optim.name` names. `steps`: length of the run, which only ranger21's schedule needs."""
    parameters = list(parameters)
    shared: dict[str, Any] = {"lr": config.lr, "betas": (config.beta1, config.beta2), "eps": config.eps}
    if config.name == "adam":
        return torch.optim.Adam(parameters, **shared)
    if config.name == "ranger":
        from pytorch_optimizer import Ranger

        # Without `degenerated_to_sgd` this package steps *up* the gradient until RAdam's rectification sets in (its
        # step size is -1 there). The field's Ranger takes plain momentum steps, which is what the flag does.
        return Ranger(parameters, **shared, k=6, alpha=0.5, degenerated_to_sgd=True)
    if config.name == "soap":
        from pytorch_optimizer import SOAP

        return SOAP(parameters, **shared, weight_decay=0.0)
    # Weight decay and norm loss of this package reach only the last parameter (they stand outside its loop), and the
    # former divides by zero on zero gradients: both off.
    shared |= {"weight_decay": 0.0, "normloss_active": False, "logging_active": False}
    return _quiet_ranger21(parameters, num_epochs=1, num_batches_per_epoch=steps, **shared)


def learning_rate(config: OptimConfig, done: float, total: float, rate: float | None = None) -> float:
    """The rate (`optim.lr`, or another one to begin with) when `done` of `total` is done: constant, then along a cosine
    to `final` of it over the last `fall` of the run."""
    left = min(1.0, (total - done) / (config.fall * total)) if config.fall else 1.0
    rise = 0.5 - 0.5 * math.cos(math.pi * left)
    return (config.lr if rate is None else rate) * (config.final + (1 - config.final) * rise)


_COUNTERS = [
    *("lookahead_step", "warmup_complete", "warmup_curr_pct", "warmdown_displayed"),
    *("current_lr", "current_epoch", "current_iter", "epoch_count", "param_size"),
]
"""What ranger21 counts in plain attributes and leaves out of its `state_dict`; without them a resumed run diverges."""


def _quiet_ranger21(parameters: list[nn.Parameter], **settings: Any) -> torch.optim.Optimizer:
    with contextlib.redirect_stdout(io.StringIO()):
        from ranger21 import Ranger21

        class QuietRanger21(Ranger21):  # type: ignore[misc, valid-type]
            """ranger21 without its prints, and with all of its state in `state_dict`."""

            def step(self, closure: Any = None) -> Any:
                said = io.StringIO()
                with contextlib.redirect_stdout(said):
                    result = super().step(closure)
                if said.getvalue().strip():
                    logger.debug("ranger21: %s", " ".join(said.getvalue().split()))
                return result

            def state_dict(self) -> dict[str, Any]:
                return {**super().state_dict(), "counters": {name: getattr(self, name) for name in _COUNTERS}}

            def load_state_dict(self, state: dict[str, Any]) -> None:
                state = dict(state)
                for name, value in state.pop("counters").items():
                    setattr(self, name, value)
                super().load_state_dict(state)

        return QuietRanger21(parameters, **settings)


class WeightAverage:
    """Exponential moving average of a network's parameters; its buffers are copied."""

    def __init__(self, network: nn.Module, decay: float = 0.0):
        self.decay = decay
        self.network = copy.deepcopy(network).requires_grad_(False).eval()

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """average <- decay * average + (1 - decay) * current."""
        averages: list[torch.Tensor] = list(self.network.parameters())
        if averages:  # a network may have none: DIPN with the plain difference as its map
            torch._foreach_lerp_(averages, list(network.parameters()), 1 - self.decay)
        for mine, theirs in zip(self.network.buffers(), network.buffers(), strict=True):
            mine.copy_(theirs)
