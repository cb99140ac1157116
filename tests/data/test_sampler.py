"""The order of pictures: fixed by (seed, epoch), restartable at any sample, shared out over processes."""

import itertools

from sdic.data.sampler import EpochOrder, ResumableSampler, derive_seed


def take(sampler, count):
    return list(itertools.islice(iter(sampler), count))


def test_every_epoch_is_a_permutation_and_they_differ():
    views = take(ResumableSampler(EpochOrder(10, seed=3, flips=True)), 30)
    epochs = [[view.picture for view in views[start : start + 10]] for start in (0, 10, 20)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_the_order_depends_on_the_seed_and_on_nothing_else():
    first = take(ResumableSampler(EpochOrder(50, 3, True)), 100)
    assert first == take(ResumableSampler(EpochOrder(50, 3, True)), 100)
    assert first != take(ResumableSampler(EpochOrder(50, 4, True)), 100)


def test_it_can_be_restarted_at_any_sample():
    whole = take(ResumableSampler(EpochOrder(7, 0, True)), 40)
    for first in range(30):
        assert take(ResumableSampler(EpochOrder(7, 0, True), first), 10) == whole[first : first + 10]


def test_processes_share_the_samples_out():
    whole = take(ResumableSampler(EpochOrder(7, 0, True)), 24)
    parts = [take(ResumableSampler(EpochOrder(7, 0, True), 0, rank, 3), 8) for rank in range(3)]
    assert [view for row in zip(*parts, strict=True) for view in row] == whole


def test_flips_are_a_decision_of_their_own():
    plain = take(ResumableSampler(EpochOrder(200, 1, False)), 200)
    flipped = take(ResumableSampler(EpochOrder(200, 1, True)), 200)
    assert [view.picture for view in plain] == [view.picture for view in flipped]
    assert not any(view.flip for view in plain)
    assert 70 < sum(view.flip for view in flipped) < 130


def test_seeds_depend_on_every_word():
    seeds = {derive_seed(*words) for words in ((0, "a", 1), (0, "a", 2), (1, "a", 1), (0, "b", 1), ("0/a", 1, ""))}
    assert len(seeds) == 5
    assert all(0 <= seed < 2**63 for seed in seeds)
