"""`sdic.load`: a name or a file -> a ready inverter."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import torch

from sdic import zoo
from sdic.checkpoints import Bundle, read_bundle
from sdic.domains import DOMAINS
from sdic.errors import CheckpointError, SdicError, did_you_mean
from sdic.methods import METHODS, Inverter, Precision, build_inverter, check_precision, slow_on_cpu
from sdic.networks.optimize import optimize_for_inference
from sdic.types import Geometry
from sdic.utils.tensors import fingerprint, resolve_device


@torch.inference_mode(False)  # tensors that are made in inference mode can do nothing but inference
def load(
    name_or_path: str | os.PathLike[str],
    device: str | torch.device = "auto",
    *,
    precision: Precision = "fp32",
    optimize: bool = True,
    **options: Any,
) -> Inverter:
    """A model by its name (`sdic models` lists them), a weight file, or a training run's folder -> a frozen inverter.

    device: "auto", "cpu", "cuda", "cuda:1", "mps". precision: of the networks' arithmetic; pictures stay float32. One
    that is slower than fp32 on the CPU at hand is warned of.
    optimize: fold normalisation into convolutions and choose fast memory layouts (same pictures to float rounding).
    options: of the method, such as layer=7. CheckpointError for a model that is not here, ConfigError for a setting
    that no one knows. It may be called inside `torch.inference_mode()`.
    """
    name = str(name_or_path)
    check_precision(precision)
    target = resolve_device(device)
    if name in zoo.MODELS:
        inverter = _from_card(zoo.MODELS[name], options)
    elif Path(name).is_file():
        inverter = _from_file(Path(name), options)
    elif (Path(name) / "checkpoints").is_dir():
        inverter = _from_file(weights_of_run(Path(name)), options)
    else:
        hint = did_you_mean(name, zoo.MODELS)
        raise CheckpointError(
            f"{name!r} is neither a model{hint} nor a file ({Path(name).absolute()}); "
            f"models: {', '.join(sorted(zoo.MODELS))}"
        )
    inverter.precision = precision
    if target.type == "cpu" and (slow := slow_on_cpu(precision)):
        warnings.warn(slow, stacklevel=2)
    _ = inverter.fingerprint  # of the float32 weights, before anything is rearranged
    if optimize:
        optimize_for_inference(inverter, target)
    return inverter.to(target)


def _from_card(card: zoo.ModelCard, options: dict[str, Any]) -> Inverter:
    if card.method is None:
        raise SdicError(f"{card.name!r} is a network for losses and metrics, not a model that inverts")
    return _assembled(card.method, _of_card(card), card.name, card.options, options)


def _of_card(card: zoo.ModelCard) -> Bundle:
    """The networks of a model, from its seed or all its files. Hashes of files are checked, or recorded at the first
    reading, and files that were trained beside each other must be together."""
    bundle = Bundle({})
    if card.seed is not None:
        from sdic.tiny import tiny_bundle

        bundle = tiny_bundle(card.seed)
        bundle.source["sha256"] = f"seed {card.seed}"
    for wanted in card.files:
        path = zoo.need_file(wanted, card.name)
        part = read_bundle(path, zoo.known_sha256(wanted, path))
        zoo.remember_sha256(path, part.source["sha256"])
        bundle = bundle.merge(part)
    bundle.source["domain"] = card.domain
    _check_partners(bundle, f"model {card.name!r}")
    return bundle


def _from_file(path: Path, options: dict[str, Any]) -> Inverter:
    """The most that a file's networks allow: SDIC if it holds DIPN and DICN, else e4e."""
    bundle = read_bundle(path)
    if "frozen" in bundle.source and "generator" not in bundle.networks:  # what a training run exports
        bundle = _with_frozen(bundle, path)
    able = [name for name, (kind, _) in METHODS.items() if set(kind.roles) <= set(bundle.networks)]
    if not able:
        raise CheckpointError(
            f"{path}: holds {', '.join(sorted(bundle.networks))}, which no method can invert with; "
            + "; ".join(f"{name} needs {', '.join(kind.roles)}" for name, (kind, _) in METHODS.items())
        )
    method = max(able, key=lambda name: len(METHODS[name][0].roles))
    return _assembled(method, bundle, path.stem, {}, options)


def _assembled(method: str, bundle: Bundle, name: str, defaults: dict[str, Any], options: dict[str, Any]) -> Inverter:
    """The inverter of a bundle. DICN compensates the layer that its file says, or `defaults`; `options` go first."""
    if "layer" in bundle.source and "dicn" in METHODS[method][0].roles:
        defaults = {**defaults, "layer": int(bundle.source["layer"])}
    inverter = build_inverter(method, bundle, geometry_of(bundle), **{**defaults, **options})
    inverter.name = name
    inverter.domain = bundle.source.get("domain")
    inverter.weights_sha256 = bundle.source.get("sha256", "")  # type: ignore[assignment]
    return inverter


@torch.inference_mode(False)
def read_frozen(name: str, generator: str = "") -> Bundle:
    """The networks of a model name or of a file; the generator from another one if given."""
    bundle = _networks_of(name)
    if generator:
        found = _networks_of(generator).need("generator", generator)
        bundle = Bundle({**bundle.networks, "generator": found}, bundle.source)
    return bundle


def _networks_of(name: str) -> Bundle:
    if name in zoo.MODELS:
        return _of_card(zoo.MODELS[name])
    if Path(name).is_file():
        return read_bundle(name)
    raise CheckpointError(
        f"{name!r} is neither a model{did_you_mean(name, zoo.MODELS)} nor a file ({Path(name).absolute()}); "
        f"models: {', '.join(sorted(zoo.MODELS))}"
    )


def _with_frozen(trained: Bundle, path: Path) -> Bundle:
    """DIPN and DICN of a training run, with the generator and e4e that they were trained beside.

    Those are a model, or files: beside `path` if they are there (so that a folder can be moved), else as they are
    named.
    """
    names = [trained.source["frozen"], trained.source.get("frozen_generator", "")]
    beside = [path.parent / name for name in names]
    frozen = read_frozen(*(str(b) if b.is_file() else name for name, b in zip(names, beside, strict=True)))
    networks = {role: frozen.need(role, str(path)) for role in ("generator", "encoder")}
    kept = {key: value for key, value in frozen.source.items() if key in ("domain", "geometry", "assumed")}
    bundle = Bundle({**networks, **trained.networks}, {**kept, **trained.source})
    _check_partners(bundle, str(path))
    return bundle


def _check_partners(bundle: Bundle, what: str) -> None:
    """CheckpointError where DIPN and DICN were trained beside another generator or e4e than the bundle's."""
    for role in ("generator", "encoder"):
        expected = bundle.source.get(f"{role}_sha256")
        if expected is None or role not in bundle.networks:
            continue
        found = fingerprint(bundle.networks[role])
        if found != expected:
            raise CheckpointError(
                f"{what}: its DIPN and DICN were trained beside the {role} {expected[:16]}..., but the {role} here is "
                f"{found[:16]}...; put the files of one training together, or train SDIC again beside this {role}"
            )


def weights_of_run(folder: Path) -> Path:
    """The best weights of a training run, or the newest where it was not validated."""
    best = folder / "checkpoints" / "best.safetensors"
    if best.is_file():
        return best
    newest = sorted((folder / "checkpoints").glob("weights-*.safetensors"))
    if not newest:
        raise CheckpointError(f"{folder.absolute()}: this training run has saved no weights yet")
    return newest[-1]


def geometry_of(bundle: Bundle) -> Geometry:
    """The picture sizes that the networks of a bundle are for: those that its files say, or their domain's.

    Files of earlier versions may say neither. Photos are then taken to be squares of the size that the encoder was
    built for; a warning says so, and names whatever else the files leave open. CheckpointError where a file's sizes are
    not those of its networks.
    """
    generator: Any = bundle.need("generator", "a model")
    encoder: Any = bundle.need("encoder", "a model")
    resolution, size = generator.config.resolution, encoder.config.input_size
    file, text = bundle.source.get("file", "these networks"), bundle.source.get("geometry")
    assumed = bundle.source.get("assumed", "")
    known = DOMAINS.get(bundle.source.get("domain", ""))
    geometry = (None if known is None else known.geometry) if text is None else Geometry.from_text(text)
    fits = geometry is not None and (geometry.resolution, max(geometry.input_size)) == (resolution, size)
    if text is not None and not fits:
        raise CheckpointError(
            f"{file}: its header says {geometry}, but its generator draws {resolution} px and its encoder was built "
            f"for photos of {size} px; put the files of one training together"
        )
    if geometry is None or not fits:
        geometry = Geometry(resolution, (size, size))
        assumed += f"{'; ' if assumed else ''}it does not say its picture sizes: photos are squares of {size} px"
    if assumed:
        warnings.warn(f"{file}: {assumed}", stacklevel=2)
    return geometry
