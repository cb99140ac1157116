"""The engine that renames a foreign state dict into ours by a table.

A table is a list of `Rule`s. In a source pattern `{i}` stands for a number and `{rest}` for anything; the target may
use
both, and `{i+1}`. Every source key must be named by a rule: mapped, or dropped with a reason. A key that no rule names,
a parameter that no key fills, and a tensor of another shape are errors that name it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor, nn

from sdic.errors import CheckpointError

SHOWN = 8  # how many offending keys an error lists


@dataclass(frozen=True)
class Rule:
    """source: pattern. target: our key, or None to drop. reason: why it is dropped. convert: applied to the tensor.
    check: raises if a dropped tensor is not what dropping it assumes."""

    source: str
    target: str | None
    reason: str = ""
    convert: Callable[[Tensor], Tensor] | None = None
    check: Callable[[str, Tensor], None] | None = None

    def __post_init__(self) -> None:
        if self.target is None and not self.reason:
            raise ValueError(f"rule for {self.source!r} drops keys and must give a reason")

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """The source as a regular expression."""
        parts = re.split(r"(\{\w+\})", self.source)
        expression = "".join(
            "(?P<rest>.+)"
            if part == "{rest}"
            else f"(?P<{part[1:-1]}>\\d+)"
            if part.startswith("{")
            else re.escape(part)
            for part in parts
        )
        return re.compile(expression)

    def rename(self, key: str) -> str | None:
        """Our name for `key`, which must match; None if the rule drops it."""
        match = self.pattern.fullmatch(key)
        assert match is not None
        if self.target is None:
            return None
        groups = match.groupdict()

        def fill(placeholder: re.Match[str]) -> str:
            name, offset = placeholder.group(1), int(placeholder.group(2) or 0)
            return str(int(groups[name]) + offset) if offset else groups[name]

        return re.sub(r"\{(\w+)([+-]\d+)?\}", fill, self.target)


@dataclass(frozen=True)
class Renamed:
    """state: our keys and tensors. dropped: source key -> reason. sources: our key -> source key."""

    state: dict[str, Tensor]
    dropped: dict[str, str]
    sources: dict[str, str]


def rename(source: Mapping[str, Tensor], rules: Sequence[Rule], what: str) -> Renamed:
    """Apply a table to every key. `what` names the file in errors."""
    state: dict[str, Tensor] = {}
    dropped: dict[str, str] = {}
    sources: dict[str, str] = {}
    unknown: list[str] = []
    for key, tensor in source.items():
        rule = next((rule for rule in rules if rule.pattern.fullmatch(key)), None)
        if rule is None:
            unknown.append(key)
            continue
        target = rule.rename(key)
        if target is None:
            if rule.check is not None:
                rule.check(key, tensor)
            dropped[key] = rule.reason
            continue
        if target in state:
            raise CheckpointError(f"{what}: {key!r} and {sources[target]!r} are both mapped to {target!r}")
        state[target] = tensor if rule.convert is None else rule.convert(tensor)
        sources[target] = key
    if unknown:
        raise CheckpointError(f"{what}: {len(unknown)} keys that this layout does not know: {listing(unknown)}")
    return Renamed(state, dropped, sources)


def load_into(module: nn.Module, renamed: Renamed, what: str) -> None:
    """Copy a renamed state into `module`; every key of either side must be in the other, with the same shape."""
    expected = module.state_dict()
    missing = sorted(set(expected) - set(renamed.state))
    unexpected = sorted(set(renamed.state) - set(expected))
    if missing:
        raise CheckpointError(f"{what}: {len(missing)} tensors are missing: {listing(missing)}")
    if unexpected:
        names = [f"{renamed.sources.get(key, key)} (our {key})" for key in unexpected]
        raise CheckpointError(f"{what}: {len(unexpected)} tensors have no place in the network: {listing(names)}")
    wrong = [
        f"{renamed.sources.get(key, key)}: {list(renamed.state[key].shape)}, expected {list(value.shape)}"
        for key, value in expected.items()
        if renamed.state[key].shape != value.shape
    ]
    if wrong:
        raise CheckpointError(f"{what}: {len(wrong)} tensors have another shape: {listing(wrong)}")
    # A network without memory takes the tensors over; one with memory keeps its own. Buffers are copied: they would
    # stay views of the file that they were read from, and keep all of it mapped.
    on_meta = any(tensor.is_meta for tensor in expected.values())
    parameters = dict(module.named_parameters())
    state = {key: value.float() if value.is_floating_point() else value for key, value in renamed.state.items()}
    state = {key: value if key in parameters else value.clone() for key, value in state.items()}
    module.load_state_dict(state, assign=on_meta)


def listing(names: Iterable[str]) -> str:
    """The first few names, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
