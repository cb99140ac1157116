"""Settings whose meaning stands beside them once: dataclass field, `--help` and the tables of docs/ are one text."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator
from typing import Any, TypeVar, cast, get_args, get_type_hints

from sdic.errors import ConfigError

T = TypeVar("T")


def setting(default: T, meaning: str) -> T:
    """A dataclass field with its default and what it means."""
    if isinstance(default, list):
        return cast(T, dataclasses.field(default_factory=lambda: copy.copy(default), metadata={"meaning": meaning}))
    return cast(T, dataclasses.field(default=default, metadata={"meaning": meaning}))


def section(kind: type[T], **defaults: Any) -> T:
    """A dataclass field that holds a group of settings, with other defaults where they are given."""
    return cast(T, dataclasses.field(default_factory=lambda: kind(**defaults)))


def require(condition: bool, message: str) -> None:
    """ConfigError unless the condition holds."""
    if not condition:
        raise ConfigError(message)


def at_least(config: Any, least: float, names: str, prefix: str = "", zero: str = "0") -> None:
    """ConfigError where one of these settings, whose names have spaces between them, is lower. zero: what 0 means."""
    for name in names.split():
        bound = f"at least {least}" if least else f"{zero} or more"
        require(getattr(config, name) >= least, f"{prefix}{name} must be {bound}, got {getattr(config, name)}")


@dataclasses.dataclass(frozen=True)
class Row:
    """One setting: its dotted key, default, allowed words (where there is a list of them) and meaning."""

    key: str
    default: Any
    words: tuple[str, ...]
    meaning: str


def rows(config: Any, prefix: str = "") -> Iterator[Row]:
    """Every setting of a config (an instance of a dataclass), in its order."""
    hints = get_type_hints(type(config))
    for field in dataclasses.fields(config):
        value, key = getattr(config, field.name), prefix + field.name
        if dataclasses.is_dataclass(value):
            yield from rows(value, f"{key}.")
        else:
            words = tuple(word for word in get_args(hints[field.name]) if isinstance(word, str))
            yield Row(key, value, words, field.metadata.get("meaning", ""))


def as_help(config: Any) -> str:
    """The settings as text for a terminal: a line with key and default, and what it means below."""
    lines = []
    for row in rows(config):
        words = f"   ({', '.join(row.words)})" if row.words else ""
        lines += [f"  {row.key}={_text(row.default)}{words}", f"      {row.meaning}"]
    return "\n".join(lines)


def as_table(config: Any, base: Any = None) -> str:
    """The settings as a Markdown table; those that are as in `base` are left out (its table has them)."""
    lines = ["| setting | default | meaning |", "|---|---|---|"]
    known = set() if base is None else set(map(repr, rows(base)))
    for row in rows(config):
        if repr(row) not in known:
            words = f" One of {', '.join(f'`{word}`' for word in row.words)}." if row.words else ""
            lines.append(f"| `{row.key}` | `{_text(row.default)}` | {row.meaning}{words} |")
    return "\n".join(lines)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{','.join(map(str, value))}]"
    return f"{value:g}" if isinstance(value, float) else str(value) or "''"
