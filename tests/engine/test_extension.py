"""A user's module adds parts that a config names: nothing of this package is changed for that."""

import json
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import engine_toy
import pytest
import yaml
from detectron2.engine import HookBase

from rle_onestage.data import MAPPER_REGISTRY
from rle_onestage.engine import (
    HOOK_REGISTRY,
    Trainer,
    argument_parser,
    evaluate_only,
    load_config,
    read_checkpoint,
    setup,
)
from rle_onestage.engine.takeover import begin_evaluation
from rle_onestage.errors import ConfigError
from rle_onestage.evaluation import EVALUATOR_REGISTRY
from rle_onestage.modeling.assignment import ASSIGNER_REGISTRY
from rle_onestage.modeling.density import DENSITY_REGISTRY

ROOT = Path(__file__).resolve().parents[2]
MODULE = '''
from detectron2.engine import HookBase
from detectron2.evaluation import DatasetEvaluator

from rle_onestage.engine import HOOK_REGISTRY
from rle_onestage.evaluation import EVALUATOR_REGISTRY


@HOOK_REGISTRY.register(name="{hook}")
class Counter(HookBase):
    """Counts steps, over a resume too, and tells the log."""

    def __init__(self, every=1):
        self.every, self.steps = every, 0

    def after_step(self):
        self.steps += 1
        if self.steps % self.every == 0:
            self.trainer.storage.put_scalar("{hook}/steps", self.steps, smoothing_hint=False)

    def state_dict(self):
        return {{"steps": self.steps}}

    def load_state_dict(self, state):
        self.steps = state["steps"]


@EVALUATOR_REGISTRY.register(name="{evaluator}")
class Widest(DatasetEvaluator):
    """The width of the widest box."""

    def __init__(self, dataset_name, scale=1.0):
        self.dataset_name, self.scale = dataset_name, scale

    def reset(self):
        self.widths = []

    def process(self, inputs, outputs):
        for output in outputs:
            boxes = output["instances"].pred_boxes.tensor
            self.widths += (boxes[:, 2] - boxes[:, 0]).tolist()

    def evaluate(self):
        return {{"{evaluator}": {{"width": self.scale * max(self.widths), "images": len(self.widths)}}}}
'''

MODEL_PARTS = '''
import torch

from rle_onestage.modeling.assignment import ASSIGNER_REGISTRY, DynamicAssigner
from rle_onestage.modeling.density import DENSITY_REGISTRY, Density


@DENSITY_REGISTRY.register(name="logistic_{name}")
class Logistic(Density):
    """The logistic distribution of unit variance, about a place that it learns."""

    def __init__(self, *, preset):
        super().__init__(preset=preset)
        self.place = torch.nn.Parameter(torch.zeros(2))

    def log_q(self, e, joint=None):
        s = 3**0.5 / torch.pi
        z = (e - self.place) / s
        return (-z - 2 * torch.nn.functional.softplus(-z)).sum(-1) - 2 * torch.tensor(s).log()


@ASSIGNER_REGISTRY.register(name="two_{name}")
class TwoEach(DynamicAssigner):
    """No more than two candidates a person."""

    @classmethod
    def from_config(cls, cfg, oks_sigmas):
        return {{**super().from_config(cfg, oks_sigmas), "topk": 2}}
'''

DATA_PARTS = '''
from rle_onestage.data import MAPPER_REGISTRY, PoseMapper


@MAPPER_REGISTRY.register(name="dark_{name}")
class DarkMapper(PoseMapper):
    """Images at half their brightness, and how many there were."""

    seen = 0

    def __call__(self, record, rng=None, others=()):
        DarkMapper.seen += 1
        sample = super().__call__(record, rng, others)
        return {{**sample, "image": sample["image"] // 2}}
'''


@pytest.fixture(autouse=True)
def as_before():
    """What a test registers is forgotten after it."""
    registries = (HOOK_REGISTRY, EVALUATOR_REGISTRY, DENSITY_REGISTRY, ASSIGNER_REGISTRY, MAPPER_REGISTRY)
    before = [dict(registry._obj_map) for registry in registries]
    yield
    for registry, known in zip(registries, before):
        registry._obj_map.clear()
        registry._obj_map.update(known)


def write_module(folder, name):
    """A user's package with a module; returns the module's name. Each test has one of its own: a process keeps it."""
    package = folder / f"pkg_{name}"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "parts.py").write_text(MODULE.format(hook=f"counter_{name}", evaluator=f"widest_{name}"))
    return f"pkg_{name}.parts"


def write_config(folder, name, module):
    """The toy's config with the user's parts."""
    path = engine_toy.write_config(folder)
    content = json.loads(path.read_text())
    content["IMPORTS"] = [module]
    content["SOLVER"]["HOOKS"] = [[f"counter_{name}", {"every": 2}]]
    content["TEST"]["EVALUATORS"] = ["PoseEvaluator", [f"widest_{name}", {"scale": 10}]]
    path.write_text(yaml.safe_dump(content))
    return str(path)


def train(config, *options, resume=False):
    trainer = Trainer(load_config(config, list(options)))
    trainer.resume_or_load(resume=resume)
    return trainer.train()


def test_an_evaluator_and_a_hook_by_config_alone(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    config = write_config(tmp_path, "alone", write_module(tmp_path, "alone"))
    results = train(config, *engine_toy.REAL, "MODEL.RLE_ONESTAGE.TEST.SCORE_THRESH", "0.0")
    assert "AP" in results["keypoints"] and results["widest_alone"]["width"] > 0
    lines = [json.loads(line) for line in (tmp_path / "out" / "training.jsonl").read_text().splitlines()]
    assert [line["counter_alone/steps"] for line in lines] == [2, 4, 6, 8]
    assert lines[-1]["widest_alone/width"] == results["widest_alone"]["width"]
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["widest_alone"] == results["widest_alone"]
    assert read_checkpoint(str(tmp_path / "out" / "model_final.pth"))["hooks"] == {"Counter": {"steps": 8}}


def test_a_density_an_assigner_a_mapper_and_a_hook_by_config_alone(tmp_path, monkeypatch, capsys):
    """They are trained, evaluated, and found again by the config that the training has saved."""
    monkeypatch.syspath_prepend(tmp_path)
    module = write_module(tmp_path, "model")
    (tmp_path / "pkg_model" / "model_parts.py").write_text(
        (MODEL_PARTS + DATA_PARTS).format(name="model"), encoding="utf-8"
    )
    config = write_config(tmp_path, "model", module)
    prefix = "MODEL.RLE_ONESTAGE."
    options = ["IMPORTS", f"['{module}', 'pkg_model.model_parts']", prefix + "DENSITY", "logistic_model"]
    options += [prefix + "ASSIGN.NAME", "two_model", prefix + "TEST.SCORE_THRESH", "0.0"]
    options += ["INPUT.MAPPER", "dark_model"]
    line = ["--config-file", config, *engine_toy.REAL, *options]
    trainer = Trainer(setup(argument_parser().parse_args(line)))
    results = trainer.train()
    said = (tmp_path / "out" / "log.txt").read_text()
    assert "own, in use: INPUT.MAPPER dark_model, MODEL.BACKBONE.NAME ToyPyramid, " in said
    assert f"{prefix}DENSITY logistic_model, SOLVER.HOOKS counter_model, TEST.EVALUATORS widest_model" in said
    assert type(trainer.model.criterion.density).__name__ == "Logistic" and trainer.model.assigner.topk == 2
    assert bool((trainer.model.criterion.density.place != 0).all())
    assert sys.modules["pkg_model.model_parts"].DarkMapper.seen >= 8 * 4  # as many steps of as many images
    hooks = read_checkpoint(str(tmp_path / "out" / "model_final.pth"))["hooks"]
    assert hooks == {"Counter": {"steps": 8}}
    saved = load_config(str(tmp_path / "out" / "config.yaml"))
    assert evaluate_only(saved, resume=True)["bbox"]["AP"] == pytest.approx(results["bbox"]["AP"])
    setup(argument_parser().parse_args(["--eval-only", *line]))
    said = capsys.readouterr().out.rsplit("own, in use: ", 1)[1].splitlines()[0]
    assert "INPUT.MAPPER dark_model" in said and "TEST.EVALUATORS" in said
    used, _, idle = said.partition("; in training only: ")
    assert "HOOKS" not in used and "ASSIGN" not in used and "SOLVER.HOOKS counter_model" in idle


def test_a_hook_goes_on_where_it_was(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    config = write_config(tmp_path, "again", write_module(tmp_path, "again"))
    train(config, "SOLVER.MAX_ITER", "3")
    train(config, resume=True)
    assert read_checkpoint(str(tmp_path / "out" / "model_final.pth"))["hooks"] == {"Counter": {"steps": 8}}
    assert evaluate_only(load_config(config), resume=True)["widest_again"]["images"] == 8


def test_the_saved_config_names_the_module_of_the_flag(tmp_path, monkeypatch):
    """So that a demo with the config beside the weights knows the parts too."""
    monkeypatch.syspath_prepend(tmp_path)
    module = write_module(tmp_path, "saved")
    config = str(engine_toy.write_config(tmp_path))
    line = ["--import", module, "--eval-only", "--config-file", config, "SOLVER.HOOKS", "['counter_saved']"]
    begin_evaluation(setup(argument_parser().parse_args(line)))
    saved = load_config(str(tmp_path / "out" / "config.yaml"))
    assert saved.IMPORTS == [module] and saved.SOLVER.HOOKS == ["counter_saved"]
    assert f"the module {module} ({tmp_path}" in (tmp_path / "out" / "log.txt").read_text()


@pytest.mark.slow
def test_every_process_imports_the_module(tmp_path):
    """The two processes and their parent know the hook that the command line names."""
    module = write_module(tmp_path, "flag")
    config = engine_toy.write_config(tmp_path)
    command = [
        sys.executable, "-W", "ignore", str(ROOT / "tests/engine_toy.py"), "--import", module, "--config-file",
        str(config), "--num-gpus", "2", "SOLVER.HOOKS", "['counter_flag']", "SOLVER.MAX_ITER", "2",
    ]  # fmt: skip
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests"), str(tmp_path)])
    process = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=180
    )
    assert process.returncode == 0, process.stderr
    assert '"counter_flag/steps": 2' in (tmp_path / "out" / "training.jsonl").read_text()


def test_help_and_messages_name_what_a_module_has_registered(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(tmp_path)
    module = write_module(tmp_path, "help")
    with pytest.raises(SystemExit):
        argument_parser().parse_args(["--import", module, "--help"])
    assert "counter_help" in capsys.readouterr().out
    with pytest.raises(ConfigError, match=r"SOLVER.HOOKS is \['counter_hel'\]; did you mean counter_help\? choose"):
        load_config("", ["SOLVER.HOOKS", "['counter_hel']"])


@pytest.mark.parametrize(
    "name", ["../evil", "evil.py", "os; import sys", "a b", "", ".parts", "__import__('os')", "lambda", "a" * 300]
)
def test_only_names_of_modules_are_imported(name):
    with pytest.raises(ConfigError, match="IMPORTS is .*(name of a Python module|not be empty)"):
        load_config("", ["IMPORTS", repr([name])])


@pytest.mark.parametrize(
    "source, words",
    [
        ("import nothing_of_this_name", "cannot be imported .*ModuleNotFoundError.*broken_0.py, line 1"),
        ("\n1 / 0", "cannot be imported .*ZeroDivisionError.*broken_1.py, line 2"),
        ("def f(:", "cannot be imported .*SyntaxError.*broken_2.py, line 1"),
        ("import sys; sys.exit(3)", "cannot be imported .*SystemExit"),
        (
            "from rle_onestage.evaluation import *\nEVALUATOR_REGISTRY.register(PoseEvaluator)",
            "has a 'PoseEvaluator' already",
        ),
        (None, "cannot be found .*PYTHONPATH"),
    ],
)
def test_a_module_that_fails_is_one_sentence(tmp_path, monkeypatch, request, source, words):
    monkeypatch.syspath_prepend(tmp_path)
    name = f"broken_{request.node.callspec.indices['source']}"
    if source is not None:
        (tmp_path / f"{name}.py").write_text(source)
    with pytest.raises(ConfigError, match=words) as caught:
        load_config("", ["IMPORTS", f"['{name}']"])
    assert "\n" not in str(caught.value) and name in str(caught.value)


@pytest.mark.parametrize(
    "key, value, words",
    [
        ("SOLVER.HOOKS", "['nothing']", "(choose one of|none is registered)"),
        ("SOLVER.HOOKS", "['os.abort']", "which is no class derived from HookBase"),
        ("SOLVER.HOOKS", "['antigravity.fly']", "was not imported"),
        ("SOLVER.HOOKS", "[3]", "an entry is 3"),
        ("SOLVER.HOOKS", "['Lout', {'period': 3}]", r"list of their own, as in \[\['Lout', {'period': 3}\]\]"),
        ("SOLVER.HOOKS", "[['Lout', {'period': 3}]]", r"is \[\['Lout', {'period': 3}\]\]; (none|choose|did)"),
        ("SOLVER.HOOKS", "[['PoseEvaluator', 3]]", "an entry is"),
        ("SOLVER.HOOKS", "[['detectron2.engine.hooks.IterationTimer', {'a b': 3}]]", "an entry is"),
        ("TEST.EVALUATORS", "['PoseEvaluato']", "did you mean PoseEvaluator"),
    ],
)
def test_parts_that_are_not_known_are_told_before_the_training(key, value, words):
    with pytest.raises(ConfigError, match=words):
        load_config("", [key, value])
    assert "antigravity" not in sys.modules


def test_options_that_a_part_does_not_take_are_told_with_their_line(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    path, module = tmp_path / "a.yaml", write_module(tmp_path, "options")

    @HOOK_REGISTRY.register(name="needing_options")
    class Needing(HookBase):
        @classmethod
        def from_config(cls, cfg, *, steps):
            return cls()

    for group, entry, words in (
        ("SOLVER: {HOOKS", "counter_options, {evry: 3}", "no option 'evry'; did you mean every? its options are every"),
        ("SOLVER: {HOOKS", "needing_options, {}", "SOLVER.HOOKS: needing_options needs the option steps; give "),
        ("SOLVER: {HOOKS", "needing_options, {step: 3}", "did you mean steps? its options are steps"),
        ("SOLVER: {HOOKS", "detectron2.engine.hooks.IterationTimer, {warm: 3}", "its options are warmup_iter"),
        ("TEST: {EVALUATORS", "widest_options, {scal: 3}", "did you mean scale? its options are scale"),
    ):
        path.write_text(f"IMPORTS: [{module}]\n{group}: [[{entry}]]}}\n")
        with pytest.raises(ConfigError, match=f"a.yaml, line 2: .*{re.escape(words)}"):
            load_config(str(path))


def test_a_module_beside_the_config_is_told_with_what_finds_it(tmp_path, monkeypatch):
    write_module(tmp_path, "beside")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    path = tmp_path / "a.yaml"
    path.write_text("IMPORTS: [pkg_beside.parts]\n")
    words = f"it is {tmp_path}/pkg_beside/parts.py: run export PYTHONPATH={tmp_path} first; trainings with"
    with pytest.raises(ConfigError, match=re.escape(words)):
        load_config(str(path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=re.escape(words)):
        load_config("", ["IMPORTS", "pkg_beside.parts"])
    with pytest.raises(ConfigError, match=f"did you mean the module of {tmp_path}/pkg_beside/parts.py"):
        load_config("", ["IMPORTS", "pkg_beside.part"])
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    with pytest.raises(ConfigError, match=re.escape(f"export PYTHONPATH={tmp_path}:$PYTHONPATH first")):
        load_config(str(path))


def test_the_text_log_has_what_a_hook_puts_and_no_metrics(tmp_path, monkeypatch, caplog):
    monkeypatch.syspath_prepend(tmp_path)
    config = write_config(tmp_path, "told", write_module(tmp_path, "told"))
    with caplog.at_level("INFO"):
        train(config, "TEST.EVAL_PERIOD", "3")
    lines = [line for line in caplog.messages if line.startswith("iter ")]
    assert [line.split("counter_told/steps ")[1].split()[0] for line in lines] == ["2", "4", "6", "8"]
    assert not any(word in line for line in lines for word in ("AP", "width", "grad_norm", "data_time"))


def test_a_module_may_add_keys(tmp_path, monkeypatch):
    """As a Detectron2 project does, and a config has them before it is merged."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "more_keys.py").write_text(
        textwrap.dedent("""
            from rle_onestage.config import register_config_keys


            def add(cfg):
                cfg.MODEL.MORE_KEYS_OF_A_TEST = 3


            register_config_keys(add)
        """)
    )
    path = tmp_path / "c.yaml"
    path.write_text("IMPORTS: [more_keys]\nMODEL: {MORE_KEYS_OF_A_TEST: 5}\n")
    from detectron2.config.defaults import _C

    try:
        assert load_config(str(path)).MODEL.MORE_KEYS_OF_A_TEST == 5
        with pytest.raises(ConfigError, match="MORE_KEYS_OF_A_TEST must be of type int"):
            load_config(str(path), ["MODEL.MORE_KEYS_OF_A_TEST", "much"])
    finally:
        _C.MODEL.pop("MORE_KEYS_OF_A_TEST", None)


def test_two_of_one_name_are_refused():
    class Twice:
        pass

    HOOK_REGISTRY.register(Twice, name="twice_of_a_test")
    with pytest.raises(ConfigError, match="twice_of_a_test"):
        HOOK_REGISTRY.register(name="twice_of_a_test")(Twice)
