"""Pickles as stylegan2-ada-pytorch, stylegan3 and stylegan2(-ada) write them, made without those programs.

The networks are small modules with the attribute names of the files, and a forward pass that is written out plainly
here: what a converted generator is compared with.
"""

from __future__ import annotations

import contextlib
import math
import pickle
import sys
import types
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

FILTER = torch.tensor([1.0, 3.0, 3.0, 1.0])


def _reconstruct_persistent_obj(meta: Any) -> Any:
    raise AssertionError("a file was executed")


class Persistent(nn.Module):
    """Pickled as `torch_utils.persistence` does: a call with the class's source and its state."""

    def __init__(self, **kwargs: Any):
        super().__init__()
        self._init_args = ()
        self._init_kwargs = EasyDict(kwargs)

    def __reduce__(self) -> Any:
        meta = {
            "type": "class",
            "version": 6,
            "module_src": "raise SystemExit('a file was executed')",
            "class_name": type(self).__name__,
            "state": self.__dict__,
        }
        return _reconstruct_persistent_obj, (meta,), None


class EasyDict(dict):  # type: ignore[type-arg]
    pass


class FullyConnectedLayer(Persistent):
    def __init__(self, inputs: int, outputs: int, activation: str = "linear", lr: float = 1.0, bias: float = 0.0):
        super().__init__(in_features=inputs, out_features=outputs)
        self.in_features, self.out_features, self.activation = inputs, outputs, activation
        self.weight_gain, self.bias_gain = lr / np.sqrt(inputs), lr
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / lr)
        self.bias = nn.Parameter((bias + 0.1 * torch.randn(outputs)) / lr)

    def forward(self, x: Tensor) -> Tensor:
        x = x @ (self.weight * float(self.weight_gain)).t() + self.bias * self.bias_gain
        return F.leaky_relu(x, 0.2) * math.sqrt(2) if self.activation == "lrelu" else x


class MappingNetwork(Persistent):
    def __init__(self, width: int, rows: int, layers: int, labels: int = 0):
        super().__init__(z_dim=width, num_layers=layers)
        self.z_dim, self.c_dim, self.w_dim, self.num_ws, self.num_layers = width, labels, width, rows, layers
        self.w_avg_beta = 0.998
        if labels:
            self.embed = FullyConnectedLayer(labels, width)
        for index in range(layers):
            inputs = 2 * width if labels and index == 0 else width
            setattr(self, f"fc{index}", FullyConnectedLayer(inputs, width, "lrelu", 0.01))
        self.register_buffer("w_avg", 0.3 * torch.randn(width))

    def forward(self, z: Tensor) -> Tensor:
        x = z / (z.square().mean(1, keepdim=True) + 1e-8).sqrt()
        for index in range(self.num_layers):
            x = getattr(self, f"fc{index}")(x)
        return x


class SynthesisLayer(Persistent):
    def __init__(self, inputs: int, outputs: int, width: int, size: int, up: int, clamp: float | None, noise: bool):
        super().__init__()
        self.resolution, self.up, self.use_noise, self.activation = size, up, noise, "lrelu"
        self.conv_clamp, self.act_gain, self.padding = clamp, np.sqrt(2), 1
        self.register_buffer("resample_filter", torch.outer(FILTER, FILTER) / 64)
        self.affine = FullyConnectedLayer(width, inputs, bias=1.0)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3))
        if noise:
            self.register_buffer("noise_const", torch.randn(size, size))
            self.noise_strength = nn.Parameter(torch.tensor(0.1 * torch.randn(()).item()))
        self.bias = nn.Parameter(0.1 * torch.randn(outputs))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """One image at a time: modulate and demodulate its weight, convolve (upsampling, then the filter)."""
        pictures = []
        for picture, style in zip(x, self.affine(w), strict=True):
            weight = self.weight * style[None, :, None, None]
            weight = weight / (weight.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
            if self.up == 2:
                y = F.conv_transpose2d(picture[None], weight.transpose(0, 1), stride=2)
                kernel = (self.resample_filter * 4).expand(len(weight), 1, 4, 4)
                y = F.conv2d(F.pad(y, (1, 1, 1, 1)), kernel, groups=len(weight))
            else:
                y = F.conv2d(picture[None], weight, padding=1)
            pictures.append(y)
        y = torch.cat(pictures)
        if self.use_noise:
            y = y + self.noise_const * self.noise_strength
        y = F.leaky_relu(y + self.bias[:, None, None], 0.2) * math.sqrt(2)
        return y if self.conv_clamp is None else y.clamp(-self.conv_clamp, self.conv_clamp)


class ToRGBLayer(Persistent):
    def __init__(self, inputs: int, width: int, clamp: float | None):
        super().__init__()
        self.conv_clamp, self.weight_gain = clamp, 1 / np.sqrt(inputs)
        self.affine = FullyConnectedLayer(width, inputs, bias=1.0)
        self.weight = nn.Parameter(torch.randn(3, inputs, 1, 1))
        self.bias = nn.Parameter(0.1 * torch.randn(3))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        style = self.affine(w) * float(self.weight_gain)
        return torch.einsum("oi,bi,bihw->bohw", self.weight[:, :, 0, 0], style, x) + self.bias[:, None, None]


class SynthesisBlock(Persistent):
    def __init__(
        self, inputs: int, outputs: int, width: int, size: int, last: bool, kind: str, clamp: float | None, noise: bool
    ):
        super().__init__()
        self.in_channels, self.w_dim, self.resolution, self.img_channels = inputs, width, size, 3
        self.is_last, self.architecture, self.use_fp16, self.channels_last = last, kind, size > 8, False
        self.register_buffer("resample_filter", torch.outer(FILTER, FILTER) / 64)
        self.num_conv, self.num_torgb = 1 + (inputs > 0), int(last or kind == "skip")
        if not inputs:
            self.const = nn.Parameter(torch.randn(outputs, 4, 4))
        else:
            self.conv0 = SynthesisLayer(inputs, outputs, width, size, 2, clamp, noise)
        self.conv1 = SynthesisLayer(outputs, outputs, width, size, 1, clamp, noise)
        if self.num_torgb:
            self.torgb = ToRGBLayer(outputs, width, clamp)


class SynthesisNetwork(Persistent):
    def __init__(
        self,
        width: int,
        size: int,
        base: int,
        most: int,
        kind: str = "skip",
        clamp: float | None = None,
        noise: bool = True,
    ):
        super().__init__(channel_base=base, channel_max=most)
        self.w_dim, self.img_resolution, self.img_channels, self.num_fp16_res = width, size, 3, 4
        self.block_resolutions = [4 << n for n in range(int(math.log2(size)) - 1)]
        for r in self.block_resolutions:
            inputs = min(base // (r // 2), most) if r > 4 else 0
            block = SynthesisBlock(inputs, min(base // r, most), width, r, r == size, kind, clamp, noise)
            setattr(self, f"b{r}", block)
        self.num_ws = 2 * len(self.block_resolutions)

    def forward(self, rows: Tensor) -> Tensor:
        x = self.b4.const.expand(len(rows), -1, -1, -1)
        rgb = torch.zeros(len(rows), 3, 2, 2)
        row = 0
        for r in self.block_resolutions:
            block = getattr(self, f"b{r}")
            if r > 4:
                x, row = block.conv0(x, rows[:, row]), row + 1
            x, row = block.conv1(x, rows[:, row]), row + 1
            spread = torch.zeros(len(rows), 3, r, r)
            spread[:, :, ::2, ::2] = rgb
            kernel = (block.resample_filter * 4).expand(3, 1, 4, 4)
            rgb = F.conv2d(F.pad(spread, (2, 1, 2, 1)), kernel, groups=3) + block.torgb(x, rows[:, row])
        return rgb


class Generator(Persistent):
    """`kind`: "skip", "resnet", "orig". labels: classes of a conditional generator."""

    def __init__(
        self,
        size: int = 32,
        width: int = 16,
        layers: int = 2,
        base: int = 256,
        most: int = 16,
        labels: int = 0,
        **more: Any,
    ):
        super().__init__(
            z_dim=width, c_dim=labels, w_dim=width, img_resolution=size, mapping_kwargs=EasyDict(num_layers=layers)
        )
        self.z_dim, self.c_dim, self.w_dim, self.img_resolution, self.img_channels = width, labels, width, size, 3
        self.synthesis = SynthesisNetwork(width, size, base, most, **more)
        self.num_ws = self.synthesis.num_ws
        self.mapping = MappingNetwork(width, self.num_ws, layers, labels)

    def forward(self, z: Tensor) -> Tensor:
        return self.synthesis(self.mapping(z)[:, None].expand(-1, self.num_ws, -1))


def made(seed: int = 0, **sizes: Any) -> Generator:
    """A generator from a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Generator(**sizes).eval().requires_grad_(False)


@contextlib.contextmanager
def _as_in_the_files(**homes: str) -> Iterator[None]:
    """Our stand-ins under the module names of the files, so that `pickle` writes those."""
    here = sys.modules[__name__].__dict__
    before = {name: here[name].__module__ for name in homes}
    modules = {}
    for name, home in homes.items():
        parts = home.split(".")
        for end in range(1, len(parts) + 1):
            modules.setdefault(".".join(parts[:end]), types.ModuleType(".".join(parts[:end])))
        setattr(modules[home], name, here[name])
        here[name].__module__ = home
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name in modules:
            del sys.modules[name]
        for name, home in before.items():
            here[name].__module__ = home


def ada_pickle(generator: nn.Module, protocol: int = 4, **others: Any) -> bytes:
    """The file that training writes: G, D, G_ema, the training set's settings, no augmentation."""
    content = {
        "G": None,
        "D": None,
        "G_ema": generator,
        "training_set_kwargs": EasyDict(class_name="training.dataset.ImageFolderDataset", max_size=np.int64(10)),
        "augment_pipe": None,
        **others,
    }
    with _as_in_the_files(_reconstruct_persistent_obj="torch_utils.persistence", EasyDict="dnnlib.util"):
        return pickle.dumps(content, protocol)


class Network:
    """A TensorFlow network as its pickle has it: a state."""

    def __init__(self, **state: Any):
        self.__dict__.update(state)


def tf_pickle(generator: Generator, **more: Any) -> bytes:
    """The same generator as stylegan2 and stylegan2-ada (TensorFlow) write it: (G, D, Gs)."""
    state = {key: value.numpy() for key, value in generator.state_dict().items()}
    mapping, synthesis = [], [("lod", np.float32(0))]
    for index in range(generator.mapping.num_layers):
        mapping.append((f"Dense{index}/weight", state[f"mapping.fc{index}.weight"].T))
        mapping.append((f"Dense{index}/bias", state[f"mapping.fc{index}.bias"]))
    for r in generator.synthesis.block_resolutions:
        block, there = f"synthesis.b{r}", f"{r}x{r}"
        if r == 4:
            synthesis.append(("4x4/Const/const", state[f"{block}.const"][None]))
        names = {"conv1": "Conv"} if r == 4 else {"conv0": "Conv0_up", "conv1": "Conv1"}
        for ours, theirs in {**names, "torgb": "ToRGB"}.items():
            weight = state[f"{block}.{ours}.weight"].transpose(2, 3, 1, 0)
            weight = weight[::-1, ::-1] if ours == "conv0" else weight
            synthesis.append((f"{there}/{theirs}/weight", weight))
            synthesis.append((f"{there}/{theirs}/bias", state[f"{block}.{ours}.bias"]))
            synthesis.append((f"{there}/{theirs}/mod_weight", state[f"{block}.{ours}.affine.weight"].T))
            synthesis.append((f"{there}/{theirs}/mod_bias", state[f"{block}.{ours}.affine.bias"] - 1))
            if ours != "torgb":
                number = 2 * int(math.log2(r)) - (5 if ours == "conv0" else 4)
                synthesis.append((f"noise{number}", state[f"{block}.{ours}.noise_const"][None, None]))
                synthesis.append((f"{there}/{theirs}/noise_strength", state[f"{block}.{ours}.noise_strength"]))
    kwargs = {
        "num_channels": 3,
        "resolution": generator.img_resolution,
        "label_size": 0,
        "fmap_base": 128,
        "mapping_layers": generator.mapping.num_layers,
        **more,
    }

    def network(name: str, variables: list[Any], components: dict[str, Any]) -> Network:
        return Network(
            version=4,
            name=name,
            static_kwargs=kwargs,
            components=components,
            build_module_src="raise SystemExit('a file was executed')",
            build_func_name=name,
            variables=[
                (key, np.ascontiguousarray(value) if np.ndim(value) else np.float32(value)) for key, value in variables
            ],
        )

    parts = {"synthesis": network("G_synthesis", synthesis, {}), "mapping": network("G_mapping", mapping, {})}
    whole = network("Gs", [("dlatent_avg", state["mapping.w_avg"]), ("lod", np.float32(0))], parts)
    with _as_in_the_files(Network="dnnlib.tflib.network"):
        return pickle.dumps((whole, network("D", [], {}), whole), 4)


__all__ = ["Generator", "Network", "ada_pickle", "made", "tf_pickle"]
