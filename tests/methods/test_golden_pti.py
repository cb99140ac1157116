"""PTI's own projector, tuning and locality term, number for number, on a generator of 16 px through the real loader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import sdic
from sdic.checkpoints.keymap import Rule
from sdic.checkpoints.layouts import stylegan2 as layout
from sdic.direction import Direction
from sdic.methods.pti import code_nearby, locality, tune
from sdic.methods.search import (
    Comparison,
    Search,
    as_written,
    code_noise,
    noise_penalty,
    ramp,
    search_code,
    spread_of_w,
)
from tests.golden_weights import draw, key_shapes

ROOT = Path(__file__).parents[2]
FILES = [ROOT / "tests" / "golden", ROOT.parent / "shared" / "reference"]
GOLDEN = next((f for folder in FILES if (f := folder / "golden_pti_seed0.npz").is_file()), None)
pytestmark = pytest.mark.skipif(GOLDEN is None, reason="golden_pti_seed0.npz is not here")
TOLERANCE = 1e-3  # of a stage's standard deviation: what the order of float32 sums moves after 52 steps of Adam
SIZE, STEPS, TUNING = 16, 40, 12


class Phi:
    """What stands for the perceptual networks: features of one convolution, their squared differences reduced."""

    def __init__(self, reduce: str):
        self.weight, self.reduce = draw("phi.weight", (16, 3, 3, 3)), reduce

    def features(self, image: Tensor) -> Tensor:
        return F.avg_pool2d(torch.tanh(F.conv2d(image, self.weight, stride=2, padding=1)), 2).flatten(1)

    def __call__(self, photo: Tensor, output: Tensor) -> Tensor:
        return getattr((self.features(photo) - self.features(output)).square(), self.reduce)(1)


def generator_file(path: Path) -> Path:
    """The generator in rosinality's layout, as `torch.save` wrote it."""
    state = {}
    for key, shape in key_shapes("stylegan2_ffhq_config_f").items():
        name, _, rest = key.partition(".")
        number = int(rest.split("_")[-1] if name == "noises" else rest.split(".")[0]) if name in LIMITS else 0
        if number <= LIMITS.get(name, 0):
            gain = 100.0 if name == "style" and key.endswith(".weight") else 1.0
            state[key] = draw(f"decoder.{key}", shape) * gain
    torch.save({"g_ema": state, "latent_avg": draw("latent_avg", (512,))}, path)
    return path


LIMITS = {"convs": 3, "to_rgbs": 1, "noises": 4, "style": 8}


def deviations(stages: dict[str, Any]) -> dict[str, float]:
    """Largest difference of samples and statistics from the golden ones, in standard deviations of the stage."""
    golden, found = np.load(GOLDEN), {}  # type: ignore[arg-type]
    for name, value in stages.items():
        flat = np.asarray(value, dtype=np.float64).reshape(-1)
        samples, stats = golden[f"{name}.samples"].reshape(-1), golden[f"{name}.stats"]
        picked = flat[np.linspace(0, flat.size - 1, samples.size).astype(int)]
        spread = flat.std(ddof=1) if flat.size > 1 else 0.0
        worst = np.abs(np.array([flat.mean(), spread, flat.min(), flat.max()]) - stats).max()
        scale = stats[1] if stats[1] > 0 else max(1e-12, abs(stats[0]))
        found[name] = float(max(worst, np.abs(picked - samples).max()) / scale)
    return found


def stages(inverter: Any) -> dict[str, Any]:
    """Every stage of projector, tuning, locality and edit."""
    generator, geometry, how = inverter.generator, inverter.geometry, inverter.options
    coarse = torch.from_numpy(np.random.RandomState(0).standard_normal((1, 3, 4, 4)).astype(np.float32))
    photo = torch.tanh(F.interpolate(coarse, size=(SIZE, SIZE), mode="bicubic", align_corners=False))
    calls = iter(range(1000))

    def drawn(shape: Any) -> Tensor:
        return torch.from_numpy(np.random.RandomState(next(calls)).standard_normal(tuple(shape)).astype(np.float32))

    mean, spread = spread_of_w(generator)
    found = search_code(
        *(generator.synthesis, mean, spread, Comparison(photo, geometry, Phi("sum"), 0.0, 1.0)),
        *(Search(how.pivot_steps, how.pivot_rate), drawn),
    )
    pivot = found.code.expand(-1, generator.config.latent_rows, -1)
    tuned, compare = as_written(generator.synthesis), Comparison(photo, geometry, Phi("mean"), 1.0, 1.0)
    with torch.no_grad():
        first = tuned(pivot)
    history = np.array(tune(tuned, generator, pivot, compare, how, drawn))
    losses = np.stack([history[:, 0], history[:, 0] - history[:, 1], history[:, 1]], 1)
    np.random.seed(0)
    nearby = code_nearby(generator, pivot, torch.from_numpy(np.random.randn(1, 512)).float())
    own, after = dict(generator.synthesis.named_parameters()), dict(tuned.named_parameters())
    direction = Direction(draw("direction", (18, 512))[: generator.config.latent_rows])
    inversion = inverter.of_tuned(pivot, tuned)
    with torch.no_grad():
        edited = inverter._edit(inversion, [direction], [torch.tensor([0.5])])
        moved = 0.1 * locality(tuned, generator.synthesis, nearby, Phi("mean"))
        pictures = {"tune_image_0": first, "tune_image_12": tuned(pivot)}
    keys = {
        "convs.3.conv.weight": "convs.4.weight",
        "convs.3.conv.modulation.weight": "convs.4.affine.weight",
        "convs.3.noise.weight": "convs.4.noise_strength",
        "to_rgb1.bias": "to_rgb.0.bias",
        "input.input": "const",
    }
    changes = {f"tune_change.{key}": (after[name] - own[name]).detach() for key, name in keys.items()}
    rates = [0.01 * ramp(step / 450) for step in range(450)]
    noises = [0.05 * code_noise(step / 450) for step in range(450)]
    penalties = [float(noise_penalty(draw(f"noise_{size}", (1, 1, size, size)))) for size in (4, 8, 16, 32, 64, 128)]
    return {
        "target": photo,
        "project_loss": found.losses,
        "project_lr": [0.01 * ramp(step / STEPS) for step in range(STEPS)],
        "pivot": found.code,
        **{f"project_noise_{layer}": found.maps[layer] for layer in (0, 3, 4)},
        "w_avg": mean,
        "w_std": spread,
        "lr_of_450_steps": rates,
        "code_noise_of_450_steps": noises,
        "noise_penalty": penalties,
        **pictures,
        "tune_losses": losses,
        **changes,
        "locality_loss": moved,
        "locality_code": nearby,
        "edit": edited,
    }


def loaded(path: Path, optimize: bool) -> Any:
    with pytest.warns(UserWarning, match="squares of 16 px"):
        return sdic.load(
            *(path, "cpu"),
            optimize=optimize,
            method="pti",
            perceptual="none",
            pivot_steps=STEPS,
            steps=TUNING,
            stop=0,
        )


@pytest.mark.parametrize("optimize", [False, True], ids=["plain", "optimised"])
def test_it_is_the_authors_number_for_number(tmp_path: Path, optimize: bool) -> None:
    measured = deviations(stages(loaded(generator_file(tmp_path / "g.pt"), optimize)))
    assert len(measured) == 23
    assert max(measured.values()) < TOLERANCE, measured


def test_a_wrong_map_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two layers of equal shapes exchanged: loading succeeds, and the golden values tell."""
    swapped = []
    for rule in layout.GENERATOR:
        if rule.source == "convs.{i}.conv.weight":
            for i, to in ((0, 2), (1, 1), (2, 4), (3, 3)):
                swapped.append(Rule(f"convs.{i}.conv.weight", f"synthesis.convs.{to}.weight", convert=rule.convert))
        else:
            swapped.append(rule)
    monkeypatch.setattr(layout, "GENERATOR", swapped)
    measured = deviations(stages(loaded(generator_file(tmp_path / "g.pt"), False)))
    assert measured["w_avg"] < TOLERANCE
    assert min(measured["pivot"], measured["tune_image_12"], measured["project_loss"]) > 10 * TOLERANCE
