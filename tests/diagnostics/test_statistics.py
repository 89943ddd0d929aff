"""Each statistic against a closed form or another library."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from scipy.spatial.distance import cdist, pdist, squareform
from sklearn.metrics import roc_auc_score
from torch import Tensor

from gantrain.diagnostics.statistics import (
    Reliability,
    as_coordinates,
    best_loss_at_equality,
    effective_share,
    gradient_weights,
    overfitting,
    rank_accuracy,
    reliability,
    similarity,
    swings,
)
from gantrain.objectives import discriminator_names, make_objective
from gantrain.run_io.reliability import BARS, CELL, LINE, draw_reliability

V = torch.tensor([[-12.0, -3.0, -1.0, 0.5], [2.0, 0.0, -0.25, 1.5]], dtype=torch.float64)


@pytest.mark.parametrize(
    ("options", "weight"),
    [
        ({"gen": "alt"}, lambda v: 1 - torch.sigmoid(v)),
        ({"gen": "minimax"}, torch.sigmoid),
        ({"gen": "kl"}, lambda v: ((v + 1) * v.exp()).abs()),
        ({"gen": "rkl"}, torch.ones_like),
        ({"gen": "kl", "rule": "exact", "normalize_ratio": True}, lambda v: len(v[0]) * v.softmax(dim=1)),
        ({"disc": "hinge", "gen": "hinge_ns"}, lambda v: (v < 1).double()),
        ({"disc": "lsgan"}, lambda v: (v - 1).abs()),
    ],
    ids=["alt", "minimax", "kl", "rkl", "exact", "hinge_ns", "lsgan"],
)
def test_weights_are_the_closed_forms(options: dict[str, Any], weight: Any) -> None:
    objective = make_objective(**options)
    torch.testing.assert_close(gradient_weights(objective.generator_loss, V), weight(V))


def test_effective_share_is_kishs() -> None:
    assert effective_share(torch.full((3, 8), 0.3, dtype=torch.float64)) == pytest.approx(1)
    assert effective_share(torch.eye(5, dtype=torch.float64)) == pytest.approx(1 / 5)
    assert effective_share(torch.tensor([[1.0, 2.0, 3.0]]) * 1e-30) == pytest.approx(36 / (3 * 14), rel=1e-6)
    assert effective_share(torch.zeros(2, 4)) == 0
    assert effective_share(torch.tensor([[1.0, 1.0], [0.0, 0.0]])) == pytest.approx(0.5)
    assert math.isnan(effective_share(torch.tensor([[1.0, 1.0], [torch.nan, 0.0]])))


@pytest.mark.parametrize("disc", [*discriminator_names(), "smoothed"])
def test_the_reference_loss_is_the_minimum_at_equal_densities(disc: str) -> None:
    options: dict[str, Any] = {"disc": disc}
    if disc == "alpha":
        options["alpha_disc"] = 0.5
    if disc == "smoothed":
        options = {"disc": "gan", "label_smoothing": 0.2}
    objective = make_objective(**options)

    def loss(v: float) -> float:
        logit = torch.full((1,), v, dtype=torch.float64)
        return float(objective.discriminator_loss(logit, logit))

    best = minimize_scalar(loss, bounds=(-1.9, 3.0), method="bounded", options={"xatol": 1e-9}).fun
    assert best_loss_at_equality(objective) == pytest.approx(best, abs=1e-9)
    if disc == "gan":
        assert best == pytest.approx(2 * math.log(2), abs=1e-9)


def test_reliability_by_hand() -> None:
    log_r = torch.logit(torch.tensor([0.05, 0.05, 0.95, 0.95]))
    curve = reliability(log_r[[2, 0]], torch.cat((log_r[[1, 3]], torch.tensor([math.nan]))))
    assert curve.counts == [2, 0, 0, 0, 0, 0, 0, 0, 0, 2]
    assert curve.real[0] == curve.real[9] == 0.5  # a real and a fake example in both bins
    assert curve.real[4] is None
    assert curve.predicted[4] is None
    assert curve.predicted[9] == pytest.approx(0.95, rel=1e-6)
    assert curve.error == pytest.approx(0.45, rel=1e-6)
    certain = reliability(torch.tensor([200.0]), torch.tensor([-200.0]))
    assert certain.counts[0] == certain.counts[-1] == 1
    assert certain.error == pytest.approx(0)


@pytest.mark.parametrize(("factor", "least", "most"), [(1.0, 0.0, 0.01), (3.0, 0.1, 0.5)])
def test_the_true_ratio_is_calibrated_and_an_overconfident_one_is_not(factor: float, least: float, most: float) -> None:
    source = torch.Generator().manual_seed(0)
    shift = 1.5
    real = torch.randn(200_000, generator=source) + shift / 2
    fake = torch.randn(200_000, generator=source) - shift / 2
    curve = reliability(factor * shift * real, factor * shift * fake)  # log q/p of two unit Gaussians is shift·x
    assert least <= curve.error <= most


def test_the_picture_has_a_bar_as_high_as_the_share_and_the_diagonal() -> None:
    picture = draw_reliability(Reliability([0.25, 0.75], [0.5, None], [4, 0]))
    assert picture.shape == (3, 2 * CELL, 2 * CELL)
    column = picture[:, :, 2]
    assert torch.equal(column[:, -2], torch.tensor(BARS))
    assert int((column == torch.tensor(BARS)[:, None]).all(dim=0).sum()) == CELL - 1  # half of it, less the line
    assert torch.equal(picture[:, 0, -1], torch.tensor(LINE))
    assert torch.equal(picture[:, -1, -2], torch.ones(3))  # the empty bin


def test_rank_accuracy_is_the_area_under_the_roc_curve() -> None:
    source = torch.Generator().manual_seed(0)
    real = torch.randn(1, 50, generator=source).round(decimals=1) + 0.5
    fake = torch.randn(1, 50, generator=source).round(decimals=1)
    truth = np.repeat([1, 0], 50)
    wanted = roc_auc_score(truth, torch.cat((real[0], fake[0])).numpy())
    assert rank_accuracy(real, fake) == pytest.approx(wanted, rel=1e-6)
    both = rank_accuracy(torch.cat((real, fake)), torch.cat((fake, real)))
    assert both == pytest.approx(0.5, abs=1e-6)  # by step: right in one, wrong in the other


def test_swings_count_sure_steps_only() -> None:
    source = torch.Generator().manual_seed(0)
    noise = torch.randn(2, 8, 64, generator=source)
    gaps = torch.tensor([2.0, 2.0, 2.0, -2.0, -2.0, 0.0, 0.0, 0.1])  # 3 standard errors are 0.53
    assert swings(noise[0] + gaps[:, None], noise[1]) == (3 / 8, 2 / 8)
    assert swings(torch.zeros(2, 4), torch.zeros(2, 4)) == (0, 0)


def test_overfitting_is_the_relative_position_of_held_out_logits() -> None:
    trained, held_out, generated = torch.tensor([3.0, 5.0]), torch.tensor([1.0, 0.0]), torch.tensor([-2.0, -4.0])
    assert overfitting(trained, held_out, generated) == pytest.approx(3.5 / 7)
    assert overfitting(trained, trained, generated) == 0
    assert overfitting(trained, generated, generated) == 1
    assert math.isnan(overfitting(trained, held_out, trained))


def test_similarity_against_scipy() -> None:
    source = torch.Generator().manual_seed(0)
    real = torch.randn(20, 5, generator=source)
    generated = 0.3 * torch.randn(20, 5, generator=source) + 1
    found = similarity(real, generated)
    among_real, among_generated = (squareform(pdist(x.double().numpy())) for x in (real, generated))
    mean_real, mean_generated = (pdist(x.double().numpy()).mean() for x in (real, generated))
    between = cdist(real.numpy(), generated.numpy()).mean()
    assert found.spread == pytest.approx(mean_generated / mean_real, rel=1e-5)
    assert found.energy == pytest.approx((2 * between - mean_real - mean_generated) / (2 * between), rel=1e-5)

    def nearest(distances: Any) -> float:
        np.fill_diagonal(distances, np.inf)
        return float(np.quantile(distances.min(axis=0), 0.5, method="lower"))  # torch's median is the lower one

    assert found.nearest == pytest.approx(nearest(among_generated) / nearest(among_real), rel=1e-5)


def test_similarity_of_one_distribution_of_a_collapse_and_of_few_repeated_examples() -> None:
    source = torch.Generator().manual_seed(0)

    def draw(n: int = 64) -> Tensor:
        return torch.randn(n, 10, generator=source)

    same = similarity(draw(), draw())
    assert same.energy == pytest.approx(0, abs=0.02)
    assert same.spread == pytest.approx(1, abs=0.1)
    one = similarity(draw(), draw(1).repeat(64, 1))
    assert one.spread == one.nearest == 0
    assert one.energy > 0.2
    eight = similarity(draw(), draw(8).repeat(8, 1))
    assert eight.nearest == 0
    assert eight.spread > 0.8
    copies = similarity(torch.zeros(8, 10), draw(8))  # the real ones are all equal
    assert math.isnan(copies.spread)
    assert math.isnan(copies.nearest)


def test_images_are_compared_small_and_points_as_they_are() -> None:
    images = torch.rand(3, 3, 32, 32)
    wanted = torch.nn.functional.avg_pool2d(images, 4).flatten(1)
    torch.testing.assert_close(as_coordinates(images), wanted)
    points = torch.rand(4, 2)
    assert torch.equal(as_coordinates(points), points)
