"""Losses of another project, read from a file, and runs that read out the weights of another one."""

import os
from pathlib import Path

import engine_toy
import pytest
from loss_comparison.jobs import work_off
from loss_comparison.rules import read_rules
from loss_comparison.runs import plan

from rle_onestage.errors import ConfigError

RULES = """
wide:
  MODEL.RLE_ONESTAGE.DENSITY: laplace
  MODEL.RLE_ONESTAGE.SCALE.INIT: 3.0
wide_read_out:
  WEIGHTS_OF: wide
  MODEL.RLE_ONESTAGE.TEST.OKS_POWER: 0.5
"""


@pytest.fixture
def planned(tmp_path):
    """Runs of these rules beside one of the driver's own."""
    path = tmp_path / "rules.yaml"
    path.write_text(RULES)
    config = str(engine_toy.write_config(tmp_path, MAX_ITER=4))
    losses = ["l1", "wide", "wide_read_out"]
    return plan(config, str(tmp_path / "all"), losses=losses, seeds=[2], rules=read_rules(str(path)))


def test_a_rule_sets_its_keys(planned):
    own, wide, _ = (run.config().MODEL.RLE_ONESTAGE for run in planned)
    assert own.DENSITY == "l1" and own.SCALE.INIT != 3.0
    assert wide.DENSITY == "laplace" and wide.SCALE.INIT == 3.0


def test_a_reading_evaluates_the_other_run_s_weights_and_trains_nothing(planned):
    _, wide, reading = planned
    assert reading.weights == wide.weights == os.path.join(wide.folder, "model_final.pth")
    assert reading.training_folder() == wide.folder != reading.folder
    os.makedirs(wide.folder)
    Path(wide.weights).write_bytes(b"weights")
    what, command = reading.next_step("train_net.py")
    assert what.startswith("evaluating") and command[command.index("MODEL.WEIGHTS") + 1] == wide.weights
    assert command[command.index("MODEL.RLE_ONESTAGE.TEST.OKS_POWER") + 1] == "0.5"
    assert all(isinstance(part, str) for part in command)  # as a process takes them


def test_a_reading_without_weights_fails_by_a_sentence(planned, tmp_path):
    _, failures = work_off(planned[2:], script="nothing.py", output=str(tmp_path / "all"))
    (reason,) = failures.values()
    assert "wide/seed2, which are not there; train them" in reason


@pytest.mark.parametrize("text", ["- wide", "wide: laplace", "wide: [a, b]"])
def test_a_file_of_something_else_is_a_sentence(tmp_path, text):
    path = tmp_path / "rules.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match="mapping of names"):
        read_rules(str(path))
    with pytest.raises(ConfigError, match="is not there"):
        read_rules(str(tmp_path / "none.yaml"))
