"""Which metrics the logs have."""

import logging

from rle_onestage.engine.inference import _show, flat_metrics

SPACE = {"MPJPE": 50.0, "PA-MPJPE": 40.0, "N-MPJPE": 45.0, "AP-nose": 1.0}


def test_metrics_in_space_have_hyphens_that_mean_no_joint(caplog):
    assert flat_metrics({"pose_3d": SPACE}) == {
        "pose_3d/MPJPE": 50.0, "pose_3d/PA-MPJPE": 40.0, "pose_3d/N-MPJPE": 45.0
    }  # fmt: skip
    with caplog.at_level(logging.INFO):
        _show({"a_set": {"pose_3d": SPACE}})
    assert "copypaste: MPJPE,PA MPJPE,N MPJPE" in caplog.messages
    assert "copypaste: 50.0000,40.0000,45.0000" in caplog.messages
