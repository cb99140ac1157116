"""The methods under test: a method's name, a model or a file -> an inverter with a label and an identity."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sdic import zoo
from sdic.errors import CheckpointError, ConfigError, UnknownNameError
from sdic.evaluation.domains import Domain
from sdic.loading import load
from sdic.methods import METHODS, Inverter

LABEL = re.compile(r"[\w.+-]+")


@dataclass(frozen=True)
class Contender:
    """label: how reports call it. model: what was loaded. weights: sha256 of its files."""

    label: str
    model: str
    inverter: Inverter
    weights: str

    def identity(self) -> dict[str, str]:
        """What its numbers depend on. A training run's file holds DIPN and DICN alone, so the generator is told too."""
        return {
            "method": self.inverter.method,
            "weights": self.weights,
            "generator": self.inverter.fingerprint,
            **{name: str(value) for name, value in vars(self.inverter.options).items()},
            "precision": self.inverter.precision,
        }

    def variants(self) -> dict[str, Inverter]:
        """name -> the same networks with other options: the method's other ways to edit."""
        return self.inverter.variants()


def resolve(words: Sequence[str], known: Domain) -> dict[str, str]:
    """Label -> name or path for `sdic.load`.

    A word is the name of a method (the domain's model of it is meant), a model of the domain, a weight file or training
    run's folder, or LABEL=any of these. UnknownNameError and ConfigError say what is wrong; nothing is loaded.
    """
    chosen: dict[str, str] = {}
    for word in words:
        label, equals, name = word.partition("=")
        if not equals or Path(word).exists():
            label, name = "", word
        model = _model(name, known)
        label = label or (name if name in METHODS or name in zoo.MODELS else Path(name).resolve().stem)
        if not LABEL.fullmatch(label):
            raise ConfigError(f"{word!r}: a method's label has letters, digits and . _ + - only; write LABEL=FILE")
        if label in chosen:
            raise ConfigError(f"two methods are called {label!r}; write LABEL={name} for one of them")
        chosen[label] = model
    if not chosen:
        raise ConfigError("no methods to evaluate: --methods e4e,sdic")
    return chosen


def _model(name: str, known: Domain) -> str:
    cards = {card.name: card for card in zoo.MODELS.values() if card.domain == known.name and card.method is not None}
    if name in METHODS:
        found = [card.name for card in cards.values() if card.method == name]
        if len(found) > 1:
            raise ConfigError(f"domain {known.name!r} has several models of {name!r}: name one of {', '.join(found)}")
        if found:
            return found[0]
    if name in zoo.MODELS and name not in cards:
        card = zoo.MODELS[name]
        raise ConfigError(
            f"{name!r} is a model of domain {card.domain!r}, not {known.name!r}"
            if card.method is not None
            else f"{name!r} is a network for losses and metrics, not a model that inverts"
        )
    if name in cards or Path(name).exists():
        return name
    methods = {str(card.method) for card in cards.values()}
    raise UnknownNameError(f"method, model or file of domain {known.name!r}", name, methods | set(cards))


def load_contenders(chosen: dict[str, str], device: str) -> list[Contender]:
    """Load them. ConfigError where they do not look at pictures of one size, and so cannot be compared."""
    contenders = []
    for label, name in chosen.items():
        inverter = load(name, device)
        weights = str(getattr(inverter, "weights_sha256", ""))
        contenders.append(Contender(label, name, inverter, weights))
    sizes = {contender.label: contender.inverter.geometry.input_size for contender in contenders}
    if len(set(sizes.values())) > 1:
        told = ", ".join(f"{label} {height}x{width}" for label, (height, width) in sizes.items())
        raise ConfigError(f"methods look at pictures of different sizes and cannot be compared: {told}")
    height, width = contenders[0].inverter.geometry.input_size
    if height != width:
        raise CheckpointError(f"portraits are square, and these models look at {height}x{width}")
    return contenders
