"""What one step computes, and what it leaves alone."""

import pytest
import torch
from training_processes import small_trainer

from sdic.commands.benchmark_training import reference_step, training_step
from sdic.data.dataset import PictureDataset, collate
from sdic.data.sources import Request, open_source
from sdic.utils.tensors import fingerprint


@pytest.fixture(params=["released", "paper"])
def setup(request):
    """(inverter, loss, photos of two) in double precision, where rounding hides nothing."""
    task = small_trainer(f"model.preset={request.param}").task
    task.inverter.double()
    source, names, _ = open_source(Request("synthetic", "", limit=2))
    dataset = PictureDataset(source, names, task.geometry)
    for network in task.networks.values():
        network.train()
    return task.inverter, task.joint, collate([dataset[0], dataset[1]]).photo.double()


def gradients(step, setup):
    inverter, _, _ = setup
    inverter.compensator.zero_grad()
    terms = step(*setup)
    terms["loss"].backward()
    return terms["loss"].item(), torch.cat([p.grad.flatten() for p in inverter.compensator.parameters()])


def apart(setup):
    """(relative difference of the loss, of its gradient) between the method's own pass and the plain loop."""
    (loss, gradient), (plain_loss, plain_gradient) = gradients(training_step, setup), gradients(reference_step, setup)
    return abs(loss / plain_loss - 1), float((gradient - plain_gradient).norm() / plain_gradient.norm())


def test_the_fast_step_equals_the_plain_one_in_loss_and_gradient(setup):
    loss, gradient = apart(setup)
    assert loss < 1e-10
    assert gradient < 1e-9


def test_a_step_that_differs_in_one_thing_would_be_seen(setup, monkeypatch):
    """The control: a picture below the layer that is rendered from w' without its gradient has the same loss."""
    synthesis = setup[0].generator.synthesis
    inner = synthesis.rgb_below
    monkeypatch.setattr(synthesis, "rgb_below", lambda layer, latent, noise: inner(layer, latent.detach(), noise=noise))
    loss, gradient = apart(setup)
    assert loss < 1e-10
    assert gradient > 1e-6


def test_recomputing_activations_changes_nothing(setup):
    kept = gradients(training_step, setup)
    setup[0].recompute = True
    for one, other in zip(kept, gradients(training_step, setup), strict=True):
        assert torch.equal(torch.as_tensor(one), torch.as_tensor(other))


def test_recomputing_keeps_less(setup):
    inverter, _, photo = setup
    first = inverter.frozen_pass(photo)
    feature, latent = first["feature"].clone().requires_grad_(), first["latent"].clone().requires_grad_()
    sizes = []
    for recompute in (False, True):
        kept = {}
        inverter.recompute = recompute
        with torch.autograd.graph.saved_tensors_hooks(
            lambda t, kept=kept: kept.update({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes()}) or t,
            lambda t: t,
        ):
            image = inverter.render(latent, feature, inverter.layer)
        sizes.append(sum(kept.values()))
        del image
    assert sizes[1] < 0.7 * sizes[0]


def test_frozen_networks_get_no_gradient_and_stay_bit_identical(setup):
    stack, _, _ = setup
    before = [fingerprint(network) for network in (stack.generator, stack.encoder)]
    gradients(training_step, setup)
    for network in (stack.generator, stack.encoder):
        assert not any(module.training for module in network.modules())
        assert all(parameter.grad is None and not parameter.requires_grad for parameter in network.parameters())
    assert [fingerprint(network) for network in (stack.generator, stack.encoder)] == before


def test_every_parameter_that_trains_gets_a_gradient(setup):
    gradients(training_step, setup)
    missing = [name for name, p in setup[0].compensator.named_parameters() if p.grad is None]
    assert missing == []


def test_the_first_pass_builds_no_graph(setup):
    inverter, _, photo = setup
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        result = inverter.frozen_pass(photo)
    assert kept == []
    assert all(tensor.grad_fn is None and not tensor.requires_grad for tensor in result.values())


def test_below_the_layer_the_rgb_branch_carries_a_gradient_and_layer_k_itself_does_not(setup):
    stack, _, photo = setup
    first = stack.frozen_pass(photo)
    latent, feature = first["latent"].clone().requires_grad_(), first["feature"].clone().requires_grad_()
    ran = []
    hooks = [
        conv.register_forward_hook(lambda *_, layer=layer: ran.append(layer))
        for layer, conv in enumerate(stack.generator.synthesis.convs)
    ]
    image = stack.render(latent, feature, stack.layer)
    for hook in hooks:
        hook.remove()
    assert ran == [layer for layer in range(stack.generator.config.layers) if layer != stack.layer]
    image.square().mean().backward()
    assert (latent.grad.abs().sum((0, 2)) > 0).all()  # row k styles the RGB of layer k - 1
    assert (feature.grad.abs() > 0).any()


def test_a_photos_first_pass_does_not_depend_on_its_batch(setup):
    inverter, _, photo = setup
    whole = inverter.frozen_pass(photo)
    for index in range(2):
        for name, part in inverter.frozen_pass(photo[index : index + 1]).items():
            assert torch.equal(part[0], whole[name][index])


def test_training_and_inference_compute_one_picture(setup):
    inverter, _, photo = setup
    inverter.float()
    photo = photo.float()
    inverter.compensator.eval()
    inversion, trained = inverter.invert(photo), inverter._invert(photo)
    assert trained.image.requires_grad
    assert torch.equal(trained.extras["initial_image"], inversion.extras["initial_image"])
    assert (trained.image - inversion.image).abs().max() < 1e-3 * inversion.image.std()


@pytest.mark.parametrize(
    "words",
    [
        ("model.spatial_contextual=true",),
        ("model.spatial_contextual=true", "model.attention=false"),
        ("model.attention=false",),
        ("model.fusion=affine", "model.preset=paper"),
        ("model.spatial_contextual=true", "model.preset=paper", "model.attention=false"),
        ("model.layer=5",),
        ("model.layer=4",),
    ],
)
def test_every_variant_trains_all_of_its_parameters(words):
    task = small_trainer(*words).task
    for network in task.networks.values():
        network.train()
    training_step(task.inverter, task.joint, torch.rand(2, 3, 64, 64) * 2 - 1)["loss"].backward()
    parameters = list(task.inverter.compensator.named_parameters())
    assert [name for name, p in parameters if p.grad is None] == []
    assert all(torch.isfinite(p.grad).all() for _, p in parameters)
