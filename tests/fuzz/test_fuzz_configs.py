"""Whatever a config or a command line says: it is accepted and works, or answered in one sentence.

How many mutations are tried: see ``conftest.py``.
"""

import functools
import os

import engine_toy
import numpy as np
import pytest
import torch
import yaml
from detectron2.config import CfgNode
from detectron2.utils.events import EventStorage
from fuzz_answers import answer, changed_bytes, values
from hypothesis import example, given
from hypothesis import strategies as st
from modeling_toys import make_input

from rle_onestage.data.mapper import PoseMapper
from rle_onestage.engine import load_config
from rle_onestage.engine.config.schema import SCHEMA, known_defaults, leaves
from rle_onestage.engine.models import build_architecture
from rle_onestage.engine.optimizer import GradientClipper, build_lr_scheduler, build_optimizer
from rle_onestage.errors import PoseError
from rle_onestage.structures.skeleton import Skeleton

KEYS = sorted(name for name, _ in leaves(known_defaults()))
OURS = sorted(name for name in KEYS if name in SCHEMA)
TRAP = "trap"
# Of YAML's syntax, and what is no YAML or no plain value.
PIECES = [
    "\n", " ", "  ", "\t", ":", ": ", "- ", "? ", ", ", "[", "]", "{", "}", "&a ", "*a", "*a\n", "<<: *a", "!!int ",
    "!!str ", "|\n", ">", "'", '"', "#", "%YAML 9\n", "---\n", "...\n", "~", "null", "0x", "1e", ".inf", ".nan", "\\",
    "\x00", "\x85", "\u2028", "\ufeff", "é", "1:30", "2020-13-45", "=", "@", "`", "_BASE_: ",
    "_BASE_: [toy.yaml, toy.yaml]\n",
    f"!!python/object/apply:os.mkdir [{TRAP}]", f"!!python/object/new:os.mkdir [{TRAP}]", "!!set ", "!!binary ",
    "9" * 5000, "[" * 60, "&b [" + "*a, " * 9 + "*a]",
]  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the toy's config and data, and the way to it."""
    folder = tmp_path_factory.mktemp("configs")
    engine_toy.write_config(folder)
    before = os.getcwd()
    os.chdir(folder)
    yield folder
    os.chdir(before)


def real_config(options):
    """The config of the real architecture at the size of a toy."""
    small = ["MODEL.DEVICE", "cpu", "MODEL.RLE_ONESTAGE.NUM_KEYPOINTS", 3, "INPUT.POSE.SIZE", 64, "MODEL.WEIGHTS", ""]
    return load_config("", [*engine_toy.REAL, *small, *options])


def is_small(cfg):
    """Whether it takes seconds to try what was accepted."""
    m = cfg.MODEL.RLE_ONESTAGE
    widths = (
        m.HEAD.CHANNELS,
        m.HEAD.EMBEDDING,
        m.REFINE.CHANNELS,
        m.REFINE.MAP_CHANNELS,
        m.FLOW.HIDDEN,
        m.TIMM.FPN_CHANNELS,
    )
    counts = (m.HEAD.NUM_CONVS, m.FLOW.COUPLINGS, m.REFINE.STEPS, m.REFINE.TEST_STEPS, m.REFINE.NOISE_DRAWS)
    images = (cfg.INPUT.POSE.SIZE, cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TRAIN, max(cfg.INPUT.MIN_SIZE_TRAIN))
    own = cfg.MODEL.BACKBONE.NAME == "ToyPyramid" and cfg.MODEL.META_ARCHITECTURE == "RLEOneStage"
    return own and max(widths) <= 128 and max(counts) <= 8 and max(images) <= 1400 and m.NUM_KEYPOINTS <= 32


def try_out(cfg):
    """Train one step and look at one image, with all that reads the config on the way."""
    joints = cfg.MODEL.RLE_ONESTAGE.NUM_KEYPOINTS
    names = tuple(f"joint{i}" for i in range(joints))
    skeleton = Skeleton(name="toy", names=names, limbs=(), flip_pairs=(), oks_sigmas=(0.1,) * joints)
    mapper = PoseMapper(cfg, True, skeleton=skeleton)
    record = {
        "file_name": "data/images/001.png", "image_id": 1, "height": 64, "width": 64, "annotations": [
            {"bbox": [8, 8, 40, 48], "bbox_mode": 1, "category_id": 0, "iscrowd": 0, "area": 900.0,
             "keypoints": [20.0, 20.0, 2] * joints},
        ],
    }  # fmt: skip
    sample = mapper(record, np.random.default_rng(0))
    assert sample["image"].shape[0] == 3
    torch.manual_seed(0)
    model = build_architecture(cfg).train()
    optimizer = build_optimizer(cfg, model)
    build_lr_scheduler(cfg, optimizer)
    batch = [make_input(0, [(8, 8, 48, 56, joints)], num_joints=joints)]
    with EventStorage():
        sum(model(batch).values()).backward()
    GradientClipper.from_config(cfg, model)()
    optimizer.step()
    if all(bool(parameter.isfinite().all()) for parameter in model.parameters()):  # else the engine says so
        assert len(model.eval()(batch)[0]["instances"]) <= cfg.TEST.DETECTIONS_PER_IMAGE
    return True


def try_options(options):
    """A config of options is accepted and works, or refused by a sentence that names one of their keys."""
    leaves_of_keys = [key.split(".")[-1] for key in options[0::2]]
    cfg = answer(lambda: real_config(options), *leaves_of_keys)
    if cfg is not None and is_small(cfg):
        answer(lambda: try_out(cfg))


@given(key=st.sampled_from(OURS), value=values())
@example(key="MODEL.PIXEL_MEAN", value=[1.0, 2.0])
@example(key="MODEL.RLE_ONESTAGE.HEAD.PRIOR_PROB", value=1.0)
@example(key="MODEL.RLE_ONESTAGE.REFINE.CHANNELS", value=0)
@example(key="INPUT.POSE.ROTATE", value=float("inf"))
@example(key="DATASETS.KEYPOINT_FLIP_PAIRS", value=[1, 2])
@example(key="SOLVER.REFERENCE_WORLD_SIZE", value=7)
@example(key="SOLVER.MOMENTUM", value=-1.0)
@example(key="TEST.EXPECTED_RESULTS", value=["AP"])
@example(key="MODEL.BACKBONE.NAME", value="build_timm_fpn_backbon")
@example(key="CUDNN_BENCHMARK", value="--")
def test_values_work_or_are_refused(place, key, value):
    try_options([key, value])


@given(data=st.data())
def test_values_of_the_right_kind_work_or_are_refused(place, data):
    """Numbers in the range of each key, its choices, two keys at once."""
    options = []
    for key in data.draw(st.lists(st.sampled_from(OURS), min_size=2, max_size=3, unique=True)):
        options += [key, data.draw(fitting(SCHEMA[key]))]
    try_options(options)


def fitting(rule):
    """Values that a rule may take: those at the ends of its range, and among its choices."""
    if hasattr(rule, "choices"):
        return st.sampled_from(rule.choices)
    if hasattr(rule, "whole"):
        low, high = max(rule.low, -100), min(rule.high, 100)
        near = st.integers(int(low), int(high)) if rule.whole else st.floats(low, high)
        ends = [int(low), int(high)] if rule.whole else [rule.low, low + 1e-7, high]
        return near | st.sampled_from(ends)
    if hasattr(rule, "each"):
        return st.lists(fitting(rule.each), min_size=rule.exactly or rule.least, max_size=rule.exactly or 4)
    if hasattr(rule, "rules"):
        return st.one_of(*map(fitting, rule.rules))
    return {"bool": st.booleans(), "str": st.sampled_from(["p3", "p4", "p9", "GN", "a", "é"])}.get(rule.kinds, values())


@given(items=st.lists(st.sampled_from(KEYS) | st.text(max_size=8) | values(), max_size=6))
@example(items=["SEED", "{[]: 1}"])
@example(items=["MODEL.DEVICE", "cuda:99999999999999999999"])
@example(items=["SOLVER.MAX_ITER", "None"])
def test_command_lines_are_read_or_refused(place, items):
    for options in (items, [str(item) for item in items]):
        answer(lambda options=options: load_config("", ["MODEL.DEVICE", "cpu", *options]))


@functools.cache
def sample_text():
    """The toy's config as people write it."""
    with open("toy.yaml", encoding="utf-8") as file:
        return yaml.safe_dump(yaml.safe_load(file), default_flow_style=False)


@st.composite
def changed_text(draw):
    """The toy's config with pieces of syntax put in, lines moved, and values replaced."""
    lines = sample_text().splitlines(keepends=True)
    for _ in range(draw(st.integers(1, 4))):
        number = draw(st.integers(0, len(lines) - 1))
        line, how = lines[number], draw(st.sampled_from(["piece", "piece", "value", "drop", "repeat", "indent"]))
        column = draw(st.integers(0, len(line)))
        if how == "piece":
            lines[number] = line[:column] + draw(st.sampled_from(PIECES)) + line[column:]
        elif how == "value":
            lines[number] = f"{line.partition(':')[0]}: {draw(st.sampled_from(PIECES) | st.text(max_size=6))}\n"
        elif how == "repeat":
            lines.insert(draw(st.integers(0, len(lines))), line)
        else:
            lines[number] = "" if how == "drop" else f"{' ' * draw(st.integers(1, 3))}{line}"
    return "".join(lines)


@given(data=st.data())
def test_damaged_files_are_read_or_refused(place, data):
    if data.draw(st.booleans()):
        content = data.draw(changed_text()).encode("utf-8", "surrogatepass")
    else:
        encoding = data.draw(st.sampled_from(["utf-8", "utf-16", "utf-8-sig"]))
        content = data.draw(changed_bytes(sample_text().encode(encoding)))
    (place / "case.yaml").write_bytes(content)
    cfg = answer(lambda: load_config(str(place / "case.yaml")), "case.yaml", "toy.yaml")
    assert not os.path.exists(TRAP)
    if cfg is not None:
        assert cfg.is_frozen()
        stays_as_it_is_written(cfg, place / "again.yaml")
        has_what_the_file_says(cfg, content)


def stays_as_it_is_written(cfg, path):
    """What was read is read again from what is written of it."""
    path.write_text(cfg.dump(), encoding="utf-8")
    again = load_config(str(path))
    assert [(name, plain(value)) for name, value in leaves(again)] == [(n, plain(v)) for n, v in leaves(cfg)]


def plain(value):
    """A value with lists in place of tuples."""
    return [plain(each) for each in value] if isinstance(value, (list, tuple)) else value


def has_what_the_file_says(cfg, content):
    """Numbers and text are those that PyYAML itself reads; but for those that another key decides over."""
    said = leaves(CfgNode(yaml.safe_load(content) or {}))
    read = dict(leaves(cfg))
    for name, value in said:
        if name != "_BASE_" and isinstance(value, (bool, int, float)):
            assert read[name] == value, name


BOMB = "[&a0 [1,1,1,1,1,1,1,1,1,1]" + "".join(f", &a{i} [{','.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)) + "]"


@pytest.mark.parametrize(
    "text, words",
    [
        (f"SOLVER: {{MAX_ITER: {BOMB}}}", "more than .* values"),
        ("SEED: 1\nSEED: 2", "line 2: the key 'SEED' is there twice"),
        ("SOLVER:\n  MAX_ITER: 3\n  MAX_ITER: 3", "line 3: the key 'MAX_ITER' is there twice"),
        ("SOLVER:\n  MAX_ITER:", "line 2: SOLVER.MAX_ITER has no value"),
        ("SOLVER: {STEPS: [1, null]}", "SOLVER.STEPS is .1, None.; value 2 is None"),
        ("MODEL: {DEVICE: }", "MODEL.DEVICE has no value"),
        ("SEED: !!int abc", "line 1: 'abc' cannot be read as int"),
        ("SEED: !!timestamp x", "line 1: the tag .*timestamp"),
        ("SEED: 2020-13-45", "line 1: SEED must be of type int, got str '2020-13-45'"),
        ("SEED: " + "9" * 5000, "line 1: .* cannot be read as int"),
        ("SEED: 0x" + "f" * 5000, "line 1: '0xff.* cannot be read as int"),
        ("SEED: 1" + ":1" * 200_000, "line 1: '1:1:1.* cannot be read as int"),
        ("? 0x" + "f" * 5000 + "\n: 1", "line 1: the key '0xff.* has more than 100 characters"),
        ("SEED: &a [*a]", "line 1: an alias"),
        ("[" * 5000, "line 1: values lie in more than"),
        ("_BASE_: .", "is a folder"),
        ("a: '" + "x" * 10**6, "more than 1000000 bytes"),
    ],
)
def test_what_a_sentence_says(tmp_path, text, words):
    (tmp_path / "case.yaml").write_text(text)
    with pytest.raises(PoseError, match=words):
        answer_raises(lambda: load_config(str(tmp_path / "case.yaml")))


def answer_raises(function):
    """As :func:`answer`, and the error itself."""
    caught = []

    def remembered():
        try:
            return function()
        except PoseError as error:
            caught.append(error)
            raise

    assert answer(remembered) is None
    raise caught[0]


def test_bases_that_double_at_each_file_are_read_once(tmp_path):
    for number in range(40):
        (tmp_path / f"{number}.yaml").write_text(f"_BASE_: [{number + 1}.yaml, {number + 1}.yaml]\nSEED: {number}\n")
    (tmp_path / "40.yaml").write_text("MODEL: {DEVICE: cpu}\nSOLVER: {MAX_ITER: 7}\n")
    cfg = answer(lambda: load_config(str(tmp_path / "0.yaml")))
    assert (cfg.SEED, cfg.SOLVER.MAX_ITER) == (0, 7)
    (tmp_path / "40.yaml").write_text("_BASE_: 41.yaml\n")
    for number in range(41, 60):
        (tmp_path / f"{number}.yaml").write_text(f"_BASE_: {number + 1}.yaml\n")
    with pytest.raises(PoseError, match="one of more than 50"):
        load_config(str(tmp_path / "0.yaml"))


def test_a_base_stays_as_it_is_below_two_others(tmp_path):
    """What one file says over a base must not come back by another that has the same base."""
    (tmp_path / "base.yaml").write_text("MODEL: {DEVICE: cpu}\nSOLVER: {MAX_ITER: 7, GAMMA: 0.5}\n")
    (tmp_path / "a.yaml").write_text("_BASE_: base.yaml\nSOLVER: {GAMMA: 0.25}\n")
    (tmp_path / "b.yaml").write_text("_BASE_: base.yaml\nSOLVER: {MAX_ITER: 9}\n")
    (tmp_path / "top.yaml").write_text("_BASE_: [a.yaml, b.yaml]\n")
    cfg = load_config(str(tmp_path / "top.yaml"))
    assert (cfg.SOLVER.MAX_ITER, cfg.SOLVER.GAMMA) == (9, 0.5)


def test_the_place_of_a_value_is_the_file_that_says_it(tmp_path):
    (tmp_path / "base.yaml").write_text("MODEL: {DEVICE: cpu}\nSOLVER:\n  GAMMA: x\n")
    (tmp_path / "top.yaml").write_text("_BASE_: base.yaml\nSEED: 1\n")
    with pytest.raises(PoseError, match=r"base.yaml, line 3 .a base of top.yaml.: SOLVER.GAMMA must be of type float"):
        load_config(str(tmp_path / "top.yaml"))


def test_the_schema_has_every_key_of_ours_and_its_defaults_fit():
    defaults = dict(leaves(known_defaults()))
    ours = [name for name in defaults if name.startswith(("MODEL.RLE_ONESTAGE.", "INPUT.POSE."))]
    assert set(ours) <= set(SCHEMA) <= set(defaults)
    for name, rule in SCHEMA.items():
        assert rule.settle(defaults[name], defaults[name]) == defaults[name], name
