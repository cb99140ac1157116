"""The networks of a model's name, or of a file, as one bundle; files that were trained beside each other together."""

from __future__ import annotations

from pathlib import Path

import torch

from sdic import zoo
from sdic.checkpoints import Bundle, read_bundle
from sdic.errors import CheckpointError, did_you_mean
from sdic.utils.tensors import fingerprint


def of_card(card: zoo.ModelCard) -> Bundle:
    """The networks of a model, from its seed or all its files. Hashes of files are checked, or recorded at the first
    reading, and files that were trained beside each other must be together."""
    bundle = Bundle({})
    if card.seed is not None:
        from sdic.tiny import tiny_bundle

        bundle = tiny_bundle(card.seed, method=card.method or "")
        bundle.source["sha256"] = f"seed {card.seed}"
    for wanted in card.files:
        path = zoo.require_file(wanted, card.name)
        part = read_bundle(path, zoo.known_sha256(wanted, path))
        zoo.remember_sha256(path, part.source["sha256"])
        bundle = bundle.merge(part)
    bundle.source["domain"] = card.domain
    check_partners(bundle, f"model {card.name!r}")
    return bundle


@torch.inference_mode(False)
def read_frozen(name: str, generator: str = "", after: str = "") -> Bundle:
    """The networks of a model name or of a file; the generator from another one if given, and from `after` what both
    lack."""
    if name in zoo.MODELS:
        bundle = of_card(zoo.MODELS[name])
    elif Path(name).is_file():
        bundle = read_bundle(name)
    else:
        raise unknown(name)
    if generator:
        found = read_frozen(generator).require("generator", generator)
        bundle = Bundle({**bundle.networks, "generator": found}, bundle.source)
    if after:
        bundle = Bundle({**read_frozen(after).networks, **bundle.networks}, bundle.source)
    return bundle


def unknown(name: str) -> CheckpointError:
    """What to say of a name that is neither a model nor a file."""
    return CheckpointError(
        f"{name!r} is neither a model{did_you_mean(name, zoo.MODELS)} nor a file ({Path(name).absolute()}); "
        f"models: {', '.join(sorted(zoo.MODELS))}"
    )


def partners(bundle: Bundle) -> list[str]:
    """The roles of the frozen networks that a training looked through; the header holds the hash of each."""
    return [key.removesuffix("_sha256") for key in bundle.source if key.endswith("_sha256")]


def check_partners(bundle: Bundle, what: str) -> None:
    """CheckpointError where networks were trained beside other frozen ones than the bundle's."""
    for role in (role for role in partners(bundle) if role in bundle.networks):
        expected, found = bundle.source[f"{role}_sha256"], fingerprint(bundle.networks[role])
        if found != expected:
            raise CheckpointError(
                f"{what}: it was trained beside the {role} {expected[:16]}..., but the {role} here is {found[:16]}...; "
                f"put the files of one training together, or train again beside this {role}"
            )
