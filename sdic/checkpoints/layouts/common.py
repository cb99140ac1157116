"""What the readers of all layouts share: the record of a layout, and small helpers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from sdic.checkpoints.bundle import Bundle, build
from sdic.checkpoints.keymap import Rule, beside, load_into, rename
from sdic.errors import CheckpointError

State = Mapping[str, Tensor]
Prefix = str | tuple[str, ...]
PLACES = (
    *("state_dict", "g_ema", "params_ema", "state_dict_ema", "model_ema", "ema"),
    *("model", "generator", "g", "params"),
)
"""The names under which files keep a state dict; of two that fit, the first is read. Other names come after these, and
the whole file last."""
WRAPPERS = re.compile(r"^(module\.|_orig_mod\.)+")


@dataclass(frozen=True)
class Layout:
    """One foreign layout. needs: what keys of its state dict begin with (of several in a tuple, one is enough).
    foreign: what keys of other layouts with the same needs begin with. read: fills a bundle from the loaded object."""

    description: str
    needs: tuple[Prefix, ...]
    read: Callable[[Any, Bundle], None]
    foreign: tuple[str, ...] = ()

    def recognise(self, content: Any) -> bool:
        """Whether a loaded object has this layout."""
        state = self.state_of(content)
        return bool(state) and not (self.foreign and any(key.startswith(self.foreign) for key in state))

    def state_of(self, content: Any) -> State:
        """The state dict of a loaded object that has what this layout needs; empty if none has."""
        return find_state(content, *self.needs)[1]

    def mismatch(self, content: Any) -> str:
        """Why a loaded object does not have this layout: the key that was expected beside the nearest one found."""
        state = self.state_of(content)
        if state:
            return f"no key like {next(key for key in state if key.startswith(self.foreign))!r}"
        keys = dict.fromkeys(key for place, part in state_dicts(content) for key in part if place != "opts")
        needs = [need if isinstance(need, str) else need[0] for need in self.needs]
        return beside(next((need for need in needs if not has(keys, need)), needs[0]), keys)


def state_dicts(content: Any) -> list[tuple[str, State]]:
    """(place, state dict) of every state dict in a loaded object, in the order of PLACES, "" for the object itself."""
    if not isinstance(content, Mapping):
        return []
    found = [(str(place), state) for place, state in content.items() if isinstance(state, Mapping)]
    found.sort(key=lambda item: PLACES.index(item[0]) if item[0] in PLACES else len(PLACES))
    bare = {key: value for key, value in content.items() if not isinstance(value, Mapping)}
    return [(place, unwrapped(state)) for place, state in [*found, ("", bare)]]


def unwrapped(state: Mapping[Any, Any]) -> dict[str, Any]:
    """A state dict without what DataParallel (`module.`) and torch.compile (`_orig_mod.`) put before its keys."""
    plain = {WRAPPERS.sub("", str(key)): value for key, value in state.items()}
    return plain if len(plain) == len(state) else {str(key): value for key, value in state.items()}


def find_state(content: Any, *prefixes: Prefix) -> tuple[str, State]:
    """(place, state dict) of the first state dict of a loaded object with keys of every prefix; empty if none has."""
    fitting = (found for found in state_dicts(content) if all(has(found[1], prefix) for prefix in prefixes))
    return next(fitting, ("", {}))


def has(state: Mapping[str, Any], prefix: Prefix) -> bool:
    """Whether a key begins with the prefix, or with one of several."""
    return any(key.startswith(prefix) for key in state)


def set_aside(content: Mapping[str, Any], place: str, used: Sequence[str], dropped: dict[str, str]) -> None:
    """Note the entries of a loaded object that are not read: all but the state dict's place and those in `used`."""
    if place:
        others = (str(key) for key in content if key not in (place, *used))
        dropped.update(dict.fromkeys(others, "training state, options, or another copy of the networks"))


def below(state: State, *prefixes: str) -> dict[str, Tensor]:
    """The keys below the first prefix that occurs, without it."""
    for prefix in prefixes:
        part = {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}
        if part:
            return part
    raise CheckpointError(f"no keys below {' or '.join(prefixes)}")


def read_network(
    bundle: Bundle, role: str, config: Any, state: State, rules: Sequence[Rule], prefix: str = "", kind: str = ""
) -> Any:
    """Build a network, fill it through a table, and put it into the bundle.

    prefix: of the keys in the file, for what is said about them. kind: in NETWORKS, where it is not the role.
    """
    what = f"{bundle.source['file']} ({prefix or role})"
    renamed = rename(state, rules, what)
    bundle.dropped.update({prefix + key: reason for key, reason in renamed.dropped.items()})
    network = build(kind or role, config)
    load_into(network, renamed, what)
    bundle.networks[role] = network
    return network


def below_it(pairs: Mapping[str, str]) -> list[Rule]:
    """Modules that have other names here, and the same names inside: source -> ours."""
    return [Rule(f"{source}.{{rest}}", f"{ours}.{{rest}}") for source, ours in pairs.items()]


def ir_block(source: str, ours: str, parts: Sequence[str]) -> list[Rule]:
    """A block of an IR network as TreB1eN's code names it. parts: ours, in the order of its `res_layer`."""
    inner = {f"{source}.res_layer.{n}": f"{ours}.{part}" for n, part in enumerate(parts)}
    project = {f"{source}.shortcut_layer.{n}": f"{ours}.project.{part}" for n, part in enumerate(("conv", "norm"))}
    return below_it({**inner, **project})


def resnet_body(prefix: str) -> list[Rule]:
    """The ResNet body of ReStyle and HyperStyle: torchvision's names, its stages in one list."""
    stem = {"conv1": f"{prefix}stem.conv", "bn1": f"{prefix}stem.norm", "relu": f"{prefix}stem.act"}
    parts = {"conv1": "conv1", "bn1": "norm1", "conv2": "conv2", "bn2": "norm2"}
    parts |= {"downsample.0": "project.conv", "downsample.1": "project.norm"}
    block = {f"body.{{i}}.{theirs}": f"{prefix}blocks.{{i}}.{ours}" for theirs, ours in parts.items()}
    return below_it({**stem, **block})


def ir_body(prefix: str) -> list[Rule]:
    """The IR / IR-SE body as TreB1eN's code names it."""
    stem = {f"input_layer.{n}": f"{prefix}stem.{part}" for n, part in enumerate(("conv", "norm", "act"))}
    parts = ("norm1", "conv1", "act", "conv2", "norm2", "se")
    return below_it(stem) + ir_block("body.{i}", f"{prefix}blocks.{{i}}", parts)
