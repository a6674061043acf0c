"""The known-truth test bed: its world, its metrics, and two short runs."""

import json
import math

import numpy as np
import pytest
import torch
from known_density.experiment import (
    GRID,
    Predictor,
    Settings,
    bars,
    evaluate,
    format_table,
    make_points,
    run_all,
    train,
)
from known_density.plots import draw_page
from synthetic_people.noise import NOISE_MODELS

from rle_onestage.errors import ConfigError

SHORT = Settings(steps=700, batch=512, warmup=100, learning_rate=1e-2, held_out=20_000)


class Oracle(torch.nn.Module):
    """Knows the joint and the standard deviation, up to a factor and a shift."""

    def __init__(self, loss, factor=1.0, shift=0.0):
        super().__init__()
        self.density = Predictor(loss=loss).density
        self.factor, self.shift = factor, shift

    def forward(self, features):
        points = make_points(
            NOISE_MODELS["laplace"], 20_000, np.random.default_rng([0, NOISE_MODELS["laplace"].number, 1])
        )
        keep = slice(0, len(features))
        return points.joints[keep] + self.shift * points.std[keep], self.factor * points.std[keep]


def test_true_deviations_span_half_a_pixel_to_ten():
    points = make_points(NOISE_MODELS["gaussian"], 50_000, np.random.default_rng(0))
    low, high = np.quantile(points.std.numpy(), [0.001, 0.999])
    assert 0.5 < low < 0.7 and 7 < high < 11
    e = ((points.labels - points.joints) / points.std).numpy()
    np.testing.assert_allclose(e.std(0), 1, atol=0.02)
    again = make_points(NOISE_MODELS["gaussian"], 50_000, np.random.default_rng(0))
    assert torch.equal(points.labels, again.labels)


def test_a_perfect_predictor_reaches_the_entropy():
    metrics = evaluate(Oracle("laplace"), "laplace", SHORT)
    assert metrics["sigma_ratio"] == pytest.approx(1, abs=5e-3)
    assert metrics["sigma_ratio_worst"] == pytest.approx(1, abs=5e-3)
    assert metrics["divergence"] == pytest.approx(0, abs=1e-5)
    assert metrics["excess"] == pytest.approx(0, abs=0.03)
    np.testing.assert_allclose(metrics["bias"], 0, atol=1e-3)
    assert metrics["point_error"] < 1e-3
    truth = np.exp(NOISE_MODELS["laplace"].log_prob(np.stack(np.meshgrid(GRID, GRID, indexing="ij"), -1)))
    np.testing.assert_allclose(metrics["density"], truth, atol=2e-3)


def test_a_wrong_scale_and_place_cost_what_they_must():
    """Laplace of factor c times the truth: log c + 1 / c - 1 nats in each coordinate."""
    metrics = evaluate(Oracle("laplace", factor=1.5), "laplace", SHORT)
    assert metrics["sigma_ratio"] == pytest.approx(1.5, abs=1e-2)
    assert metrics["divergence"] == pytest.approx(2 * (math.log(1.5) + 1 / 1.5 - 1), abs=0.02)
    moved = evaluate(Oracle("laplace", shift=0.5), "laplace", SHORT)
    np.testing.assert_allclose(moved["bias"], 0.5, atol=5e-3)
    # E |e + d| = |d| + exp(-sqrt(2) |d|) / sqrt(2) for the standard Laplace variable e.
    cost = math.sqrt(2) * (0.5 + math.exp(-math.sqrt(0.5)) / math.sqrt(2)) - 1
    assert moved["divergence"] == pytest.approx(2 * cost, abs=0.02)


def test_clamped_loss_has_no_gradient_below_zero():
    points = make_points(NOISE_MODELS["laplace"], 256, np.random.default_rng(0))
    model = Predictor(loss="rle_clamped")
    model.layers[-1].bias.data[2:] = -6.0
    points.labels[:] = 0
    loss = model.loss(points, 500, 300)
    loss.backward()
    assert loss == 0 and all(p.grad is None or not p.grad.any() for p in model.parameters())


def test_laplace_finds_the_deviations_of_laplace_noise():
    metrics = evaluate(train("laplace", "laplace", SHORT), "laplace", SHORT)
    assert metrics["sigma_ratio"] == pytest.approx(1, abs=0.05)
    assert metrics["divergence"] < 0.08


def test_rle_beats_laplace_on_asymmetric_noise():
    settings = Settings(steps=250, batch=256, warmup=50, learning_rate=1e-2, held_out=10_000)
    rle, laplace = (
        evaluate(train("asymmetric", loss, settings), "asymmetric", settings)["nll"] for loss in ("rle", "laplace")
    )
    assert rle < laplace


def test_a_run_is_resumed_and_written(tmp_path, monkeypatch):
    tiny = Settings(steps=12, batch=32, warmup=4, held_out=500)
    noises, losses = ["student", "two_peaked"], ["rle", "laplace", "rle_clamped"]
    cases = run_all(str(tmp_path), noises[:1], losses, tiny)
    first = (tmp_path / "cases" / "student-rle.json").stat().st_mtime_ns
    old = tmp_path / "cases" / "student-laplace.json"  # as a version before wrote it
    old.write_text(old.read_text().replace('"noise_model"', '"law"'))
    trained = []
    monkeypatch.setattr(
        "known_density.experiment.train",
        lambda noise, loss, *rest: trained.append((noise, loss)) or train(noise, loss, *rest),
    )
    again = run_all(str(tmp_path), noises, losses, tiny)
    assert trained == [("two_peaked", loss) for loss in losses]
    assert again[:3] == json.loads(json.dumps(cases))
    assert (tmp_path / "cases" / "student-rle.json").stat().st_mtime_ns == first
    table = format_table(again)
    assert table.count("| student") == 3 and len(bars(again)) == 2
    draw_page(str(tmp_path / "page.png"), again)
    assert (tmp_path / "page.png").stat().st_size > 50_000
    run_all(str(tmp_path), noises[:1], losses[1:2], Settings(steps=12, batch=32, warmup=4, held_out=500, seed=1))
    assert trained[-1] == ("student", "laplace")


@pytest.mark.parametrize(
    "noise, loss, steps, words",
    [("cauchy", "rle", 20, "cauchy"), ("laplace", "oks", 20, "oks"), ("laplace", "rle", 2, "2 steps")],
)
def test_bad_arguments_are_one_sentence(tmp_path, noise, loss, steps, words):
    with pytest.raises(ConfigError, match=words):
        run_all(str(tmp_path), [noise], [loss], Settings(steps=steps))


def test_bars_tell_what_fails():
    case = {"noise_model": "gaussian", "loss": "rle", "sigma_ratio": 1.0, "sigma_ratio_worst": 1.06, "excess": 0.01}
    assert [holds for _, holds in bars([case])] == [False, True]
