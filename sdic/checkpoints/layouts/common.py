"""What the readers of all layouts share: the record of a layout, and small helpers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from sdic.checkpoints.bundle import Bundle, build
from sdic.checkpoints.keymap import Renamed, Rule, load_into, rename
from sdic.errors import CheckpointError

State = Mapping[str, Tensor]


@dataclass(frozen=True)
class Layout:
    """One foreign layout. recognise: whether a loaded object has it. read: the object and the file's name -> a
    bundle."""

    description: str
    recognise: Callable[[Any], bool]
    read: Callable[[Any, str], Bundle]


def state_of(content: Any, key: str = "state_dict") -> State:
    """The state dict under a key of a loaded object; empty where there is none."""
    return content[key] if isinstance(content, Mapping) and isinstance(content.get(key), Mapping) else {}


def has(state: Any, *prefixes: str) -> bool:
    """Whether keys begin with each of the prefixes."""
    return isinstance(state, Mapping) and all(any(str(key).startswith(prefix) for key in state) for prefix in prefixes)


def below(state: State, *prefixes: str) -> dict[str, Tensor]:
    """The keys below the first prefix that occurs, without it."""
    for prefix in prefixes:
        part = {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}
        if part:
            return part
    raise CheckpointError(f"no keys below {' or '.join(prefixes)}")


def read_network(
    role: str, config: Any, state: State, rules: Sequence[Rule], what: str, dropped: dict[str, str], prefix: str = ""
) -> Any:
    """Build a network and fill it through a table."""
    renamed = rename(state, rules, what)
    dropped.update({prefix + key: reason for key, reason in renamed.dropped.items()})
    return filled(role, config, renamed, what)


def filled(role: str, config: Any, renamed: Renamed, what: str) -> Any:
    """Build a network and fill it with a renamed state."""
    built = build(role, config)
    load_into(built, renamed, what)
    return built


def ir_body(prefix: str) -> list[Rule]:
    """The IR / IR-SE body as TreB1eN's code names it."""
    block = "body.{i}.res_layer"
    ours = prefix + "blocks.{i}"
    return [
        Rule("input_layer.0.{rest}", f"{prefix}stem.conv.{{rest}}"),
        Rule("input_layer.1.{rest}", f"{prefix}stem.norm.{{rest}}"),
        Rule("input_layer.2.{rest}", f"{prefix}stem.act.{{rest}}"),
        Rule("body.{i}.shortcut_layer.0.{rest}", f"{ours}.project.conv.{{rest}}"),
        Rule("body.{i}.shortcut_layer.1.{rest}", f"{ours}.project.norm.{{rest}}"),
        Rule(f"{block}.0.{{rest}}", f"{ours}.norm1.{{rest}}"),
        Rule(f"{block}.1.{{rest}}", f"{ours}.conv1.{{rest}}"),
        Rule(f"{block}.2.{{rest}}", f"{ours}.act.{{rest}}"),
        Rule(f"{block}.3.{{rest}}", f"{ours}.conv2.{{rest}}"),
        Rule(f"{block}.4.{{rest}}", f"{ours}.norm2.{{rest}}"),
        Rule(f"{block}.5.{{rest}}", f"{ours}.se.{{rest}}"),
    ]
