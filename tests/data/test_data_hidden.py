"""Which sets tell hidden joints from visible ones: by their labels, or as they were registered."""

import itertools

import pytest
from data_toys import make_config, toy_content, write_set
from detectron2.data import MetadataCatalog

from rle_onestage.data.datasets import register_from_config
from rle_onestage.data.hidden import hidden_told
from rle_onestage.data.loader import build_train_loader
from rle_onestage.errors import ConfigError

ON = {"MODEL__RLE_ONESTAGE__HEAD__VISIBILITY": True}


def content_of(*flags, number=4):
    """Images of one person whose joints have these flags, again and again."""
    content = toy_content(number)
    for annotation in content["annotations"]:
        annotation["keypoints"][2::3] = list(itertools.islice(itertools.cycle(flags), 17))
        annotation["num_keypoints"] = 17
    return content


def config_of(folder, contents, options=(), **keys):
    """A config that trains on sets with these contents, called set_0, set_1 and so on."""
    files = []
    for i, content in enumerate(contents):
        path, images = write_set(str(folder / str(i)), content)
        files.append([f"{folder.name}_{i}", path, images, *([options[i]] if i < len(options) else [])])
    return make_config(DATASETS__KEYPOINT_FILES=files, DATASETS__TRAIN=tuple(f[0] for f in files), **{**ON, **keys})


def told_of(cfg):
    register_from_config(cfg)
    return [hidden_told(name).told for name in cfg.DATASETS.TRAIN]


def test_labels_tell_where_both_flags_occur(tmp_path):
    rare = content_of(2, number=100)
    rare["annotations"][0]["keypoints"][2] = 1  # 1 of 1,700 joints: a slip
    cfg = config_of(tmp_path, [content_of(2, 1), content_of(2), content_of(1), rare])
    assert told_of(cfg) == [True, False, False, False]


def test_who_registers_a_set_knows_better(tmp_path):
    contents = [content_of(2, 1), content_of(2), content_of(2)]
    cfg = config_of(tmp_path, contents, [{"hidden": "unknown"}, {"hidden": "told"}])
    assert told_of(cfg) == [False, True, False]
    metadata = MetadataCatalog.get(cfg.DATASETS.TRAIN[2])
    metadata.set(hidden="told")
    assert hidden_told(cfg.DATASETS.TRAIN[2]).told
    del metadata.hidden
    metadata.set(hidden="perhaps")
    with pytest.raises(ConfigError, match="perhaps"):
        hidden_told(cfg.DATASETS.TRAIN[2])


def test_people_carry_whether_their_labels_tell(tmp_path, caplog):
    caplog.set_level("INFO", "rle_onestage")
    cfg = config_of(tmp_path, [content_of(2, 1), content_of(2)], INPUT__POSE__SIZE=96, INPUT__POSE__MOSAIC_PROB=0.5)
    people = [sample["instances"] for batch in itertools.islice(build_train_loader(cfg), 8) for sample in batch]
    told = hidden = 0
    for each in people:
        flags = each.gt_keypoints.tensor[..., 2]
        assert ((flags == 1).any(1) <= each.gt_told).all()
        told, hidden = told + int(each.gt_told.sum()), hidden + int((flags == 1).any(1).sum())
    assert 0 < hidden <= told < sum(map(len, people))
    said = [record.getMessage() for record in caplog.records if "Hidden told" in record.getMessage()]
    names = cfg.DATASETS.TRAIN
    assert said == [
        f"Hidden told from visible: {names[0]} (32 hidden of 68 labelled joints); not: {names[1]} "
        "(0 hidden of 68 labelled joints)"
    ]


def test_without_the_key_nobody_counts_flags(tmp_path):
    cfg = config_of(tmp_path, [content_of(2, 1)], MODEL__RLE_ONESTAGE__HEAD__VISIBILITY=False)
    assert not next(iter(build_train_loader(cfg)))[0]["instances"].gt_told.any()


def test_a_training_in_which_nobody_tells_is_warned_of(tmp_path, caplog):
    build_train_loader(config_of(tmp_path, [content_of(2)]))
    assert any("no training set tells" in record.getMessage() for record in caplog.records)
