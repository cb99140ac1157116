"""Typed settings: dataclass defaults, then a YAML file, then `key=value` words. Nothing unknown is accepted.

A YAML file may begin with `base: other.yaml` (relative to itself) and then only says what differs. `${...}` is not
filled in: a file from elsewhere could read the environment.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sdic.errors import ConfigError, did_you_mean
from sdic.utils.text import one_line, read_small_text

T = TypeVar("T")


def load_config(schema: type[T], path: str | os.PathLike[str] | None = None, overrides: Sequence[str] = ()) -> T:
    """An instance of the dataclass `schema`: its defaults, the YAML file if given, then words such as "optim.lr=1e-4".

    ConfigError names an unknown key (with the closest known one), a value of the wrong type, or a bad file. Checks in
    the dataclasses' `__post_init__` run on the result.
    """
    config = OmegaConf.structured(schema)
    if path is not None:
        for file, settings in _with_bases(Path(path)):
            config = _merge(config, settings, str(file))
    for word in overrides:
        if "=" not in word:
            raise ConfigError(f"{word!r} is not a setting; write key=value, such as run.dir=runs/first")
        config = _merge(config, _parse(word), word)
    try:
        return cast(T, OmegaConf.to_object(config))
    except (OmegaConfBaseException, ValueError, TypeError, ArithmeticError) as error:  # the latter from comparisons
        raise ConfigError(_first_line(error)) from error


def to_yaml(config: Any) -> str:
    """The resolved config as YAML text; `load_config` reads it back to an equal one."""
    return OmegaConf.to_yaml(OmegaConf.structured(config))


def to_plain(config: Any) -> dict[str, Any]:
    """The resolved config as plain dicts, lists, numbers and strings."""
    return cast(dict[str, Any], OmegaConf.to_container(OmegaConf.structured(config), resolve=True))


def _with_bases(path: Path, after: tuple[Path, ...] = ()) -> list[tuple[Path, DictConfig]]:
    """The file and the files it builds on, each with its settings, the most basic first."""
    try:
        there = path.is_file()
    except OSError as error:  # such as a name that is too long
        raise ConfigError(f"{one_line(path)}: no such config ({error.strerror})") from error
    if not there:
        folder = path.parent
        beside = sorted(file.name for file in folder.glob("*.yaml")) if folder.is_dir() else []
        raise ConfigError(
            f"{path.absolute()}: no such config{did_you_mean(path.name, beside)}; "
            f"beside it: {', '.join(beside) or 'nothing'}"
        )
    if path.resolve() in after:
        raise ConfigError(f"{path}: builds on itself")
    settings = _load_yaml(path)
    base = settings.pop("base", None)
    bases = [] if base is None else _with_bases(path.parent / str(base), (*after, path.resolve()))
    return [*bases, (path, settings)]


def yaml_values(path: Path) -> Any:
    """The plain values of a YAML file, {} if it is empty; ConfigError for a damaged, too large or hostile one."""
    text, nodes = _checked(path)
    for node in nodes:
        keys = Counter(str(key.value) for key, _ in node.value) if isinstance(node, yaml.MappingNode) else Counter()
        if keys and (most := keys.most_common(1)[0])[1] > 1:
            raise ConfigError(f"{path}, line {node.start_mark.line + 1}: {one_line(most[0])!r} is there twice")
    with _reading(path):
        return yaml.safe_load(text) or {}


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """ConfigError for what the readers of YAML stumble over."""
    try:
        yield
    except _OF_YAML as error:
        raise ConfigError(f"{path}: not readable as YAML ({one_line(error)})") from error


def _load_yaml(path: Path) -> DictConfig:
    text, nodes = _checked(path)
    for node in nodes:
        if isinstance(node, yaml.ScalarNode) and "${" in node.value:
            raise ConfigError(
                f"{path}, line {node.start_mark.line + 1}: {one_line(node.value)!r}: ${{...}} is not filled in from a "
                "file, which could read the environment; write the value, or give it on the command line"
            )
    with _reading(path):
        loaded = OmegaConf.load(io.StringIO(text))
    if not isinstance(loaded, DictConfig):
        raise ConfigError(f"{path}: must hold key: value lines")
    return loaded


def _checked(path: Path) -> tuple[str, list[yaml.Node]]:
    """The text of a YAML file, and its nodes.

    An alias (`*name`) stands for all that it repeats, and a short file can so stand for billions of values; nothing is
    built before that is counted.
    """
    text = read_small_text(path, LARGEST, ConfigError)
    sizes: dict[int, int] = {}
    nodes: list[yaml.Node] = []

    def size(node: yaml.Node, depth: int) -> int:
        if id(node) not in sizes:
            if depth > DEEPEST:
                raise ConfigError(f"{path}: nested more than {DEEPEST} deep, or in itself")
            nodes.append(node)
            parts = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else node.value
            inner = 0 if isinstance(node, yaml.ScalarNode) else sum(size(part, depth + 1) for part in parts)
            sizes[id(node)] = 1 + inner
            if sizes[id(node)] > MOST:
                raise ConfigError(f"{path}: stands for more than {MOST:,} values")
        return sizes[id(node)]

    with _reading(path):
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        if root is not None:
            size(root, 0)
    return text, nodes


LARGEST, DEEPEST, MOST = 1 << 20, 50, 100_000  # bytes, levels, values
_OF_YAML = (
    *(yaml.YAMLError, OmegaConfBaseException, OSError, RecursionError),
    *(ValueError, TypeError, AttributeError, LookupError, OverflowError),  # numbers and dates that are none
)


def _parse(word: str) -> DictConfig:
    try:
        return OmegaConf.from_dotlist([word])
    except Exception as error:
        raise ConfigError(f"{word!r}: {_first_line(error)}") from error


def _merge(config: DictConfig, other: DictConfig, what: str) -> DictConfig:
    try:
        _fit_to_schema(config, other, what)
        return cast(DictConfig, OmegaConf.merge(config, other))
    except (OmegaConfBaseException, ValueError, TypeError) as error:
        key = getattr(error, "full_key", None)
        raise ConfigError(f"{what}: {f'{key}: ' if key else ''}{_first_line(error)}") from error


def _fit_to_schema(config: DictConfig, other: DictConfig, what: str, prefix: str = "") -> None:
    """Raise for keys that the schema lacks, naming the closest known key anywhere in it.

    Where the schema has a text, `off`, which YAML reads as a truth value, becomes the word again.
    """
    for key in other:
        node = OmegaConf.select(config, str(key)) if str(key) in config else None
        if str(key) not in config:
            here = [str(name) for name in config]
            near = did_you_mean(str(key), here) or did_you_mean(prefix + str(key), _all_keys(config))
            raise ConfigError(f"{what}: unknown key {prefix + str(key)!r}{near}; known here: {', '.join(here)}")
        child = other._get_node(key)
        if other[key] is False and isinstance(node, str):
            other[key] = "off"
        if (
            isinstance(node, DictConfig)
            and isinstance(child, DictConfig)
            and dataclasses.is_dataclass(OmegaConf.get_type(node))
        ):
            _fit_to_schema(node, child, what, f"{prefix}{key!s}.")


def _all_keys(config: DictConfig, prefix: str = "") -> list[str]:
    keys = []
    for key in config:
        child = config._get_node(key)
        keys += _all_keys(child, f"{prefix}{key!s}.") if isinstance(child, DictConfig) else [f"{prefix}{key!s}"]
    return keys


def _first_line(error: Exception) -> str:
    return one_line(str(error).split("\n    full_key")[0])
