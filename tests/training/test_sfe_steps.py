"""A training step of StyleFeatureEditor, in either phase, against a plain reference of its loss in float64."""

import pytest
import torch
from test_peer_steps import drawn_from, equals_its_reference, joint

from sdic.editing.directions import load_direction


def first(networks, generator, photo):
    """Code, the generator's own feature behind layer 4, and the fused one."""
    code, predicted = networks["sfe_encoder"](photo)
    latent = code + generator.latent_avg
    own = generator.synthesis.until(4, latent).feature
    return latent, own, networks["fuser"](predicted, own)


def inverter_reference(task, generator, photo, seed):
    """Half a ramp: the picture with half of F, and that of w alone."""
    latent, own, fused = first(task.networks, generator, photo)
    output = drawn_from(generator, latent, 4, 0.5 * own + 0.5 * fused, behind=True)
    pictures = torch.cat([output, generator.synthesis(latent)])
    return joint(task, torch.cat([photo, photo]), pictures, 1.0) + 0.01 * (fused - own).square().mean()


def editor_reference(task, generator, photo, seed):
    """The inversion through the Feature Editor, and the edit of a picture whose edit is known."""
    editor = task.networks["feature_editor"]
    torch.manual_seed(seed)
    torch.randint(1, ())  # the one edit
    strength = (-2.0, 2.0)[int(torch.randint(2, ()))]
    with torch.no_grad():
        latent, _, fused = first(task.frozen, generator, photo)
        code = task.frozen["encoder"](photo)
        direction = load_direction("pc0", None, task.frozen["generator"])
        amounts = code.new_full((len(code),), strength)
        moved = code + direction.shift(code, amounts)
        drawn, target = generator.synthesis(code), generator.synthesis(moved)
        until = generator.synthesis.until
        delta = until(4, code).feature - until(4, moved).feature
        source, _, source_fused = first(task.frozen, generator, drawn)
        edited = source + direction.shift(source, amounts)
    inversion = drawn_from(generator, latent, 4, editor(fused, torch.zeros_like(fused)), behind=True)
    edit = drawn_from(generator, edited, 4, editor(source_fused, delta), behind=True)
    return joint(task, torch.cat([photo, target]), torch.cat([inversion, edit]), 1.0)


CASES = {
    "sfe-inverter": (inverter_reference, ("model.ramp=100",)),
    "sfe": (editor_reference, ("model.frozen=tiny-sfe",)),
}


@pytest.mark.parametrize("name", CASES)
def test_a_step_equals_a_plain_reference_of_its_loss(name, portraits):
    equals_its_reference(name, portraits, *CASES[name])
