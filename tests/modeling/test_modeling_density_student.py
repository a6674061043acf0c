"""Student's t: a density with the moments it claims, fitted to known truth, alone and as the preset of ``rle``."""

import math

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.modeling import build_model
from modeling_toys import at_limits, grid_integral, make_input, tiny_config
from scipy import integrate
from scipy.special import gammaln
from scipy.stats import chi2, multivariate_t

from rle_onestage.errors import ConfigError, DivergenceError
from rle_onestage.modeling.density import StudentPreset, build_density
from rle_onestage.modeling.density.presets import log_gamma_ratio, log_gaussian, student_groups, student_preset
from rle_onestage.modeling.density.quadrature import fold

FLOOR = StudentPreset.FLOOR
DEGREES = [1.0001 * FLOOR, 3.0, 4.0, 8.0, 30.0, 300.0, 1e5]


def preset_of(*degrees, groups=None):
    """A preset whose joints have these degrees of freedom."""
    preset = StudentPreset(groups=groups or list(range(len(degrees))))
    with torch.no_grad():
        preset.raw.copy_(torch.log(torch.tensor(degrees, dtype=torch.float64) / FLOOR - 1))
    return preset


def rows_of(density, name):
    """What ``density.name(e, joint)`` gives for each joint at ``e`` (n, D), as functions."""
    return [lambda e, row=row: getattr(density, name)(e, torch.full(e.shape[:-1], row)) for row in range(density.rows)]


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("spread", [0.1, 3.0, 1000.0])
def test_log_density_is_scipys(dims, spread):
    preset = preset_of(*DEGREES)
    e = spread * np.random.default_rng(0).normal(size=(len(DEGREES), dims))
    found = preset(torch.tensor(e).float(), torch.arange(len(DEGREES))).tolist()
    for nu, row, value in zip(preset.degrees().tolist(), e, found):
        exact = multivariate_t(shape=(nu - 2) / nu * np.eye(dims), df=nu).logpdf(row)
        assert value == pytest.approx(exact, rel=2e-5, abs=2e-4)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_ratio_of_gamma_functions_in_float32(dims):
    x = np.geomspace(1, 1e6, 200)
    found = log_gamma_ratio(torch.tensor(x).float(), dims).double().numpy()
    assert found == pytest.approx(gammaln(x + dims / 2) - gammaln(x), abs=3e-6)
    x = torch.linspace(1, 30, 50, requires_grad=True)
    log_gamma_ratio(x, dims).sum().backward()
    exact = torch.digamma(x.detach() + dims / 2) - torch.digamma(x.detach())
    assert torch.allclose(x.grad, exact, atol=1e-5)


def radial(log_q, power):
    """Integral over the plane of ``|e|^power q(e)``, for a q that depends on the distance alone."""

    def integrand(log_r):
        r = math.exp(log_r)
        return 2 * math.pi * r ** (power + 2) * math.exp(log_q(torch.tensor([[r, 0.0]])).item())

    pieces = np.log([1e-6, 1e-2, 1.0, 1e2, 1e5, 1e10])
    return sum(integrate.quad(integrand, *ends, epsrel=1e-5)[0] for ends in zip(pieces, pieces[1:]))


@torch.no_grad()
def test_it_integrates_to_one_with_unit_variance():
    density = build_density("student", preset=preset_of(3.0, 4.0, 300.0))
    for log_q in rows_of(density, "log_q"):
        assert radial(log_q, 0) == pytest.approx(1, abs=1e-4)
        assert radial(log_q, 2) == pytest.approx(2, rel=2e-4)  # of both coordinates


def test_the_upper_end_is_the_gaussian():
    e = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
    joint = torch.zeros(200, dtype=torch.int64)
    errors = [(preset_of(nu, 4.0)(e, joint) - log_gaussian(e)).abs().max().item() for nu in (1e2, 1e3, 1e5)]
    assert errors[0] > errors[1] > errors[2] and errors[2] < 1e-3
    beyond = StudentPreset()
    beyond.raw.data.fill_(500.0)
    assert (beyond(e) - log_gaussian(e)).abs().max() < 1e-3


@pytest.fixture(scope="module")
def table():
    """A density of three joints and its table."""
    density = build_density("student", preset=preset_of(FLOOR * 1.0001, 4.0, 1e5))
    return density, density.table()


def test_nodes_give_what_integration_gives(table):
    """Expected similarity at errors from a twentieth to five times the falloff; also by the decoder's fewer nodes."""
    density, (nodes, weights, mean, std) = table
    assert nodes.shape[0] == 3 and torch.allclose(weights.sum(1), torch.ones(3), atol=1e-5)
    assert not mean.any() and torch.equal(std, torch.ones(3, 2))
    assert torch.allclose(torch.einsum("gq,gqd->gd", weights, nodes), mean, atol=2e-3)
    for row, log_q in enumerate(rows_of(density, "log_q")):
        for b_over_k in (0.05, 0.2, 1.0, 5.0):

            def integrand(log_r, log_q=log_q, b=b_over_k):
                r = math.exp(log_r)
                with torch.no_grad():
                    value = log_q(torch.tensor([[r, 0.0]])).item()
                return 2 * math.pi * r * r * math.exp(value - 0.5 * (b * r) ** 2)

            exact = integrate.quad(integrand, -12, 8, limit=300)[0]
            folded = fold(nodes[row], weights[row], std[row], 12)
            for e, weight in ((nodes[row], weights[row]), folded):
                found = (weight * torch.exp(-0.5 * (b_over_k * e).square().sum(1))).sum().item()
                assert found == pytest.approx(exact, abs=0.006)


def test_known_truth_is_found():
    """Three joints, 200,000 labels each, scales that differ: degrees of freedom, scale, and the best likelihood."""
    true = torch.tensor([3.0, 4.0, 8.0])
    scale = torch.tensor([[2.0, 0.5], [1.0, 3.0], [4.0, 1.0]])
    truths = [
        multivariate_t(shape=(nu - 2) / nu * np.diag(s.numpy() ** 2), df=nu) for nu, s in zip(true.tolist(), scale)
    ]
    samples = [truth.rvs(200_000, random_state=number) for number, truth in enumerate(truths)]
    best = -np.mean([truth.logpdf(e) for truth, e in zip(truths, samples)])
    labels = torch.tensor(np.stack(samples, 1)).float()
    density = build_density("student", preset=StudentPreset(groups=[0, 1, 2]))
    log_scale = labels.std(0).log().requires_grad_()
    joint = torch.arange(3).expand(labels.shape[:2])
    optimizer = torch.optim.LBFGS([*density.parameters(), log_scale], tolerance_change=0, line_search_fn="strong_wolfe")

    def loss():
        optimizer.zero_grad()
        spread = log_scale.exp().expand_as(labels)
        value = density.nll(labels / spread, spread, joint=joint).double().mean()
        value.backward()
        return value

    optimizer.step(loss)
    assert torch.allclose(density.preset.degrees(), true, rtol=0.1)
    assert torch.allclose(log_scale.exp(), scale, rtol=0.02)
    assert loss().item() == pytest.approx(best, abs=0.03)


def test_degrees_learn_where_the_density_does():
    """With the preset alone, as coarse poses have it, they stay; each joint's follow its own labels."""
    density = build_density("student", preset=StudentPreset(groups=[0, 1]))
    heavy = multivariate_t(shape=0.6 / 2.6 * np.eye(2), df=2.6).rvs(500, random_state=0)
    e = torch.stack([torch.randn(500, 2), torch.tensor(heavy).float()], 1)
    joint = torch.arange(2).expand(500, 2)
    (held,) = torch.autograd.grad(
        density.nll(e.requires_grad_(), torch.ones(500, 2, 2), joint=joint, preset_only=True).sum(),
        density.preset.raw, allow_unused=True,
    )  # fmt: skip
    assert held is None
    density.nll(e, torch.ones(500, 2, 2), joint=joint).sum().backward()
    towards_gaussian, towards_tails = density.preset.raw.grad
    assert towards_gaussian < 0 < towards_tails
    with pytest.raises(ValueError, match="joint"):
        density.log_q(e)


def product_of(nu, mean, std):
    """Log normaliser, mean and standard deviation of Student's t times a normal density, independent of the model's.

    Student's t is a mixture of normal densities of variance ``(nu - 2) / w``, w of a chi2 of nu degrees; products of
    these with a normal density have closed forms.
    """
    mean, variance = np.array(mean)[:, None], np.array(std)[:, None] ** 2
    log_w = np.linspace(math.log(1e-12), math.log(nu + 60 * math.sqrt(2 * nu)), 20_001)
    inner = (nu - 2) / np.exp(log_w)
    total = inner + variance
    log_mass = (
        (-0.5 * np.log(2 * np.pi * total) - mean**2 / (2 * total)).sum(0) + chi2.logpdf(np.exp(log_w), nu) + log_w
    )
    mass = np.exp(log_mass - log_mass.max())
    log_z = log_mass.max() + math.log(mass.sum() * (log_w[1] - log_w[0]))
    mass /= mass.sum()
    first = (mass * mean * inner / total).sum(1)
    second = (mass * (inner * variance / total + (mean * inner / total) ** 2)).sum(1)
    return log_z, first, np.sqrt(second - first**2)


@pytest.mark.parametrize(
    "dims, signs, shifts",
    [
        (2, [1] * 6, [0] * 6), (2, [1, -1] * 3, [0] * 6), (2, [1] * 6, [3] * 6), (2, [-1] * 6, [2, -1, 0.5, 0, 0, 0]),
        (2, [-1] * 6, [7, -7, 0, 0, 0, 0]), (2, [-1] * 6, [20, 0, 0, 0, 0, 0]),
        (3, [1] * 6, [0] * 6), (3, [1, -1] * 3, [0] * 6), (3, [-1] * 6, [0.5, -1, 2, 0, 0, 0]),
    ],
)  # fmt: skip
def test_rle_at_the_limits_of_the_flow(dims, signs, shifts):
    """Wide, narrow and shifted flows under tails from the floor to the Gaussian, all of them on the same nodes."""
    density = build_density("rle", preset=preset_of(FLOOR * 1.0001, 4.0, 300.0), hidden=4, dims=dims)
    mean, std = at_limits(density, signs, shifts)
    log_z = density.log_z().tolist()
    for row, nu in enumerate(density.preset.degrees().tolist()):
        exact, first, spread = product_of(nu, mean, std)
        assert log_z[row] == pytest.approx(exact, abs=1e-3)
        _, _, found_mean, found_std = density.table()
        assert found_mean[row].numpy() == pytest.approx(first, abs=3e-3 * spread.max())
        assert found_std[row].numpy() == pytest.approx(spread, rel=2e-3)
        assert torch.equal(density.std(), found_std)


def shaken(name="rle", seed=0, **options):
    """A density with weights far from its start."""
    torch.manual_seed(seed)
    density = build_density(name, hidden=8, **options)
    with torch.no_grad():
        for parameter in density.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    density.refresh()
    return density


def test_rle_is_normalised_for_every_joint():
    density = shaken(preset=preset_of(3.0, 20.0))
    _, _, mean, std = density.table()
    for row, log_q in enumerate(rows_of(density, "log_q")):
        nodes, mass = grid_integral(log_q, half=160.0, count=900)
        assert mass.sum().item() == pytest.approx(1, abs=1e-3)
        assert torch.allclose((mass @ nodes).float(), mean[row], atol=3e-3)
        assert torch.allclose((mass @ (nodes - mean[row]).square()).sqrt().float(), std[row], rtol=3e-3)
    e = torch.randn(2, 40, 2)
    joint = torch.arange(2)[:, None].expand(2, 40)
    assert torch.allclose(density.reported_log_q(e), density.log_q(e, joint), atol=1e-5)
    assert (density.log_q(e, joint) - density.log_q(e, 1 - joint)).abs().max() > 0.05


def test_joints_of_one_density_are_looked_at_at_their_own_points():
    """Two pairs, of which one has the same points, and a joint alone."""
    density = shaken(preset=StudentPreset(groups=[0, 0, 2, 2, 4]))
    e = torch.randn(5, 40, 2)
    e[1] = e[0]
    joint = torch.arange(5)[:, None].expand(5, 40)
    found = density.reported_log_q(e)
    assert torch.allclose(found, density.log_q(e, joint), atol=1e-5) and torch.equal(found[0], found[1])
    assert (found[2] - found[3]).abs().max() > 0.05


def test_normaliser_has_the_gradient_of_differences_in_the_degrees():
    density = shaken(preset=preset_of(3.0, 8.0))
    raw = density.preset.raw
    (gradient,) = torch.autograd.grad(density.log_z().sum(), raw)
    values = []
    with torch.no_grad():
        for sign in (1, -1):
            raw += sign * 1e-2
            values.append(density.log_z().double())
            raw -= sign * 1e-2
    assert torch.allclose(gradient.double(), (values[0] - values[1]) / 2e-2, rtol=2e-2, atol=1e-4)
    assert gradient.abs().min() > 1e-3


@pytest.mark.parametrize("name", ["student", "rle"])
@pytest.mark.parametrize("groups", [None, [0, 1, 1]])
def test_gradients_to_every_parameter_and_a_copy_by_its_state(name, groups):
    """With flows of groups, each of them has its own degrees of freedom."""
    preset = "student" if groups else StudentPreset(groups=[0, 1, 1])
    density = shaken(name, preset=preset, groups=groups)
    e, joint = torch.randn(30, 3, 2), torch.arange(3).expand(30, 3)
    density.nll(e, torch.ones_like(e), joint=joint).sum().backward()
    assert all(p.grad.isfinite().all() and p.grad.abs().sum() > 0 for p in density.parameters())
    other = build_density(
        name, preset="student" if groups else StudentPreset(groups=[0, 1, 1]), hidden=8, groups=groups
    )
    other.load_state_dict(density.state_dict())
    assert torch.equal(other.nll(e, torch.ones_like(e), joint=joint), density.nll(e, torch.ones_like(e), joint=joint))
    preset_only = density.nll(e, torch.ones_like(e), joint=joint, preset_only=True)
    assert torch.equal(preset_only, other.nll(e, torch.ones_like(e), joint=joint, preset_only=True))
    assert all(torch.equal(a, b) for a, b in zip(other.table(), density.table()))
    assert density.joint_groups(3) == [0, 1, 1 if groups else 2]


@pytest.mark.parametrize("value, words", [(20.0, "above 1000"), (-9.0, "floor of 2.5")])
def test_degrees_at_an_end_are_said_once(value, words, caplog):
    density = build_density("student", preset=StudentPreset(groups=[0, 1, 1]))
    assert not caplog.records
    density.preset.raw.data[1:] = value
    for _ in range(2):
        density.refresh()
    (record,) = caplog.records
    assert words in record.getMessage() and "joints 1, 2 (" in record.getMessage()


def test_degrees_that_are_not_finite_are_one_sentence():
    density = build_density("rle", preset="student", hidden=4)
    density.preset.raw.data.fill_(float("nan"))
    with pytest.raises(DivergenceError, match="degrees of freedom of Student's t are not finite; lower SOLVER.BASE_LR"):
        density.refresh()


PREFIX = "MODEL.RLE_ONESTAGE."
PAIRS = [0, 1, 1, 3, 3, 5, 5, 7, 7, 9, 9, 11, 11, 13, 13, 15, 15]


def test_groups_of_a_config():
    student = [PREFIX + "DENSITY", "student"]
    assert student_groups(tiny_config(*student)) == PAIRS
    assert student_groups(tiny_config(*student, PREFIX + "STUDENT.GROUPS", "each")) == list(range(17))
    assert student_groups(tiny_config(*student, PREFIX + "STUDENT.GROUPS", "all")) is None
    five = [*student, PREFIX + "NUM_KEYPOINTS", "5"]
    assert student_groups(tiny_config(*five)) == list(range(5))  # nobody knows their names
    assert student_groups(tiny_config(*five, PREFIX + "FLOW.GROUPS", "[[0, 4], [3, 2], [1]]")) is None


@pytest.fixture
def paws():
    """The name of a data set whose 17 joints are none of COCO's: eight pairs, the left one first, and a tail."""
    names = [f"{side}_paw_{n}" for n in range(8) for side in ("left", "right")] + ["tail"]
    DatasetCatalog.register("paws", list)
    MetadataCatalog.get("paws").set(keypoint_names=names, keypoint_flip_map=list(zip(names[:16:2], names[1:16:2])))
    yield "paws"
    DatasetCatalog.remove("paws")
    MetadataCatalog.remove("paws")


def test_pairs_are_those_of_the_training_set(paws):
    cfg = tiny_config(PREFIX + "DENSITY", "student")
    cfg.defrost()
    cfg.DATASETS.TRAIN = (paws,)
    assert student_groups(cfg) == [n - n % 2 for n in range(17)]
    assert build_density("student", preset=student_preset(cfg)).preset.share[16].tolist() == [0.0] * 16 + [1.0]


@pytest.mark.parametrize("options", [["DENSITY", "student"], ["DENSITY", "rle", "PRESET", "student"]])
def test_a_model_learns_and_reports_each_joint_s(options):
    torch.manual_seed(0)
    names = [PREFIX + name if name.isupper() else name for name in options]
    model = build_model(tiny_config(*names, PREFIX + "TEST.SCORE_THRESH", "0.0")).train()
    preset = model.criterion.density.preset
    batch = [make_input(0, [(6, 4, 50, 60, 17)]), make_input(1, [])]
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    for _ in range(3):
        optimizer.zero_grad()
        sum(model(batch).values()).backward()
        optimizer.step()
    degrees = preset.degrees()
    assert (degrees != 4).all() and torch.equal(degrees, degrees[PAIRS]) and len(degrees.unique()) > 1
    model.eval()
    _, _, mean, std = model.criterion.density.table()
    assert model.decoder.std.shape == (17, 2) and torch.equal(model.decoder.std, std)
    people = model(batch)[0]["instances"]
    assert people.pred_keypoint_sigmas.isfinite().all() and people.pred_keypoints[..., 2].max() <= 1
    widths = model.decoder.error_density().half_width(0.9)
    assert torch.equal(widths, widths[PAIRS]) and len(widths.unique()) > 1


def test_the_released_sum_has_no_student():
    with pytest.raises(ConfigError, match="for which DENSITY rle_released has no sum; set PRESET to laplace or"):
        build_model(tiny_config(PREFIX + "DENSITY", "rle_released", PREFIX + "PRESET", "student"))


@pytest.mark.parametrize(
    "options, words",
    [
        (["DENSITY", "student", "PRESET", "gaussian"], "PRESET gaussian has no effect, because DENSITY is student"),
        (["PRESET", "laplace", "STUDENT.GROUPS", "all"], "all has no effect, because neither DENSITY nor PRESET"),
        (["STUDENT.GROUPS", "all", "FLOW.GROUPS", f"[{list(range(17))}]"], "FLOW.GROUPS is set"),
    ],
)
def test_keys_without_effect_are_named(options, words, caplog):
    tiny_config(*(PREFIX + option if place % 2 == 0 else option for place, option in enumerate(options)))
    assert sum(words in record.getMessage() for record in caplog.records) == 1


@pytest.mark.parametrize(
    "name, preset, words",
    [
        ("student", "laplace", "the density student is Student's t, so its preset cannot be laplace; leave the preset"),
        ("student", log_gaussian, "its preset cannot be log_gaussian"),
        ("student", "nothing", "the preset is 'nothing'; choose among laplace, gaussian, student"),
        ("rle", None, "the preset is None; choose among"),
    ],
)
def test_a_preset_that_a_density_does_not_have_is_a_sentence(name, preset, words):
    with pytest.raises(ConfigError, match=words):
        build_density(name, preset=preset)
