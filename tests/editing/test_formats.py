"""Every format of the field's edits is read, or refused with a reason."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sdic.direction import Direction, StyleDirection
from sdic.editing.directions import load_direction
from sdic.errors import SdicError

RNG = np.random.default_rng(0)
PCA = {"mean": torch.zeros(1, 512), "comp": torch.randn(3, 1, 512), "std": torch.ones(3)}
Check = Callable[[Any], bool]


def array(*shape: int, dtype: Any = np.float32) -> Any:
    return RNG.normal(size=shape).astype(dtype)


def boundary(rows: Any) -> Any:
    """In-Domain inversion's file: numpy.save of a dict."""
    return np.array({"boundary": array(1, 14, 512), "meta_data": {"manipulate_layers": rows}}, dtype=object)


def moved(direction: Direction) -> list[int]:
    return direction.delta.abs().sum(1).nonzero()[:, 0].tolist()


READ: dict[str, tuple[str, Any, Check]] = {
    "InterFaceGAN, e4e": ("age.pt", torch.randn(1, 512), lambda d: d.delta.shape == (1, 512)),
    "HFGI's pose": ("pose.pt", torch.randn(1, 1, 512).expand(1, 18, 512).clone(), lambda d: d.delta.shape == (1, 512)),
    "one for every row": ("rows.pt", torch.randn(1, 18, 512), lambda d: d.delta.shape == (18, 512)),
    "GANSpace in e4e": ("ffhq_pca.pt#2", PCA, lambda d: d.kind == "set" and torch.equal(d.delta, PCA["comp"][2])),
    "GANSpace's dump": (
        "dump.npz#1",
        {
            "lat_mean": array(1, 512),
            "lat_comp": array(4, 1, 512),
            "lat_stdev": np.ones(4),
            "act_comp": array(4, 1, 512),
        },
        lambda d: d.kind == "set",
    ),
    "FS, StyleFeatureEditor": ("Smiling_boundary.npy", array(1, 9216), lambda d: d.delta.shape == (18, 512)),
    "StyleGAN2 of 256 px": ("w_plus.npy", array(1, 7168), lambda d: d.delta.shape == (14, 512)),
    "float64": ("mine.npy", array(1, 512, dtype=np.float64), lambda d: d.delta.dtype == torch.float32),
    "In-Domain": ("smile.npy", boundary(np.arange(2, 5)), lambda d: moved(d) == [2, 3, 4] and len(d.delta) == 14),
    "In-Domain, all rows": ("scary.npy", boundary(list(range(14))), lambda d: moved(d) == list(range(14))),
    "all styles": ("s.npy", array(1, 9088), lambda d: isinstance(d, StyleDirection) and len(d.convs) == 17),
    "styles of convolutions": ("s17.npy", array(6048), lambda d: not d.rgb and len(d.convs) == 17),
    "styles to 128 px": ("s11.pt", torch.randn(5376), lambda d: not d.rgb and sorted(d.convs) == list(range(11))),
}
REFUSED: dict[str, tuple[str, Any, str]] = {
    "InterFaceGAN's own": ("stylegan_ffhq_age_w_boundary.npy", array(1, 512), "StyleGAN1 or PGGAN"),
    "InterFaceGAN's of PGGAN": ("pggan_celebahq_age_boundary.npy", array(1, 512), "StyleGAN1 or PGGAN"),
    "GANSpace without a component": ("ffhq_pca.pt", PCA, "3 GANSpace components"),
    "activations alone": (
        "act.npz",
        {"act_comp": array(4, 1, 512), "act_mean": array(1, 512)},
        "without those of the code",
    ),
    "StyleCLIP's table": ("fs3.npy", array(5376, 512), "sdic directions styleclip"),
    "StyleCLIP's longer table": ("delta_i_c.npy", array(6048, 512), "sdic directions styleclip"),
    "StyleCLIP's statistics": ("S_mean_std", ([array(4)], [array(4)]), "sdic directions styleclip"),
    "StyleCLIP's prompts": ("templates.txt", "a bad photo of a {}.", "CLIP's text encoder"),
    "StyleCLIP's mapper": (
        "afro.pt",
        {"state_dict": {"mapper.course.0.weight": torch.ones(2)}, "opts": {}},
        "a mapper",
    ),
    "DeltaEdit's network": ("net.pth", {"fc.weight": torch.ones(2), "fc.bias": torch.ones(2)}, "weights of a network"),
    "GANSpace's table": ("ganspace_configs.csv", "frizzy_hair\t31\t2\t6\t20\n", "manifest.yaml"),
    "rows that are not there": ("smile.npy", boundary([3, 14]), "rows from 0 to 13"),
    "rows that are no rows": ("smile.npy", boundary("all"), "rows from 0 to 13"),
    "a boundary that is none": (
        "smile.npy",
        np.array({"boundary": "x", "meta_data": {}}, dtype=object),
        "must be an array",
    ),
    "not finite": ("nan.npy", np.full((1, 512), np.nan, np.float32), "not finite"),
    "styles that are not finite": ("nan.npy", np.full((1, 9088), np.nan, np.float32), "finite numbers"),
    "all 0": ("s.npy", np.zeros((1, 9088), np.float32), "finite numbers"),
}


def write(folder: Path, name: str, content: Any) -> str:
    path = folder / name.partition("#")[0]
    if isinstance(content, str):
        path.write_text(content)
    elif not path.suffix:
        path.write_bytes(pickle.dumps(content, protocol=2))
    elif path.suffix == ".npz":
        np.savez(path, **content)
    elif path.suffix == ".npy":
        np.save(path, content, allow_pickle=True)
    else:
        torch.save(content, path)
    return str(folder / name)


@pytest.mark.parametrize("kind", READ)
def test_what_is_read(kind: str, tmp_path: Path) -> None:
    name, content, check = READ[kind]
    assert check(load_direction(write(tmp_path, name, content)))


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_refused_says_why(kind: str, tmp_path: Path) -> None:
    name, content, said = REFUSED[kind]
    with pytest.raises(SdicError, match=said) as caught:
        load_direction(write(tmp_path, name, content))
    assert "\n" not in str(caught.value)
