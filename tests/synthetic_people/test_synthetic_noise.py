"""Label noise: the noise models against independent references, and the files that the generator adds."""

import json
import os

import numpy as np
import pytest
from scipy import stats
from synthetic_people import make_dataset
from synthetic_people.noise import NOISE_MODELS, noise_std, noisy_keypoints

from rle_onestage.data.datasets import get_metadata, problems_of
from rle_onestage.errors import DataError
from rle_onestage.structures.skeleton import COCO

SMALL = dict(train=3, val=2, videos=0, size=96, workers=1, quiet=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("data") / "synthetic"
    make_dataset(str(out), **SMALL, noise="asymmetric")
    return out


def read(folder, split, model=""):
    name = f"person_keypoints_{split}{'_' if model else ''}{model}.json"
    return json.loads((folder / "annotations" / name).read_text())


@pytest.mark.parametrize("model", NOISE_MODELS.values(), ids=NOISE_MODELS)
def test_noise_models_have_mean_0_and_deviation_1_and_their_entropy(model):
    e = model.sample(np.random.default_rng(5), 400_000)
    assert e.shape == (400_000, 2)
    np.testing.assert_allclose(e.mean(0), 0, atol=0.01)
    np.testing.assert_allclose(e.std(0), 1, atol=0.02)
    surprise = -model.log_prob(e)
    assert abs(surprise.mean() - model.entropy) < 5 * surprise.std() / np.sqrt(len(e))


@pytest.mark.parametrize("model", NOISE_MODELS.values(), ids=NOISE_MODELS)
def test_densities_integrate_to_1_and_are_those_of_the_samples(model):
    axis = np.linspace(-30, 30, 1201)
    density = np.exp(model.log_prob(np.stack(np.meshgrid(axis, axis, indexing="ij"), -1)))
    step = axis[1] - axis[0]
    assert density.sum() * step**2 == pytest.approx(1, abs=2e-3)
    e = model.sample(np.random.default_rng(6), 200_000)
    edges = np.array([-40, -1.5, -0.5, 0.0, 0.5, 1.5, 40])
    drawn = np.histogram2d(*e.T, bins=(edges, edges))[0] / len(e)
    cell = np.searchsorted(edges, axis + step / 2) - 1
    expected = np.zeros_like(drawn)
    np.add.at(expected, (cell[:, None], cell[None]), density * step**2)
    np.testing.assert_allclose(drawn, expected, atol=0.012)


def test_log_densities_agree_with_scipy():
    e = np.random.default_rng(7).normal(0, 1.5, (50, 2))
    expected = {
        "laplace": stats.laplace(scale=2**-0.5).logpdf(e).sum(1),
        "gaussian": stats.norm.logpdf(e).sum(1),
        "correlated": stats.multivariate_normal([0, 0], [[1, 0.7], [0.7, 1]]).logpdf(e),
        "asymmetric": stats.laplace_asymmetric(0.5**0.5, loc=-(5**-0.5), scale=0.4**0.5).logpdf(e).sum(1),
        "student": stats.multivariate_t([0, 0], 0.5 * np.eye(2), df=4).logpdf(e),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(NOISE_MODELS[name].log_prob(e), value, rtol=1e-9, err_msg=name)


def test_the_asymmetric_law_leans_and_the_two_peaked_has_two_peaks():
    rng = np.random.default_rng(8)
    e = NOISE_MODELS["asymmetric"].sample(rng, 100_000)
    mode = -(5**-0.5)
    # The longer tail holds two thirds of the probability.
    np.testing.assert_allclose((e > mode).mean(0), 2 / 3, atol=0.01)
    x = np.linspace(-3, 3, 601)
    density = NOISE_MODELS["two_peaked"].log_prob(np.stack([x, np.zeros_like(x)], 1))
    peaks = np.flatnonzero((density[1:-1] > density[:-2]) & (density[1:-1] > density[2:])) + 1
    assert len(peaks) == 2 and density[peaks[0]] > density[peaks[1]]
    assert density[peaks[0] : peaks[1]].min() < density[peaks[1]] - 3


def test_deviation_grows_where_the_image_shows_less():
    flags = np.array([[2, 1, 0]])
    std = noise_std(flags, np.array([6400.0]), [0.05, 0.05, 0.05])
    visible = 0.4 * 0.05 * 80 + 1024 / 6400
    np.testing.assert_allclose(std, [[visible, 2.5 * visible, 0]])
    small, large = (noise_std(flags, [area], [0.05] * 3)[0, 0] / area**0.5 for area in (400.0, 40000.0))
    assert small > 2 * large
    assert noise_std(flags, [400.0], [0.05] * 3, scale=3.0)[0, 0] == pytest.approx(3 * small * 20)


def test_noise_is_a_function_of_seed_split_annotation_and_law():
    annotation = {"id": 7, "area": 900.0, "keypoints": [20, 30, 2] * 17}

    def draw(change=None, model="laplace", scale=1.0, seed=0, split="train"):
        return noisy_keypoints({**annotation, **(change or {})}, NOISE_MODELS[model], scale, seed, split)[0]

    first = draw()
    np.testing.assert_array_equal(first, draw())
    others = [draw({"id": 8}), draw(model="gaussian"), draw(seed=1), draw(split="val")]
    assert all((first[:, :2] != other[:, :2]).all() for other in others)
    np.testing.assert_allclose(draw(scale=2.0)[:, :2] - [20, 30], 2 * (first[:, :2] - [20, 30]))
    hidden = draw({"keypoints": [20, 30, 2] * 16 + [0, 0, 0]})
    np.testing.assert_array_equal(hidden[16], 0)
    np.testing.assert_array_equal(hidden[:16], first[:16])


@pytest.mark.parametrize("split", ["train", "val"])
def test_files_differ_from_the_clean_ones_in_the_labels_only(folder, split):
    clean, noisy = read(folder, split), read(folder, split, "asymmetric")
    assert noisy["info"].pop("label_noise")["noise_model"] == "asymmetric"
    people = zip(clean.pop("annotations"), noisy.pop("annotations"), strict=True)
    assert noisy == clean
    for before, after in people:
        assert after.pop("keypoints_clean") == before["keypoints"]
        assert len(after["keypoint_noise_std"]) == 34
        std = np.array(after.pop("keypoint_noise_std")).reshape(17, 2)
        a, b = (np.array(x.pop("keypoints")).reshape(17, 3) for x in (after, before))
        np.testing.assert_array_equal(a[:, 2], b[:, 2])
        np.testing.assert_array_equal(std > 0, (b[:, 2:] > 0).repeat(2, 1))
        np.testing.assert_array_equal((a != b)[:, :2].any(1), b[:, 2] > 0)
        assert (np.abs(a - b)[:, :2] <= 15 * std).all()
        assert after == before


def test_the_standardised_noise_of_a_file_is_of_its_model(folder):
    """Joint order, scale and sign survive the way into the file."""
    e = []
    for split in ("train", "val"):
        for annotation in read(folder, split, "asymmetric")["annotations"]:
            a, b = (np.array(annotation[key]).reshape(17, 3) for key in ("keypoints", "keypoints_clean"))
            std = np.array(annotation["keypoint_noise_std"]).reshape(17, 2)
            seen = b[:, 2] > 0
            e.append((a - b)[seen, :2] / std[seen])
            expected = noise_std(b[:, 2], annotation["area"], COCO.oks_sigmas)
            np.testing.assert_allclose(std, expected[:, None].repeat(2, 1), atol=1e-4)
    e = np.concatenate(e)
    assert (
        len(e) > 100 and abs(-NOISE_MODELS["asymmetric"].log_prob(e).mean() - NOISE_MODELS["asymmetric"].entropy) < 0.5
    )


def test_an_existing_set_gets_files_only(folder, capsys):
    before = {p: p.stat().st_mtime_ns for p in sorted(folder.rglob("*")) if p.is_file()}
    make_dataset(str(folder), **{**SMALL, "quiet": False}, noise="student", noise_scale=0.5)
    said = capsys.readouterr().out
    assert "complete already" in said and "adding annotation files with student noise" in said
    after = {p: p.stat().st_mtime_ns for p in sorted(folder.rglob("*")) if p.is_file()}
    added = {p.name for p in after.keys() - before.keys()}
    assert added == {"person_keypoints_train_student.json", "person_keypoints_val_student.json"}
    assert all(after[p] == t for p, t in before.items())
    content = (folder / "annotations" / "person_keypoints_val_student.json").read_bytes()
    make_dataset(str(folder), **SMALL, noise="student", noise_scale=0.5)
    assert (folder / "annotations" / "person_keypoints_val_student.json").read_bytes() == content
    make_dataset(str(folder), **SMALL)  # the set with further files still counts as complete


def test_registered_under_its_model_and_loaded(folder, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(folder.parent))
    from detectron2.data import DatasetCatalog

    for model in NOISE_MODELS:
        for split in ("train", "val"):
            metadata = get_metadata(f"rle_synthetic_{split}_{model}")
            assert metadata.image_root == os.path.join(folder.parent, "synthetic", split)
    records = DatasetCatalog.get("rle_synthetic_train_asymmetric")
    labels = {a["id"]: a["keypoints"] for a in read(folder, "train", "asymmetric")["annotations"]}
    people = [a for record in records for a in record["annotations"]]
    assert len(people) == len(labels)
    for person in people:
        shift = np.tile([0.5, 0.5, 0], 17)
        np.testing.assert_allclose(np.array(person["keypoints"]) - shift, labels[person["id"]])
    assert set(problems_of("rle_synthetic_train_asymmetric").counts()) <= {
        "annotations with joints outside the image (evaluation counts them, training leaves them out)"
    }


@pytest.mark.parametrize(
    "arguments, words",
    [(dict(noise="cauchy"), "two_peaked"), (dict(noise="laplace", noise_scale=0.0), "--noise-scale 0.0")],
)
def test_bad_noise_is_one_sentence_before_the_work(tmp_path, arguments, words):
    with pytest.raises(DataError, match=words):
        make_dataset(str(tmp_path / "set"), **SMALL, **arguments)
    assert not (tmp_path / "set").exists()
