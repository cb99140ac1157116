"""MediaPipe's face networks as their `.tflite` files name them: layers are numbered as they were constructed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from sdic.checkpoints.bundle import Bundle, NoConfig
from sdic.checkpoints.keymap import Rule
from sdic.checkpoints.layouts.common import Layout, Prefix, find_state, read_network, set_aside

PADDING = Rule("channel_padding{rest}", None, "how many channels of zeros a shortcut adds: the shapes say it")
FIRST_PADDING = Rule("channel_padding/Paddings", None, PADDING.reason)


def _numbered(name: str, number: int) -> str:
    """Keras leaves the number of a kind's first layer out."""
    return f"{name}_{number}" if number else name


def _convolution(source: str, target: str, depthwise: bool = False) -> list[Rule]:
    """[out, h, w, in], or [1, h, w, channels] of a depthwise one, to PyTorch's order."""
    order = (3, 0, 1, 2) if depthwise else (0, 3, 1, 2)

    def convert(kernel: Tensor) -> Tensor:
        return kernel.permute(order).contiguous()

    return [Rule(f"{source}/Kernel", f"{target}.weight", convert=convert), Rule(f"{source}/Bias", f"{target}.bias")]


def _conv(number: int, target: str) -> list[Rule]:
    return _convolution(_numbered("conv2d", number), target)


def _depth(number: int, target: str) -> list[Rule]:
    return _convolution(_numbered("depthwise_conv2d", number), target, depthwise=True)


def _prelu(number: int, target: str) -> Rule:
    return Rule(f"{_numbered('p_re_lu', number)}/Alpha", f"{target}.weight", convert=lambda alpha: alpha.flatten())


def _block(target: str, depth: int, point: int, act: int | None, reduce: int | None = None) -> list[Rule]:
    """A block, by the numbers of its layers in the file; `reduce` is that of a bottleneck's first two layers."""
    rules = [*_depth(depth, f"{target}.depth"), *_conv(point, f"{target}.point")]
    if act is not None:
        rules.append(_prelu(act, f"{target}.act"))
    if reduce is not None:
        rules += [*_conv(reduce, f"{target}.reduce"), _prelu(reduce, f"{target}.reduce_act")]
    return rules


def _blazeface() -> list[Rule]:
    rules = _conv(0, "stem")
    for k in range(31):
        rules += _block(f"blocks.{k}", k, k + 1, None)
    rules += _convolution("separable_conv2d__xeno_compat__depthwise", "half_depth", depthwise=True)
    rules += _convolution("separable_conv2d", "half_point")
    for k, name in enumerate(("16", "32")):
        rules += _convolution(f"classificator_{name}", f"logits.{k}") + _convolution(f"regressor_{name}", f"boxes.{k}")
    return rules


def _mesh_head(target: str, depth: int, reduce: int, act: int) -> list[Rule]:
    block = _block(f"{target}.block", depth, reduce + 1, act + 1)
    return [
        *[*_conv(reduce, f"{target}.reduce"), _prelu(act, f"{target}.reduce_act")],
        *[*block, *_conv(reduce + 2, f"{target}.output")],
    ]


def _facemesh() -> list[Rule]:
    rules = [*_conv(0, "stem"), _prelu(0, "stem_act")]
    for k in range(17):
        rules += _block(f"trunk.{k}" if k < 14 else f"points_blocks.{k - 14}", k, k + 1, k + 1)
    rules += _mesh_head("points", 17, 18, 18)
    return rules + _block("presence_blocks.0", 22, 27, 25) + _mesh_head("presence", 23, 28, 26)


def _iris() -> list[Rule]:
    rules = [*_conv(0, "stem"), _prelu(0, "stem_act")]
    for k in range(26):
        part, first = ("trunk", 0) if k < 10 else ("contour_blocks", 10) if k < 18 else ("iris_blocks", 18)
        rules += _block(f"{part}.{k - first}", k, 2 * k + 2, 2 * k + 2, 2 * k + 1)
    return rules + _convolution("conv_eyes_contours_and_brows", "contour") + _convolution("conv_iris", "iris")


def _layout(
    description: str, role: str, rules: Sequence[Rule], *needs: Prefix, foreign: tuple[str, ...] = ()
) -> Layout:
    def read(content: Any, bundle: Bundle) -> None:
        place, state = find_state(content, *needs)
        set_aside(content, place, (), bundle.dropped)
        read_network(bundle, role, NoConfig(), state, [*rules, FIRST_PADDING, PADDING])

    return Layout(description, needs, read, foreign)


LAYOUTS: dict[str, Layout] = {
    "blazeface": _layout("MediaPipe's BlazeFace (back), .tflite", "blazeface", _blazeface(), "classificator_16/"),
    "facemesh": _layout(
        *("MediaPipe's FaceMesh (468 points), .tflite", "facemesh", _facemesh(), "p_re_lu_27/", "conv2d_30/"),
        foreign=("conv_iris/",),
    ),
    "iris": _layout("MediaPipe's Iris, .tflite", "iris", _iris(), "conv_iris/"),
}
