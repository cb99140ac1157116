"""NVIDIA's own pickles: stylegan2-ada-pytorch and stylegan3 (its StyleGAN2), and stylegan2(-ada) of TensorFlow.

{G, D, G_ema, ...}, each an object of `torch_utils.persistence`, or a tuple (G, D, Gs) of `dnnlib.tflib` networks. They
arrive as inert records. Of G_ema (Gs) the tensors are taken, number for number, and every setting that changes pictures
is compared with what our generator does; where that differs, the file is refused with what differs.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from sdic.checkpoints.bundle import Bundle, build
from sdic.checkpoints.keymap import Rule, load_into, rename
from sdic.checkpoints.layouts.common import below_it, find_state, read_network, set_aside
from sdic.checkpoints.layouts.stylegan2 import FIR, _is_the_fir_filter
from sdic.checkpoints.pickles import Record
from sdic.checkpoints.stored import plain
from sdic.errors import CheckpointError
from sdic.networks.stylegan2 import Generator, GeneratorConfig

NAME = "stylegan2-ada"
TENSORFLOW = "dnnlib.tflib.network.Network"
DROPPED = {
    "G": "the generator in training; the averaged one, G_ema, is what is used",
    "D": "the discriminator, which no method here uses",
    "augment_pipe": "training only",
    "training_set_kwargs": "training only",
}
_KEYS = ("synthesis.b4.", "mapping.fc0.")  # of a generator's state dict, such as forks of PTI save
_PARTS = 1000  # modules of a network; the largest has 150
_PROBES = 2  # codes on which the clamp is measured
Settings = dict[str, dict[str, Any]]


def recognise(content: Any) -> bool:
    """Whether what a file holds is one of NVIDIA's networks, a dict or tuple of them, or a generator's state dict."""
    if isinstance(content, Mapping):
        bare = find_state(content, *_KEYS)[1]
        own = bool(bare) and not any(".modify_" in key for key in bare)  # StyleRes keeps networks of its own in one
        return own or any(isinstance(value, Record) for value in content.values())
    return isinstance(content, Record) or (
        isinstance(content, tuple) and len(content) == 3 and all(isinstance(value, Record) for value in content)
    )


def read(content: Any, what: str) -> Bundle:
    """G_ema as our generator. CheckpointError names what is not there or what our generator does not do."""
    dropped: dict[str, str] = {}
    place, bare = find_state(content, *_KEYS)
    if bare:
        set_aside(content, place, (), dropped)
        config = _config(bare, what)
        bundle = Bundle({"generator": _generator(config, bare, {}, what, dropped)}, {"file": what}, dropped)
        bundle.assume("it holds weights without settings: taken for a StyleGAN2 of NVIDIA's usual ones")
        return bundle
    if isinstance(content, tuple):
        dropped, content = {name: DROPPED[name] for name in ("G", "D")}, content[2]
    elif isinstance(content, Mapping):
        dropped = {str(key): DROPPED.get(str(key), "not used") for key in content if key != "G_ema"}
        if not isinstance(content.get("G_ema"), Record):
            raise CheckpointError(f"{what}: holds {', '.join(map(str, list(content)[:8]))}, but no network G_ema")
        content = content["G_ema"]
    made_by_tensorflow = content.kind == TENSORFLOW
    state, settings = (_from_tensorflow if made_by_tensorflow else _of_modules)(content, what)
    config = _config(state, what)
    if not made_by_tensorflow:
        _check(settings, config, what)
    bundle = Bundle({"generator": _generator(config, state, settings, what, dropped)}, {"file": what}, dropped)
    if "mapping.w_avg" not in state:
        bundle.assume("it holds no w_avg: the mean of mapped codes, computed here")
    return bundle


def _of_modules(network: Record, what: str) -> tuple[dict[str, Tensor], Settings]:
    """(every tensor by its dotted name, every module's other attributes) of a network of torch modules."""
    state: dict[str, Tensor] = {}
    settings: Settings = {}
    waiting: list[tuple[str, Any]] = [("", network)]
    while waiting:
        path, module = waiting.pop()
        if not isinstance(module, Record) or not isinstance(module.state, dict) or len(settings) >= _PARTS:
            raise CheckpointError(f"{what}: {path or 'G_ema'} is no module that sdic knows")
        parts: dict[str, Any] = {name: module.state.get(name) for name in ("_parameters", "_buffers", "_modules")}
        if not all(isinstance(part, dict) for part in parts.values()):
            raise CheckpointError(f"{what}: {path or 'G_ema'} is no torch module")
        settings[path] = {key: value for key, value in module.state.items() if key not in parts}
        before = f"{path}." if path else ""
        for tensors in (parts["_parameters"], parts["_buffers"]):
            state.update({f"{before}{key}": value for key, value in tensors.items() if value is not None})
        waiting += [(f"{before}{key}", value) for key, value in parts["_modules"].items()]
    strange = [key for key, value in state.items() if not isinstance(value, Tensor)]
    if strange:
        raise CheckpointError(f"{what}: {strange[0]} is no tensor")
    return state, settings


def _config(state: Mapping[str, Tensor], what: str) -> GeneratorConfig:
    """The sizes of the generator, read off its tensors; `channel_base` and `channel_max` where they give its widths."""
    parts = {key.rpartition(".")[0] for key in state}
    blocks = {path.split(".")[1] for path in parts if path.startswith("synthesis.")}
    if "b4" not in blocks:
        alias_free = "input" in blocks
        raise CheckpointError(
            f"{what}: G_ema is {'the alias-free generator of StyleGAN3' if alias_free else 'no StyleGAN2 generator'}; "
            "sdic has StyleGAN2's"
        )
    depth = sum(path.startswith("mapping.fc") for path in parts)
    sizes = [4]
    while f"b{2 * sizes[-1]}" in blocks and len(sizes) < 12:
        sizes.append(2 * sizes[-1])
    biases = [state.get(f"synthesis.b{size}.conv1.bias") for size in sizes]
    first = state.get("mapping.fc0.weight")
    if first is None or first.ndim != 2 or any(bias is None or bias.ndim != 1 for bias in biases):
        raise CheckpointError(f"{what}: G_ema is incomplete: mapping.fc0.weight or synthesis.b*.conv1.bias is missing")
    widths = [len(bias) for bias in biases if bias is not None]
    common: dict[str, Any] = {"resolution": sizes[-1], "style_dim": len(first), "mapping_layers": depth}
    for base, most in ((32768, 512), (widths[-1] * sizes[-1], max(widths))):
        if [min(base // size, most) for size in sizes] == widths:
            return GeneratorConfig(**common, channel_base=base, channel_max=most)
    return GeneratorConfig(**common, channels=tuple(widths))


def _check(settings: Settings, config: GeneratorConfig, what: str) -> None:
    """CheckpointError for every setting with which NVIDIA's generator makes other pictures than ours."""
    width = config.style_dim

    def expect(path: str, name: str, wanted: Any, means: str) -> None:
        found = settings.get(path, {}).get(name, "not said")
        numbers = isinstance(found, (int, float)) and isinstance(wanted, (int, float))
        if not (math.isclose(found, wanted, rel_tol=1e-4) if numbers else found == wanted):
            where = f"{path}." if path else ""
            said = found if isinstance(found, (str, int, float, type(None))) else type(found).__name__
            raise CheckpointError(f"{what}: {means} ({where}{name} is {said!r}, our generator has {wanted!r})")

    expect("", "c_dim", 0, "a conditional generator, which sdic cannot run")
    expect("", "img_channels", 3, "not a generator of RGB pictures")
    for name in ("z_dim", "w_dim"):
        expect("", name, width, "z and w have different sizes")
    for layer in (f"mapping.fc{index}" for index in range(config.mapping_layers)):
        expect(layer, "activation", "lrelu", "another activation in the mapping network")
        for name, gain in (("bias_gain", 0.01), ("weight_gain", 0.01 / math.sqrt(width))):
            expect(layer, name, gain, "another learning-rate multiplier in the mapping network")
    for size in (4 << n for n in range(config.latent_rows // 2)):
        block = f"synthesis.b{size}"
        expect(block, "architecture", "skip", "a generator with another architecture than 'skip'")
        for name, up in (("conv0", 2), ("conv1", 1))[size == 4 :]:
            expect(f"{block}.{name}", "activation", "lrelu", "another activation")
            expect(f"{block}.{name}", "act_gain", math.sqrt(2), "another gain of the activation")
            expect(f"{block}.{name}", "up", up, "another order of upsampling")
        inputs = config.channels_at(size)
        expect(f"{block}.torgb", "weight_gain", 1 / math.sqrt(inputs), "another gain of the RGB output")
        for affine in (f"{block}.{name}.affine" for name in ("conv0", "conv1", "torgb")[size == 4 :]):
            expect(affine, "activation", "linear", "another activation of a style")
            for name, gain in (("bias_gain", 1), ("weight_gain", 1 / math.sqrt(width))):
                expect(affine, name, gain, "another gain of a style")


def read_generator(state: Mapping[str, Tensor], bundle: Bundle, prefix: str) -> Generator:
    """A generator whose tensors alone a file has, by NVIDIA's names, into a bundle. Its settings are taken to be those
    of config-f."""
    config = _config(state, bundle.source["file"])
    rules = _rules(4 << n for n in range(config.latent_rows // 2))
    generator: Generator = read_network(bundle, "generator", config, state, rules, prefix)
    return generator


def _rules(sizes: Iterable[int]) -> list[Rule]:
    """NVIDIA's names -> ours. Convolution 0 is b4.conv1; b8.conv0 is 1, b8.conv1 is 2, and so on."""
    rules = below_it({"mapping.fc{i}": "mapping.layers.{i}"})
    rules += [
        Rule("mapping.w_avg", "latent_avg"),
        Rule("synthesis.b4.const", "synthesis.const", convert=lambda tensor: tensor[None]),
        Rule("synthesis.b{i}.resample_filter", None, FIR, check=_is_the_fir_filter),
        Rule("synthesis.b{i}.conv{j}.resample_filter", None, FIR, check=_is_the_fir_filter),
    ]
    for block, size in enumerate(sizes):
        for name, layer in (("conv0", 2 * block - 1), ("conv1", 2 * block)):
            source, target = f"synthesis.b{size}.{name}", f"synthesis.convs.{layer}"
            rules.append(Rule(f"{source}.noise_const", f"{target}.noise", convert=lambda tensor: tensor[None, None]))
            rules += below_it({source: target})
        rules += below_it({f"synthesis.b{size}.torgb": f"synthesis.to_rgb.{block}"})
    return rules


def discriminator_rules(resolution: int) -> list[Rule]:
    """NVIDIA's names of the discriminator (resnet) for pictures of this side -> ours."""
    rules = [Rule(f"{name}.resample_filter", None, FIR, check=_is_the_fir_filter) for name in ("b{i}", "b4.conv")]
    rules += [
        Rule(f"b{{i}}.{name}.resample_filter", None, FIR, check=_is_the_fir_filter)
        for name in ("fromrgb", "conv0", "conv1", "skip")
    ]
    names = {f"b{resolution}.fromrgb": "from_rgb", "b4.conv": "final_conv"}
    for block, size in enumerate(resolution >> n for n in range(int(math.log2(resolution)) - 2)):
        names |= {f"b{size}.conv{n}": f"blocks.{block}.conv{n + 1}" for n in range(2)}
        rules.append(Rule(f"b{size}.skip.weight", f"blocks.{block}.skip.weight"))
    for source, target in names.items():
        rules += [Rule(f"{source}.weight", f"{target}.conv.weight"), Rule(f"{source}.bias", f"{target}.bias")]
    return [*rules, *below_it({"b4.fc": "final_linear", "b4.out": "output"})]


def _generator(
    config: GeneratorConfig, state: Mapping[str, Tensor], settings: Settings, what: str, dropped: dict[str, str]
) -> Generator:
    """Our generator with the tensors of the file in it."""
    sizes = [4 << n for n in range(config.latent_rows // 2)]
    renamed = rename(state, _rules(sizes), what)
    dropped.update(renamed.dropped)
    for layer in range(config.layers):
        size = config.layer_resolution(layer)
        if settings.get(f"synthesis.b{size}.conv{(layer + 1) % 2}", {}).get("use_noise") is False:
            renamed.state[f"synthesis.convs.{layer}.noise"] = torch.zeros(1, 1, size, size)
            renamed.state[f"synthesis.convs.{layer}.noise_strength"] = torch.zeros(())
    tracked = "latent_avg" in renamed.state
    renamed.state.setdefault("latent_avg", torch.zeros(config.style_dim))
    generator: Any = build("generator", config)
    load_into(generator, renamed, what)
    if not tracked:
        generator.latent_avg.copy_(generator.mean_latent())
    found = [values.get("conv_clamp") for path, values in settings.items() if path.startswith("synthesis.b")]
    clamps = [clamp for clamp in found if isinstance(clamp, (int, float))]
    if clamps:
        dropped["conv_clamp"] = _about_the_clamp(generator, min(clamps), what)
    return generator


@torch.no_grad()
def _about_the_clamp(generator: Generator, clamp: float, what: str) -> str:
    """NVIDIA's layers cut what is above `conv_clamp`, for float16; ours do not. Says how large values become."""
    peak = torch.zeros(())

    def measure(module: Any, given: Any, found: Tensor) -> None:
        peak.copy_(torch.maximum(peak, found.abs().amax()))

    hooks = [layer.register_forward_hook(measure) for layer in generator.synthesis.convs]
    z = torch.randn(_PROBES, generator.config.style_dim, generator=torch.Generator().manual_seed(0))
    try:
        generator(z)
    finally:
        for hook in hooks:
            hook.remove()
    if peak <= clamp:
        return f"no value is cut: at most {peak:.3g} over {_PROBES} codes, the limit is {clamp:g}"
    said = f"values are not cut at {clamp:g} here: they reach {peak:.3g} over {_PROBES} codes, so pictures may differ"
    warnings.warn(f"{what}: {said}", stacklevel=2)
    return said


_KNOWN = {
    "label_size": 0,
    "num_channels": 3,
    "architecture": "skip",
    "resample_kernel": [1, 3, 3, 1],
    "use_noise": True,
    "nonlinearity": "lrelu",
    "mapping_nonlinearity": "lrelu",
    "mapping_lrmul": 0.01,
}
"""Settings of a TensorFlow generator that change pictures -> what ours does, which is also the default there."""
_FREE = (
    *("latent_size", "dlatent_size", "resolution", "fmap_base", "fmap_max", "num_fp16_res", "conv_clamp"),
    *("mapping_layers", "label_fmaps", "mapping_fmaps", "w_avg_beta", "truncation_psi", "truncation_cutoff"),
    *("style_mixing_prob", "structure", "conditioning", "fused_modconv"),
)


def _from_tensorflow(network: Record, what: str) -> tuple[dict[str, Tensor], Settings]:
    """The tensors of a TensorFlow generator under the names of NVIDIA's PyTorch one, and the one setting that is left
    when the others have been compared: the clamp."""
    about = network.state if isinstance(network.state, dict) else {}
    kwargs = about.get("static_kwargs")
    if not isinstance(kwargs, dict) or not isinstance(about.get("version"), int) or about["version"] < 4:
        raise CheckpointError(f"{what}: a TensorFlow network from before StyleGAN2, which sdic does not read")
    for name, value in kwargs.items():
        if name not in _KNOWN and name not in _FREE:
            raise CheckpointError(f"{what}: its generator has the setting {name!r}, which sdic does not know")
        wanted = _KNOWN.get(name)
        if name in _KNOWN and value is not None and value != wanted:
            raise CheckpointError(f"{what}: its generator has {name} {value!r}, ours {wanted!r}")
    variables = dict(_variables(network, what))
    state: dict[str, Tensor] = {}

    def take(source: str, target: str, ndim: int | None, change: Callable[[Tensor], Tensor] | None = None) -> None:
        value = variables.get(source)
        if value is None:
            raise CheckpointError(f"{what}: its generator has no {source}")
        if ndim is not None and value.ndim != ndim:
            raise CheckpointError(f"{what}: {source} is {list(value.shape)}")
        state[target] = value if change is None else change(value)

    resolution = kwargs.get("resolution", 1024)
    if resolution not in (32, 64, 128, 256, 512, 1024):
        raise CheckpointError(f"{what}: its generator makes pictures of {resolution!r} px; known are 32 to 1024")
    depth = sum(name.startswith("mapping/Dense") and name.endswith("/weight") for name in variables)
    for index in range(depth):
        take(f"mapping/Dense{index}/weight", f"mapping.fc{index}.weight", 2, Tensor.t)
        take(f"mapping/Dense{index}/bias", f"mapping.fc{index}.bias", 1)
    take("dlatent_avg", "mapping.w_avg", 1)
    take("synthesis/4x4/Const/const", "synthesis.b4.const", 4, lambda const: const[0])
    for number, size in enumerate(4 << n for n in range(int(math.log2(resolution)) - 1)):
        names = {"conv1": "Conv"} if size == 4 else {"conv0": "Conv0_up", "conv1": "Conv1"}
        for ours, theirs in {**names, "torgb": "ToRGB"}.items():
            source, target = f"synthesis/{size}x{size}/{theirs}", f"synthesis.b{size}.{ours}"
            take(f"{source}/weight", f"{target}.weight", 4, _mirrored if ours == "conv0" else _output_first)
            take(f"{source}/bias", f"{target}.bias", 1)
            take(f"{source}/mod_weight", f"{target}.affine.weight", 2, Tensor.t)
            take(f"{source}/mod_bias", f"{target}.affine.bias", 1, lambda bias: bias + 1)
            if ours != "torgb":
                noise = f"synthesis/noise{2 * number - (ours == 'conv0')}"
                take(noise, f"{target}.noise_const", 4, lambda noise: noise[0, 0])
                take(f"{source}/noise_strength", f"{target}.noise_strength", None, lambda value: value.reshape(()))
    return state, {"synthesis.b4": {"conv_clamp": kwargs.get("conv_clamp")}}


def _output_first(weight: Tensor) -> Tensor:
    """TensorFlow has the axes of a convolution as height, width, input, output."""
    return weight.permute(3, 2, 0, 1)


def _mirrored(weight: Tensor) -> Tensor:
    """Its upsampling convolutions are transposed ones."""
    return _output_first(weight).flip(2, 3)


def _variables(network: Record, what: str, prefix: str = "", depth: int = 0) -> Iterable[tuple[str, Tensor]]:
    """(name, tensor) of a TensorFlow network and its parts, mapping and synthesis."""
    about = network.state if isinstance(network.state, dict) else {}
    variables, parts = about.get("variables"), about.get("components", {})
    if not isinstance(variables, list) or not isinstance(parts, dict) or len(parts) > 8 or depth > 2:
        raise CheckpointError(f"{what}: a TensorFlow network without variables")
    for entry in variables:
        tensor = plain(entry[1]) if isinstance(entry, tuple) and len(entry) == 2 else None
        tensor = torch.tensor(tensor) if isinstance(tensor, float) else tensor
        if isinstance(tensor, Tensor) and isinstance(entry[0], str):
            yield prefix + entry[0], tensor
    for name, part in parts.items():
        if isinstance(part, Record):
            yield from _variables(part, what, f"{prefix}{name}/", depth + 1)
