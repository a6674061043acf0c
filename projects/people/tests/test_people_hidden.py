"""What other sizes of the ellipses would hold of hidden joints."""

import hidden_joints
import numpy as np
import pytest
from people_study.hidden import held_out, hidden_table, joined, labelled_joints
from test_people_coverage import CONFIG, SIDE, gaussian_density, gaussian_people, made  # noqa: F401

from rle_onestage.evaluation.regions import REPORTED

NINETY = REPORTED.index(0.9)


def people(*, knows):
    """2,000 people of 100 images, whose hidden joints have twice the error that sigma says."""
    matches = gaussian_people()
    large = matches.area >= 48**2
    matches = type(matches)(*(part[large] for part in matches))
    told = np.where(matches.visibility == 1, 0.2, 0.8) if knows else np.random.default_rng(1).random(large.sum() * 2)
    number = np.arange(large.sum()) % 100
    return matches._replace(visible=told.reshape(matches.visibility.shape), image_id=number)


@pytest.mark.parametrize("knows", (False, True))
def test_sizes_by_what_the_model_tells_hold_where_it_tells_hidden_joints(knows):
    rows = hidden_table(labelled_joints(people(knows=knows), gaussian_density(2)))
    quarters = rows["a factor by quarters of P(hidden)"]
    at = {name: row["hidden"][NINETY] for name, row in rows.items()}
    assert at["as they are"] == pytest.approx(43.8, abs=2)  # 1 - 0.1 ** (1 / 4)
    assert at["as they are"] < at["one factor"] < 86
    for group in ("visible", "hidden"):
        assert rows["a factor by the true flag"][group] == pytest.approx([100 * level for level in REPORTED], abs=2)
        if knows:
            assert quarters[group] == pytest.approx([100 * level for level in REPORTED], abs=2)
    if not knows:
        assert quarters["hidden"] == pytest.approx(rows["one factor"]["hidden"], abs=2)


def test_sizes_are_those_of_other_images():
    # Each image has one ratio of its own: the largest never lies within the quantile of the others.
    image = np.arange(16)
    inside = held_out(image + 1.0, np.zeros(16, int), image, 1.0, draws=1)
    assert inside[-1] == 0 and inside[:-1].all()
    assert held_out(np.array([0.5, 2.0]), np.array([0, 1]), np.array([0, 1]), 0.9).tolist() == [1, 0]  # as they are


def test_images_of_several_sets_are_different_ones():
    part = labelled_joints(people(knows=True), gaussian_density(2))
    both = joined([part, part])
    assert len(np.unique(both.image)) == 200 and both.ratio.shape == (len(REPORTED), 2 * len(part.hidden))


def test_the_command_prints_the_table(made, capsys):  # noqa: F811
    _, _, options, row = made
    flags = ["--config-file", CONFIG, "--side", str(SIDE), "--opts", *options]
    hidden_joints.main([*flags, "--set", "row", *row])
    text = capsys.readouterr().out
    assert "0 hidden joints, " in text and "| as they are " in text and "-, -, -, -" in text
