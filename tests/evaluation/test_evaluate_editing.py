"""Strengths and measures of edits, on inverters and pictures whose answers are known."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from sdic.domains import Truth
from sdic.editing.amounts import strength_for
from sdic.evaluation.editing import details_kept, edit_and_measure, region_error
from sdic.evaluation.networks import MetricNetworks
from sdic.types import Geometry

SIZE = 32


def flat(value: float, count: int = 1) -> torch.Tensor:
    return torch.full((count, 3, SIZE, SIZE), value)


class Fake:
    """Its pictures are grey; the attribute is 100 times the grey level, and an edit moves it by `response`."""

    geometry = measured = Geometry(SIZE, (SIZE, SIZE))

    def __init__(self, response, start=0.1):
        self.response, self.start, self.asked = response, start, []

    def edit(self, inversion, direction, strengths):
        self.asked += strengths
        return torch.cat([flat(self.start + self.response(s) / 100) for s in strengths])


class GreyLevel:
    """The attribute network: 100 times the grey level."""

    config = SimpleNamespace(names=("age",))

    def __call__(self, pictures):
        return 100 * pictures.mean((1, 2, 3))[:, None]


NETWORKS = MetricNetworks(
    lpips=lambda a, b: (a - b).abs().mean((1, 2, 3)),
    embedder=SimpleNamespace(embed=lambda x: torch.ones(len(x), 1)),
    attributes=GreyLevel(),
)


def edited(response, changes=(20.0,), sign=1, start=0.1):
    # In truth the attribute is 10 and moves to 10 + change; nothing else is in the picture.
    values = torch.tensor([10 + sign * change for change in changes])
    pictures = torch.cat([flat(float(value) / 100) for value in values])
    truth = Truth(changes, sign, values, pictures, pictures)
    inverter = Fake(response, start)
    inversion = SimpleNamespace(image=flat(start))
    found = edit_and_measure(inverter, inversion, None, "age", flat(0.1), truth, NETWORKS)
    return found.numbers, found.pictures, inverter


def test_a_weak_direction_gets_more_strength():
    numbers, pictures, _ = edited(lambda s: 0.8 * s)
    found = numbers["20"]
    assert found["strength"] == pytest.approx(25, rel=1e-4)
    assert found["moved"] == pytest.approx(16, rel=1e-4)
    assert found["attribute_error"] == pytest.approx(0, abs=1e-3)
    assert found["l2"] == pytest.approx(0, abs=1e-9)
    assert found["out_of_reach"] == 0
    assert pictures.mean() == pytest.approx(0.3, abs=1e-5)


def test_a_bent_response_is_followed_piece_by_piece():
    # 4 years at strength 10, 12 at 20, 28 at 30: 20 years are half way between the last two.
    bent = {0: 0, 10: 4, 20: 12, 30: 28}
    numbers, _, inverter = edited(lambda s: bent.get(round(s, 3), 20))
    assert numbers["20"]["strength"] == pytest.approx(25, rel=1e-4)
    assert inverter.asked == pytest.approx([10, 20, 30, 25], rel=1e-4)


def test_what_cannot_be_reached_is_said():
    numbers, _, _ = edited(lambda s: 0.5 * s)
    assert numbers["20"]["strength"] == 30
    assert numbers["20"]["out_of_reach"] == 1
    assert numbers["20"]["attribute_error"] == pytest.approx(5, abs=1e-3)


def test_a_direction_that_goes_the_wrong_way_is_not_taken():
    numbers, _, _ = edited(lambda s: -s)
    assert numbers["20"]["strength"] == 0
    assert numbers["20"]["moved"] == pytest.approx(-20, rel=1e-4)


def test_downwards_is_counted_in_the_asked_direction():
    numbers, _, inverter = edited(lambda s: s, sign=-1)
    assert numbers["20"]["moved"] == pytest.approx(20, rel=1e-4)
    assert numbers["20"]["strength"] == pytest.approx(20, rel=1e-4)
    assert max(inverter.asked) < 0


def test_an_inversion_that_looks_older_does_not_change_the_strength():
    # The move is measured from the inversion; what the inversion got wrong stays as the attribute's error.
    numbers, _, _ = edited(lambda s: s, start=0.13)
    assert numbers["20"]["strength"] == pytest.approx(20, rel=1e-4)
    assert numbers["20"]["attribute_error"] == pytest.approx(3, abs=1e-3)


def test_several_changes_share_what_is_tried():
    numbers, pictures, inverter = edited(lambda s: s, changes=(5.0, 10.0, 20.0))
    assert list(numbers) == ["5", "10", "20"]
    tried = inverter.asked[: -len(pictures)]
    assert tried == sorted(set(tried))
    assert [found["strength"] for found in numbers.values()] == pytest.approx([5, 10, 20], rel=1e-4)


def test_the_first_crossing_counts():
    assert strength_for(10, [0, 5, 10, 15], [0, 20, 0, 30]) == (2.5, False)
    assert strength_for(10, [0, 5, 10, 15], [0, 8, 4, -3]) == (5, True)


def painted(where: slice, value: float) -> torch.Tensor:
    picture = flat(0.0)
    picture[:, :, where] = value
    return picture


def test_details_kept_is_one_for_the_truth_and_zero_for_a_picture_without_them():
    bare, truth = flat(0.0), painted(slice(0, 4), 0.8)
    edits = torch.cat([truth, bare, (truth + bare) / 2, -9 * truth])
    kept = details_kept(edits, truth.expand(4, -1, -1, -1), bare.expand(4, -1, -1, -1))
    assert kept == pytest.approx([1, 0, 0.75, -1])


def test_details_kept_looks_at_the_details_alone():
    bare, truth = flat(0.0), painted(slice(0, 4), 0.8)
    assert details_kept(truth + painted(slice(10, 30), 1.0), truth, bare) == [1]
    assert details_kept(truth, truth, truth) == [None]
    faint = painted(slice(0, 4), 0.05)  # below the threshold: no detail
    assert details_kept(bare, faint, bare) == [None]


def test_region_error_looks_at_the_changed_pixels_alone():
    photo, truth = flat(0.0), painted(slice(0, 8), 0.5)
    assert region_error(truth, truth, photo) == [0]
    assert region_error(photo, truth, photo) == pytest.approx([0.25])
    assert region_error(truth + painted(slice(8, 32), 1.0), truth, photo) == [0]
    assert region_error(photo, photo, photo) == [None]
