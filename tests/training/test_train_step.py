"""What one step computes, and what it leaves alone."""

import pytest
import torch

from sdic.data.dataset import Batch, PictureDataset, collate
from sdic.data.sources import Request, open_source
from sdic.networks.compensator import Compensated
from sdic.training.features import build_features, build_loss
from sdic.training.stack import build_stack, trainable
from sdic.training.step import first_pass, reference_step, second_pass, training_step
from sdic.utils.tensors import fingerprint


@pytest.fixture(params=["released", "paper"])
def setup(request, small_config):
    """(stack, loss, batch of two) in double precision, where rounding hides nothing."""
    config = small_config(f"model.preset={request.param}")
    stack = build_stack(config.model, 0)
    for network in (stack.generator, stack.encoder, stack.compensator):
        network.double()
    source, names, _ = open_source(Request("synthetic", "", limit=2))
    dataset = PictureDataset(source, names, stack.geometry)
    batch = collate([dataset[0], dataset[1]])
    batch.photo = batch.photo.double()
    stack.compensator.train()
    return stack, build_loss(config, build_features(config)), batch


def gradients(step, setup, **options):
    stack, loss, batch = setup
    stack.compensator.zero_grad()
    terms = step(stack, stack.compensator, loss, batch, **options)
    terms["loss"].backward()
    return terms["loss"].item(), torch.cat([p.grad.flatten() for p in trainable(stack.compensator)])


def test_the_fast_step_equals_the_plain_one_in_loss_and_gradient(setup):
    loss, gradient = gradients(training_step, setup)
    plain_loss, plain_gradient = gradients(reference_step, setup)
    assert loss == pytest.approx(plain_loss, rel=1e-10)
    assert (gradient - plain_gradient).norm() < 1e-9 * plain_gradient.norm()


def test_recomputing_activations_changes_nothing(setup):
    results = (gradients(training_step, setup), gradients(training_step, setup, recompute=True))
    for kept, recomputed in zip(*results, strict=True):
        assert torch.equal(torch.as_tensor(kept), torch.as_tensor(recomputed))


def test_recomputing_keeps_less(setup):
    stack, _, batch = setup
    first = first_pass(stack, batch.photo)
    feature, latent = first.feature.clone().requires_grad_(), first.latent.clone().requires_grad_()
    sizes = []
    for recompute in (False, True):
        kept = {}
        with torch.autograd.graph.saved_tensors_hooks(
            lambda t, kept=kept: kept.update({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes()}) or t,
            lambda t: t,
        ):
            image = second_pass(
                stack.generator.synthesis, Compensated(latent, feature, feature), stack.layer, "fixed", recompute
            )
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
    assert missing == []  # DDP would wait for it


def test_the_first_pass_builds_no_graph(setup):
    stack, _, batch = setup
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        result = first_pass(stack, batch.photo)
    assert kept == []
    assert all(tensor.grad_fn is None and not tensor.requires_grad for tensor in result)


def test_below_the_layer_the_rgb_branch_carries_a_gradient_and_layer_k_itself_does_not(setup):
    stack, _, batch = setup
    first = first_pass(stack, batch.photo)
    latent, feature = first.latent.clone().requires_grad_(), first.feature.clone().requires_grad_()
    ran = []
    hooks = [
        conv.register_forward_hook(lambda *_, layer=layer: ran.append(layer))
        for layer, conv in enumerate(stack.generator.synthesis.convs)
    ]
    image = second_pass(stack.generator.synthesis, Compensated(latent, feature, feature), stack.layer)
    for hook in hooks:
        hook.remove()
    assert ran == [layer for layer in range(stack.generator.config.layers) if layer != stack.layer]
    image.square().mean().backward()
    assert (latent.grad.abs().sum((0, 2)) > 0).all()  # row k styles the RGB of layer k - 1
    assert (feature.grad.abs() > 0).any()


def test_a_photos_first_pass_does_not_depend_on_its_batch(setup):
    stack, _, batch = setup
    whole = first_pass(stack, batch.photo)
    for index in range(2):
        for part, all_of_them in zip(first_pass(stack, batch.photo[index : index + 1]), whole, strict=True):
            assert torch.equal(part[0], all_of_them[index])


def test_training_and_inference_compute_one_picture(setup):
    from sdic.training.validation import inverter_of

    stack, _, batch = setup
    for network in (stack.generator, stack.encoder, stack.compensator):
        network.float()
    photo = Batch(batch.photo.float(), batch.names).photo
    inverter = inverter_of(stack, stack.compensator, "fp32")
    inversion = inverter.invert(photo)
    first = first_pass(stack, photo)
    enhanced = stack.compensator(photo, first.initial, first.latent, first.feature)
    image = second_pass(stack.generator.synthesis, enhanced, stack.layer)
    assert torch.equal(first.initial, inversion.extras["initial_image"])
    assert (image - inversion.image).abs().max() < 1e-3 * inversion.image.std()


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
def test_every_variant_trains_all_of_its_parameters(small_config, words):
    config = small_config(*words)
    stack = build_stack(config.model, 0)
    photo = torch.rand(2, 3, 64, 64) * 2 - 1
    stack.compensator.train()
    loss = build_loss(config, build_features(config))
    training_step(stack, stack.compensator, loss, Batch(photo, ["a", "b"]))["loss"].backward()
    assert [name for name, p in stack.compensator.named_parameters() if p.grad is None] == []
    assert all(torch.isfinite(p.grad).all() for p in stack.compensator.parameters())
