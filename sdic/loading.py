"""`sdic.load`: a name or a file -> a ready inverter."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sdic import zoo
from sdic.bundles import check_partners, of_card, partners, read_frozen, unknown
from sdic.checkpoints import Bundle, read_bundle
from sdic.domains import DOMAINS, Domain
from sdic.errors import CheckpointError, ConfigError, SdicError
from sdic.fast import optimize_for_inference
from sdic.feature_networks import Lacking, missing_file, perceptual_distance
from sdic.methods import METHODS, Inverter, Precision, build_inverter, check_precision, find_method, method_for
from sdic.methods.arithmetic import slow_on_cpu
from sdic.methods.options import make_options, options_in
from sdic.methods.refining import Refiner
from sdic.types import Geometry
from sdic.utils.tensors import resolve_device

START = "start"
"""What stands before an option, with a dot, that is meant for the method whose codes are refined."""


@torch.inference_mode(False)  # tensors that are made in inference mode can do nothing but inference
def load(
    name_or_path: str | os.PathLike[str],
    device: str | torch.device = "auto",
    *,
    precision: Precision = "fp32",
    optimize: bool = True,
    method: str | None = None,
    refine: str | None = None,
    **options: Any,
) -> Inverter:
    """A model by its name (`sdic models` lists them), a weight file, or a training run's folder -> a frozen inverter.

    device: "auto", "cpu", "cuda", "cuda:1", "mps".
    precision: of the networks' arithmetic; pictures stay float32. One that is slower than fp32 on the CPU at hand is
    warned of.
    optimize: let the networks compute by their fast forms (`sdic.fast`; same pictures to float rounding).
    method: another than the model or file names, on the same networks, such as the encoder of a larger stack alone.
    refine: the method, model or file that goes on from this one's codes (docs/methods.md), or several one after the
    other, as "wplus+pti". A method's name means the domain's model of it, where it has networks of its own.
    options: of the method, such as layer=7; with `refine` those of the last one, as `start.NAME` of the first, and as
    `WORD.NAME` of one in between.
    CheckpointError for a model that is not here, ConfigError for a setting that no one knows and for methods that do
    not go together. It may be called inside `torch.inference_mode()`.
    """
    check_precision(precision)
    target = resolve_device(device)
    words = refine.split("+") if refine else []
    first, *others = options_apart(options, words)
    inverter = _loaded(str(name_or_path), method, first)
    for word, own in zip(words, others, strict=True):
        inverter = _refined(inverter, word, own)
    inverter.precision = precision
    if target.type == "cpu" and (slow := slow_on_cpu(precision)):
        warnings.warn(slow, stacklevel=2)
    _ = inverter.fingerprint  # of the float32 weights, before anything is rearranged
    if optimize:
        optimize_for_inference(inverter, target)
    return inverter.to(target)


def options_apart(options: Mapping[str, Any], words: Sequence[str]) -> list[dict[str, Any]]:
    """The options of the first model and of each of `words` that goes on from it. Those without a prefix are the last
    one's; the others begin with "start." or a word and a dot."""
    parts: dict[str, dict[str, Any]] = {place: {} for place in (START, *words)}
    for name, value in options.items():
        prefix, _, rest = name.partition(".")
        place, key = (prefix, rest) if rest and prefix in parts and words else ([START, *words][-1], name)
        parts[place][key] = value
    return [parts[START], *(parts[word] for word in words)]


def _loaded(name: str, method: str | None, options: dict[str, Any]) -> Inverter:
    """One method on the networks of a model, file or run, on the CPU, as they are written."""
    if name in zoo.MODELS:
        card = zoo.MODELS[name]
        if card.method is None and method is None:
            raise SdicError(f"{card.name!r} is a network for losses and metrics, not a model that inverts")
        defaults = card.options if method in (None, card.method) else {}
        return _assembled(method or str(card.method), of_card(card), card.name, defaults, options)
    if Path(name).is_file():
        return _from_file(Path(name), method, options)
    if (Path(name) / "checkpoints").is_dir():
        return _from_file(weights_of_run(Path(name)), method, options)
    raise unknown(name)


def _refined(starter: Inverter, word: str, options: dict[str, Any]) -> Inverter:
    """What `word` means, going on from the codes of `starter`."""
    model, domain = model_that_refines(word, starter.domain), starter.domain
    if model != word or word not in METHODS:
        inverter = _loaded(model, None, options)
    else:  # it has no networks but the generator
        source = {
            "file": starter.name,
            "geometry": starter.geometry.to_text(),
            **({"domain": domain} if domain else {}),
        }
        inverter = _assembled(word, Bundle({"generator": starter.generator}, source), word, {}, options)
    if not isinstance(inverter, Refiner):
        raise no_refiner(inverter.method)
    inverter.start_from(starter)
    inverter.name, inverter.domain = f"{starter.name}+{word}", inverter.domain or domain
    weights = [getattr(part, "weights_sha256", "") for part in (starter, inverter)]
    inverter.weights_sha256 = " + ".join(filter(None, weights))  # type: ignore[assignment]
    return inverter


def model_that_refines(word: str, domain: str | None) -> str:
    """The model or file that `refine=word` means: the word itself, or for a method's name the domain's model of it.

    The name of a method without networks of its own stays where the domain has no model of it. ConfigError where the
    word means nothing, several models, or a method that does not go on from codes.
    """
    if word not in METHODS or word in zoo.MODELS:
        return word
    if not METHODS[word].refines:
        raise no_refiner(word)
    found = [card.name for card in zoo.MODELS.values() if card.method == word and card.domain == domain]
    if len(found) > 1:
        raise ConfigError(f"there are several models of {word!r}: name one of {', '.join(found)}")
    if not found and set(METHODS[word].networks) > {"generator"}:
        raise ConfigError(
            f"method {word!r} has networks of its own, and no model of it is known of domain {domain or 'unknown'!r}; "
            "name a model or a weight file instead"
        )
    return found[0] if found else word


def no_refiner(method: str) -> ConfigError:
    """What to say of a method that does not go on from another's codes."""
    able = [name for name, kind in METHODS.items() if kind.refines]
    return ConfigError(
        f"method {method!r} does not go on from another method's codes; those that do: {', '.join(able)}"
    )


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
    chosen = {**defaults, **options_in(bundle.source, kind.Options), **options}
    geometry, domain = geometry_of(bundle), DOMAINS.get(bundle.source.get("domain", ""))
    seen = _seen_through(kind, make_options(kind.Options, chosen, method), domain)
    inverter = build_inverter(method, Bundle({**bundle.networks, **seen}, bundle.source), geometry, **chosen)
    inverter.name = name
    inverter.domain = bundle.source.get("domain") or None
    inverter.weights_sha256 = bundle.source.get("sha256", "")  # type: ignore[assignment]
    return inverter


def _seen_through(kind: type[Inverter], options: Any, domain: Domain | None) -> dict[str, nn.Module]:
    """The networks that a method looks through, as its option of that name says, else the domain's."""
    words = looked_through(kind, options, domain)
    return {
        role: Lacking(word) if missing_file(word) else perceptual_distance(word)  # codes and inversions do without
        for role, word in words.items()
        if word != "none"
    }


def looked_through(kind: type[Inverter], options: Any, domain: Domain | None) -> dict[str, str]:
    """Role -> the name or file of the network that a method looks through."""
    return {role: getattr(options, role) or getattr(domain or Domain, role) for role in kind.looks_through}


def _with_frozen(trained: Bundle, path: Path) -> Bundle:
    """The networks of a training run, with the frozen ones that they were trained beside.

    Those are a model, or files: beside `path` if they are there (so that a folder can be moved), else as they are
    named.
    """
    names = [trained.source["frozen"], *(trained.source.get(f"frozen_{part}", "") for part in ("generator", "after"))]
    beside = [path.parent / name for name in names]
    frozen = read_frozen(*(str(b) if b.is_file() else name for name, b in zip(names, beside, strict=True)))
    roles = partners(trained) or ["generator", "encoder"]  # files of earlier versions may not say
    networks = {role: frozen.require(role, str(path)) for role in roles}
    kept = {key: value for key, value in frozen.source.items() if key in ("domain", "geometry", "assumed")}
    bundle = Bundle({**networks, **trained.networks}, {**kept, **trained.source})
    check_partners(bundle, str(path))
    return bundle


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
    built for, or of at most 256 px where there is only a generator; a warning says so, and names whatever else the
    files leave open. CheckpointError where a file's sizes are not those of its networks.
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
        if not built and set(bundle.networks) == {"generator"}:
            built, size = {min(256, resolution)}, str(min(256, resolution))
        if len(built) != 1:
            raise CheckpointError(f"{file}: its header does not say its picture sizes, and no network of it does")
        geometry = Geometry(resolution, (int(size), int(size)))
        assumed += f"{'; ' if assumed else ''}it does not say its picture sizes: photos are squares of {size} px"
    if assumed:
        warnings.warn(f"{file}: {assumed}", stacklevel=2)
    return geometry
