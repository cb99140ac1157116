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
from sdic.fast import optimize_for_inference
from sdic.methods import Inverter, Precision, build_inverter, check_precision, find_method, method_for, slow_on_cpu
from sdic.methods.options import options_in
from sdic.types import Geometry
from sdic.utils.tensors import fingerprint, resolve_device


@torch.inference_mode(False)  # tensors that are made in inference mode can do nothing but inference
def load(
    name_or_path: str | os.PathLike[str],
    device: str | torch.device = "auto",
    *,
    precision: Precision = "fp32",
    optimize: bool = True,
    method: str | None = None,
    **options: Any,
) -> Inverter:
    """A model by its name (`sdic models` lists them), a weight file, or a training run's folder -> a frozen inverter.

    device: "auto", "cpu", "cuda", "cuda:1", "mps".
    precision: of the networks' arithmetic; pictures stay float32. One that is slower than fp32 on the CPU at hand is
    warned of.
    optimize: let the networks compute by their fast forms (`sdic.fast`; same pictures to float rounding).
    method: another than the model or file names, on the same networks, such as the encoder of a larger stack alone.
    options: of the method, such as layer=7. CheckpointError for a model that is not here, ConfigError for a setting
    that no one knows. It may be called inside `torch.inference_mode()`.
    """
    name = str(name_or_path)
    check_precision(precision)
    target = resolve_device(device)
    if name in zoo.MODELS:
        card = zoo.MODELS[name]
        if card.method is None:
            raise SdicError(f"{card.name!r} is a network for losses and metrics, not a model that inverts")
        inverter = _assembled(method or card.method, _of_card(card), card.name, card.options, options)
    elif Path(name).is_file():
        inverter = _from_file(Path(name), method, options)
    elif (Path(name) / "checkpoints").is_dir():
        inverter = _from_file(weights_of_run(Path(name)), method, options)
    else:
        raise _unknown(name)
    inverter.precision = precision
    if target.type == "cpu" and (slow := slow_on_cpu(precision)):
        warnings.warn(slow, stacklevel=2)
    _ = inverter.fingerprint  # of the float32 weights, before anything is rearranged
    if optimize:
        optimize_for_inference(inverter, target)
    return inverter.to(target)


def _of_card(card: zoo.ModelCard) -> Bundle:
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
    _check_partners(bundle, f"model {card.name!r}")
    return bundle


def _from_file(path: Path, method: str | None, options: dict[str, Any]) -> Inverter:
    """The method that the file's header or layout names."""
    bundle = read_bundle(path)
    if "frozen" in bundle.source and "generator" not in bundle.networks:  # what a training run exports
        bundle = _with_frozen(bundle, path)
    found = method or bundle.source.get("method") or method_for(bundle.networks, str(path))
    return _assembled(found, bundle, path.stem, {}, options)


def _assembled(method: str, bundle: Bundle, name: str, defaults: dict[str, Any], options: dict[str, Any]) -> Inverter:
    """The inverter of a bundle. Its options are `options`, then those that its file names, then `defaults`."""
    kind = find_method(method)
    if set(kind.networks) <= set(bundle.networks) and not kind.fits(bundle.networks):
        raise CheckpointError(f"{name}: its networks are of other kinds than those of method {method!r}")
    trained = options_in(bundle.source, kind.Options)
    inverter = build_inverter(method, bundle, geometry_of(bundle), **{**defaults, **trained, **options})
    inverter.name = name
    inverter.domain = bundle.source.get("domain")
    inverter.weights_sha256 = bundle.source.get("sha256", "")  # type: ignore[assignment]
    return inverter


@torch.inference_mode(False)
def read_frozen(name: str, generator: str = "") -> Bundle:
    """The networks of a model name or of a file; the generator from another one if given."""
    if name in zoo.MODELS:
        bundle = _of_card(zoo.MODELS[name])
    elif Path(name).is_file():
        bundle = read_bundle(name)
    else:
        raise _unknown(name)
    if generator:
        found = read_frozen(generator).require("generator", generator)
        bundle = Bundle({**bundle.networks, "generator": found}, bundle.source)
    return bundle


def _unknown(name: str) -> CheckpointError:
    return CheckpointError(
        f"{name!r} is neither a model{did_you_mean(name, zoo.MODELS)} nor a file ({Path(name).absolute()}); "
        f"models: {', '.join(sorted(zoo.MODELS))}"
    )


def _with_frozen(trained: Bundle, path: Path) -> Bundle:
    """The networks of a training run, with the frozen ones that they were trained beside.

    Those are a model, or files: beside `path` if they are there (so that a folder can be moved), else as they are
    named.
    """
    names = [trained.source["frozen"], trained.source.get("frozen_generator", "")]
    beside = [path.parent / name for name in names]
    frozen = read_frozen(*(str(b) if b.is_file() else name for name, b in zip(names, beside, strict=True)))
    roles = _partners(trained) or ["generator", "encoder"]  # files of earlier versions may not say
    networks = {role: frozen.require(role, str(path)) for role in roles}
    kept = {key: value for key, value in frozen.source.items() if key in ("domain", "geometry", "assumed")}
    bundle = Bundle({**networks, **trained.networks}, {**kept, **trained.source})
    _check_partners(bundle, str(path))
    return bundle


def _partners(bundle: Bundle) -> list[str]:
    """The roles of the frozen networks that a training looked through; the header holds the hash of each."""
    return [key.removesuffix("_sha256") for key in bundle.source if key.endswith("_sha256")]


def _check_partners(bundle: Bundle, what: str) -> None:
    """CheckpointError where networks were trained beside other frozen ones than the bundle's."""
    for role in (role for role in _partners(bundle) if role in bundle.networks):
        expected, found = bundle.source[f"{role}_sha256"], fingerprint(bundle.networks[role])
        if found != expected:
            raise CheckpointError(
                f"{what}: it was trained beside the {role} {expected[:16]}..., but the {role} here is {found[:16]}...; "
                f"put the files of one training together, or train again beside this {role}"
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
    generator: Any = bundle.require("generator", "a model")
    configs: list[Any] = [getattr(network, "config", None) for network in bundle.networks.values()]
    built = {config.input_size for config in configs if hasattr(config, "input_size")}  # what looks at photos
    resolution = generator.config.resolution
    file, text = bundle.source.get("file", "these networks"), bundle.source.get("geometry")
    assumed = bundle.source.get("assumed", "")
    known = DOMAINS.get(bundle.source.get("domain", ""))
    geometry = (None if known is None else known.geometry) if text is None else Geometry.from_text(text)
    fits = geometry is not None and geometry.resolution == resolution and built <= {max(geometry.input_size)}
    size = " and ".join(map(str, sorted(built)))
    if text is not None and not fits:
        raise CheckpointError(
            f"{file}: its header says {geometry}, but its generator draws {resolution} px and its encoder was built "
            f"for photos of {size} px; put the files of one training together"
        )
    if geometry is None or not fits:
        if len(built) != 1:
            raise CheckpointError(f"{file}: its header does not say its picture sizes, and no network of it does")
        geometry = Geometry(resolution, (int(size), int(size)))
        assumed += f"{'; ' if assumed else ''}it does not say its picture sizes: photos are squares of {size} px"
    if assumed:
        warnings.warn(f"{file}: {assumed}", stacklevel=2)
    return geometry
