"""Metrics of one run, read from what its evaluations wrote."""

import json
from types import SimpleNamespace

from detectron2.config import get_cfg
from loss_comparison.scores import run_scores


def test_each_test_set_has_its_own_metrics(tmp_path, monkeypatch):
    monkeypatch.setattr("loss_comparison.scores._from_results", lambda cfg, name: {})
    cfg = get_cfg()
    cfg.DATASETS.TEST = ("first", "second", "third")
    found = {
        name: {"keypoints": {"AP": ap, "AP50": ap, "AP75": ap}, "per_joint": {"median_px": 1.0}}
        for name, ap in zip(cfg.DATASETS.TEST, (10.0, 20.0, 30.0))
    }
    (tmp_path / "metrics.json").write_text(json.dumps(found))
    (tmp_path / "training.jsonl").write_text('{"time": 0.5}\n')
    own = SimpleNamespace(name="own", folder=str(tmp_path), config=lambda: cfg)
    run = SimpleNamespace(
        folder=str(tmp_path), iterations=120, evaluations=lambda: [own], training_folder=lambda: str(tmp_path)
    )
    scores = run_scores(run)
    assert {name: row["AP"] for name, row in scores.items()} == {"first": 10.0, "second": 20.0, "third": 30.0}
    assert all(row["minutes"] == 1.0 for row in scores.values())
    assert run_scores(run) == scores  # from scores.json
