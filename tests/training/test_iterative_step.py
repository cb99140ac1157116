"""A training step of pSp, ReStyle and HyperStyle is the sum of their authors' terms over all passes, in float64."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from test_every_method import trainer

from sdic.errors import ConfigError
from sdic.methods import METHODS
from sdic.ops import use_reference

WEIGHTS = {"l2": 1.0, "lpips": 0.8, "id": 0.1}
"""Of all three, in their authors' options."""
CASES = {
    "psp": (),
    "restyle": ("model.relative=false",),
    "restyle over e4e": ("loss.critic=0.1", "loss.offsets=2e-4"),
    "hyperstyle": (),
    "hyperstyle without sharing": ("model.shared=false", "model.layers=[1,4,8]"),
}


@pytest.fixture(params=CASES)
def task(request, tmp_path, portraits):
    words = [f"loss.{name}={value}" for name, value in WEIGHTS.items()]
    words += ["loss.lpips_weights=random", f"loss.id_network={portraits / 'identity.safetensors'}", "model.passes=2"]
    method = request.param.split()[0]
    if method == "psp":
        words.pop()
    task = trainer(method, tmp_path, 10, *words, *CASES[request.param]).task
    task.inverter.double()
    task.joint.double()
    for network in task.networks.values():
        network.double().train()
    task.photos = SimpleNamespace(cache=None)
    torch.manual_seed(3)
    return task


def gradients(task, losses):
    """(sum of the losses, the gradient of what the method trains); each part goes backward by itself."""
    parameters = [p for role in METHODS[task.name].trains for p in task.networks[role].parameters()]
    total = 0.0
    for part in losses:
        part.backward()
        total += part.item()
    found = torch.cat([torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten() for p in parameters])
    for network in task.networks.values():
        network.zero_grad()
    return total, found.clone()


def plain_terms(task, photo, image, code):
    """Their loss of one pass."""
    output = F.avg_pool2d(image, image.shape[-1] // 64)
    loss = WEIGHTS["l2"] * (output - photo).square().mean()
    loss = loss + WEIGHTS["lpips"] * task.joint.lpips.network(photo, output).mean()
    same = (task.joint.embedder.embed(photo) * task.joint.embedder.embed(output)).sum(1)
    loss = loss + WEIGHTS["id"] * (1 - same.mean())  # in float32, as the network gives it
    if task.critic is not None:
        rows = code.shape[1]
        loss = loss + 0.1 * F.softplus(-task.critic.network(code.reshape(-1, code.shape[2]))).mean()
        loss = loss + 2e-4 * sum((code[:, row] - code[:, 0]).norm(dim=1).mean() for row in range(1, rows))
    return loss


def plain_losses(task, photo):
    """The passes by the straightforward loop."""
    inverter, networks = task.inverter, task.networks
    synthesis = inverter.generator.synthesis
    if task.name == "psp":
        code = networks["encoder"](photo)
        yield plain_terms(task, photo, synthesis(code), code)
        return
    if task.name == "restyle":
        encoder = networks["encoder"]
        code = encoder.latent_avg.expand(len(photo), -1, -1)
        shown = synthesis(code)
        for _ in range(2):
            features = encoder.body(torch.cat([photo, shown], 1))[-1]
            rows = [head(features) for head in encoder.heads]
            if encoder.config.relative:
                rows = [rows[0], *(rows[0] + row for row in rows[1:])]
            code = code.detach() + torch.stack(rows, 1)
            image = synthesis(code)
            yield plain_terms(task, photo, image, code)
            shown = image.detach()
        return
    hypernet, config = networks["hypernet"], networks["hypernet"].config
    with torch.no_grad():
        code = inverter.encoder(photo, 1)
        shown = synthesis(code)
    changes = dict.fromkeys(config.layers)
    weights = {layer: synthesis.convs[layer].weight for layer in config.layers}
    for _ in range(2):
        feature = hypernet.body(torch.cat([photo, shown], 1))[-1]
        for layer, head in zip(config.layers, hypernet.heads, strict=True):
            outputs, inputs = weights[layer].shape[:2]
            vector = head(feature)
            if config.shared and inputs == outputs == config.wide:
                shared = hypernet.shared
                rows = (vector @ shared.w2 + shared.b2).view(len(photo), outputs, -1)
                found = (rows @ shared.w1 + shared.b1).view(len(photo), outputs, inputs, 3, 3)
            else:
                output = hypernet.outputs[str(layer)]
                found = F.linear(vector, output.weight, output.bias).view(len(photo), outputs, inputs, 1, 1)
            before = changes[layer]
            changes[layer] = found + (0 if before is None else before.detach())
        images = []
        for index in range(len(photo)):
            own = {f"convs.{k}.weight": weights[k] * (1 + changes[k][index]) for k in config.layers}
            images.append(torch.func.functional_call(synthesis, own, (code[index : index + 1],)))
        image = torch.cat(images)
        yield plain_terms(task, photo, image, code)
        shown = image.detach()


def test_a_step_is_the_sum_of_its_passes(task):
    photo = torch.rand(2, 3, 64, 64).double() * 2 - 1
    batch = SimpleNamespace(photo=photo, stored=None)
    loss, gradient = gradients(task, (terms["loss"] for terms in task.parts(task.name, batch)))
    with use_reference():
        plain, expected = gradients(task, plain_losses(task, photo))
    assert abs(loss / plain - 1) < 1e-10
    assert (gradient - expected).norm() < 1e-8 * expected.norm()
    assert expected.norm() > 0


@pytest.mark.parametrize("method", ["psp", "restyle"])
def test_recomputing_activations_changes_nothing(method, tmp_path):
    found = []
    for words in ((), ("model.activation_checkpointing=true",)):
        task = trainer(method, tmp_path, 10, "model.noise=random", *words).task
        task.photos = SimpleNamespace(cache=None)
        torch.manual_seed(3)
        batch = SimpleNamespace(photo=torch.rand(2, 3, 64, 64) * 2 - 1, stored=None)
        found.append(gradients(task, (terms["loss"] for terms in task.parts(task.name, batch))))
    assert task.inverter.recompute
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-6, atol=0)
    torch.testing.assert_close(found[0][1], found[1][1], rtol=1e-4, atol=1e-6)


def test_what_hyperstyle_cannot_recompute_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"activation_checkpointing.*optim\.accumulate"):
        trainer("hyperstyle", tmp_path, 10, "model.activation_checkpointing=true")
