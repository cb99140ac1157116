"""Directions from labels or scores: InterFaceGAN's linear classifier (Shen et al. 2020), a regression, and their units.

A linear readout of an attribute has a normal. `edit_vector` makes of normals the move that changes one attribute and
leaves others, `calibrate` measures how far a unit is.

Shapes: N codes, F numbers in a code (D of W, L * D of W+), L latent rows, D style width, K attributes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from sdic.errors import ConfigError, SdicError

Score = Callable[[Tensor], Tensor]
"""Codes [N, D] or latents [N, L, D] -> an attribute of their pictures [N], in its unit."""
Codes = Callable[[], Iterator[Tensor]]
"""Gives all codes, from the first on and in parts [n, F]: they need not be in memory at once."""
Fit = Literal["svm", "regression"]
STEPS = 8  # to either side of a calibration
TOLERANCE = 0.25  # what is asked for and what is measured may differ by so much within the useful range
PENALTY = 0.01  # of the classifier, and for each code of the regression, where codes have variance 1
FEWEST = 4  # codes of either kind
MOST_PARTED = 50_000  # codes that the classifier holds in memory
MOST_FEATURES = 4096  # of a regression, whose matrix has so many squared


@dataclass(frozen=True)
class Readout:
    """A linear readout of an attribute. normal: [F], unit length, towards more of it. accuracy: 0..1, of telling the
    two kinds (the extremes of the scores) apart in the third that was held out. correlation: of readout and score in
    all that were held out. used: how many codes it was made from, those held out included."""

    normal: Tensor
    accuracy: float
    correlation: float
    used: int


def read_off(codes: Codes, scores: Tensor, how: Fit, extremes: float = 0.1) -> Readout:
    """The readout of scores [N], NaN where one is not known; two different numbers are labels.

    how: "svm" parts the two kinds, of scores the share `extremes` at either end (InterFaceGAN). "regression" follows
    the scores (ridge): of scores it makes a better direction from fewer codes, since it uses all of them.
    SdicError where there are too few codes, or the scores do not differ.
    """
    known = torch.isfinite(scores).nonzero()[:, 0]
    given = scores[known].double()
    if len(given.unique()) == 2:
        upper = given > given.mean()
        kinds = [known[~upper], known[upper]]
    else:
        count = max(2, int(len(known) * extremes))
        order = known[given.argsort()]
        kinds = [order[:count], order[-count:]]
    if min(map(len, kinds)) < FEWEST:
        raise SdicError(
            f"{len(kinds[1])} codes with the attribute and {len(kinds[0])} without it: at least {FEWEST} of either kind"
        )
    if not float(scores[kinds[1]].min()) > float(scores[kinds[0]].max()):
        raise SdicError("the attribute is the same in nearly all samples: there is nothing to find a direction for")
    mean, std = _moments(codes, known)
    if how == "regression":
        return _regression(codes, scores, known, kinds, mean, std)
    kinds = [kind[torch.randperm(len(kind), generator=_draw())[: MOST_PARTED // 2]] for kind in kinds]
    chosen = torch.cat(kinds)
    upper = torch.arange(len(chosen)) >= len(kinds[0])
    normal, accuracy, held = _classifier((_gathered(codes, chosen) - mean) / std, upper)
    normal = normal / std
    normal = normal / normal.norm()
    left = torch.ones(len(scores), dtype=torch.bool)
    left[chosen] = False
    rest = torch.cat([chosen[held], left.nonzero()[:, 0]])
    return Readout(normal.float(), accuracy, _correlation(codes, normal, scores, rest), len(chosen))


def classifier_normal(codes: Tensor, scores: Tensor, extremes: float) -> tuple[Tensor, float]:
    """(unit normal [D], accuracy 0..1 on a held-out third) of a linear SVM between the two extremes of the scores.

    codes [N, D], scores [N]; `extremes` is the share of codes at either end. The normal points to higher scores.
    SdicError where the scores do not differ.
    """
    count = max(2, int(len(codes) * extremes))
    order = scores.argsort().cpu()
    low, high = order[:count], order[-count:]
    if not float(scores[high].min()) > float(scores[low].max()):
        raise SdicError("the attribute is the same in nearly all samples: there is nothing to find a direction for")
    # Standardised, so that the classifier's penalty does not depend on the scale of W.
    mean, std = codes.mean(0).cpu(), codes.std(0).clamp_min(1e-8).cpu()
    x = ((codes.cpu()[torch.cat([low, high])] - mean) / std).double()
    normal, accuracy, _ = _classifier(x, torch.arange(2 * count) >= count)
    normal = normal.float() / std
    return (normal / normal.norm()).to(codes), accuracy


def _classifier(x: Tensor, upper: Tensor) -> tuple[Tensor, float, Tensor]:
    """(normal [F], accuracy on the held-out third, which those were) of a linear SVM. x [N, F] float64 of variance 1,
    upper [N] booleans."""
    try:
        from sklearn.svm import LinearSVC
    except ImportError as error:
        raise ConfigError(
            "finding directions needs scikit-learn: pip install 'sdic[directions]', or scikit-learn"
        ) from error
    draw = torch.randperm(len(x), generator=_draw())
    held, used = draw[: len(x) // 3], draw[len(x) // 3 :]
    y = upper.double()
    if len(y[used].unique()) < 2 or not len(held):
        raise SdicError(f"{int(upper.sum())} codes with the attribute and {int((~upper).sum())} without it are too few")
    even = 2 * int(upper.sum()) == len(upper)
    model = LinearSVC(C=PENALTY, dual=False, max_iter=5000, class_weight=None if even else "balanced")
    model.fit(x[used].numpy(), y[used].numpy())
    return torch.from_numpy(model.coef_[0]), float(model.score(x[held].numpy(), y[held].numpy())), held


def _regression(
    codes: Codes, scores: Tensor, known: Tensor, kinds: Sequence[Tensor], mean: Tensor, std: Tensor
) -> Readout:
    """Ridge regression, over parts: only a matrix [F, F] is kept."""
    if len(mean) > MOST_FEATURES:
        raise ConfigError(f"a regression on codes of {len(mean)} numbers takes too much memory: use svm")
    order = known[torch.randperm(len(known), generator=_draw())]
    held, used = order[: len(order) // 3], order[len(order) // 3 :]
    target = torch.zeros(len(scores), dtype=torch.float64)
    target[used] = scores[used].double() - scores[used].double().mean()
    is_used = torch.zeros(len(scores), dtype=torch.bool)
    is_used[used] = True
    gram, moment = torch.zeros(len(mean), len(mean), dtype=torch.float64), torch.zeros(len(mean), dtype=torch.float64)
    for first, part in _numbered(codes):
        place = slice(first, first + len(part))
        x = ((part - mean) / std)[is_used[place]]
        gram += x.T @ x
        moment += x.T @ target[place][is_used[place]]
    gram += PENALTY * len(used) * torch.eye(len(mean), dtype=torch.float64)
    normal = torch.linalg.solve(gram, moment) / std
    normal = normal / normal.norm()
    read = torch.cat([part @ normal for _, part in _numbered(codes)])
    is_held = torch.zeros(len(scores), dtype=torch.bool)
    is_held[held] = True
    low, high = (kind[is_held[kind]] for kind in kinds)
    middle = sum(float(read[kind[is_used[kind]]].mean()) for kind in kinds) / 2
    right = torch.cat([read[low] <= middle, read[high] > middle]).double()
    accuracy = float(right.mean()) if len(right) else 0.0
    return Readout(normal.float(), accuracy, _correlation(codes, normal, scores, held), len(known))


def _draw() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def _numbered(codes: Codes) -> Iterator[tuple[int, Tensor]]:
    """(number of its first code, part [n, F] as float64 on the CPU)."""
    first = 0
    for part in codes():
        yield first, part.detach().cpu().double()
        first += len(part)


def _moments(codes: Codes, known: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation [F] of the codes whose scores are known."""
    total, square, wanted = torch.zeros(()), torch.zeros(()), set(known.tolist())
    for first, part in _numbered(codes):
        part = part[[number for number in range(len(part)) if first + number in wanted]]
        total, square = total + part.sum(0), square + part.square().sum(0)
    mean = total / len(known)
    variance = (square / len(known) - mean.square()) * len(known) / max(1, len(known) - 1)
    return mean, variance.clamp_min(0).sqrt().clamp_min(1e-8)


def _gathered(codes: Codes, chosen: Tensor) -> Tensor:
    """The chosen codes [n, F], in the order of `chosen`."""
    places = {number: place for place, number in enumerate(chosen.tolist())}
    found: Tensor | None = None
    for first, part in _numbered(codes):
        numbers = [number for number in range(len(part)) if first + number in places]
        found = torch.empty(len(chosen), part.shape[1], dtype=torch.float64) if found is None else found
        found[[places[first + number] for number in numbers]] = part[numbers]
    assert found is not None
    return found


def _correlation(codes: Codes, normal: Tensor, scores: Tensor, held: Tensor) -> float:
    """Of the readout and the scores of those that are held out and known; 0 where neither varies."""
    read = torch.cat([part @ normal for _, part in _numbered(codes)])
    held = held[torch.isfinite(scores[held])]
    pair = torch.stack([read[held], scores[held].double()])
    return float(torch.corrcoef(pair)[0, 1].nan_to_num()) if len(held) > 1 else 0.0


def edit_vector(normals: Tensor, index: int, covariance: Tensor | None = None) -> Tensor:
    """The unit vector [D] that moves readout `index` of [K, D] and leaves the other readouts as they are.

    Of all such moves the shortest, by Euclid's length or, with the codes' `covariance` S [D, D], by Mahalanobis':
    delta = S N (N^T S N)^-1 e_i, N the normals in columns. Without S this is InterFaceGAN's conditional manipulation,
    the projection of one normal on the complement of the others, for any number of conditions. With S it is the move
    that the codes themselves make with the attribute: where W is linear in independent factors w = A v, a normal is a
    row of A^-1, which reads the attribute off, but the column of A, which changes nothing else, is S times it.
    SdicError where one normal is a combination of the others.
    """
    columns = normals.t().double()
    moved = columns if covariance is None else covariance.to(columns) @ columns
    gram = columns.t() @ moved
    scale = gram.diagonal().rsqrt()
    if float(torch.linalg.eigvalsh(gram * scale[:, None] * scale).min()) < 1e-6:
        raise SdicError("a direction is a combination of the others; leave one of the conditions out (condition=false)")
    chosen = torch.zeros(len(normals), dtype=gram.dtype, device=gram.device)
    chosen[index] = 1
    delta = moved @ torch.linalg.solve(gram, chosen)
    return (delta / delta.norm()).to(normals)


@dataclass(frozen=True)
class Calibration:
    """per_unit: how far along the unit normal one unit of the attribute is. limits: strengths, in the attribute's unit,
    within which the measured change is what was asked for, to TOLERANCE. asked, measured: the curve."""

    per_unit: float
    limits: tuple[float, float]
    asked: list[float]
    measured: list[float]


def calibrate(codes: Tensor, normal: Tensor, score: Score, span: float) -> Calibration:
    """Measure a unit normal [D] on codes [N, D] or latents [N, L, D]: mean change of the score for moves either way.

    span: the largest change that is of interest, in the attribute's unit. SdicError where the score falls along the
    normal or does not move.
    """
    base = score(codes)

    def change(distance: float) -> float:
        return float((score(codes + distance * normal) - base).mean())

    probe = 0.25 * float(((codes - codes.mean(0)) @ normal).std())
    slope = (change(probe) - change(-probe)) / (2 * probe) if probe > 0 else 0.0
    if not slope > 0:
        raise SdicError(f"the attribute does not grow along its direction (slope {slope:.3g} per unit of W)")
    # Slope of the least-squares line through 0 over half the span, then once more with the better unit.
    for _ in range(2):
        steps = [span / slope * k / STEPS for k in range(-STEPS // 2, STEPS // 2 + 1) if k]
        moved = [change(step) for step in steps]
        slope = sum(s * m for s, m in zip(steps, moved, strict=True)) / sum(s * s for s in steps)
        if not slope > 0:
            raise SdicError("the attribute does not keep growing along its direction")
    asked = [span * k / STEPS for k in range(-STEPS, STEPS + 1)]
    measured = [change(value / slope) for value in asked]
    return Calibration(1 / slope, _useful(asked, measured), asked, measured)


def _useful(asked: Sequence[float], measured: Sequence[float]) -> tuple[float, float]:
    """The widest range around 0 in which |measured - asked| <= TOLERANCE |asked| (at least one step either way)."""
    zero = len(asked) // 2

    def fits(i: int) -> bool:
        return abs(measured[i] - asked[i]) <= TOLERANCE * abs(asked[i]) + 1e-9

    def reach(indices: range) -> float:
        return asked[[indices[0], *itertools.takewhile(fits, indices)][-1]]

    return reach(range(zero - 1, -1, -1)), reach(range(zero + 1, len(asked)))
