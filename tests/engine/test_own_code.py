"""Code of the user's own that fails: the error ends with the part that it is in, and keeps its traceback."""

import textwrap
import traceback

import engine_toy
import pytest
from detectron2.engine import HookBase
from engine_kills import started

from rle_onestage.engine import HOOK_REGISTRY, Trainer, load_config
from rle_onestage.errors import OwnCodeError


@pytest.fixture(autouse=True)
def as_before():
    """What a test registers is forgotten after it."""
    before = dict(HOOK_REGISTRY._obj_map)
    yield
    HOOK_REGISTRY._obj_map.clear()
    HOOK_REGISTRY._obj_map.update(before)


def train(config, *options):
    Trainer(load_config(config, list(options))).train()


@pytest.mark.parametrize("when", ["before_train", "before_step", "after_step", "after_train"])
def test_a_hook_that_fails_is_named_after_its_traceback(tmp_path, when):
    class Failing(HookBase):
        def __init__(self, period):
            setattr(self, when, self.fail)
            self.period = period

        def fail(self):
            assert 5 % self.period

    name = f"failing_hook_{when}"
    HOOK_REGISTRY.register(Failing, name=name)
    config = str(engine_toy.write_config(tmp_path))
    said = rf"^in hook {name} {{'period': 0}} \(SOLVER.HOOKS\): ZeroDivisionError: "
    with pytest.raises(OwnCodeError, match=said) as caught:
        train(config, "SOLVER.HOOKS", f"[['{name}', {{'period': 0}}]]", "SOLVER.MAX_ITER", "2", "DATASETS.TEST", "()")
    lines = "".join(traceback.format_exception(caught.value)).splitlines()
    assert any("in fail" in line for line in lines) and lines[-1].endswith("modulo by zero")


def test_a_part_that_cannot_be_made_is_named(tmp_path):
    class Halving(HookBase):
        def __init__(self, period):
            self.half = period / 2

    HOOK_REGISTRY.register(Halving, name="halving_hook")
    config = str(engine_toy.write_config(tmp_path))
    with pytest.raises(OwnCodeError, match=r"^in halving_hook {'period': 'x'} \(SOLVER.HOOKS\): TypeError: unsupp"):
        train(config, "SOLVER.HOOKS", "[['halving_hook', {'period': 'x'}]]")


def test_a_hook_is_not_blamed_for_others(tmp_path):
    HOOK_REGISTRY.register(type("Idle", (HookBase,), {}), name="idle_hook")

    class Failing(Trainer):
        def build_hooks(self):
            return [*super().build_hooks(), Broken()]

    class Broken(HookBase):
        def after_step(self):
            raise ValueError("of the trainer's own")

    cfg = load_config(str(engine_toy.write_config(tmp_path)), ["SOLVER.HOOKS", "['idle_hook']", "DATASETS.TEST", "()"])
    with pytest.raises(ValueError, match="^of the trainer's own"):
        Failing(cfg).train()


MODULE = """
    from rle_onestage.modeling.density import DENSITY_REGISTRY, Density
    from rle_onestage.modeling.head import HEAD_REGISTRY, PoseHead


    @DENSITY_REGISTRY.register(name="failing_density")
    class Failing(Density):
        def log_q(self, e, joint=None):
            return -(e * self.width if e.requires_grad else 2 * e).abs().sum(-1)


    @DENSITY_REGISTRY.register(name="unsummed_density")
    class Unsummed(Density):
        def log_q(self, e, joint=None):
            return -e.square() / 2


    @HEAD_REGISTRY.register(name="failing_head")
    class FailingHead(PoseHead):
        def dense(self, features):
            raise ValueError("of the head")


    @HEAD_REGISTRY.register(name="unmade_head")
    class UnmadeHead(PoseHead):
        def __init__(self, **options):
            super().__init__(**options)
            self.more = options["nothing"]
"""


@pytest.mark.parametrize(
    "key, name, code, last",
    [
        ("DENSITY", "failing_density", 1, "Failing.log_q: AttributeError: "),
        ("HEAD.NAME", "failing_head", 1, "FailingHead.dense: ValueError: of the head"),
        ("HEAD.NAME", "unmade_head", 1, "UnmadeHead.__init__: KeyError: 'nothing'"),
        ("DENSITY", "unsummed_density", 2, "its log_q gives (2, 3, 2) for residuals of the shape (2, 3, 2), so it la"),
    ],
)
def test_a_part_of_the_model_that_fails_is_named_by_its_function(tmp_path, monkeypatch, key, name, code, last):
    (tmp_path / "parts_that_fail.py").write_text(textwrap.dedent(MODULE))
    engine_toy.write_config(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    options = ["IMPORTS", "['parts_that_fail']", f"MODEL.RLE_ONESTAGE.{key}", name, *engine_toy.REAL]
    run = started(tmp_path, *options)
    start = {1: "rle_onestage.errors.OwnCodeError: in parts_that_fail.", 2: "error: MODEL.RLE_ONESTAGE.DENSITY Unsum"}
    assert run.wait() == code
    said = run.log.read_text()
    line = said.strip().splitlines()[-1]
    assert line.startswith(start[code]) and last in line
    assert ("Traceback" in said) == (code == 1)
