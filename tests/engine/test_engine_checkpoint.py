"""Checkpoints: what is loaded, what is refused and in which words; nothing in them runs."""

import os
import pickle
import zipfile

import numpy as np
import pytest
import torch
from detectron2.checkpoint import DetectionCheckpointer
from torch import nn

from rle_onestage.engine import last_checkpoint, load_weights, read_checkpoint
from rle_onestage.engine.checkpoint import save_checkpoint
from rle_onestage.errors import CheckpointError, ConfigError
from rle_onestage.utils.output_files import UNFINISHED, remove_unfinished, replaced_when_done


class Net(nn.Module):
    def __init__(self, joints=2):
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
        self.head = nn.Linear(4, 2 * joints)


class Trap:
    """Makes a file when it is unpickled by something that runs code."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def same(model, weights):
    own = model.state_dict()
    return all(torch.equal(own[key], weights[key]) for key in own)


def test_saved_whole_and_found_again(tmp_path):
    model = Net()
    save_checkpoint(tmp_path, "model_0000004.pth", {"model": model.state_dict(), "iteration": 4})
    path = last_checkpoint(tmp_path)
    assert path == str(tmp_path / "model_0000004.pth")
    other = Net()
    assert load_weights(other, path, strict=True)["iteration"] == 4
    assert same(other, model.state_dict())
    assert sorted(os.listdir(tmp_path)) == ["last_checkpoint", "model_0000004.pth"]


def test_a_disk_that_fills_before_the_name_of_the_last_one_is_written(tmp_path, monkeypatch):
    """The error is the one that the docstring says, and names what is there."""

    def full(path, text, **_):
        raise ConfigError(f"{path} cannot be written (No space left on device); check OUTPUT_DIR")

    save_checkpoint(tmp_path, "model_0000004.pth", {"model": Net().state_dict()})
    monkeypatch.setattr("rle_onestage.engine.checkpoint.files.write_text", full)
    with pytest.raises(CheckpointError, match="last_checkpoint cannot be written .* model_0000005.pth is there"):
        save_checkpoint(tmp_path, "model_0000005.pth", {"model": Net().state_dict()})
    assert last_checkpoint(tmp_path) == str(tmp_path / "model_0000004.pth")


def test_a_failed_save_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.pth"
    path.write_text("old")
    with pytest.raises(KeyError), replaced_when_done(str(path)) as temporary:
        with open(temporary, "w") as file:
            file.write("half")
        raise KeyError
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["a.pth"]
    with pytest.raises(CheckpointError, match="cannot be written"):
        save_checkpoint(tmp_path / "nowhere", "b.pth", {})


def test_leftovers_of_a_crash_are_removed(tmp_path):
    """Those of processes that are gone; another one may be writing beside this training."""
    own = f".rle{os.getpid()}0123abcd{UNFINISHED}"
    ended = os.fork()
    if not ended:
        os._exit(0)
    os.waitid(os.P_PID, ended, os.WEXITED | os.WNOWAIT)  # it stays a zombie, whose number is taken
    for process in (2**22 + 1, ended):  # no process has the first number
        (tmp_path / f".rle{process}0123abcd{UNFINISHED}").write_text("half")
    for name in ("model_1.pth.tmp", own):
        (tmp_path / name).write_text("half")
    remove_unfinished(tmp_path)
    os.waitpid(ended, 0)
    assert os.listdir(tmp_path) == [own]


def test_two_that_write_one_file_do_not_share_a_name(tmp_path):
    path = str(tmp_path / "a.json")
    with replaced_when_done(path) as one, replaced_when_done(path) as other:
        assert one != other
        for name, text in ((one, "one"), (other, "other")):
            with open(name, "w") as file:
                file.write(text)
    assert open(path).read() == "one" and os.listdir(tmp_path) == ["a.json"]


def test_last_checkpoint_that_is_gone(tmp_path):
    assert last_checkpoint(tmp_path) is None
    (tmp_path / "last_checkpoint").write_text("model_0000004.pth")
    with pytest.raises(CheckpointError, match="model_0000004.pth.*does not exist"):
        last_checkpoint(tmp_path)


def test_random_bytes_are_damage_and_no_danger(tmp_path):
    for seed in range(40):
        (tmp_path / "m.pth").write_bytes(np.random.default_rng(seed).bytes(300))
        with pytest.raises(CheckpointError) as caught:
            read_checkpoint(str(tmp_path / "m.pth"))
        assert "run code" not in str(caught.value)


def test_a_question_mark_is_part_of_a_file_name(tmp_path):
    """Only Detectron2's own query is cut off."""
    place = tmp_path / "what?"
    place.mkdir()
    torch.save(Net().state_dict(), place / "m.pth")
    assert "matching_heuristics" not in read_checkpoint(str(place / "m.pth"))
    assert read_checkpoint(str(place / "m.pth?matching_heuristics=True"))["matching_heuristics"] is True


def test_averaged_weights_unless_told_otherwise(tmp_path):
    averaged, raw = Net().state_dict(), Net().state_dict()
    torch.save({"model": averaged, "raw": raw}, tmp_path / "m.pth")
    model = Net()
    load_weights(model, str(tmp_path / "m.pth"), strict=True)
    assert same(model, averaged)
    load_weights(model, str(tmp_path / "m.pth"), strict=True, use_ema=False)
    assert same(model, raw)


@pytest.mark.parametrize("wrap", [lambda w: w, lambda w: {"state_dict": w}, lambda w: {"model": w, "x": np.float64(3)}])
def test_plain_and_foreign_files(tmp_path, wrap):
    weights = {f"module.{key}": value for key, value in Net().state_dict().items()}
    torch.save(wrap(weights), tmp_path / "m.pth")
    model = Net()
    load_weights(model, str(tmp_path / "m.pth"), strict=True)
    assert torch.equal(model.head.weight, weights["module.head.weight"])


def test_stock_detectron2_reads_our_files(tmp_path):
    save_checkpoint(tmp_path, "m.pth", {"model": Net().state_dict(), "raw": Net().state_dict(), "iteration": 1})
    model = Net()
    DetectionCheckpointer(model).load(str(tmp_path / "m.pth"))
    assert same(model, read_checkpoint(str(tmp_path / "m.pth"))["model"])


def test_evaluation_wants_every_weight(tmp_path):
    path = str(tmp_path / "m.pth")
    torch.save(Net(joints=3).state_dict(), path)
    with pytest.raises(CheckpointError) as caught:
        load_weights(Net(), path, strict=True)
    for word in ("head.weight (6, 4) in the file, (4, 4) in the model", "m.pth", "NUM_KEYPOINTS"):
        assert word in str(caught.value)
    torch.save({"backbone.0.weight": torch.zeros(4, 3), "neck": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match="not in the file: backbone.0.bias.*not in the model: neck"):
        load_weights(Net(), path, strict=True)


def test_training_starts_a_head_of_another_size_anew(tmp_path, caplog):
    path = str(tmp_path / "m.pth")
    source = Net(joints=3)
    torch.save(source.state_dict(), path)
    model = Net()
    head = model.head.weight.detach().clone()
    with caplog.at_level("INFO", "rle_onestage"):
        load_weights(model, path, strict=False)
    assert torch.equal(model.backbone[0].weight, source.backbone[0].weight)
    assert torch.equal(model.head.weight, head)
    assert "head.weight (6, 4) in the file, (4, 4) in the model" in caplog.text


@pytest.mark.parametrize(
    "weights, words",
    [
        (
            {"encoder.weight": torch.zeros(2)},
            "encoder.weight.*of another architecture|another architecture.*encoder.weight",
        ),
        ({"backbone.0.weight": torch.zeros(9, 9)}, r"backbone.0.weight \(9, 9\) in the file, \(4, 3\) in the model"),
    ],
)
def test_training_refuses_another_architecture(tmp_path, weights, words):
    torch.save(weights, tmp_path / "m.pth")
    with pytest.raises(CheckpointError, match=words):
        load_weights(Net(), str(tmp_path / "m.pth"), strict=False)


def zoo_weights():
    generator = np.random.default_rng(0)
    return {
        "conv1_w": generator.normal(size=(4, 3, 7, 7)).astype("float32"),
        "res_conv1_bn_s": np.ones(4, "float32"),
        "res_conv1_bn_b": np.zeros(4, "float32"),
        "conv1_w_momentum": np.zeros(1, "float32"),
        "fc1000_b": np.zeros(9, "float32"),
    }


class Stem(nn.Module):
    """Names of Detectron2's ResNet in a pyramid."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Module()
        self.backbone.bottom_up = nn.Module()
        self.backbone.bottom_up.stem = nn.Module()
        self.backbone.bottom_up.stem.conv1 = nn.Conv2d(3, 4, 7, bias=False)
        self.backbone.bottom_up.stem.conv1.norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(1, 1)


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("blobs", [True, False])
def test_caffe2_names_of_the_model_zoo(tmp_path, protocol, blobs):
    weights = zoo_weights()
    content = {"blobs": weights, "cfg": b"text"} if blobs else weights
    (tmp_path / "R-50.pkl").write_bytes(pickle.dumps(content, protocol=protocol))
    model = Stem()
    load_weights(model, str(tmp_path / "R-50.pkl"), strict=False)
    assert np.array_equal(model.backbone.bottom_up.stem.conv1.weight.detach().numpy(), weights["conv1_w"])


def test_names_of_torchvision_in_the_model_zoo(tmp_path):
    weights = {"stem.conv1.weight": zoo_weights()["conv1_w"]}
    content = {"model": weights, "__author__": "third_party", "matching_heuristics": True}
    (tmp_path / "r.pkl").write_bytes(pickle.dumps(content))
    model = Stem()
    load_weights(model, str(tmp_path / "r.pkl"), strict=False)
    assert np.array_equal(model.backbone.bottom_up.stem.conv1.weight.detach().numpy(), weights["stem.conv1.weight"])


def write_pickle(path, content):
    path.write_bytes(pickle.dumps(content))


def write_torch(path, content):
    torch.save(content, path)


@pytest.mark.parametrize("name, write", [("m.pkl", write_pickle), ("m.pth", write_torch)])
def test_pickles_never_run_code(tmp_path, name, write):
    write(
        tmp_path / name,
        {"model": {"w": torch.zeros(1) if name == "m.pth" else np.zeros(1)}, "x": Trap(tmp_path / "trap")},
    )
    with pytest.raises(CheckpointError, match="code"):
        read_checkpoint(str(tmp_path / name))
    assert not (tmp_path / "trap").exists()


@pytest.mark.parametrize(
    "code", [b"cnumpy\nload\n(S'x'\ntR.", b"c_codecs\nencode\n(S'x'\nS'zip'\ntR.", b"cbuiltins\neval\n."]
)
def test_other_functions_are_refused_by_the_unpickler(tmp_path, code):
    (tmp_path / "m.pkl").write_bytes(code)
    with pytest.raises(CheckpointError, match="not loaded"):
        read_checkpoint(str(tmp_path / "m.pkl"))


@pytest.mark.parametrize("name", ["m.pth", "m.pkl"])
@pytest.mark.parametrize("content", [b"", b"not a checkpoint at all", b"PK\x03\x04 cut short"])
def test_damaged_files(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=name):
        read_checkpoint(str(tmp_path / name))


def test_truncated_file(tmp_path):
    torch.save(Net().state_dict(), tmp_path / "m.pth")
    whole = (tmp_path / "m.pth").read_bytes()
    (tmp_path / "m.pth").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="damaged"):
        read_checkpoint(str(tmp_path / "m.pth"))


def test_no_flipped_bit_changes_a_weight(tmp_path):
    """Of the tensors, of their pickle, of the archive's own tables: a sentence, or nothing that matters."""
    weights = {"model": {f"w{i}": torch.arange(40.0) + i for i in range(3)}}
    torch.save(weights, tmp_path / "whole.pth")
    whole, path = (tmp_path / "whole.pth").read_bytes(), tmp_path / "m.pth"
    caught = 0
    for place in range(0, 8 * len(whole), 37):
        damaged = bytearray(whole)
        damaged[place // 8] ^= 1 << place % 8
        path.write_bytes(damaged)
        try:
            found = read_checkpoint(str(path))["model"]
        except CheckpointError:
            caught += 1
            continue
        assert all(torch.equal(found[key], value) for key, value in weights["model"].items()), place
    assert caught > 8 * 3 * 160 / 37  # each in the tensors themselves


def test_a_part_that_is_marked_as_a_folder_is_damage(tmp_path):
    """One bit, outside of what the checksums cover, with which torch reads memory that was never written."""
    torch.save({"model": {"w": torch.zeros(40)}}, tmp_path / "m.pth")
    whole = bytearray((tmp_path / "m.pth").read_bytes())
    place = whole.rfind(b"PK\x01\x02", 0, whole.rfind(b"data/0")) + 38
    whole[place] ^= 0x10
    (tmp_path / "m.pth").write_bytes(whole)
    with pytest.raises(CheckpointError, match="m.pth is damaged .*folder"):
        read_checkpoint(str(tmp_path / "m.pth"))


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_weights_that_are_no_numbers_are_refused(tmp_path, value, strict):
    net = Net()
    before = {key: tensor.clone() for key, tensor in net.state_dict().items()}
    weights = {**Net().state_dict(), "backbone.1.running_var": torch.tensor([1, 1, value, 1])}
    torch.save({"model": weights}, tmp_path / "m.pth")
    with pytest.raises(CheckpointError, match=r"m.pth holds .* NaN or infinite \(backbone.1.running_var\)"):
        load_weights(net, str(tmp_path / "m.pth"), strict=strict)
    assert same(net, before)


@pytest.mark.parametrize(
    "change, word",
    [
        (lambda w: w.to_sparse(), "sparse"), (lambda w: w.to("meta"), "no data"), (lambda w: w + 0j, "complex"),
        (lambda w: torch.quantize_per_tensor(w, 0.1, 0, torch.qint8), "quantized"),
    ],
)  # fmt: skip
def test_tensors_of_other_kinds_are_refused(tmp_path, change, word):
    torch.save({"model": {"head.weight": change(torch.ones(4, 4))}}, tmp_path / "m.pth")
    with pytest.raises(CheckpointError, match=f"m.pth: head.weight .*{word}.* save dense tensors"):
        read_checkpoint(str(tmp_path / "m.pth"))


def test_pickles_that_make_torch_fail_in_other_ways(tmp_path):
    """An archive that is whole, with a pickle that is not, or that asks for more memory than there is."""
    torch.save({"model": {"w": torch.zeros(4)}}, tmp_path / "whole.pth")
    with zipfile.ZipFile(tmp_path / "whole.pth") as old, zipfile.ZipFile(tmp_path / "m.pth", "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name)[:-7] if name.endswith("data.pkl") else old.read(name))
    with pytest.raises(CheckpointError, match="m.pth is damaged"):
        read_checkpoint(str(tmp_path / "m.pth"))
    (tmp_path / "m.pkl").write_bytes(pickle.dumps({"blobs": [1]}))
    with pytest.raises(CheckpointError, match="m.pkl holds a list"):
        read_checkpoint(str(tmp_path / "m.pkl"))
    with pytest.raises(CheckpointError, match="neither a file nor an address"):
        read_checkpoint("http://[::1")


@pytest.mark.parametrize("content", [{"model": {"a": 1}}, [1, 2], {"epoch": 3}])
def test_files_without_weights(tmp_path, content):
    torch.save(content, tmp_path / "m.pth")
    with pytest.raises(CheckpointError, match="weights"):
        read_checkpoint(str(tmp_path / "m.pth"))


def test_missing_file_and_no_network(monkeypatch):
    with pytest.raises(CheckpointError, match="nowhere.pth does not exist; check MODEL.WEIGHTS"):
        read_checkpoint("nowhere.pth")

    def unreachable(*args, **kwargs):
        raise OSError("Name or service not known")

    monkeypatch.setattr("rle_onestage.utils.safe_files.PathManager.get_local_path", unreachable)
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint("detectron2://ImageNetPretrained/MSRA/R-50.pkl")
    assert "without a network" in str(caught.value) and "MODEL.WEIGHTS" in str(caught.value)
