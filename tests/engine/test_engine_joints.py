"""What a checkpoint knows of each joint finds the joint of that name, and never another one."""

import json
import os
import runpy

import engine_toy
import pytest
import torch
from detectron2.modeling import build_model
from modeling_toys import make_input, tiny_config
from torch import nn

from rle_onestage.data.lookup import check_test_joints, known_joints
from rle_onestage.engine import Trainer, evaluate_only, load_config, load_weights, read_checkpoint
from rle_onestage.engine.checkpoint import slim
from rle_onestage.engine.checkpoint.joints import parse_joints, recorded_joints
from rle_onestage.errors import CheckpointError, DataError
from rle_onestage.predictor import Predictor
from rle_onestage.structures.skeleton import COCO, CROWDPOSE, map_joints

LSPET = [f"{side}_{part}" for side, parts in (("right", "ankle knee hip"), ("left", "hip knee ankle"),
         ("right", "wrist elbow shoulder"), ("left", "shoulder elbow wrist")) for part in parts.split()]  # fmt: skip
LSPET += ["neck", "head_top"]
SIGMAS = dict(zip(COCO.names, COCO.oks_sigmas)) | {"neck": 0.079, "head_top": 0.079}


class Net(nn.Module):
    """Two rows a joint in one tensor, one in another."""

    JOINT_ROWS = {"offset.weight": 2, "offset.bias": 2, "presence": 1}

    def __init__(self, joints=3, width=2):
        super().__init__()
        self.body = nn.Linear(2, width)
        self.offset = nn.Linear(width, 2 * joints)
        self.presence = nn.Parameter(torch.zeros(joints, 1))


def file(path, weights, joints=None, **more):
    torch.save({"model": weights, **({"joints": list(joints)} if joints else {}), **more}, path)
    return str(path)


def abc():
    """Weights of the joints a, b, c: 10, 20, 30 and so on."""
    return {
        "body.weight": torch.ones(2, 2), "body.bias": torch.ones(2),
        "offset.weight": torch.tensor([[10.0, 1], [11, 1], [20, 1], [21, 1], [30, 1], [31, 1]]),
        "offset.bias": torch.tensor([1.0, 2, 3, 4, 5, 6]), "presence": torch.tensor([[7.0], [8], [9]]),
    }  # fmt: skip


@pytest.fixture
def said(caplog):
    caplog.set_level("INFO", "rle_onestage")
    return lambda: [record.getMessage() for record in caplog.records if record.name.endswith("checkpoint.joints")]


def test_rows_by_hand(tmp_path, said):
    """c and a come over, d stays as it was in the model, b is not used."""
    model = Net(3)
    before = model.offset.weight[2:4].clone()
    nn.init.constant_(model.presence, 5.0)
    load_weights(model, file(tmp_path / "m.pth", abc(), "abc"), strict=False, joints=["c", "d", "a"])
    assert model.offset.weight[:2].tolist() == [[30, 1], [31, 1]]
    assert model.offset.weight[4:].tolist() == [[10, 1], [11, 1]] and torch.equal(model.offset.weight[2:4], before)
    assert model.offset.bias[:2].tolist() == [5, 6] and model.offset.bias[4:].tolist() == [1, 2]
    assert model.presence[:, 0].tolist() == [9, 5, 7] and torch.equal(model.body.weight, torch.ones(2, 2))
    (line,) = said()
    assert line.endswith("2 of 3 come over (c, a); 1 start anew (d); 1 of the file are not used (b)")


def test_no_joint_in_common_is_a_warning(tmp_path, said):
    load_weights(Net(2), file(tmp_path / "m.pth", abc(), "abc"), strict=False, joints=["x", "y"])
    warning, _ = said()
    assert "No joint of" in warning and "(x, y): they start anew, or as the mean" in warning and "(a, b, c)" in warning


def test_a_joint_begins_as_the_mean_of_those_near_it(tmp_path, said):
    model = Net(3)
    nn.init.constant_(model.presence, 5.0)
    path = file(tmp_path / "m.pth", abc(), ["left_hip", "nose", "right_hip"])
    load_weights(model, path, strict=False, joints=["mid_hip", "d", "nose"])
    assert model.offset.weight[:2].tolist() == [[20, 1], [21, 1]] and model.offset.bias[:2].tolist() == [3, 4]
    assert model.presence[:, 0].tolist() == [8, 5, 8]
    told = "1 start as the mean of joints near them (mid_hip: left_hip, right_hip); 1 start anew (d)"
    assert said()[0].endswith(f"1 of 3 come over (nose); {told}")


def test_a_near_joint_is_asked_for(tmp_path, said):
    weights = file(tmp_path / "m.pth", abc(), ["tail_base", "nose", "left_wrist"])
    load_weights(Net(3), weights, strict=False, joints=["tail_tip", "nose", "left_hand"])
    (line,) = said()
    asked = "tail_tip: is it tail_base? If so, rename it in the label file, and it comes over"
    assert line.endswith(f"(tail_base). {asked}")
    assert "(left_hand: left_wrist); 1 start anew" in line  # it has all of the wrist already, and is not asked for


def test_no_joint_comes_over_from_a_head_of_another_size(tmp_path, said):
    weights = {**abc(), "presence": torch.zeros(3, 4)}
    weights["offset.weight"] = torch.zeros(6, 3)  # its bias fits
    weights["other"] = torch.zeros(1)
    model = Net(2)
    model.other = nn.Parameter(torch.ones(1))
    load_weights(model, file(tmp_path / "m.pth", weights, "abc"), strict=False, joints=["a", "b"])
    assert "All joints start anew" in said()[0] and len(said()) == 1


@pytest.mark.parametrize("joints", [["b"], ["a", "b"], ["c", "b", "a", "a2"]])
def test_any_number_and_order(tmp_path, joints):
    model = Net(len(joints))
    load_weights(model, file(tmp_path / "m.pth", abc(), "abc"), strict=False, joints=joints)
    expected = [{"a": 7, "b": 8, "c": 9, "a2": 0}[name] for name in joints]
    assert model.presence[:, 0].tolist() == expected


def test_synonyms_are_the_same_joint(tmp_path, said):
    """Also where every weight must fit."""
    model, weights = Net(3), abc()
    path = file(tmp_path / "m.pth", weights, ["neck", "left_shoulder", "head_top"])
    load_weights(model, path, strict=True, joints=["upper_neck", "LSho", "headtop"])
    assert torch.equal(model.presence, weights["presence"]) and not said()
    load_weights(model, path, strict=False, joints=["headtop", "upper_neck", "LSho"])
    assert model.presence[:, 0].tolist() == [9, 7, 8]


@pytest.mark.parametrize(
    "joints, words",
    [
        ("bac", r"in another order \(joint 0 is a in the file, b in the model\)"),
        ("abd", r"has 3 joints \(a, b, c\) without d of the model's 3;"),
        ("ab", r"has 3 joints \(a, b, c\) where the model has 2;"),
    ],
)
def test_evaluation_refuses_other_joints(tmp_path, joints, words):
    """In one sentence, and the model is left as it was."""
    model = Net(len(joints))
    before = model.presence.clone()
    with pytest.raises(CheckpointError, match=f"m.pth.*{words}"):
        load_weights(model, file(tmp_path / "m.pth", abc(), "abc"), strict=True, joints=list(joints))
    assert torch.equal(model.presence, before)


def test_files_without_names(tmp_path, said):
    """The same number: the model's. 17: COCO's. Another: nobody knows. Each is said."""
    model = Net(3)
    load_weights(model, file(tmp_path / "m.pth", abc()), strict=False, joints=list("xyz"))
    assert model.presence[:, 0].tolist() == [7, 8, 9]
    assert "does not name its 3 joints: taken to be the model's" in said()[0]
    coco = Net(17)
    nn.init.normal_(coco.presence)
    model = Net(14)
    load_weights(model, file(tmp_path / "17.pth", coco.state_dict()), strict=False, joints=LSPET)
    assert model.presence[0, 0] == coco.presence[COCO.names.index("right_ankle"), 0]
    assert "does not name its 17 joints: taken to be COCO's" in said()[1]
    model = Net(4)
    load_weights(model, file(tmp_path / "m.pth", abc()), strict=False, joints=list("abcd"))
    assert not model.presence.any() and model.body.weight.eq(1).all() and "starts anew; name them with" in said()[3]


def test_names_that_do_not_fit_the_weights(tmp_path):
    with pytest.raises(CheckpointError, match="names 4 joints, but has weights of 3"):
        load_weights(Net(), file(tmp_path / "m.pth", abc(), "abcd"), strict=False, joints=list("abc"))
    assert recorded_joints({"joints": torch.zeros(3)}) is None and recorded_joints({"joints": []}) is None


def test_misfits_of_other_kinds_are_told_as_ever(tmp_path, caplog):
    with caplog.at_level("WARNING", "rle_onestage"):
        model = Net(2, width=3)
        load_weights(model, file(tmp_path / "m.pth", abc(), "abc"), strict=False, joints=list("cb"))
    assert model.presence[:, 0].tolist() == [9, 8]
    assert "offset.weight (6, 2) in the file, (4, 3) in the model" in caplog.text


def test_an_architecture_that_declares_nothing_says_so(tmp_path, said):
    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(1, 2)

    path = file(tmp_path / "m.pth", Plain().state_dict(), "ab")
    load_weights(Plain(), path, strict=False, joints=list("ba"))
    assert "Plain does not say which of its weights belong to single joints" in said()[0]


# -------------------------------------------------------------------- the real architecture


def config(joints, *options):
    sigmas = ["MODEL.RLE_ONESTAGE.NUM_KEYPOINTS", len(joints), "TEST.KEYPOINT_OKS_SIGMAS", [SIGMAS[n] for n in joints]]
    size = ["MODEL.RLE_ONESTAGE.HEAD.CHANNELS", "64", "MODEL.RLE_ONESTAGE.HEAD.EMBEDDING", "64"]
    parts = ["MODEL.RLE_ONESTAGE.REFINE.SEARCH", "True", "MODEL.RLE_ONESTAGE.HEAD.VISIBILITY", "True"]
    return tiny_config(*sigmas, *size, *parts, *options)


def people_model(joints, *options):
    """A model whose joints differ much from one another, with a correction of sigma."""
    torch.manual_seed(0)
    model = build_model(config(joints, *options))
    with torch.no_grad():
        for part in (model.head.offset, model.head.scale, model.head.presence, model.refiner.refinement.heat):
            part.weight.normal_(std=0.3)
            part.bias.normal_(std=0.3)
        for tensor in (
            model.refiner.refinement.joint,
            model.refiner.refinement.output,
            model.refiner.refinement.output_bias,
            model.refiner.refinement.visible,
            model.refiner.refinement.visible_bias,
        ):
            tensor.normal_(std=0.3)
        model.head.visibility.taught.copy_(torch.arange(len(joints)) + 1)
    model.prepare_for_inference()  # a correction belongs to the weights that say sigma
    count, levels = model.decoder.intervals.shape
    half_widths = torch.linspace(0.1, 3, levels) * torch.linspace(0.8, 1.2, count)[:, None]
    model.decoder.set_correction(torch.linspace(-0.2, 0.3, count), torch.linspace(0.9, 1.1, count), half_widths)
    return model


@torch.no_grad()
def found(model):
    """What a model finds at its best candidates, in the order of the person's score."""
    model.eval()
    image = model.preprocess_image([make_input(3, [])])
    return model.decode(model.backbone(image.tensor))


def taken(model, weights, path, names, joints):
    load_weights(model, file(path, weights, names), strict=False, joints=joints)
    return found(model)


@pytest.mark.parametrize("half", [False, True])
def test_a_permuted_skeleton_predicts_the_same_joints(tmp_path, half):
    """From a whole file and from a small one, with attention among the joints."""
    order = torch.randperm(17, generator=torch.Generator().manual_seed(1)).tolist()
    joints = [COCO.names[i] for i in order]
    options = ["MODEL.RLE_ONESTAGE.REFINE.ATTENTION", "4"]
    source = people_model(COCO.names, *options)
    content = {"model": source.state_dict()}
    weights = (slim(content, half=True) if half else content)["model"]
    if half:
        source.load_state_dict(weights, strict=False)
    before = found(source)
    model = build_model(config(joints, *options))
    after = taken(model, weights, tmp_path / "m.pth", COCO.names, joints)
    assert (before.joints.std(2)[..., :2] > 1).any() and source.decoder.intervals.all()
    for name in ("joints", "sigmas", "presence", "visibility"):
        torch.testing.assert_close(getattr(after, name), getattr(before, name)[:, :, order], rtol=1e-4, atol=1e-4)
    assert before.visibility.std(2).min() > 0.01
    torch.testing.assert_close(after.scores, before.scores)
    for name in ("correction", "intervals"):
        assert torch.equal(getattr(model.decoder, name), getattr(source.decoder, name)[order])


def test_lspet_keeps_the_joints_that_both_have(tmp_path):
    # One density for all joints: where each has its own table, a new joint's would be another's.
    shared_density = ["MODEL.RLE_ONESTAGE.PRESET", "laplace"]
    source = people_model(COCO.names, *shared_density)
    model = build_model(config(LSPET, *shared_density))
    before, after = found(source), taken(model, source.state_dict(), tmp_path / "m.pth", COCO.names, LSPET)
    places = map_joints(COCO.names, LSPET)
    assert places[12:] == [-1, -1] and min(places[:12]) >= 0
    for name in ("joints", "sigmas", "presence"):
        shared = getattr(before, name)[:, :, places[:12]]
        torch.testing.assert_close(getattr(after, name)[:, :, :12], shared, rtol=1e-4, atol=1e-4)
    rows = source.head.offset.weight.view(17, 2, -1)
    near = torch.cat([rows[5:7].mean(0), rows[:5].mean(0)])  # shoulders for the neck, the face for head_top
    torch.testing.assert_close(model.head.offset.weight[-4:], near)
    assert after.visibility is None  # nobody taught neck and head_top
    assert model.head.visibility.taught.tolist() == [place + 1 for place in places]
    # New joints have no correction: their intervals are the density's.
    half_width, own = model.decoder.error_density().half_width(0.5), source.decoder.error_density()
    torch.testing.assert_close(half_width[:12], own.half_width(0.5)[places[:12]])
    own.intervals = None
    torch.testing.assert_close(half_width[12:], own.half_width(0.5)[:2])


def test_every_tensor_of_a_joint_is_declared():
    """Nothing else changes its shape with the number of joints, and those that do have it on the first axis."""
    options = ["MODEL.RLE_ONESTAGE.REFINE.ATTENTION", "4"]
    many, few = (people_model(names, *options) for names in (COCO.names, LSPET))
    declared = {
        f"{prefix}.{name}": rows for prefix, module in many.named_modules()
        for name, rows in getattr(module, "JOINT_ROWS", {}).items()
    }  # fmt: skip
    other = few.state_dict()
    assert {key for key, value in many.state_dict().items() if value.shape != other[key].shape} == set(declared)
    for key, rows in declared.items():
        value = many.state_dict()[key]
        assert (value.shape[0], other[key].shape[0]) == (17 * rows, 14 * rows)
        assert value.shape[1:] == other[key].shape[1:]


def test_densities_of_groups_start_anew(tmp_path, said):
    """The groups are of other joints; with the same joints they come over."""
    groups = ["MODEL.RLE_ONESTAGE.FLOW.GROUPS", [list(range(5)), list(range(5, 17))]]
    source = people_model(COCO.names, *groups)
    with torch.no_grad():
        for parameter in source.criterion.density.parameters():
            parameter.add_(0.1)
    source.prepare_for_inference()
    path = file(tmp_path / "m.pth", source.state_dict(), COCO.names)
    model = build_model(config(COCO.names, *groups))
    load_weights(model, path, strict=False, joints=list(COCO.names))
    assert torch.equal(model.decoder.std, source.decoder.std) and not said()
    joints = list(reversed(COCO.names))
    model = build_model(config(joints, *groups))
    fresh = {key: value.clone() for key, value in model.state_dict().items() if "density" in key}
    load_weights(model, path, strict=False, joints=joints)
    assert all(torch.equal(model.state_dict()[key], value) for key, value in fresh.items())
    model.eval()
    assert not torch.equal(model.decoder.std, source.decoder.std)
    assert torch.equal(model.decoder.std, model.criterion.density.std())
    assert torch.equal(model.head.presence.bias, source.head.presence.bias.flip(0))
    assert "Densities and tables of groups of joints start anew" in said()[1]


# -------------------------------------------------------------------- trainer and tools


@pytest.fixture
def toy(tmp_path):
    """Config files of the toy's data with its joints in two orders, and a training's last checkpoint of the first."""
    first = engine_toy.write_config(tmp_path / "a", MAX_ITER=2)
    Trainer(load_config(str(first), engine_toy.REAL)).train()
    second = engine_toy.write_config(tmp_path / "b", MAX_ITER=2)
    labels = tmp_path / "b" / "data" / "people.json"
    content = json.loads(labels.read_text())
    content["categories"][0]["keypoints"] = ["right_hand", "nose", "left_hand"]
    labels.write_text(json.dumps(content))
    text = json.loads(second.read_text())
    text["DATASETS"] = {"TRAIN": ["toy_other"], "TEST": ["toy_other"],
                        "KEYPOINT_FILES": [["toy_other", str(labels), str(labels.parent / "images")]]}  # fmt: skip
    second.write_text(json.dumps(text))
    return str(first), str(second), str(tmp_path / "a" / "out" / "model_final.pth")


def test_a_training_names_its_joints_and_takes_those_of_others(toy):
    first, second, path = toy
    content = read_checkpoint(path)
    assert content["joints"] == engine_toy.NAMES
    trainer = Trainer(load_config(second, [*engine_toy.REAL, "MODEL.WEIGHTS", path]))
    trainer.resume_or_load(resume=False)
    bias = trainer.model.state_dict()["head.offset.bias"]
    assert torch.equal(bias.view(3, 2), content["model"]["head.offset.bias"].view(3, 2)[[2, 0, 1]])
    assert torch.equal(trainer.ema.state_dict()["head.offset.bias"], bias)
    trainer.train()
    saved = read_checkpoint(os.path.join(trainer.cfg.OUTPUT_DIR, "model_final.pth"))
    assert saved["joints"] == ["right_hand", "nose", "left_hand"]


def test_evaluation_resuming_and_prediction_refuse_another_order(toy):
    first, second, path = toy
    cfg = load_config(second, [*engine_toy.REAL, "MODEL.WEIGHTS", path])
    resumed = load_config(second, [*engine_toy.REAL, "OUTPUT_DIR", os.path.dirname(path)])
    for attempt in (lambda: evaluate_only(cfg), lambda: Predictor(cfg), lambda: Trainer(resumed).resume_or_load()):
        with pytest.raises(CheckpointError, match="joints in another order"):
            attempt()
    evaluate_only(load_config(first, [*engine_toy.REAL, "MODEL.WEIGHTS", path]))


def test_without_data_sets_the_file_names_the_joints(toy, said):
    first, _, path = toy
    cfg = load_config(first, [*engine_toy.REAL, "MODEL.WEIGHTS", path, "DATASETS.TRAIN", "()", "DATASETS.TEST", "()"])
    assert known_joints(cfg) is None
    skeleton = Predictor(cfg).skeleton
    assert skeleton.names == tuple(engine_toy.NAMES) and skeleton.flip_pairs == ((1, 2),)


def test_limbs_for_joints_that_a_file_names(tmp_path):
    cfg = config(LSPET)
    path = file(tmp_path / "m.pth", build_model(cfg).state_dict(), LSPET)
    skeleton = Predictor(cfg, path).skeleton
    limbs = {frozenset(LSPET[i] for i in limb) for limb in skeleton.limbs}
    assert frozenset(("left_knee", "left_ankle")) in limbs and frozenset(("left_shoulder", "neck")) in limbs
    assert Predictor(config(COCO.names), file(tmp_path / "c.pth", build_model(config(COCO.names)).state_dict(),
                                              COCO.names)).skeleton == COCO  # fmt: skip


def test_slim_files_keep_or_get_the_names(tmp_path):
    main = runpy.run_path(os.path.join(os.path.dirname(__file__), "..", "..", "tools", "slim_checkpoint.py"))["main"]
    weights = Net(14).state_dict()
    crowdpose = list(CROWDPOSE.names)
    cases = [("kept", LSPET, [], LSPET), ("given", None, ["--joints", "crowdpose"], crowdpose)]
    for name, joints, flags, expected in [*cases, ("none", None, [], None)]:
        source, output = file(tmp_path / "m.pth", weights, joints), str(tmp_path / f"{name}.pth")
        main([source, "--output", output, *flags])
        assert recorded_joints(read_checkpoint(output)) == expected
    assert parse_joints("a, b,c") == ["a", "b", "c"]


def test_test_sets_of_different_orders_are_refused(toy):
    first, second, _ = toy
    files = [json.loads(open(path).read())["DATASETS"]["KEYPOINT_FILES"][0] for path in (first, second)]
    options = ["DATASETS.KEYPOINT_FILES", files, "DATASETS.TEST", ["toy_people", "toy_other"]]
    with pytest.raises(DataError, match="'toy_people' and 'toy_other' have different joints"):
        check_test_joints(load_config(first, options))
