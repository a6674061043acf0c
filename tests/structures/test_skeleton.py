import logging

import pytest

from rle_onestage.errors import ConfigError, DataError
from rle_onestage.structures.skeleton import (
    COCO,
    CROWDPOSE,
    H36M,
    MPII,
    SKELETONS,
    STAND_IN_OKS_SIGMA,
    Skeleton,
    find_flip_pairs,
    skeleton_from_category,
    split_side,
)

LSP = (
    "right_ankle right_knee right_hip left_hip left_knee left_ankle right_wrist right_elbow right_shoulder "
    "left_shoulder left_elbow left_wrist neck head_top"
).split()


@pytest.mark.parametrize(
    "name",
    [
        "left_wrist", "l_wrist", "wrist_left", "Left Wrist", "leftWrist", "LWrist", "wristL", "leftwrist", "wrist_l",
        "LEFT_WRIST", "wrist.left", "left-wrist", "wristLeft", "L Wrist",
    ],
)  # fmt: skip
def test_side_is_found_in_every_usual_spelling(name):
    assert split_side(name) == ("wrist", "left")


@pytest.mark.parametrize("name", ["nose", "head_top", "lip", "pelvis", "left", "neck1", "clavicle"])
def test_middle_joints_have_no_side(name):
    assert split_side(name)[1] == ""


def test_pairs_of_numbered_and_glued_names():
    assert find_flip_pairs(["l_finger_1", "l_finger_2", "r_finger_2", "r_finger_1"]) == ((0, 3), (1, 2))
    assert find_flip_pairs(["lwrist", "rwrist", "lip"]) == ((0, 1),)
    assert find_flip_pairs(["left_ear", "nose"]) == ()


def test_official_sigmas():
    # cocodataset.org/#keypoints-eval and the CrowdPose repository.
    assert COCO.oks_sigmas == (
        .026, .025, .025, .035, .035, .079, .079, .072, .072, .062, .062, .107, .107, .087, .087, .089, .089
    )  # fmt: skip
    assert CROWDPOSE.oks_sigmas == (
        .079, .079, .072, .072, .062, .062, .107, .107, .087, .087, .089, .089, .079, .079
    )  # fmt: skip
    assert COCO.has_oks_sigmas and CROWDPOSE.has_oks_sigmas and not MPII.has_oks_sigmas and not H36M.has_oks_sigmas


@pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=SKELETONS)
def test_built_in_sets_are_consistent(skeleton):
    expected = {"coco": 17, "crowdpose": 14, "mpii": 16, "h36m": 17, "coco_wholebody": 133}[skeleton.name]
    assert skeleton.num_joints == len(skeleton.oks_sigmas) == expected
    index = skeleton.flip_index
    assert sorted(index) == list(range(expected))
    assert [index[i] for i in index] == list(range(expected))
    for i, name in enumerate(skeleton.names):
        if name.startswith("face-"):  # whose points have numbers
            continue
        side = split_side(name)[1]
        assert (index[i] != i) == bool(side)
        assert split_side(skeleton.names[index[i]])[0] == split_side(name)[0]
    assert {j for limb in skeleton.limbs for j in limb} == set(range(expected))
    # The limbs of a mirrored person are limbs too.
    limbs = {frozenset(limb) for limb in skeleton.limbs}
    assert {frozenset(index[j] for j in limb) for limb in limbs} == limbs


def test_category_of_coco_is_coco():
    limbs = [[a + 1, b + 1] for a, b in COCO.limbs]
    skeleton = skeleton_from_category({"name": "person", "keypoints": list(COCO.names), "skeleton": limbs})
    assert skeleton.limbs == COCO.limbs and skeleton.flip_pairs == COCO.flip_pairs
    assert skeleton.oks_sigmas == COCO.oks_sigmas and skeleton.has_oks_sigmas


def test_own_joints_have_stand_in_sigmas(caplog):
    category = {"name": "person", "keypoints": [f"{n}_x" for n in LSP], "skeleton": [[1, 2], [13, 14]]}
    with caplog.at_level(logging.WARNING, logger="rle_onestage"):
        skeleton = skeleton_from_category(category)
    assert not caplog.records  # whether it matters is known where AP is computed
    assert skeleton.limbs == ((0, 1), (12, 13))
    assert skeleton.flip_index == [5, 4, 3, 2, 1, 0, 11, 10, 9, 8, 7, 6, 12, 13]
    assert not skeleton.has_oks_sigmas
    legs, arms = (0.089, 0.087, 0.107, 0.107, 0.087, 0.089), (0.062, 0.072, 0.079, 0.079, 0.072, 0.062)
    assert skeleton.oks_sigmas == (*legs, *arms, 0.079, 0.079)
    assert skeleton_from_category({"name": "x", "keypoints": ["tip"]}).oks_sigmas == (STAND_IN_OKS_SIGMA,)


def test_a_given_pair_has_sides_where_its_names_have_none():
    """The first of a pair is the left one, as in COCO's pairs; names that say a side are believed."""
    names = ("right_hand", "left_hand", "port", "starboard", "belt")
    skeleton = Skeleton("own", names, ((1, 0), (2, 3)), ((2, 4), (3, 4)), (0.1,) * 5)
    assert skeleton.sides == ["right", "left", "left", "right", ""]
    assert skeleton.connection_rules[0][2] != skeleton.connection_rules[1][2]


def test_given_pairs_and_sigmas_are_taken():
    skeleton = skeleton_from_category({"name": "x", "keypoints": ["a", "b", "c"]}, [["a", "c"]], [0.1, 0.2, 0.1])
    assert skeleton.flip_index == [2, 1, 0] and skeleton.oks_sigmas == (0.1, 0.2, 0.1) and skeleton.has_oks_sigmas


@pytest.mark.parametrize(
    "category, options, error, words",
    [
        ({"name": "dog"}, {}, DataError, "'dog' has no keypoints"),
        ({"keypoints": ["a", "a"]}, {}, DataError, "'a' twice"),
        ({"keypoints": ["a", "b"], "skeleton": [[0, 1]]}, {}, DataError, "from 1 to 2"),
        ({"keypoints": ["a", "b"]}, {"flip_pairs": [["a", "z"]]}, ConfigError, "'z'"),
        ({"keypoints": ["a", "b"]}, {"flip_pairs": [["a", "b"], ["b", "a"]]}, ConfigError, "twice"),
        ({"keypoints": ["a", "b"]}, {"flip_pairs": [["a"]]}, ConfigError, "pairs"),
        ({"keypoints": ["a", "b"]}, {"oks_sigmas": [0.1]}, ConfigError, "1 value but the file has 2 joints"),
    ],
)
def test_bad_categories_are_one_sentence(category, options, error, words):
    with pytest.raises(error, match=words):
        skeleton_from_category(category, **options)


def test_a_name_without_end_is_not_printed():
    with pytest.raises(DataError, match="of 10000 letters; give joints names of up to 100") as caught:
        skeleton_from_category({"name": "person", "keypoints": ["x" * 10_000, "b"]})
    assert len(str(caught.value)) < 300


def test_a_joint_of_a_side_without_its_partner_is_warned_of_once(caplog):
    category = {"name": "person", "keypoints": ["nose", "left_eye", "right_eye", "leftt_wrist", "right_wrist"]}
    for _ in range(2):
        assert skeleton_from_category(category).flip_pairs == ((1, 2),)
    (record,) = caplog.records
    assert record.levelname == "WARNING" and "leftt_wrist, right_wrist. A mirrored" in record.getMessage()


def test_pairs_that_are_given_are_not_warned_of(caplog):
    category = {"name": "person", "keypoints": ["nose", "left_eye", "right_eye", "leftt_hand", "right_hand"]}
    pairs = [["leftt_hand", "right_hand"]]
    assert len(skeleton_from_category(category, pairs).flip_pairs) == 2
    assert not caplog.records


def test_given_pairs_are_added_to_those_that_the_names_tell(caplog):
    category = {"name": "fox", "keypoints": ["left_hand", "right_hand", "left_foot", "right_foot", "paw_a", "paw_b"]}
    assert skeleton_from_category(category, [["left_hand", "right_hand"]]).flip_index == [1, 0, 3, 2, 4, 5]
    assert skeleton_from_category(category, [["paw_a", "paw_b"]]).flip_index == [1, 0, 3, 2, 5, 4]
    other = {**category, "flip_idx": [0, 1, 3, 2, 4, 5]}  # what a file says goes before the names
    assert skeleton_from_category(other, [["paw_a", "paw_b"]]).flip_index == [0, 1, 3, 2, 5, 4]
    assert "no partner of the other side: left_hand, right_hand." in caplog.text  # which the file leaves alone
    assert len(caplog.records) == 1


def test_a_given_pair_against_the_names_wins_and_is_said_once(caplog):
    names = ["left_hand", "right_hand", "left_foot", "right_foot", "left_ear", "right_ear"]
    category = {"name": "fox", "keypoints": names}
    for _ in range(2):
        assert skeleton_from_category(category, [["left_hand", "right_foot"]]).flip_index == [3, 1, 2, 0, 5, 4]
    against, alone = (record.getMessage() for record in caplog.records)
    assert "swaps left_hand/right_foot, whose names say something else. It is followed in place of" in against
    assert "in place of left_hand/right_hand, left_foot/right_foot;" in against
    assert "no partner of the other side: right_hand, left_foot." in alone


@pytest.mark.parametrize("pair", [["left_hand", "left_foot"], ["left_hand", "tail"], ["left_foot", "right_arm"]])
def test_a_given_pair_of_unlike_names_is_warned_of(pair, caplog):
    names = [*pair, "left_ear", "right_ear"]
    assert skeleton_from_category({"name": "fox", "keypoints": names}, [pair]).flip_index == [1, 0, 3, 2]
    (record,) = caplog.records
    assert f"swaps {pair[0]}/{pair[1]}, whose names say something else. It is followed; correct" in record.getMessage()
