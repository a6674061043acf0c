"""--resume with files that are damaged: one sentence, or the newest checkpoint, and never memory of others."""

import contextlib
import copy
import json
import os

import engine_toy
import pytest
import torch

from rle_onestage.engine import Trainer, last_checkpoint, load_config
from rle_onestage.engine.checkpoint import check_places, forget_last_checkpoint, read_checkpoint, resume
from rle_onestage.engine.checkpoint.shares import agreed_checkpoint
from rle_onestage.engine.logs import keep_before
from rle_onestage.engine.setup import settle_seed
from rle_onestage.errors import CheckpointError, ConfigError


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """(config file, content of the checkpoint after iteration 2) by the name of the optimizer."""
    made = {}
    for name in ("SGD", "AdamW"):
        folder = tmp_path_factory.mktemp(name)
        config = engine_toy.write_config(folder, OPTIMIZER=name, MAX_ITER=3)
        Trainer(load_config(str(config), ["DATASETS.TEST", "()"])).train()
        made[name] = config, torch.load(folder / "out" / "model_final.pth", weights_only=True)
    return made


def resumed(trained, tmp_path, change, name="AdamW", *options):
    """A trainer that went on from the checkpoint after ``change(content)``."""
    config, content = trained[name]
    content = copy.deepcopy(content)
    change(content)
    torch.save(content, tmp_path / "model_0000002.pth")
    (tmp_path / "last_checkpoint").write_text("model_0000002.pth")
    trainer = Trainer(load_config(str(config), ["OUTPUT_DIR", str(tmp_path), *options]))
    trainer.resume_or_load(resume=True)
    return trainer


def entry(name, value):
    """Puts ``value(old)`` in the place of an entry of the first parameter's state."""

    def change(content):
        state = content["optimizer"]["state"][0]
        state[name] = value(state[name])

    return change


DAMAGE = {
    "iteration": [
        (lambda c, value=value: c.update(iteration=value), "iteration is")
        for value in (None, "7", 1.5, -1, True, [1], 2**70)
    ],
    "optimizer": [
        (lambda c: c.update(optimizer=None), "optimizer is None"),
        (lambda c: c.update(optimizer=[1]), r"optimizer is \[1\], not"),
        (lambda c: c["optimizer"].update(state=[]), "not the state of one"),
        (lambda c: c["optimizer"].update(param_groups=None), "not the state of one"),
        (lambda c: c["optimizer"]["param_groups"].pop(), "other groups of parameters"),
        (lambda c: c["optimizer"]["param_groups"][0].update(params=None), "other groups of parameters"),
        (lambda c: c["optimizer"].update(param_groups=[1]), "other groups of parameters"),
        (lambda c: c["optimizer"]["param_groups"][0].update(params=torch.arange(3)), "other groups of parameters"),
        (
            lambda c: c["optimizer"]["param_groups"][0].update(params=[torch.arange(2), torch.arange(2)]),
            "other groups of parameters",
        ),
        (lambda c: c.update(optimizer=torch.zeros(2)), "optimizer is a Tensor"),
        (lambda c: c["optimizer"].update(state={}), "nothing for [0-9]+ of [0-9]+ parameters .first: 0"),
        (lambda c: c["optimizer"]["state"].pop(1), "nothing for 1 of [0-9]+ parameters .first: 1"),
        (lambda c: (c["optimizer"]["state"].pop(1), c.pop("without_state")), "nothing for 1 of"),
        (lambda c: c.update(without_state=torch.arange(3)), "without_state is a Tensor"),
        (entry("exp_avg_sq", lambda old: -old - 1), "exp_avg_sq of parameter 0 is not finite, or negative"),
        (lambda c: c["optimizer"]["state"].update({99: {}}), "an entry 99"),
        (lambda c: c["optimizer"]["state"].update({"a": {}}), "an entry 'a'"),
        (lambda c: c["optimizer"]["state"].update({0: None}), "an entry 0"),
        (lambda c: c["optimizer"]["state"][0].pop("step"), "another optimizer"),
        (entry("exp_avg", lambda old: torch.zeros(3)), r"exp_avg of parameter 0 has the shape \(3,\)"),
        (entry("exp_avg_sq", lambda old: torch.zeros(1).expand(old.shape)), "share their memory"),
        (entry("exp_avg", lambda old: old.flatten()), "has the shape"),
        (entry("exp_avg", lambda old: old.to_sparse()), "not a dense tensor"),
        (entry("exp_avg", lambda old: old.long()), "not a dense tensor"),
        (entry("exp_avg", lambda old: "old"), "is 'old'"),
        (entry("exp_avg", lambda old: old * float("nan")), "is not finite"),
        (entry("step", lambda old: torch.zeros(2)), "has the shape"),
        (entry("step", lambda old: -1), "negative"),
    ],
    "weights": [
        (lambda c: c.update(raw=None), "raw, its weights under training, is a NoneType"),
        (lambda c: c["model"].popitem(), "the averaged weights have no"),
        (lambda c: c["model"].update({"head.bias": torch.zeros(1)}), "the average of head.bias has the shape"),
        (lambda c: c["raw"].popitem(), "does not fit the model"),
    ],
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_field_that_is_damaged_is_one_sentence(trained, tmp_path, kind):
    for change, words in DAMAGE[kind]:
        with pytest.raises(CheckpointError, match=words) as caught:
            resumed(trained, tmp_path, change)
        assert "model_0000002.pth" in str(caught.value) and len(str(caught.value)) < 600


def test_momenta_of_another_layout_are_copied_into_the_parameters_own(trained, tmp_path):
    """Fused kernels read them by the parameter's strides."""

    def transposed(old):
        return old.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0)

    convolution = next(i for i, s in trained["AdamW"][1]["optimizer"]["state"].items() if s["exp_avg"].dim() == 4)

    def change(content):
        state = content["optimizer"]["state"][convolution]
        state["exp_avg"] = transposed(state["exp_avg"])
        assert state["exp_avg"].stride() != trained["AdamW"][1]["optimizer"]["state"][convolution]["exp_avg"].stride()

    trainer = resumed(trained, tmp_path, change)
    parameters = [p for group in trainer.optimizer.param_groups for p in group["params"]]
    momentum = trainer.optimizer.state[parameters[convolution]]["exp_avg"]
    assert momentum.stride() == parameters[convolution].stride()
    assert torch.equal(momentum, trained["AdamW"][1]["optimizer"]["state"][convolution]["exp_avg"])


def test_what_never_had_a_gradient_has_no_momenta(tmp_path):
    """It goes on as it was, as SGD without momentum does, also from checkpoints of earlier versions."""
    used, unused = (torch.nn.Parameter(torch.ones(2)) for _ in range(2))
    for optimizer in (torch.optim.AdamW([used, unused]), torch.optim.SGD([used, unused], momentum=0.0)):
        used.grad = torch.ones(2)
        optimizer.step()
        missing = resume.parameters_without_state(optimizer)
        content = {"optimizer": optimizer.state_dict(), "without_state": missing}
        assert missing == ([1] if isinstance(optimizer, torch.optim.AdamW) else [0, 1])
        resume.restore_optimizer(optimizer, content, "a.pth")
    del content["without_state"]
    resume.restore_optimizer(optimizer, content, "a.pth")


@pytest.mark.parametrize("name, other", [("SGD", "AdamW"), ("AdamW", "SGD")])
def test_another_optimizer_does_not_begin_anew_without_a_word(trained, tmp_path, name, other):
    with pytest.raises(CheckpointError, match=f"another optimizer than {other}"):
        resumed(trained, tmp_path, lambda content: None, name, "SOLVER.OPTIMIZER", other)


def test_the_config_decides_the_rates_and_all_other_options(trained, tmp_path):
    def change(content):
        for group in content["optimizer"]["param_groups"]:
            group.update(lr="fast", betas=None, fused=None, more=1)

    trainer = resumed(trained, tmp_path, change)
    own = Trainer(trainer.cfg).optimizer.param_groups
    rates = [group.pop("lr") for group in trainer.optimizer.param_groups]
    assert rates == [group["initial_lr"] * rates[0] / own[0]["initial_lr"] for group in own]  # as the schedule says
    for group, wanted in zip(trainer.optimizer.param_groups, own):
        assert {**group, "params": None, "lr": None} == {**wanted, "params": None, "lr": None}


def test_the_scale_of_mixed_precision_is_a_number():
    scaler = torch.amp.GradScaler("cpu", enabled=True)
    resume.restore_scaler(scaler, {"scaler": {**scaler.state_dict(), "scale": 8.0}}, "a.pth")
    assert scaler.state_dict()["scale"] == 8.0
    for value in ("8", None, float("nan")):
        with pytest.raises(CheckpointError, match="a.pth: scale of the scaler"):
            resume.restore_scaler(scaler, {"scaler": {**scaler.state_dict(), "scale": value}}, "a.pth")


def test_a_seed_that_is_none_is_refused(trained, tmp_path):
    trainer = resumed(trained, tmp_path, lambda content: content.update(seed=[3]))  # not needed: the config has one
    cfg = trainer.cfg.clone()
    cfg.defrost()
    cfg.SEED = -1
    with pytest.raises(CheckpointError, match=r"seed is \[3\], not"):
        settle_seed(cfg, resume=True)


@pytest.mark.parametrize("content", [b"", b"\xff", b"\0" * 20, b"model_0000001.pth\0", b"x" * 5000, b"a\nb"])
def test_a_damaged_pointer_gives_the_newest_checkpoint(tmp_path, content):
    (tmp_path / "last_checkpoint").write_bytes(content)
    with pytest.raises(CheckpointError, match="last_checkpoint is damaged"):
        last_checkpoint(tmp_path)
    for age, name in enumerate(["model_0000005.pth", "model_final.pth", "model_0000002.pth"]):
        torch.save({"iteration": 5 - age, "model": {}, "optimizer": {}}, tmp_path / name)
        os.utime(tmp_path / name, (1e9 - age, 1e9 - age))
    for name in ("model_best.pth", "other.pth"):
        (tmp_path / name).touch()
    assert last_checkpoint(tmp_path) == str(tmp_path / "model_0000005.pth")


@pytest.mark.parametrize("damaged", [True, False])
def test_one_resume_warns_once_of_a_lost_pointer(trained, tmp_path, caplog, damaged):
    """It asks for the seed, and then for the weights."""
    config, content = trained["SGD"]
    torch.save(content, tmp_path / "model_final.pth")
    (tmp_path / "model_0000012.pth").write_bytes((tmp_path / "model_final.pth").read_bytes()[:-99])
    if damaged:
        (tmp_path / "last_checkpoint").write_bytes(b"")
    settle_seed(load_config(str(config), ["OUTPUT_DIR", str(tmp_path), "SEED", "-1"]), resume=True)
    assert agreed_checkpoint(str(tmp_path)) == str(tmp_path / "model_final.pth")
    assert caplog.text.count("taking the newest checkpoint") == caplog.text.count("is no complete checkpoint") == 1


def test_a_pointer_that_is_a_folder_is_one_sentence(tmp_path):
    (tmp_path / "last_checkpoint").mkdir()
    with pytest.raises(CheckpointError, match="last_checkpoint cannot be read"):
        last_checkpoint(tmp_path)
    with pytest.raises(CheckpointError, match="last_checkpoint cannot be deleted"):
        forget_last_checkpoint(tmp_path)


def save_some(folder, **iterations):
    """Checkpoints of a training; those of a copied folder have no telling times."""
    for name, iteration in iterations.items():
        torch.save({"iteration": iteration, "model": {}, "optimizer": {}, "run": "a"}, folder / f"model_{name}.pth")


@pytest.mark.parametrize("dangling", [False, True])
def test_a_pointer_that_is_lost_gives_the_newest_complete_checkpoint(tmp_path, dangling, caplog):
    """Not a new training, which would overwrite what is there."""
    save_some(tmp_path, final=9, **{"0000003": 3})
    (tmp_path / "model_0000012.pth").write_bytes((tmp_path / "model_final.pth").read_bytes()[:-99])
    torch.save({"model": {}, "iteration": 20}, tmp_path / "model_0000020.pth")  # as slim writes it
    (tmp_path / "model_0000021.pth").mkdir()
    if dangling:
        (tmp_path / "last_checkpoint").symlink_to("gone")
    assert last_checkpoint(tmp_path) == str(tmp_path / "model_final.pth")
    assert "last_checkpoint is missing; taking the newest" in caplog.text
    assert "model_0000012.pth is no complete checkpoint" in caplog.text


def test_checkpoints_of_an_earlier_training_do_not_count(tmp_path):
    save_some(tmp_path, final=9)
    forget_last_checkpoint(tmp_path)
    assert last_checkpoint(tmp_path) is None
    save_some(tmp_path, **{"0000002": 2})
    assert last_checkpoint(tmp_path) == str(tmp_path / "model_0000002.pth")


def test_a_pointer_that_is_a_pipe_blocks_nobody(tmp_path):
    os.mkfifo(tmp_path / "last_checkpoint")
    with pytest.raises(CheckpointError, match=r"last_checkpoint cannot be read \(it is a pipe"):
        last_checkpoint(tmp_path)


@pytest.mark.parametrize("name", ["model_final.pth", "model_0000002.pth"])
def test_a_place_of_a_checkpoint_that_is_taken_is_found_before_the_training(tmp_path, name):
    config = engine_toy.write_config(tmp_path)
    (tmp_path / "out" / name).mkdir(parents=True)
    trainer = Trainer(load_config(str(config), ["DATASETS.TEST", "()"]))
    with pytest.raises(CheckpointError, match=f"{name} cannot be written .it is a folder, not a file.; delete or"):
        trainer.train()
    assert trainer.iter == 0 and not os.path.exists(tmp_path / "out" / "training.jsonl")


def test_links_are_places_of_checkpoints_where_their_folder_is_there(tmp_path):
    (tmp_path / "model_final.pth").symlink_to("elsewhere.pth")
    check_places(tmp_path)
    (tmp_path / "model_best.pth").symlink_to("gone/elsewhere.pth")
    with pytest.raises(CheckpointError, match="model_best.pth .* link into a folder"):
        check_places(tmp_path)


def test_lines_of_the_log_that_nobody_can_read_are_dropped(tmp_path):
    path, good = tmp_path / "training.jsonl", b'{"iteration": 1, "a": "\xc3\xa9"}\n'
    bad = [b"\xff\xfe\n", b"5\n", b"[]\n", b'{"iteration": "1"}\n', b"[" * 10**5, b"\n", b"\n"]
    bad += [b'{"iteration": null}\n', b'{"iteration": true}\n']
    path.write_bytes(good + b"".join(bad) + b'{"epoch": 1}\n{"iteration": 7}\n{"iteration": 2}')
    keep_before(str(path), 4)
    assert path.read_bytes() == good + b'{"epoch": 1}\n{"iteration": 2}\n'
    assert [json.loads(line) for line in path.read_text().splitlines()]


def test_a_checkpoint_whose_weights_are_no_dictionary(tmp_path):
    torch.save({"model": None, "optimizer": {}, "iteration": 1}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match="a.pth holds no weights"):
        read_checkpoint(str(tmp_path / "a.pth"))


PREFIX = "MODEL.RLE_ONESTAGE."


@pytest.mark.parametrize(
    "of_training, now, key",
    [
        (
            {"DENSITY": "student"},
            {"DENSITY": "laplace"},
            "DENSITY is laplace, but the training to resume has 'student'",
        ),
        ({"DENSITY": "rle", "PRESET": "laplace"}, {"DENSITY": "rle", "PRESET": "gaussian"}, "PRESET is gaussian, but"),
        ({"DENSITY": "laplace", "PRESET": "laplace"}, {"DENSITY": "laplace", "PRESET": "gaussian"}, None),
        ({"DENSITY": "student"}, {"DENSITY": "student"}, None),
        ("no mapping", {"DENSITY": "laplace"}, None),
        (None, {"DENSITY": "laplace"}, None),
    ],
)
def test_going_on_with_another_loss_is_refused_by_its_key(tmp_path, of_training, now, key):
    if of_training is not None:
        (tmp_path / "config.yaml").write_text(json.dumps({"MODEL": {"RLE_ONESTAGE": of_training}}))
    cfg = load_config("", [word for name, value in now.items() for word in (PREFIX + name, value)])
    refused = pytest.raises(ConfigError, match=key) if key else contextlib.nullcontext()
    with refused:
        resume.check_config(cfg, str(tmp_path / "model_final.pth"), 100)


@pytest.mark.parametrize(
    "solver, words",
    [
        ({"BASE_LR": 0.05, "STEPS": [30000], "MAX_ITER": 7}, None),
        ({"BASE_LR": 0.1, "STEPS": [30000], "GAMMA": 0.5}, "in SOLVER, BASE_LR is 0.05 and was 0.1, GAMMA is 0.1 and"),
        ({"STEPS": [20000]}, "in SOLVER, STEPS is [30000] and was [20000] ("),
        ({"WARMUP_ITERS": 100}, None),  # which is over, then and now
        ({"WARMUP_ITERS": 101}, "in SOLVER, WARMUP_ITERS is 20 and was 101 ("),
        ("no mapping", None),
    ],
)
def test_another_learning_rate_is_said(tmp_path, caplog, solver, words):
    (tmp_path / "config.yaml").write_text(json.dumps({"SOLVER": solver}))
    options = ["SOLVER.BASE_LR", "0.05", "SOLVER.STEPS", "30000,", "SOLVER.GAMMA", "0.1", "SOLVER.WARMUP_ITERS", "20"]
    resume.check_config(load_config("", options), str(tmp_path / "model_final.pth"), 100)
    assert (words in caplog.text) if words else "learning rate" not in caplog.text


def test_a_longer_training_has_another_rate_under_a_cosine_alone(tmp_path, caplog):
    (tmp_path / "config.yaml").write_text(
        json.dumps({"SOLVER": {"MAX_ITER": 100, "LR_SCHEDULER_NAME": "WarmupCosineLR"}})
    )
    options = ["SOLVER.LR_SCHEDULER_NAME", "WarmupCosineLR", "SOLVER.MAX_ITER"]
    for length, told in (("100", False), ("200", True)):
        resume.check_config(load_config("", [*options, length]), str(tmp_path / "model_final.pth"), 100)
        assert ("in SOLVER, MAX_ITER is 200 and was 100 (" in caplog.text) == told == ("learning rate" in caplog.text)


def test_a_warm_up_of_steps_of_another_length_is_always_said(tmp_path, caplog):
    (tmp_path / "config.yaml").write_text(json.dumps({"SOLVER": {"WARMUP_ITERS": 20}}))
    options = ["SOLVER.WARMUP_ITERS", "40", "SOLVER.REFERENCE_WORLD_SIZE", "8"]
    resume.check_config(load_config("", options), str(tmp_path / "model_final.pth"), 100)
    assert "in SOLVER, WARMUP_ITERS is 40 and was 20 (" in caplog.text


FILES = [["a", "a.json", "images"], ["b", "b.json", "images"]]


@pytest.mark.parametrize(
    "datasets, words",
    [
        ({"TRAIN": ["a"], "TRAIN_WEIGHTS": [], "TEST": ["b"], "KEYPOINT_FILES": FILES}, None),
        ({"TRAIN": ["b"], "KEYPOINT_FILES": FILES}, "in DATASETS, TRAIN is ['a'] and was ['b'] ("),
        ({"TRAIN": ["a"], "TRAIN_WEIGHTS": [2.0]}, "TRAIN_WEIGHTS is [] and was [2.0] ("),
        ({"KEYPOINT_FILES": [["a", "other.json", "images"]]}, "a of KEYPOINT_FILES is ['a', 'a.json', 'images'] and"),
        ({"KEYPOINT_FILES": [["b", "other.json", "images"]]}, None),  # which is not trained on
        ({"KEYPOINT_FILES": [7, [], "a"]}, None),
        ("no mapping", None),
    ],
)
def test_other_training_sets_are_said(tmp_path, caplog, datasets, words):
    (tmp_path / "config.yaml").write_text(json.dumps({"DATASETS": datasets}))
    options = ["DATASETS.TRAIN", "a,", "DATASETS.KEYPOINT_FILES", json.dumps(FILES)]
    resume.check_config(load_config("", options), str(tmp_path / "model_final.pth"), 100)
    assert (words in caplog.text) if words else "training sets" not in caplog.text


def test_a_trainer_refuses_to_resume_with_another_loss(tmp_path):
    config = str(engine_toy.write_config(tmp_path, MAX_ITER=1))
    trainer = Trainer(load_config(config, [PREFIX + "DENSITY", "laplace", "DATASETS.TEST", "()"]))
    trainer.resume_or_load(resume=False)
    trainer.train()
    with pytest.raises(ConfigError, match="DENSITY is gaussian.*has 'laplace' .*config.yaml"):
        Trainer(load_config(config, [PREFIX + "DENSITY", "gaussian"])).resume_or_load(resume=True)
