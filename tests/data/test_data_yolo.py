"""YOLO-pose data sets: what is read, what is inferred and said, and a sentence for what cannot be."""

import logging
import os

import numpy as np
import pytest
import yaml
from data_toys import make_config
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from yolo_toys import COCO_FLIPS, CORNERS, write_image, write_yolo_set

from rle_onestage.data import get_skeleton, load_dataset, register_from_config
from rle_onestage.data.coco.json_files import read_json
from rle_onestage.data.lookup import set_options
from rle_onestage.data.yolo.reading import image_root
from rle_onestage.errors import ConfigError, DataError, PoseError
from rle_onestage.evaluation import GroundTruth
from rle_onestage.structures.skeleton import COCO, stand_in_oks_sigmas

ROW = "0 0.5 0.5 0.5 0.25 0.25 0.5 2 0.75 0.625 1\n"


def config(path, split="train", name="yolo_toy", joints=2, **options):
    """A config with one split as its training set."""
    entry = [name, str(path), split] + ([options] if options else [])
    return make_config(
        DATASETS__KEYPOINT_FILES=[entry], DATASETS__TRAIN=(name,), DATASETS__TEST=(name,),
        MODEL__RLE_ONESTAGE__NUM_KEYPOINTS=joints,
    )  # fmt: skip


def skeleton_of(path, joints):
    return get_skeleton(config(path, joints=joints), "yolo_toy")


def test_a_row_becomes_a_person(tmp_path):
    path = write_yolo_set(tmp_path, [ROW], size=(64, 32))
    (record,) = load_dataset(config(path), "yolo_toy")
    (person,) = record["annotations"]
    assert (record["width"], record["height"]) == (64, 32)
    assert record["file_name"] == f"{tmp_path}/images/train/000.png"
    assert person["bbox"] == [16, 12, 32, 8] and person["iscrowd"] == 0
    assert person["area"] == pytest.approx(0.53 * 32 * 8) and person["area_from_box"]
    # Shares of the image are COCO's numbers divided by its size, and the loader adds half a pixel to those.
    assert person["keypoints"] == [16.5, 16.5, 2, 48.5, 20.5, 1]


@pytest.mark.parametrize("text", [ROW.replace("\n", "\r\n"), "\ufeff" + ROW, "\n" + ROW + "\n\n", ROW.strip(),
                                  ROW.replace(" ", "\t"), "0.0" + ROW[1:]])  # fmt: skip
def test_ways_to_write_a_row(tmp_path, text):
    plain, other = (read_json(f"{write_yolo_set(tmp_path / name, [content])}:train")["annotations"]
                    for name, content in (("a", ROW), ("b", text)))  # fmt: skip
    assert plain == other and len(plain) == 1


def test_images_without_people_and_repeated_rows(tmp_path, caplog):
    path = write_yolo_set(tmp_path, [ROW + ROW, "", None, "  \r\n"])
    (tmp_path / "labels" / "train" / "other.txt").write_text(ROW)
    records = load_dataset(config(path), "yolo_toy")
    assert [len(record["annotations"]) for record in records] == [1, 0, 0, 0]
    assert f"rows that repeat another are left out: 1 row ({tmp_path}/labels/train/000.txt, line 2)" in caplog.text
    missing = f"teach that nobody is there: 1 missing file ({tmp_path}/labels/train/002.txt) of 4 images; if they have"
    assert missing in caplog.text and "an empty file says so" in caplog.text
    assert f"label files without an image teach nothing: 1 file ({tmp_path}/labels/train/other.txt)" in caplog.text


def test_empty_label_files_are_no_warning(tmp_path, caplog):
    read_json(f"{write_yolo_set(tmp_path, [ROW, '', ''])}:train")
    assert "without a label file" not in caplog.text


def test_joints_of_two_numbers(tmp_path):
    path = write_yolo_set(tmp_path, ["0 0.5 0.5 0.5 0.5 0.25 0.5 0 0\n0 0.5 0.5 0.25 0.5 -1 -1 0.5 0.5\n"],
                          {**CORNERS, "kpt_shape": [2, 2]})  # fmt: skip
    first, second = read_json(f"{path}:train")["annotations"]
    assert first["keypoints"] == [16, 32, 2, 0, 0, 0] and second["keypoints"] == [0, 0, 0, 32, 32, 2]


@pytest.mark.parametrize("names", [None, {0: list(COCO.names)}, [list(COCO.names)], list(COCO.names)])
@pytest.mark.parametrize("flips", [None, COCO_FLIPS])
def test_coco_joints_are_recognised(tmp_path, caplog, names, flips):
    caplog.set_level(logging.INFO)
    content = {"kpt_shape": [17, 3], "names": {0: "person"}, "kpt_names": names, "flip_idx": flips}
    path = write_yolo_set(tmp_path, [""], content)
    skeleton = skeleton_of(path, 17)
    assert (skeleton.names, skeleton.flip_index) == (COCO.names, COCO.flip_index)
    assert skeleton.oks_sigmas == COCO.oks_sigmas and skeleton.limbs == COCO.limbs
    assert f"{path}: the OKS sigmas are those of coco" in caplog.text
    assert f"{path}: the limbs that are drawn are those of coco" in caplog.text
    assert ("taken for COCO's" in caplog.text) == (names is None)
    guessed = [record.levelname for record in caplog.records if "taken for COCO's" in record.message]
    assert guessed == ([] if names else ["WARNING" if flips is None else "INFO"])


def test_other_joints_get_the_sigmas_of_a_coco_file_of_these_joints(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    content = {"kpt_shape": [4, 3], "flip_idx": [0, 2, 1, 3], "names": ["cat"], "skeleton": [[1, 2], [1, 3]],
               "kpt_names": {0: ["nose", "right_paw", "left_paw", "tail"]}}  # fmt: skip
    path = write_yolo_set(tmp_path, [""], content)
    skeleton = skeleton_of(path, 4)
    assert skeleton.oks_sigmas == stand_in_oks_sigmas(skeleton.names) and not skeleton.has_oks_sigmas
    assert len(set(skeleton.oks_sigmas)) > 1 and skeleton.limbs == ((0, 1), (0, 2))
    assert skeleton.flip_map == [("left_paw", "right_paw")]
    assert "the OKS sigmas are stand-ins by body part (0.08 elsewhere), not Ultralytics' 1/4" in caplog.text
    assert "joints that swap in a mirror, by flip_idx: left_paw/right_paw" in caplog.text
    cfg = config(path, joints=4)
    cfg.TEST.KEYPOINT_OKS_SIGMAS = [0.1, 0.2, 0.3, 0.4]
    assert get_skeleton(cfg, "yolo_toy").oks_sigmas == (0.1, 0.2, 0.3, 0.4)


def test_seventeen_joints_with_another_mirror_are_not_cocos(tmp_path):
    flips = [*range(15), 16, 15]
    skeleton = skeleton_of(write_yolo_set(tmp_path, [""], {**CORNERS, "kpt_shape": [17, 3], "flip_idx": flips}), 17)
    assert skeleton.names[:2] == ("joint_0", "joint_1") and skeleton.oks_sigmas == (0.08,) * 17
    assert skeleton.flip_map == [("joint_15", "joint_16")]


def test_a_mirror_against_the_names_is_said(tmp_path, caplog):
    names = ["left_ear", "right_ear", "left_eye", "right_eye"]
    content = {**CORNERS, "kpt_shape": [4, 3], "flip_idx": [0, 1, 2, 3], "kpt_names": names}
    assert skeleton_of(write_yolo_set(tmp_path, [""], content), 4).flip_pairs == ()
    assert "flip_idx does not swap left_ear and right_ear, left_eye and right_eye, whose names" in caplog.text


def test_classes_of_the_same_joints_are_one(tmp_path, caplog):
    path = write_yolo_set(tmp_path, [ROW, "1" + ROW[1:]], {**CORNERS, "names": {0: "cat", 1: "dog"}})
    records = load_dataset(config(path), "yolo_toy")
    assert [len(record["annotations"]) for record in records] == [1, 1]
    assert "1 annotation of 'dog' counted as 'cat', as their joints are the same" in caplog.text


@pytest.mark.parametrize(
    "entry",
    ["images/train", "../images/train", "list.txt", ["images/train"], ["sub/list.txt"], ["images/train", "list.txt"]],
)
def test_ways_to_name_the_images(tmp_path, entry):
    path = write_yolo_set(tmp_path, [ROW, ROW], {"train": entry, **CORNERS})
    (tmp_path / "list.txt").write_text("./images/train/000.png\r\nimages\\train\\001.png\r\n")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "list.txt").write_text(f"{tmp_path}/images/train/000.png\n../images/train/001.png\n")
    data = read_json(f"{path}:train")
    assert [image["file_name"] for image in data["images"]] == ["images/train/000.png", "images/train/001.png"]
    assert len(data["annotations"]) == 2


def test_labels_beside_the_images_and_deep_folders(tmp_path):
    write_image(tmp_path / "train" / "deep" / "a.JPG")
    (tmp_path / "train" / "deep" / "a.txt").write_text(ROW)
    path = tmp_path / "data.yaml"
    path.write_text(yaml.safe_dump({"train": "train", **CORNERS}))
    data = read_json(f"{path}:train")
    assert data["images"][0]["file_name"] == "train/deep/a.JPG" and len(data["annotations"]) == 1


@pytest.mark.parametrize("place", ["beside", "DETECTRON2_DATASETS", "working directory"])
def test_where_a_path_is_looked_for(tmp_path, monkeypatch, place):
    folders = {name: tmp_path / name for name in ("beside", "DETECTRON2_DATASETS", "working directory")}
    for folder in folders.values():
        folder.mkdir()
    monkeypatch.setenv("DETECTRON2_DATASETS", str(folders["DETECTRON2_DATASETS"]))
    monkeypatch.chdir(folders["working directory"])
    os.rename(write_yolo_set(folders[place] / "set", [ROW]), folders[place] / "set" / "moved.yaml")
    path = folders["beside"] / "data.yaml"
    path.write_text(yaml.safe_dump({"path": "set", "train": "images/train", **CORNERS}))
    assert len(read_json(f"{path}:train")["annotations"]) == 1


def test_a_path_with_backslashes(tmp_path):
    write_yolo_set(tmp_path / "a" / "b", [ROW])
    path = tmp_path / "data.yaml"
    path.write_text(yaml.safe_dump({"path": "a\\b", "train": "images\\train", **CORNERS}))
    assert len(read_json(f"{path}:train")["annotations"]) == 1


def test_names_that_begin_with_a_dot_are_no_images(tmp_path):
    """As for Ultralytics: macOS leaves `._a.png` in archives, notebooks leave copies in a folder of their own."""
    path = write_yolo_set(tmp_path, [ROW])
    (tmp_path / "images" / "train" / "._000.png").write_bytes(b"no image")
    write_image(tmp_path / "images" / "train" / ".ipynb_checkpoints" / "000-checkpoint.png")
    assert [image["file_name"] for image in read_json(f"{path}:train")["images"]] == ["images/train/000.png"]


@pytest.mark.parametrize("linked", ["images", "images/train", "set"])
def test_labels_are_found_where_linked_folders_lead(tmp_path, linked):
    write_yolo_set(tmp_path / "store" / "set", [ROW])
    root = tmp_path if linked == "set" else tmp_path / "set"
    (root / linked).parent.mkdir(parents=True, exist_ok=True)
    source = tmp_path / "store" / "set" if linked == "set" else tmp_path / "store" / "set" / linked
    os.symlink(source, root / linked)
    path = tmp_path / "set" / "data.yaml"
    if linked != "set":
        path.write_text(yaml.safe_dump({"train": "images/train", **CORNERS}))
    data = read_json(f"{path}:train")
    assert [image["file_name"] for image in data["images"]] == ["images/train/000.png"]
    assert len(data["annotations"]) == 1


def test_links_that_lead_round_in_a_circle(tmp_path):
    path = write_yolo_set(tmp_path, [ROW])
    os.symlink(tmp_path / "images" / "train", tmp_path / "images" / "train" / "again")
    assert [image["file_name"] for image in read_json(f"{path}:train")["images"]] == ["images/train/000.png"]


@pytest.mark.parametrize("ending", ["avif", "jp2", "TIFF", "WebP"])
def test_images_of_every_format_have_their_size(tmp_path, ending):
    path = write_yolo_set(tmp_path, [ROW])
    Image.new("RGB", (40, 20)).save(tmp_path / "images" / "train" / f"a.{ending}")
    image = read_json(f"{path}:train")["images"][1]
    assert (image["width"], image["height"]) == (40, 20)


def test_boxes_beyond_their_image(tmp_path, caplog):
    """Ultralytics checks joints alone. The one reader of annotations leaves out a box that lies wholly outside."""
    joints = " 0.25 0.5 2 0.75 0.625 1\n"
    path = write_yolo_set(tmp_path, [f"0 0.5 0.5 1.2 1.5{joints}0 1.5 0.5 0.2 0.2{joints}"])
    (record,) = load_dataset(config(path), "yolo_toy")
    (person,) = record["annotations"]
    np.testing.assert_allclose(person["bbox"], [-0.1 * 64, -0.25 * 64, 1.2 * 64, 1.5 * 64])
    assert "1 annotation whose box is outside the image left out: 2" in caplog.text


@pytest.mark.parametrize("count", [1, "1", 1.0])
def test_ways_to_write_the_number_of_classes(tmp_path, count):
    assert len(read_json(f"{write_yolo_set(tmp_path, [ROW], {**CORNERS, 'nc': count})}:train")["annotations"]) == 1


def test_merged_mappings_are_read(tmp_path):
    path = write_yolo_set(tmp_path, [ROW])
    with open(path, "w") as file:
        file.write("base: &base {kpt_shape: [2, 3], nc: 1}\n<<: *base\ntrain: images/train\n")
    assert read_json(f"{path}:train")["categories"][0]["name"] == "class_0"


def test_options_and_splits_are_those_of_other_sets(tmp_path):
    path = write_yolo_set(tmp_path, [ROW, ROW, ROW])
    write_yolo_set(tmp_path, [ROW], {"train": "images/train", "validation": "images/val", **CORNERS}, split="val")
    cfg = config(path, only=["001*"], partial=True)
    cfg.DATASETS.KEYPOINT_FILES.append(["yolo_toy_val", path, "val"])
    assert len(load_dataset(cfg, "yolo_toy")) == 1 and set_options("yolo_toy").partial
    assert len(load_dataset(cfg, "yolo_toy_val")) == 1


def test_a_split_that_is_not_named(tmp_path):
    path = write_yolo_set(tmp_path, [ROW])
    with pytest.raises(DataError, match="data.yaml has the splits train; say which, such as .*data.yaml:val"):
        read_json(path)


def test_the_third_entry_is_a_split(tmp_path):
    for labels, images in (("own/data.yaml", "own/images"), ("own/data.yaml:train", "own/images")):
        with pytest.raises(ConfigError, match=f"has '{labels}' and 'own/images'; give a data.yaml, and as the third"):
            register_from_config(config(labels, images))
    with pytest.raises(DataError, match="there is no annotation file .*own/data.yaml .DETECTRON2_DATASETS is"):
        load_dataset(config("own/data.yaml"), "yolo_toy")


LONG = "0 0.5 0.5 0.5 0.25" + " 0.25 0.5" * 2


@pytest.mark.parametrize(
    "labels, sentence",
    [
        ("0 0.5 0.5 0.5 0.25\n", "line 1 has 5 numbers, as it has a box alone .*needs 11: class, box and 2 joints"),
        (ROW + LONG, r"line 2 has 9 numbers, as it is for kpt_shape \[2, 2\], but kpt_shape \[2, 3\] of .*data.yaml"),
        ("1" + ROW[1:], "line 1 has the class 1, but `names` of .*data.yaml has 0 .box."),
        ("0.5" + ROW[1:], "line 1 has the class 0.5"),
        ("-1" + ROW[1:], "line 1 has the class -1"),
        ("0 0.5 nan 0.5 0.25 0.25 0.5 2 0.75 0.625 1", "line 1: 'nan' is not a finite number"),
        ("0 0.5 0.5 0.5 0.25 1e999 0.5 2 0.75 0.625 1", "line 1: '1e999' is not a finite number"),
        ("0 0.5 0.5 0.5 0,25 0.25 0.5 2 0.75 0.625 1", "line 1: '0,25' is not a finite number"),
        (
            "\n0 0.5 0.5 0.5 0.25 1.2 0.5 2 0.75 0.625 1",
            "line 2: x of joint 0 is 1.2, but must be a share of the image",
        ),
        ("0 0.5 0.5 0.5 0.25 0.2 0.5 2 75 62 1", "line 1: x of joint 1 is 75.*divide pixels by the image's width"),
        ("0 0.5 -0.2 0.5 0.25 0.2 0.5 2 0.75 0.625 1", "line 1: y of the box's centre is -0.2"),
        ("0 0.5 0.5 32 0.25 0.2 0.5 2 0.75 0.625 1", "line 1: width is 32, .*divide pixels by the image's width"),
        ("0 0.5 0.5 -0.005 0.25 0.2 0.5 2 0.75 0.625 1", "line 1: the box has a negative size"),
        (b"0 0.5 \xff", "is no text in UTF-8"),
    ],
)
def test_bad_rows(tmp_path, labels, sentence):
    path = write_yolo_set(tmp_path, [ROW, labels])
    with pytest.raises(DataError, match=sentence) as caught:
        read_json(f"{path}:train")
    assert f"{tmp_path}/labels/train/001.txt" in str(caught.value) and "\n" not in str(caught.value)


def test_a_hidden_number_of_a_joint_without_label_is_nothing(tmp_path):
    path = write_yolo_set(tmp_path, ["0 0.5 0.5 0.5 0.25 7 7 0 0.75 0.625 1"])
    assert read_json(f"{path}:train")["annotations"][0]["keypoints"][:3] == [0, 0, 0]


@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({"kpt_shape": None}, "has no `kpt_shape`"),
        ({"kpt_shape": None, "kpt_shap": [2, 3]}, "did you mean kpt_shap"),
        ({"kpt_shape": [2, 4]}, r"has `kpt_shape` \[2, 4\]"),
        ({"kpt_shape": 17}, "has `kpt_shape` 17"),
        ({"names": None}, "has `names` None"),
        ({"names": {1: "person"}}, "numbered from 0 without a gap"),
        ({"nc": 3}, "has 1 `names` but `nc` 3"),
        ({"flip_idx": [1, 0, 2]}, "`flip_idx` has 3 numbers, but must have one of 0 to 1 for each of 2 joints"),
        ({"flip_idx": [1, 1]}, "`flip_idx` gives joint 0 the number 1, and joint 1 the number 1"),
        ({"flip_idx": [2, 1]}, "`flip_idx` gives joint 0 the number 2; its numbers go from 0 to 1"),
        ({"flip_idx": "left"}, "`flip_idx` has 'left'"),
        ({"kpt_names": ["a"]}, "has 1 names in `kpt_names`, but `kpt_shape` has 2 joints"),
        ({"kpt_names": ["a", "a"]}, "a name twice in `kpt_names`"),
        ({"names": ["cat", "dog"], "kpt_names": {0: ["a", "b"], 1: ["a", "c"]}}, "different joints .*cat, dog"),
        ({"train": None}, "has no split 'train'; it has none: add train and val"),
        ({"train": None, "val": "images/train"}, "has no split 'train'; it has val"),
        ({"train": "images/tarin"}, "`train` is 'images/tarin', but there is no .*images/tarin; put the images there"),
        ({"train": {"a": 1}}, "has `train` {'a': 1}"),
        ({"path": "../nowhere"}, "has `path` ../nowhere, but there is no folder .*nowhere or .*beside the file"),
        ({"path": 3}, "has `path` 3"),
    ],
)  # fmt: skip
def test_bad_descriptions(tmp_path, changes, sentence):
    content = {"train": "images/train", **CORNERS, **changes}
    path = write_yolo_set(tmp_path, [ROW], {k: v for k, v in content.items() if v is not None or k == "train"})
    with pytest.raises(DataError, match=sentence) as caught:
        read_json(f"{path}:train")
    assert str(caught.value).startswith(path) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("kpt_shape: [2, 3", r"is no valid YAML .line \d"),
        ("names: [a]\nnc: 1\nnames: [b]", r"line 3: the key 'names' comes a second time"),
        ("- a", "is no data.yaml of a YOLO-pose data set"),
        ("", "is no data.yaml of a YOLO-pose data set"),
        ("a: !!python/name:os.system", "is no valid YAML"),
        ("? [a]\n: 1", "is no valid YAML"),
        (b"\xff\xfe\xff", "is no valid YAML"),
    ],
)
def test_files_that_are_no_description(tmp_path, text, sentence):
    path = tmp_path / "data.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=sentence) as caught:
        read_json(f"{path}:train")
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


def test_images_and_labels_that_are_not_there(tmp_path):
    path = write_yolo_set(tmp_path / "a", [None, None])
    with pytest.raises(DataError, match="none of its 2 images has a label file, the first would be .*train/000.txt"):
        read_json(f"{path}:train")
    (tmp_path / "a" / "list.txt").write_text("images/train/000.png\n\nimages/train/gone.png\n")
    description = {"train": "list.txt", "val": "empty", **CORNERS}
    (tmp_path / "a" / "empty").mkdir()
    (tmp_path / "a" / "data.yaml").write_text(yaml.safe_dump(description))
    with pytest.raises(DataError, match="list.txt, line 3: there is no image .*gone.png"):
        read_json(f"{path}:train")
    with pytest.raises(DataError, match="`val` has no image in empty"):
        read_json(f"{path}:val")
    path = write_yolo_set(tmp_path / "b", [ROW])
    (tmp_path / "b" / "images" / "train" / "000.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="the size of .*000.png cannot be read, because"):
        read_json(f"{path}:train")


DAMAGE = st.tuples(
    st.integers(0, 400), st.integers(0, 8), st.binary(max_size=8) | st.sampled_from([b"\n", b"- ", b"1 "])
)


@settings(max_examples=150, deadline=None)
@given(damage=st.lists(DAMAGE, min_size=1, max_size=3), of_labels=st.booleans())
def test_damage_is_read_or_one_sentence(tmp_path_factory, damage, of_labels):
    path = write_yolo_set(tmp_path_factory.mktemp("damage"), [ROW + ROW.replace("0.5", "0.4")])
    damaged = f"{os.path.dirname(path)}/labels/train/000.txt" if of_labels else path
    with open(damaged, "rb") as file:
        content = file.read()
    for place, length, put in damage:
        start = place % (len(content) + 1)
        content = content[:start] + put + content[start + length :]
    with open(damaged, "wb") as file:
        file.write(content)
    try:
        GroundTruth.from_file(f"{path}:train", 2, image_root(f"{path}:train"))
    except PoseError as error:
        assert "\n" not in str(error) and len(str(error)) < 1000


def test_a_label_file_that_changes_is_read_again(tmp_path):
    path = write_yolo_set(tmp_path, [ROW])
    cfg = config(path)
    assert len(load_dataset(cfg, "yolo_toy")[0]["annotations"]) == 1
    (tmp_path / "labels" / "train" / "000.txt").write_text(ROW + ROW.replace("0.25", "0.125"))
    assert len(load_dataset(cfg, "yolo_toy")[0]["annotations"]) == 2
    assert np.isclose(read_json(f"{path}:train")["annotations"][1]["bbox"][3], 8)
