"""The optimisers: the right way down, quiet, and what the packages get wrong held off."""

from itertools import pairwise

import pytest
import torch

from sdic.errors import ConfigError
from sdic.training.config import OptimConfig
from sdic.training.optim import WeightAverage, build_optimizer, learning_rate


def parameter():
    return torch.nn.Parameter(torch.linspace(-1, 1, 12).reshape(3, 4))


@pytest.mark.parametrize("name", ["ranger", "ranger21", "adam", "soap"])
def test_every_early_step_goes_down_the_gradient(name):
    # pytorch_optimizer's Ranger goes up in its first five steps unless told otherwise.
    weight = parameter()
    optimizer = build_optimizer(OptimConfig(name=name, lr=1e-2), [weight], 100)
    direction = torch.sin(torch.arange(12.0)).reshape(3, 4)
    for step in range(4):  # the fifth or sixth is where Lookahead turns back half way
        before = weight.detach().clone()
        weight.grad = direction.clone()
        optimizer.step()
        if name == "soap" and step == 0:  # only looks, for its preconditioner
            assert torch.equal(weight, before)
        else:
            assert ((weight.detach() - before) * direction).sum() < 0


def test_the_first_ranger_step_is_a_plain_momentum_step_of_the_centred_gradient():
    # RAdam before its rectification: p - lr * m / (1 - beta1) with m = (1 - beta1) g, so p - lr * g; g centred per row.
    weight, before = parameter(), parameter()
    gradient = torch.sin(torch.arange(12.0)).reshape(3, 4)
    weight.grad = gradient.clone()
    build_optimizer(OptimConfig(name="ranger", lr=0.1), [weight], 100).step()
    expected = before - 0.1 * (gradient - gradient.mean(1, keepdim=True))
    assert torch.allclose(weight, expected, atol=1e-6)


def test_lookahead_of_ranger_returns_half_way_every_sixth_step():
    fast, slow_start = parameter(), parameter().detach().clone()
    optimizer = build_optimizer(OptimConfig(name="ranger", lr=0.1), [fast], 100)
    gradient = torch.sin(torch.arange(12.0)).reshape(3, 4)
    gradient -= gradient.mean(1, keepdim=True)
    for _ in range(5):
        fast.grad = gradient.clone()
        optimizer.step()
    fifth = fast.detach().clone()
    fast.grad = gradient.clone()
    optimizer.step()
    # Before and after the merge the sixth step lies on this line: slow + (fast - slow) / 2.
    moved, went = (fast.detach() - slow_start).norm(), (fifth - slow_start).norm()
    assert 0.4 * went < moved < 0.8 * went


def test_ranger21_is_silent_and_survives_zero_gradients(capsys):
    weight, other = parameter(), parameter()
    optimizer = build_optimizer(OptimConfig(name="ranger21"), [weight, other], 10)
    for _ in range(10):
        weight.grad, other.grad = torch.zeros(3, 4), torch.zeros(3, 4)
        optimizer.step()
    assert torch.equal(weight, parameter())  # no decay, no norm loss on the last parameter either
    assert torch.equal(other, parameter())
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", ["ranger", "ranger21", "adam", "soap"])
@pytest.mark.parametrize("stop", [1, 4, 5, 6, 13])
def test_resuming_at_any_step_is_exact(name, stop):
    def steps(optimizer, weight, numbers):
        for number in numbers:
            weight.grad = torch.sin(torch.arange(12.0) * (number + 1)).reshape(3, 4)
            optimizer.step()

    straight = parameter()
    steps(build_optimizer(OptimConfig(name=name), [straight], 20), straight, range(20))
    first = parameter()
    begun = build_optimizer(OptimConfig(name=name), [first], 20)
    steps(begun, first, range(stop))
    second = torch.nn.Parameter(first.detach().clone())
    resumed = build_optimizer(OptimConfig(name=name), [second], 20)
    resumed.load_state_dict(begun.state_dict())
    steps(resumed, second, range(stop, 20))
    assert torch.equal(straight, second)


def test_the_average_of_weights_by_hand():
    network = torch.nn.BatchNorm1d(1)
    average = WeightAverage(network, 0.75)
    with torch.no_grad():
        network.weight.fill_(5.0)
        network.running_mean.fill_(3.0)
    average.update(network)
    assert average.network.weight.item() == pytest.approx(0.75 * 1 + 0.25 * 5)
    assert average.network.running_mean.item() == 3.0
    assert not any(p.requires_grad for p in average.network.parameters())


def test_the_rate_is_constant_or_falls_over_the_end():
    constant, falling = OptimConfig(lr=2.0), OptimConfig(lr=2.0, fall=0.5)
    assert {learning_rate(constant, step, 100) for step in range(100)} == {2.0}
    rates = [learning_rate(falling, step, 100) for step in range(100)]
    assert rates[:50] == [2.0] * 50
    assert rates[75] == pytest.approx(1.0)
    assert all(later < earlier for earlier, later in pairwise(rates[50:]))
    assert 0 < rates[99] < 0.01
    with pytest.raises(ConfigError, match="schedule of its own"):
        OptimConfig(name="ranger21", fall=0.5)
