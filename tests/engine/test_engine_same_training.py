"""A folder that holds a training of another config is told from one of the same."""

import engine_toy
import pytest

from rle_onestage.engine.config.same_training import PLACE, check_same_training, differences
from rle_onestage.engine.setup import load_config
from rle_onestage.errors import ConfigError


@pytest.fixture
def config_of(tmp_path):
    """The toy's config with options; a training of the plain one lies in ``out``."""
    path = str(engine_toy.write_config(tmp_path))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "config.yaml").write_text(load_config(path).dump())
    return lambda *options: load_config(path, list(options))


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("TEST.USE_EMA", "False", "DATASETS.TEST", "()"),
        ("OUTPUT_DIR", "elsewhere", "SOLVER.CHECKPOINT_KEEP", "2", "DATALOADER.NUM_WORKERS", "3"),
    ],
)
def test_what_does_not_change_the_weights_may_differ(config_of, tmp_path, options):
    check_same_training(str(tmp_path / "out"), config_of(*options))


@pytest.mark.parametrize(
    "options, words",
    [
        (("SOLVER.MAX_ITER", "9"), "out was trained with SOLVER.MAX_ITER 8, now it is 9; give another --output"),
        (("MODEL.WEIGHTS", "a.pth"), "with MODEL.WEIGHTS '', now it is 'a.pth';"),
        (("TEST.KEYPOINT_OKS_SIGMAS", "[0.1,0.1,0.1]"), "TEST.KEYPOINT_OKS_SIGMAS"),  # the assignment uses them
        (("SEED", "4", "SOLVER.BASE_LR", "0.1"), "with SEED 3, now it is 4 and 1 more;"),
    ],
)
def test_what_changes_the_weights_is_a_sentence(config_of, tmp_path, options, words):
    with pytest.raises(ConfigError, match=words):
        check_same_training(str(tmp_path / "out"), config_of(*options))
    check_same_training(str(tmp_path / "new"), config_of(*options))


def test_differences_name_each_key(config_of):
    found = differences(config_of(), config_of("OUTPUT_DIR", "x", "TEST.MAX_PEOPLE", "5"), PLACE)
    assert [key for key, _, _ in found] == ["TEST.MAX_PEOPLE"] and found[0][2] == 5
