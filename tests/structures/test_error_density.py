"""The density of a joint's error as a table, against closed forms and against the density that it was made from."""

import math

import pytest
import torch
from ground_truth_outputs import make_decoder
from modeling_toys import trained_flow
from scipy.stats import t as student

from rle_onestage.errors import ConfigError
from rle_onestage.modeling.density import StudentPreset, build_density
from rle_onestage.structures.covariance import mahalanobis
from rle_onestage.structures.error_density import LEVELS, REACH
from rle_onestage.structures.oks import expected_gaussian, expected_laplace


def table_of(density, joints=3):
    decoder = make_decoder("fcos", [0.05] * joints)
    decoder.set_density(density)
    return decoder.error_density()


def points(count=4000):
    generator = torch.Generator().manual_seed(1)
    return 1.5 * torch.randn(count, 3, 2, generator=generator)


@pytest.mark.parametrize("name", ["laplace", "gaussian"])
def test_presets_have_their_own_log_density(name):
    density = build_density(name)
    error = table_of(density).log_q(points()) - density.log_q(points())
    # The Laplace density is linear within the cells; a Gaussian's parabola is not.
    assert error.abs().mean() < 0.005 and error.abs().max() < (0.005 if name == "laplace" else 0.06)


def test_a_flow_has_its_log_density_about_the_reported_point():
    density = trained_flow()
    table, z = table_of(density), points()
    _, _, mean, std = density.table()
    exact = density.log_q(mean[0] + z * std[0]) + torch.log(std[0]).sum()
    error = (table.log_q(z) - exact).abs()
    assert mean.abs().max() > 0.02 and error.mean() < 0.01 and error.flatten().quantile(0.98) < 0.1


def test_pixels_pay_the_logarithm_of_sigma():
    table, z = table_of(build_density("laplace")), points(5)
    sigma = torch.tensor([2.0, 5.0]).expand_as(z)
    assert torch.allclose(table.log_prob(z * sigma, sigma), table.log_q(z) - math.log(10), atol=1e-5)


def test_half_widths_are_those_of_the_closed_forms():
    laplace, gaussian = (table_of(build_density(name)) for name in ("laplace", "gaussian"))
    normal = torch.distributions.Normal(0.0, 1.0)
    for level in (0.1, 0.5, 0.8, 0.9, 0.95, 0.99):
        expected = -math.log(1 - level) / math.sqrt(2)
        assert laplace.half_width(level).tolist() == pytest.approx([expected] * 3, rel=0.01)
        expected = float(normal.icdf(torch.tensor(0.5 + level / 2)))
        assert gaussian.half_width(level).tolist() == pytest.approx([expected] * 3, rel=0.01)


@pytest.mark.parametrize("method", ["half_width", "ellipse_radius", "density_level"])
def test_levels_are_probabilities(method):
    ask = getattr(table_of(build_density("laplace")), method)
    with pytest.raises(ConfigError, match=r"level is 90; give a probability .* less than 1 \(0.9 for 90 percent\)"):
        ask(90)
    for level in (-1, 0, 1, 100, float("nan")):
        with pytest.raises(ConfigError, match="greater than 0 and less than 1$"):
            ask(level)


def test_half_widths_of_a_flow_hold_that_share_of_its_samples():
    density = trained_flow()
    e, log_weight = density.cubature.nodes()
    weight = torch.softmax(log_weight + density._log_unnormalised(e), 0)
    _, _, mean, std = density.table()
    z = ((e - mean[0]) / std[0]).abs()
    for level in (0.5, 0.8, 0.95):
        width = table_of(density).half_width(level)[0]
        inside = (weight[:, None] * (z < width)).sum(0).mean()
        assert inside == pytest.approx(level, abs=0.01)


def test_tail_is_the_mass_of_what_is_less_likely():
    z = points(500)
    laplace, gaussian = (table_of(build_density(name)) for name in ("laplace", "gaussian"))
    radius = math.sqrt(2) * z.abs().sum(-1)  # of a Gamma law of shape 2
    assert torch.allclose(laplace.tail(laplace.log_q(z)), (1 + radius) * torch.exp(-radius), atol=0.01)
    assert torch.allclose(gaussian.tail(gaussian.log_q(z)), torch.exp(-z.square().sum(-1) / 2), atol=0.01)


def test_far_outside_the_likelihood_goes_on_falling():
    table = table_of(build_density("gaussian"))
    z = torch.tensor([[REACH - 1, 0], [REACH + 1, 0], [1e4, 0]]).view(3, 1, 2).expand(3, 3, 2)
    values = table.log_q(z)[:, 0]
    assert values.isfinite().all() and values[0] > values[1] > values[2]


def student_tables():
    """Student's t of three joints with 3, 4 and 8 degrees of freedom: the density and its tables."""
    preset = StudentPreset(groups=[0, 1, 2])
    preset.raw.data.copy_(torch.log(torch.tensor([3.0, 4.0, 8.0]) / preset.FLOOR - 1))
    density = build_density("student", preset=preset).requires_grad_(False)
    decoder = make_decoder("fcos", [0.05] * 3, group=[0, 1, 2])
    decoder.set_density(density)
    return density, decoder.error_density()


def test_heavy_tails_have_their_own_log_density_also_beyond_the_table():
    density, table = student_tables()
    joint = torch.arange(3).expand(4000, 3)
    z = points()
    error = table.log_q(z) - density.log_q(z, joint)
    assert error.abs().mean() < 0.005 and error.abs().max() < 0.06
    for far in (1.5 * REACH, 10 * REACH):
        z = far * torch.nn.functional.normalize(points(50), dim=-1)
        assert torch.allclose(table.log_q(z), density.log_q(z, joint[:50]), atol=0.1)
    z = points(20).requires_grad_()
    table.log_q(z).sum().backward()
    assert z.grad.isfinite().all()


def test_half_widths_and_tails_of_students_t():
    density, table = student_tables()
    degrees = density.preset.degrees()
    for level in (0.5, 0.9, 0.99):
        widths = [student.ppf(0.5 + level / 2, nu) * math.sqrt((nu - 2) / nu) for nu in degrees.tolist()]
        assert table.half_width(level).tolist() == pytest.approx(widths, rel=0.01)
    z = points(500)
    less = (1 + z.square().sum(-1) / (degrees - 2)) ** (-degrees / 2)
    assert torch.allclose(table.tail(table.log_q(z)), less, atol=0.01)


def test_gradient_of_the_log_density_is_the_slope_of_the_table():
    table = table_of(build_density("gaussian"))
    z = points(50).requires_grad_()
    table.log_q(z).sum().backward()
    assert torch.allclose(z.grad, -z.detach(), atol=0.2)


def test_fitted_half_widths_are_met_at_their_levels_and_between():
    decoder = make_decoder("fcos", [0.05] * 3)
    own = decoder.error_density()
    widths = torch.stack([own.half_width(level) for level in LEVELS], 1)
    factor = torch.tensor([0.5, 1.0, 2.0])
    decoder.set_correction(torch.zeros(3), torch.ones(3), widths * factor[:, None])
    fitted = decoder.error_density()
    for level in (0.02, *LEVELS, 0.93, 0.999):
        assert torch.allclose(fitted.half_width(level), own.half_width(level) * factor, rtol=1e-4)


def people():
    """Standard deviations (4, 3, 2) and areas (4,) of people, and OKS sigmas (3,) of joints."""
    generator = torch.Generator().manual_seed(2)
    sigma = torch.exp(torch.empty(4, 3, 2).uniform_(-1.0, 3.0, generator=generator))
    return sigma, torch.tensor([100.0, 900.0, 4000.0, 40000.0]), torch.tensor([0.025, 0.062, 0.107])


@pytest.mark.parametrize("name, closed", [("laplace", expected_laplace), ("gaussian", expected_gaussian)])
def test_expected_oks_is_that_of_the_closed_forms(name, closed):
    sigma, area, oks_sigmas = people()
    b_over_k = sigma / area.sqrt()[:, None, None] / (2 * oks_sigmas)[:, None]
    found = table_of(build_density(name)).expected_oks(sigma, area, oks_sigmas)
    assert torch.allclose(found, closed(b_over_k).prod(-1), atol=2e-3)
    assert found.min() < 0.1 and found.max() > 0.95


def test_expected_oks_of_a_flow_is_what_its_error_gives():
    """The mean over nodes of the density itself, about the reported point."""
    density = trained_flow()
    nodes, weights, mean, std = density.table()
    e = (nodes - mean[:, None])[0] / std[0]  # (Q, 2)
    sigma, area, oks_sigmas = people()
    variance = (2 * oks_sigmas) ** 2 * area[:, None]  # (4, 3)
    distance2 = (e[:, None, None] * sigma).square().sum(-1)  # (Q, 4, 3)
    exact = (weights[0][:, None, None] * torch.exp(-distance2 / (2 * variance))).sum(0)
    assert torch.allclose(table_of(density).expected_oks(sigma, area, oks_sigmas), exact, atol=0.01)


def sampled(density, count=40_000):
    """Standardised errors (n, 3, 2) drawn from a table: cells by their mass, even within each."""
    generator = torch.Generator().manual_seed(3)
    table = table_of(density)
    edge = torch.cat([table.axis[..., :1], (table.axis[..., 1:] + table.axis[..., :-1]) / 2, table.axis[..., -1:]], -1)
    cell = torch.multinomial(table._mass[0].flatten(), count, replacement=True, generator=generator)
    size = table.axis.shape[-1]
    within = torch.rand(count, 2, generator=generator)
    place = [edge[0, a][i] + within[:, a] * edge[0, a].diff()[i] for a, i in enumerate((cell // size, cell % size))]
    return ((torch.stack(place, -1) - table.mean[0]) / table.std[0])[:, None].expand(-1, 3, -1)


def test_ellipses_of_a_gaussian_are_those_of_the_closed_form():
    table = table_of(build_density("gaussian"))
    for level in (0.5, 0.8, 0.9, 0.95, 0.99):
        exact = math.sqrt(-2 * math.log(1 - level))
        assert table.ellipse_radius(level).tolist() == pytest.approx([exact] * 3, rel=0.01)
    radii = torch.tensor([[1.0] * 3, [2.0] * 3])
    assert table.in_ellipse(radii)[:, 0].tolist() == pytest.approx([1 - math.exp(-0.5), 1 - math.exp(-2)], abs=0.01)
    assert table.in_ellipse(2.0).equal(table.in_ellipse(radii)[1])  # of each joint


def test_regions_of_a_turned_flow_hold_that_share_of_its_samples():
    density = trained_flow()
    table, z = table_of(density), sampled(density)
    correlation = float(table.correlation[0])
    assert abs(correlation) > 0.1 and correlation == pytest.approx(float(torch.corrcoef(z[:, 0].T)[0, 1]), abs=0.02)
    radii = mahalanobis(z, table.correlation[table.group])
    own = 1 - table.tail(table.log_q(z))
    for level in (0.5, 0.8, 0.9, 0.95):
        assert (radii <= table.ellipse_radius(level)).float().mean() == pytest.approx(level, abs=0.01)
        assert (own <= table.density_level(level)).float().mean() == pytest.approx(level, abs=0.015)


def test_the_correlation_is_the_densitys_own():
    density = trained_flow()
    e, weight, mean, std = density._moments()
    exact = (weight * ((e - mean) / std).prod(-1)).sum()
    assert table_of(density).correlation[0] == pytest.approx(float(exact), abs=1e-3)


def test_fitted_regions_take_the_densitys_place():
    decoder = make_decoder("fcos", [0.05] * 3)
    own = decoder.error_density()
    radii = torch.stack([own.ellipse_radius(level) for level in LEVELS], 1)
    levels = torch.tensor(LEVELS).sqrt().expand(3, -1)
    regions = torch.stack([torch.tensor([1.0, 1.5, 0.0])[:, None] * radii, levels], 1)
    regions[2] = 0  # a joint without fitted ones
    decoder.set_correction(torch.zeros(3), torch.ones(3), torch.zeros(3, len(LEVELS)), regions)
    fitted = decoder.error_density()
    for level in (0.5, 0.7, 0.93):
        assert (fitted.ellipse_radius(level) / own.ellipse_radius(level)).tolist() == pytest.approx([1, 1.5, 1])
        assert fitted.density_level(level).tolist() == pytest.approx([math.sqrt(level)] * 2 + [level], abs=0.01)
    decoder.reset_correction()
    assert decoder.error_density().regions is None


def test_what_an_ellipse_holds_is_the_inverse_of_its_radius():
    """Also where the radii were fitted, by a factor that depends on the level."""
    decoder = make_decoder("fcos", [0.05] * 3)
    own = decoder.error_density()
    radii = torch.stack([own.ellipse_radius(level) for level in LEVELS], 1)
    factors = torch.stack(
        [torch.linspace(0.7, 1.4, len(LEVELS)), torch.full((len(LEVELS),), 1.5), torch.zeros(len(LEVELS))]
    )
    regions = torch.stack([factors * radii, torch.tensor(LEVELS).expand(3, -1)], 1)
    regions[2] = 0  # a joint without fitted ones
    decoder.set_correction(torch.zeros(3), torch.ones(3), torch.zeros(3, len(LEVELS)), regions)
    fitted = decoder.error_density()
    wanted = (0.02, 0.05, 0.5, 0.73, 0.9, 0.93, 0.995)
    held = fitted.in_ellipse(torch.stack([fitted.ellipse_radius(level) for level in wanted]))
    # Nodes of the table that are equally far from the point make steps.
    assert held.tolist() == [pytest.approx([level] * 3, abs=5e-3) for level in wanted]
    assert fitted.in_ellipse(torch.full((3,), 1e-3)).tolist() == pytest.approx([0] * 3, abs=1e-3)
