"""The methods under test: a method's name, a model or a file -> an inverter with a label and an identity."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sdic import zoo
from sdic.domains import DOMAINS, Domain
from sdic.errors import ConfigError, UnknownNameError
from sdic.loading import load, model_that_refines
from sdic.methods import METHODS, Inverter
from sdic.settings import require
from sdic.utils.tensors import fingerprint

LABEL = re.compile(r"[\w.+-]+")


@dataclass(frozen=True)
class MethodEntry:
    """label: how reports call it. model: what was loaded. weights: sha256 of its files."""

    label: str
    model: str
    inverter: Inverter
    weights: str

    def identity(self) -> dict[str, str]:
        """What its numbers depend on. A file may hold only what was trained, so the generator counts too."""
        return {
            "method": self.inverter.method,
            "weights": self.weights,
            "generator": self.inverter.fingerprint,
            **{name: str(value) for name, value in vars(self.inverter.options).items()},
            **({"refined": self.model} if refines(self.model) else {}),
            **{role: fingerprint(net) for role in self.inverter.looks_through if (net := getattr(self.inverter, role))},
            "precision": self.inverter.precision,
        }


def refines(name: str) -> bool:
    """Whether it is A+B: method B that goes on from the codes of A."""
    return "+" in name and name not in zoo.MODELS and not Path(name).exists()


def usual_methods(known: Domain) -> list[str]:
    """The methods that a domain has models of: those whose files are here, or all where no model's are. Of several
    models of a method, the domain's own goes by the method's name, the others by theirs. Those that optimise every
    photo, for minutes, must be named."""
    cards = [card for card in _cards(known).values() if card.method in METHODS]
    cards = [card for card in cards if not METHODS[str(card.method)].looks_through]
    ready = [card for card in cards if all(zoo.find_file(file) is not None for file in card.files)]
    several = {name for name in METHODS if sum(card.method == name for card in cards) > 1}
    return [
        card.name if name in several and card.name != known.name else name
        for name in METHODS
        for card in ready or cards
        if card.method == name
    ]


def resolve(words: Sequence[str], known: Domain | None) -> dict[str, str]:
    """Label -> name or path for `sdic.load`.

    A word is the name of a method (the domain's model of it is meant; of several, that of the domain's own name), a
    model of the domain, a weight file or training run's folder, A+B for B going on from the codes of A, or LABEL=any of
    these. known: None for models and files of any domain. UnknownNameError and ConfigError say what is wrong; nothing
    is loaded.
    """
    chosen: dict[str, str] = {}
    for word in words:
        label, name = _split(word)
        model = _model(name, known)
        label = label or (name if name in METHODS or name in zoo.MODELS else Path(name).resolve().stem)
        wanted = "a method's label has letters, digits and . _ + - only; write LABEL=FILE"
        require(LABEL.fullmatch(label) is not None, f"{word!r}: {wanted}")
        require(label not in chosen, f"two methods are called {label!r}; write LABEL={name} for one of them")
        chosen[label] = model
    require(bool(chosen), "no methods to evaluate: say which, as --methods METHOD,FILE")
    return chosen


def name_methods(words: Sequence[str]) -> bool:
    """Whether any word is the name of a method, which a domain must have a model of."""
    return any(part in METHODS for word in words for part in _split(word)[1].split("+"))


def _split(word: str) -> tuple[str, str]:
    """(label or "", name) of LABEL=NAME or NAME."""
    label, equals, name = word.partition("=")
    return (label, name) if equals and not Path(word).exists() else ("", word)


def _cards(known: Domain | None) -> dict[str, zoo.ModelCard]:
    """The models of a domain (None: of all) that invert, by name."""
    cards = (card for card in zoo.MODELS.values() if card.method is not None)
    return {card.name: card for card in cards if known is None or card.domain == known.name}


def _model(name: str, known: Domain | None) -> str:
    cards = _cards(known)
    if refines(name):
        first, *others = name.split("+")
        domain = None if known is None else known.name
        return "+".join([_model(first, known), *(model_that_refines(word, domain) for word in others)])
    if name in METHODS:
        found = [card.name for card in cards.values() if card.method == name]
        own = [label for label in found if known is not None and label == known.name]
        chosen = own or found
        require(len(chosen) < 2, f"there are several models of {name!r}: name one of {', '.join(found)}")
        if chosen:
            return chosen[0]
    if name in zoo.MODELS and name not in cards:
        card = zoo.MODELS[name]
        raise ConfigError(
            f"{name!r} is a network for losses and metrics, not a model that inverts"
            if card.method is None or known is None
            else f"{name!r} is a model of domain {card.domain!r}, not {known.name!r}"
        )
    if name in cards or Path(name).exists():
        return name
    methods = set() if known is None else {str(card.method) for card in cards.values()}
    where = "" if known is None else f" of domain {known.name!r}"
    raise UnknownNameError(f"method, model or file{where}", name, methods | set(cards))


def load_methods(chosen: dict[str, str], device: str) -> list[MethodEntry]:
    """Load them. ConfigError where they do not look at pictures of one size, and so cannot be compared."""
    entries = []
    for label, name in chosen.items():
        first, _, after = name.partition("+") if refines(name) else (name, "", "")
        inverter = load(first, device, refine=after) if after else load(name, device)
        entries.append(MethodEntry(label, name, inverter, str(getattr(inverter, "weights_sha256", ""))))
    sizes = {entry.label: entry.inverter.measured.input_size for entry in entries}
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{label} {height}x{width}" for label, (height, width) in sizes.items())
        raise ConfigError(f"methods look at pictures of different sizes and cannot be compared: {listed}")
    return entries


def domain_of_all(entries: Sequence[MethodEntry]) -> Domain:
    """The domain that the methods' models and files name; one without a name where they name none.

    ConfigError where they name several.
    """
    names = sorted({entry.inverter.domain for entry in entries if entry.inverter.domain})
    require(len(names) < 2, f"methods of domains {', '.join(names)}: say with --domain what the photos show")
    name = names[0] if names else ""
    return DOMAINS.get(name) or Domain(name, entries[0].inverter.measured)
