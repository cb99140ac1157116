"""A method's own options: a dataclass, filled by name. What it does not know is refused, with a suggestion."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, TypeVar, get_args, get_type_hints

from sdic.errors import CheckpointError, ConfigError, did_you_mean
from sdic.settings import setting

T = TypeVar("T")
SHARED = ("device", "precision", "optimize", "method")
"""What `sdic.load` takes for every method."""
WORDS: dict[type, str] = {int: "a whole number", float: "a number", bool: "true or false", str: "a word"}


@dataclass
class NoOptions:
    """For methods that have none."""


@dataclass
class FeatureOptions:
    """Of every method that compensates a feature of the generator; such a method's own options extend it, or have a
    `rule` of more words."""

    rule: Literal["carried", "paper"] = setting(
        "carried",
        "how the feature follows an edit: what was compensated is carried along with the motion that the edit makes in "
        "the generator, or stays at its place, as in the paper (eq. 6)",
    )


def carries(options: object) -> bool:
    """Whether edits carry the compensation along."""
    return getattr(options, "rule", None) == "carried"


def make_options(schema: type[T], given: Mapping[str, Any], method: str) -> T:
    """An instance of a method's `Options` with the given values; ConfigError for one that it does not have or take."""
    known = [field.name for field in fields(schema)]  # type: ignore[arg-type]
    hints = get_type_hints(schema)
    for name, value in given.items():
        if name not in known:
            raise ConfigError(
                f"method {method!r} has no option {name!r}{did_you_mean(name, [*known, *SHARED])}; it has "
                f"{', '.join(known) or 'none'} (and every method {', '.join(SHARED)})"
            )
        words = get_args(hints[name])
        if words and value not in words:
            raise ConfigError(
                f"{name} must be one of {', '.join(words)}, got {value!r}{did_you_mean(str(value), words)}"
            )
        number = hints[name] is float and type(value) is int
        if hints[name] in WORDS and type(value) is not hints[name] and not number:
            raise ConfigError(f"{name} must be {WORDS[hints[name]]}, got {value!r}")
    return schema(**given)


def parse_value(text: str) -> Any:
    """What an option's text means (`--option layer=7`): a number, true or false, or the word that it is."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, int | float) else text


def options_in(header: Mapping[str, str], schema: type) -> dict[str, Any]:
    """The options that the header of a weight file gives, as far as `schema` has them: its networks were trained so.

    Headers hold them as JSON under "options"; those of earlier versions each under its own name.
    """
    known = [field.name for field in fields(schema)]
    earlier = {name: parse_value(header[name]) for name in known if name in header}
    try:
        values = {**earlier, **json.loads(header.get("options", "{}"))}
    except (ValueError, TypeError) as error:
        raise CheckpointError(
            f"a header whose options make no sense ({error}): {str(header['options'])[:200]}"
        ) from error
    return {name: value for name, value in values.items() if name in known}
