"""The engine that renames a foreign state dict into ours by a table.

A table is a list of `Rule`s. In a source pattern `{i}` stands for a number and `{rest}` for anything; the target may
use both, and `{i+1}`. Every source key must be named by a rule: mapped, or dropped with a reason. A key that no rule
names, a parameter that no key fills, and a tensor of another shape are errors that name it, in the file's own words and
beside the key that was expected.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
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
        return _expression(self.source)

    def rename(self, key: str) -> str | None:
        """Our name for `key`, which must match; None if the rule drops it."""
        match = self.pattern.fullmatch(key)
        assert match is not None
        return None if self.target is None else _filled(self.target, match.groupdict())

    def source_of(self, key: str) -> str | None:
        """The inverse of `rename`: the source key that becomes our `key`, or None where this rule makes no such key."""
        match = None if self.target is None else _expression(self.target).fullmatch(key)
        if self.target is None or match is None:
            return None
        offsets = {name: int(offset or 0) for name, offset in PLACEHOLDER.findall(self.target)}
        groups = {name: _moved(value, -offsets[name]) for name, value in match.groupdict().items()}
        return _filled(self.source, groups)


PLACEHOLDER = re.compile(r"\{(\w+)([+-]\d+)?\}")


def _expression(text: str) -> re.Pattern[str]:
    """A pattern with its placeholders as groups."""
    literals = PLACEHOLDER.split(text)  # literal, name, offset, literal, ...
    parts = [re.escape(literals[0])]
    for name, literal in zip(literals[1::3], literals[3::3], strict=True):
        parts += [f"(?P<{name}>{'.+' if name == 'rest' else '[0-9]{1,9}'})", re.escape(literal)]
    return re.compile("".join(parts))


def _filled(text: str, groups: Mapping[str, str]) -> str:
    """A pattern with its placeholders filled in."""
    return PLACEHOLDER.sub(lambda found: _moved(groups[found.group(1)], int(found.group(2) or 0)), text)


def _moved(number: str, offset: int) -> str:
    return str(int(number) + offset) if offset else number


@dataclass(frozen=True)
class Renamed:
    """state: our keys and tensors. dropped: source key -> reason. sources: our key -> source key. rules: the table."""

    state: dict[str, Tensor]
    dropped: dict[str, str]
    sources: dict[str, str]
    rules: Sequence[Rule] = ()

    def expected(self, key: str) -> str:
        """Our key as an error names it: as the file would call it, beside the nearest key that the file has."""
        source = next((name for rule in self.rules if (name := rule.source_of(key)) is not None), None)
        if source is None:
            return key
        return f"{beside(source, [*self.sources.values(), *self.dropped])}, our {key}"


def rename(source: Mapping[str, Tensor], rules: Sequence[Rule], what: str) -> Renamed:
    """Apply a table to every key. `what` names the file in errors."""
    state: dict[str, Tensor] = {}
    dropped: dict[str, str] = {}
    sources: dict[str, str] = {}
    unknown: list[str] = []
    for key, tensor in source.items():
        if not is_plain(tensor):
            raise CheckpointError(f"{what}: {key!r} is not a plain tensor of real numbers, but {_sort(tensor)}")
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
        try:
            state[target] = tensor if rule.convert is None else rule.convert(tensor)
        except (IndexError, RuntimeError) as error:
            raise CheckpointError(f"{what}: {key!r} has the shape {list(tensor.shape)} ({error})") from error
        sources[target] = key
    if unknown:
        pairs = [f"{key!r}, expected a key such as {_nearest(key, rules)!r}" for key in unknown[:SHOWN]]
        raise CheckpointError(
            f"{what}: {len(unknown)} keys that this layout does not know: {listing([*pairs, *unknown[SHOWN:]])}"
        )
    return Renamed(state, dropped, sources, rules)


def is_plain(value: object) -> bool:
    """Whether it is a dense tensor of real numbers."""
    plain = isinstance(value, Tensor) and value.layout == torch.strided
    return plain and not (value.is_quantized or value.is_complex())  # type: ignore[attr-defined]


def _sort(value: object) -> str:
    return f"a tensor ({value.dtype}, {value.layout})" if isinstance(value, Tensor) else type(value).__name__


def _nearest(key: str, rules: Sequence[Rule]) -> str:
    """The source pattern that is most like a key, with the key's own first numbers in it."""
    numbers = re.findall(r"[0-9]+", key)
    plain = {re.sub(r"\{\w+\}", "0", rule.source): rule.source for rule in rules}
    close = difflib.get_close_matches(re.sub(r"[0-9]+", "0", key), plain, 1, 0.0)
    return (
        re.sub(r"\{(?!rest)\w+\}", lambda _: numbers.pop(0) if numbers else "0", plain[close[0]]) if close else "none"
    )


def beside(expected: str, found: Iterable[str]) -> str:
    """An expected key, and the nearest of those that were found."""
    close = difflib.get_close_matches(expected, list(found), 1, 0.0)
    return f"{expected!r} (nearest found: {close[0]!r})" if close else f"{expected!r} (none found)"


def load_into(module: nn.Module, renamed: Renamed, what: str) -> None:
    """Copy a renamed state into `module`; every key of either side must be in the other, with the same shape.

    Only a normalisation's count of batches may be missing: nothing that is computed depends on it.
    """
    expected = module.state_dict()
    for key in expected:
        if key.endswith("num_batches_tracked"):
            renamed.state.setdefault(key, torch.zeros((), dtype=torch.int64))
    missing = sorted(set(expected) - set(renamed.state))
    unexpected = sorted(set(renamed.state) - set(expected))
    if missing:
        raise CheckpointError(f"{what}: {len(missing)} tensors are missing: {listing(map(renamed.expected, missing))}")
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
    numbers = [
        f"{renamed.sources.get(key, key)}: {renamed.state[key].dtype} on {renamed.state[key].device}, as {value.dtype}"
        for key, value in expected.items()
        if renamed.state[key].is_floating_point() != value.is_floating_point() or renamed.state[key].is_meta
    ]
    if numbers:
        raise CheckpointError(f"{what}: {len(numbers)} tensors cannot be used: {listing(numbers)}")
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
