"""What a training inherits from the weights it starts from, and what it does not."""

import logging

import engine_toy
import pytest
import torch
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.engine import SimpleTrainer
from detectron2.modeling import build_model
from modeling_toys import make_input, tiny_config, with_earlier_names

from rle_onestage.engine import Trainer, load_config, load_weights
from rle_onestage.engine.checkpoint import read_checkpoint

# Of the people of the toy's data: area 1500 in a box of 40 x 48.
RATIO = 1500 / (40 * 48)
OLD_RUN = {"iteration": torch.tensor(90_000), "decoder.area_sums": torch.tensor([0.2e12, 1e12], dtype=torch.float64)}
BATCH = [make_input(0, [(6, 4, 50, 60, 17)])]


@pytest.fixture
def config(tmp_path):
    return engine_toy.write_config(tmp_path)


@pytest.fixture
def warnings(monkeypatch):
    """Messages of the loggers from here on, from warnings up."""
    said = []
    listener = logging.Handler(logging.WARNING)
    listener.emit = lambda record: said.append(record.getMessage())
    for name in ("rle_onestage", "detectron2", "fvcore"):
        monkeypatch.setattr(logging.getLogger(name), "handlers", [listener])
    return said


def of_old_run(model):
    """The state of a model as earlier versions wrote it, after a long run."""
    state = model.state_dict()
    for name in ("decoder.area_ratio", "criterion.area_sums"):
        del state[name]
    return {**state, **OLD_RUN}


def ratio(weights):
    return weights["decoder.area_ratio"].item()


def iterations_seen(model):
    seen = []
    model.criterion.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[-1]))
    return seen


def start(config, *options):
    return Trainer(load_config(str(config), [*engine_toy.REAL, "DATASETS.TEST", "()", *options]))


def test_fine_tuning_counts_anew(config, tmp_path):
    """Steps from 0, so that a flow is warmed up; areas from the first new people on, also in the averaged weights."""
    torch.save({"model": of_old_run(start(config).model)}, tmp_path / "old.pth")
    trainer = start(config, "MODEL.WEIGHTS", str(tmp_path / "old.pth"), "SOLVER.MAX_ITER", "3")
    trainer.resume_or_load(resume=False)
    # Inference needs the ratio, also before anybody has been seen.
    assert ratio(trainer.model.state_dict()) == pytest.approx(0.2) and trainer.model.criterion.area_sums[1] == 1
    seen = iterations_seen(trainer.model)
    trainer.train()
    assert seen == [0, 1, 2]
    saved = torch.load(tmp_path / "out" / "model_final.pth", weights_only=True)
    assert ratio(saved["raw"]) == pytest.approx(RATIO, rel=0.02)
    assert ratio(saved["model"]) == pytest.approx(RATIO, rel=0.02)


def test_a_file_of_earlier_versions_resumes_exactly(config, tmp_path, warnings):
    """With their names of weights; their own count of the steps is not missed, nor is there a word about it."""
    start(config).train()
    other = tmp_path / "b"
    other.mkdir()
    content = torch.load(tmp_path / "out" / "model_0000002.pth", weights_only=True)
    for part in ("model", "raw"):
        content[part] = {**with_earlier_names(content[part]), "iteration": torch.tensor(3)}
    torch.save(content, other / "model_0000002.pth")
    (other / "last_checkpoint").write_text("model_0000002.pth")
    trainer = start(config, "OUTPUT_DIR", str(other))
    trainer.resume_or_load()
    seen = iterations_seen(trainer.model)
    trainer.train()
    assert seen == [3, 4, 5, 6, 7] and not warnings
    one, two = (torch.load(folder / "model_final.pth", weights_only=True) for folder in (tmp_path / "out", other))
    for part in ("model", "raw"):
        assert one[part].keys() == two[part].keys() and "iteration" not in one[part]
        assert all(torch.equal(value, two[part][key]) for key, value in one[part].items())


def test_files_of_earlier_versions_are_read_for_inference(tmp_path, warnings):
    cfg = tiny_config()
    path = str(tmp_path / "old.pth")
    torch.save({"model": of_old_run(build_model(cfg))}, path)
    for load in (lambda m: load_weights(m, path, strict=True), lambda m: DetectionCheckpointer(m).load(path)):
        model = build_model(cfg)
        load(model)
        assert torch.equal(model.criterion.area_sums, OLD_RUN["decoder.area_sums"].float())
        assert model.decoder.area_ratio == pytest.approx(0.2)
    build_model(cfg).load_state_dict(read_checkpoint(path)["model"], strict=True)
    assert not warnings


def test_stock_trainers_count_anew_and_warm_up():
    torch.manual_seed(0)
    model = build_model(tiny_config("MODEL.RLE_ONESTAGE.FLOW.WARMUP_ITERS", "2")).train()
    model.load_state_dict(OLD_RUN, strict=False)
    flow = [p for n, p in model.named_parameters() if "flow" in n and n.endswith("4.bias")]
    learned = []

    class Watched(SimpleTrainer):
        def after_step(self):
            learned.append(any(bool(p.grad.abs().sum() > 0) for p in flow))

    trainer = Watched(model, [BATCH] * 4, torch.optim.SGD(model.parameters(), 1e-4))
    trainer.train(0, 3)
    assert learned == [False, False, True]
    assert ratio(model.state_dict()) == pytest.approx(0.5, abs=1e-3)  # of the toy's people
    trainer.train(3, 4)  # going on keeps what was counted
    assert model.criterion.area_sums[1] == pytest.approx(4 * 44 * 56 + 1)
