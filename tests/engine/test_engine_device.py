"""The device of the config decides the backend and the GPU of each process; GPUs are simulated."""

import argparse
import json
import os

import engine_toy
import pytest
import torch
from modeling_toys import make_input, tiny_config
from test_engine_launch import ROOT, run
from torch.utils._python_dispatch import TorchDispatchMode

from rle_onestage.engine import launch, load_config
from rle_onestage.engine.device import claim_device, settle_device, usable_processes
from rle_onestage.engine.processes import launch as starting
from rle_onestage.engine.processes import meeting
from rle_onestage.engine.setup import seed_everything
from rle_onestage.errors import ConfigError

HERE = ("127.0.0.1", 29500)


@pytest.fixture
def gpus(monkeypatch):
    """Simulates a machine with so many GPUs; gives the list of those that were made the present one."""

    def simulate(count):
        chosen = []
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
        return chosen

    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    return simulate


def parsed(device, tmp_path):
    """Arguments as a tool has them, of a config file that names a device."""
    path = tmp_path / "c.yaml"
    path.write_text(json.dumps({"MODEL": {"DEVICE": device}}))
    return argparse.Namespace(config_file=str(path), opts=[])


@pytest.fixture
def spawned(monkeypatch):
    """What would have been started: (device, processes)."""
    calls = []
    monkeypatch.setattr(starting, "run_processes", lambda _, shared, count: calls.append((shared[2], count)))
    return calls


@pytest.mark.parametrize(
    "there, device, asked, expected",
    [
        (1, "cpu", 2, ("cpu", 2)), (2, "cpu", 4, ("cpu", 4)), (2, "cuda", 2, ("cuda", 2)), (2, "cuda", 4, ("cuda", 2)),
        (0, "cuda", 2, ("cpu", 2)),
    ],
)  # fmt: skip
def test_the_config_decides_what_is_started(gpus, spawned, tmp_path, there, device, asked, expected):
    gpus(there)
    launch(print, asked, args=(parsed(device, tmp_path),))
    assert spawned == [expected]


def test_options_outdo_the_config_file(gpus, spawned, tmp_path):
    gpus(2)
    arguments = parsed("cuda", tmp_path)
    arguments.opts = ["MODEL.DEVICE", "cpu"]
    launch(print, 2, args=(arguments,))
    assert spawned == [("cpu", 2)]


def test_two_processes_on_one_gpu_are_one(gpus, spawned, tmp_path, caplog):
    """As in the quick start, which asks for two."""
    gpus(1)
    done = []
    launch(done.append, 2, args=(parsed("cuda", tmp_path),))
    assert len(done) == 1 and not spawned and "--num-gpus is 2, but this machine has 1" in caplog.text
    with pytest.raises(ConfigError, match="--num-gpus is 2, but this machine has 1"):
        usable_processes("cuda", 2, num_machines=2)


@pytest.mark.parametrize(
    "there, device, rank, size, expected, chosen",
    [
        (1, "cpu", 1, 2, "gloo", []), (2, "cpu", 0, 2, "gloo", []), (2, "cuda", 1, 2, "nccl", [1]),
        (1, "cuda", 0, 1, "nccl", [0]),  # on each of two machines
    ],
)  # fmt: skip
def test_each_process_has_its_own_gpu_and_a_backend(gpus, monkeypatch, there, device, rank, size, expected, chosen):
    present, joined = gpus(there), []
    monkeypatch.setattr(meeting.dist, "init_process_group", lambda backend, **_: joined.append(backend))
    monkeypatch.setattr(meeting.dist, "TCPStore", lambda *_, **__: None)
    monkeypatch.setattr(meeting, "_meet", lambda *_: None)
    monkeypatch.setattr(meeting, "create_local_process_group", lambda size: None)
    place = dict(rank=rank, world_size=2, local_rank=rank, local_size=size, address=HERE)
    with meeting.process_group(device=lambda: device, **place):
        pass
    assert joined == [expected] and present == chosen


def test_torchrun_asks_the_config_too(gpus, monkeypatch, tmp_path):
    gpus(1)
    joined = []
    for name, value in {"RANK": 1, "WORLD_SIZE": 2, "LOCAL_RANK": 1, "LOCAL_WORLD_SIZE": 2}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr(meeting, "rendezvous", lambda *_, **__: iter([(None, 1, 2)]))
    monkeypatch.setattr(meeting, "fresh_view", lambda store, rank, world_size: store)

    def join(backend, **_):
        joined.append(backend)
        raise RuntimeError("far enough")

    monkeypatch.setattr(meeting.dist, "init_process_group", join)
    for device, expected in (("cpu", ["gloo"]), ("cuda", ["gloo"])):  # on one GPU the second has none
        with pytest.raises(SystemExit):
            launch(print, args=(parsed(device, tmp_path),))
        assert joined == expected


def test_what_processes_cannot_share_is_a_sentence(gpus):
    gpus(2)
    with pytest.raises(ConfigError, match="3 processes on a machine with 2 GPU"):
        claim_device("cuda", 0, 3)
    with pytest.raises(ConfigError, match="MODEL.DEVICE is cuda:1, one GPU for several"):
        usable_processes("cuda:1", 2)
    with pytest.raises(ConfigError, match="MODEL.DEVICE is mps, on which one process"):
        usable_processes("mps", 2)
    assert usable_processes("mps", 1) == 1


@pytest.mark.parametrize(
    "name, word", [("cuda:2", "has 2"), ("mps", "no such device"), ("xpu", "no such device"), ("meta", "not supported"),
                   ("gpu", "no device")],
)  # fmt: skip
def test_devices_that_are_not_there(gpus, monkeypatch, name, word):
    gpus(2)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch.xpu, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=f"MODEL.DEVICE.*{name}.*{word}"):
        load_config("", ["MODEL.DEVICE", name])
    assert settle_device("cuda:1") == "cuda:1" and settle_device("cpu:0") == "cpu"


def test_seeding_touches_no_device_that_is_not_in_use(gpus, monkeypatch):
    gpus(1)
    seeded = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)
    for in_use, number in ((False, 0), (True, 1)):
        monkeypatch.setattr(torch.cuda, "is_initialized", lambda in_use=in_use: in_use)
        seed_everything(1, 2)
        assert len(seeded) == number


@pytest.mark.slow
def test_two_cpu_processes_train_beside_a_gpu(tmp_path):
    """The whole way, in processes of their own that believe in a GPU."""
    config = engine_toy.write_config(tmp_path)
    site = tmp_path / "site"
    site.mkdir()
    # Read by every interpreter that starts, so by the processes too.
    (site / "sitecustomize.py").write_text(
        "import sys, torch\nprint('simulated', file=sys.stderr)\n"
        "torch.cuda.is_available, torch.cuda.device_count = (lambda: True), (lambda: 1)\n"
    )
    path = os.pathsep.join(map(str, (site, ROOT, ROOT / "tests")))
    command = [str(ROOT / "tests" / "engine_toy.py"), "--config-file", str(config), "--num-gpus", "2"]
    process = run([*command, "DATASETS.TEST", "()"], PYTHONPATH=path)
    assert process.returncode == 0, process.stderr
    assert process.stderr.count("simulated") >= 3
    assert "2 process(es), device cpu" in process.stdout
    assert (tmp_path / "out" / "model_final.pth").exists()


class _Float64(TorchDispatchMode):
    """Notes the operations that make float64 tensors."""

    def __init__(self):
        super().__init__()
        self.made = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for value in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(value, torch.Tensor) and value.dtype == torch.float64:
                self.made.append(str(function))
        return result


@pytest.mark.parametrize("style", ["fcos", "centernet"])
def test_a_model_needs_no_float64_where_there_is_none(monkeypatch, style):
    """A training step and a prediction, as on Apple's GPUs."""
    from detectron2.modeling import build_model

    from rle_onestage.modeling.refinement import noise

    monkeypatch.setattr(noise, "widest_float", lambda device: torch.float32)
    torch.manual_seed(0)
    model = build_model(tiny_config(style=style))
    assert not [name for name, value in model.state_dict().items() if value.dtype == torch.float64]
    batch = [make_input(0, [(6, 4, 50, 60, 17), (20, 10, 60, 62, 17)])]
    with _Float64() as seen:
        sum(model.train()(batch).values()).backward()
        with torch.no_grad():
            model.eval()(batch)
    assert not seen.made
