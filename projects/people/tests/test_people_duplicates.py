"""Copies of an image are found after compression, scaling and in a mirror; other images are not."""

import json

import cv2
import duplicates
import numpy as np
import pytest
from people_study.hashes import correlation, dhash, find_pairs, read_images


def image(seed, height=120, width=160):
    """A smooth random image of many grey values, with detail."""
    rng = np.random.default_rng(seed)
    coarse, fine = (
        cv2.resize(rng.uniform(0, 255, (n, n, 3)), (width, height), interpolation=cv2.INTER_CUBIC) for n in (6, 30)
    )
    return (0.7 * coarse + 0.3 * fine).clip(0, 255).astype(np.uint8)


@pytest.fixture
def folders(tmp_path):
    """A training set with copies of two test images, one mirrored and small; and one damaged file."""
    sets = {name: tmp_path / name for name in ("train", "other", "test")}
    for number, folder in enumerate(sets.values()):
        folder.mkdir()
        for i in range(5):
            cv2.imwrite(str(folder / f"{100 * number + i}.png"), image(100 * number + i))
    cv2.imwrite(str(sets["train"] / "copy.webp"), image(201), [cv2.IMWRITE_WEBP_QUALITY, 60])
    small = cv2.resize(image(202)[:, ::-1], (100, 75), interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(sets["other"] / "mirror.jpg"), small, [cv2.IMWRITE_JPEG_QUALITY, 70])
    (sets["other"] / "damaged.jpg").write_bytes(b"\xff\xd8nothing")
    cv2.imwrite(str(sets["other"] / "200.png"), image(7))  # the name of a test image, but not its content
    return {name: str(folder) for name, folder in sets.items()}


def test_the_hash_is_that_of_rising_grey():
    rising = np.tile(np.arange(0, 180, dtype=np.uint8), (40, 1))
    assert dhash(rising) == 2**64 - 1 and dhash(np.ascontiguousarray(rising[:, ::-1])) == 0
    half = np.concatenate([rising, rising[:, ::-1]])  # the upper half rises, the lower one falls
    assert dhash(half) == (2**32 - 1) << 32


def test_correlation_is_of_grey_values_whatever_the_brightness():
    grey = image(1)[..., 0]
    assert correlation(grey, 0.5 * grey + 20) == pytest.approx(1)
    assert correlation(grey, 255.0 - grey) == pytest.approx(-1)
    assert correlation(grey, np.full_like(grey, 9)) == 0


def test_blocks_of_images_give_the_same_pairs_as_all_at_once(folders, monkeypatch):
    images, _ = read_images(folders)
    whole = find_pairs(images, bits=20, within=True)
    monkeypatch.setattr("people_study.hashes._BLOCK", 3)
    assert find_pairs(images, bits=20, within=True) == whole and len(whole) >= 2


def test_one_command_lists_copies_in_test_sets(folders, tmp_path, capsys):
    out = tmp_path / "out"
    given = [*("--set", "train", folders["train"]), *("--set", "other", folders["other"]), "--test", "test"]
    duplicates.main([*given, folders["test"], "--output", str(out)])
    assert (out / "exclude.txt").read_text() == "other/mirror.jpg\ntrain/copy.webp\n"
    report = json.loads((out / "duplicates.json").read_text())
    assert report["images"] == {"train": 6, "other": 7, "test": 5}
    found = {(p["first"], p["second"], p["mirrored"]) for p in report["pairs"] if p["copy"]}
    assert found == {("train/copy.webp", "test/201.png", False), ("other/mirror.jpg", "test/202.png", True)}
    assert report["same_names"] == {"200": ["other", "test"]} and "damaged.jpg" in report["unreadable"][0]
    assert "200 (other, test)" in capsys.readouterr().out and cv2.imread(str(out / "pairs.jpg")) is not None


def test_copies_between_training_sets_are_told_but_not_left_out(folders, tmp_path):
    report, _ = duplicates.find(folders, {})
    assert sum(pair["copy"] for pair in report["pairs"]) == 2 and report["exclude"] == []


def test_bad_input_is_one_sentence(folders, tmp_path, capsys):
    for given, message in (
        (["--set", "a", folders["train"], "--test", "a", folders["test"]], "two sets have the same name"),
        (["--set", "a", folders["train"]], "one set alone"),
        (["--set", "a", folders["train"], "--test", "b", str(tmp_path / "nowhere")], "nowhere does not exist"),
    ):
        with pytest.raises(SystemExit) as stopped:
            duplicates.main([*given, "--output", str(tmp_path / "out")])
        error = capsys.readouterr().err
        assert stopped.value.code == 2 and message in error and error.count("\n") == 1
