"""A user's density, assigner and head: known by one decorator, used by config alone."""

import math

import pytest
import torch
from detectron2.modeling import build_model
from modeling_toys import make_input, tiny_config

from rle_onestage.engine.config.schema import SCHEMA
from rle_onestage.errors import ConfigError
from rle_onestage.modeling.assignment import ASSIGNER_REGISTRY, DynamicAssigner
from rle_onestage.modeling.density import DENSITY_REGISTRY, Density, build_density
from rle_onestage.modeling.head import HEAD_REGISTRY, PoseHead
from rle_onestage.modeling.locations import check_strides

PREFIX = "MODEL.RLE_ONESTAGE."
BATCH = [make_input(0, [(6, 4, 50, 60, 17), (20, 10, 60, 62, 17)]), make_input(1, [(2, 2, 40, 50, 9)])]
NU = 5.0  # degrees of freedom


class StudentDensity(Density):
    """Student's t of unit variance in each coordinate, about a place that it learns: ``log_q`` is all there is."""

    def __init__(self, *, preset, start):
        super().__init__(preset=preset)
        self.place = torch.nn.Parameter(torch.full((2,), start))

    @classmethod
    def from_config(cls, cfg):
        """The preset, and a key of the project for where to start."""
        return {**super().from_config(cfg), "start": cfg.MODEL.RLE_ONESTAGE.SCALE.FLOOR}

    def log_q(self, e, joint=None):
        scale = math.sqrt((NU - 2) / NU)
        return torch.distributions.StudentT(NU, self.place, scale).log_prob(e).sum(-1)


class TwoEachAssigner(DynamicAssigner):
    """No more than two candidates a person, whatever the config says."""

    @classmethod
    def from_config(cls, cfg, oks_sigmas):
        return {**super().from_config(cfg, oks_sigmas), "topk": 2}


class QuietHead(PoseHead):
    """A head that starts without an opinion on presence."""

    def project(self, dense, indices, locations):
        said = super().project(dense, indices, locations)
        return said._replace(poses=said.poses._replace(presence=0 * said.poses.presence))


CLASSES = ((DENSITY_REGISTRY, StudentDensity), (ASSIGNER_REGISTRY, TwoEachAssigner), (HEAD_REGISTRY, QuietHead))


@pytest.fixture
def registered():
    """The three classes are known in a test, and forgotten after it."""
    for registry, cls in CLASSES:
        registry.register()(cls)
    yield
    for registry, cls in CLASSES:
        del registry._obj_map[cls.__name__]


def config(*options):
    names = [PREFIX + "DENSITY", "StudentDensity", PREFIX + "ASSIGN.NAME", "TwoEachAssigner"]
    return tiny_config(*names, PREFIX + "HEAD.NAME", "QuietHead", PREFIX + "TEST.SCORE_THRESH", "0.0", *options)


def test_they_train_by_config_alone(registered):
    torch.manual_seed(0)
    model = build_model(config(PREFIX + "SCALE.FLOOR", "0.25")).train()
    assert isinstance(model.criterion.density, StudentDensity) and isinstance(model.head, QuietHead)
    assert model.criterion.density.place.tolist() == [0.25, 0.25]
    seen = []
    model.criterion.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[2]))
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    for _ in range(2):
        optimizer.zero_grad()
        sum(model(BATCH).values()).backward()
        optimizer.step()
    assert (seen[0].person >= 0).sum() <= 2 * 3  # three people
    assert (model.criterion.density.place != 0.25).any()


@torch.no_grad()
def test_log_q_alone_gives_point_sigma_and_score(registered):
    """What inference has of the density is quadrature: mean at the place, unit variance, and an expected OKS."""
    torch.manual_seed(0)
    model = build_model(config(PREFIX + "SCALE.FLOOR", "0.25")).eval()
    assert model.decoder.mean[0].tolist() == pytest.approx([0.25, 0.25], abs=0.01)
    assert model.decoder.std[0].tolist() == pytest.approx([1.0, 1.0], rel=0.03)  # its tails are heavy
    model.criterion.density.place.fill_(-0.5)
    people = model.eval()(BATCH)[0]["instances"]
    assert model.decoder.mean[0].tolist() == pytest.approx([-0.5, -0.5], abs=0.01)
    oks = people.pred_keypoints[..., 2]
    assert len(people) and (people.pred_keypoint_sigmas > 0).all() and ((oks > 0) & (oks < 1)).all()


def test_groups_of_joints_have_a_users_density_each(registered):
    groups = [PREFIX + "FLOW.GROUPS", str([list(range(10)), list(range(10, 17))])]
    model = build_model(config(*groups)).train()
    assert [type(member) for member in model.criterion.density.members] == [StudentDensity] * 2
    sum(model(BATCH).values()).backward()


class WideningDensity(Density):
    """A Gaussian of a width that it learns, for which its author has forgotten the normaliser."""

    def __init__(self, *, preset="gaussian", width=1.0, constant=0.0):
        super().__init__(preset=preset)
        self.width, self.constant = torch.nn.Parameter(torch.tensor(width)), constant

    def log_q(self, e, joint=None):
        return (self.constant - 0.5 * (e / self.width).square()).sum(-1)


def test_what_integrates_to_something_else_is_no_density(caplog):
    DENSITY_REGISTRY.register()(WideningDensity)
    try:
        with pytest.raises(ConfigError, match=r"exp of WideningDensity.log_q integrates to 6\.28 and a density to 1"):
            build_density("WideningDensity")
        with pytest.raises(ConfigError, match="integrates to 4 and"):
            build_density("WideningDensity", constant=-0.5 * math.log(2 * math.pi), width=2.0)
        density = build_density("WideningDensity", constant=-0.5 * math.log(2 * math.pi))
    finally:
        del DENSITY_REGISTRY._obj_map["WideningDensity"]
    density.refresh()
    assert not caplog.records
    density.width.data.fill_(1.2)
    density.refresh()
    density.refresh()
    assert [record.message.split(" and ")[0] for record in caplog.records] == [
        "exp of WideningDensity.log_q integrates to 1.44"
    ]


@pytest.mark.parametrize("declared, right", [(8, True), (4, False), (16, False)])
def test_the_strides_that_a_backbone_declares_are_its_maps(declared, right):
    maps, shapes = {"p3": torch.zeros(1, 4, 8, 13)}, {"p3": declared}
    images = torch.zeros(1, 3, 64, 100)  # without padding: 12.5 cells
    if right:
        check_strides(maps, shapes, images)
        check_strides({"p3": torch.zeros(1, 4, 7, 12)}, shapes, images)  # without padding
        check_strides({"unused": torch.zeros(1, 4, 2, 2)}, shapes, images)
        return
    with pytest.raises(ConfigError, match=f"p3 has stride {declared}, but of 64 x 100 pixels it has 8 x 13 cells"):
        check_strides(maps, shapes, images)


def test_a_training_looks_at_the_strides(monkeypatch):
    model = build_model(tiny_config()).train()
    name = model.in_features[0]
    monkeypatch.setitem(model.declared, name, 2 * model.declared[name])
    with pytest.raises(ConfigError, match=f"its map {name} has stride"):
        model(BATCH)


def test_names_are_known_to_validation_as_they_are_registered(registered):
    choices = SCHEMA[PREFIX + "DENSITY"].choices
    assert "StudentDensity" in choices and "rle" in choices
    with pytest.raises(ConfigError, match="ASSIGN.NAME is 'x'; choose one of 'center', .*'TwoEachAssigner'"):
        tiny_config(PREFIX + "ASSIGN.NAME", "x")


def test_unknown_names_are_one_sentence_with_the_known_ones():
    assert "StudentDensity" not in SCHEMA[PREFIX + "DENSITY"].choices
    with pytest.raises(ConfigError, match=r"DENSITY is 'StudentDensity'; did you mean student\? choose one of .*'rle'"):
        tiny_config(PREFIX + "DENSITY", "StudentDensity")
    for registry, _ in CLASSES:
        with pytest.raises(ConfigError, match=f"{registry.key} is 'x'; choose one of {', '.join(registry.names)}"):
            registry.get("x")


@pytest.mark.parametrize(
    "style, own, other", [("fcos", "DynamicAssigner", "peak"), ("centernet", "PeakAssigner", "center")]
)
def test_a_style_has_an_assigner_of_its_own(style, own, other):
    assert type(build_model(tiny_config(style=style)).assigner).__name__ == own
    with pytest.raises(ConfigError, match=f"ASSIGN.NAME '{other}' does not go with STYLE '{style}'; choose one of"):
        tiny_config(PREFIX + "ASSIGN.NAME", other, style=style)


def test_names_of_the_registry_are_the_classes_or_given():
    def names(registry):  # of the package's own: a project's module may have been imported in this process
        return {name for name, made in registry if made.__module__.startswith("rle_onestage.")}

    assert names(DENSITY_REGISTRY) == {"rle", "rle_released", "flow", "laplace", "gaussian", "student", "l1", "l2"}
    assert names(ASSIGNER_REGISTRY) == {"center", "dynamic", "peak"} and names(HEAD_REGISTRY) == {"PoseHead"}
