"""Comparisons over seeds: means, paired differences, and the report that shows them."""

import json
import math
from types import SimpleNamespace

import pytest

from rle_onestage.errors import ConfigError
from rle_onestage.evaluation.seed_report import compare_sets, format_differences, report_parser, write_report
from rle_onestage.evaluation.seeds import mean_and_sd, metrics_over_seeds, over_seeds


def test_seeds_are_paired():
    found = over_seeds({1: 3.0, 2: 5.0, 3: 7.0}, {1: 2.0, 2: 3.0, 3: 4.0, 4: 9.0})
    assert found["difference"] == 2 and found["seeds"] == 3
    assert found["interval"] == pytest.approx([2 - 4.303 / 3**0.5, 2 + 4.303 / 3**0.5], rel=1e-3)
    assert over_seeds({1: 3.0}, {1: 2.0}) is None


def test_a_metric_counts_in_the_seeds_that_have_it():
    own = {1: {"AP": 3.0, "nats": 1.0}, 2: {"AP": 5.0, "nats": None}, 3: {"AP": 9.0}}
    base = {1: {"AP": 2.0, "nats": 2.0}, 2: {"AP": 2.0, "nats": 2.0}}
    found = metrics_over_seeds(own, base, ("AP", "nats", "OKS"))
    assert list(found) == ["AP"] and found["AP"]["difference"] == 2 and found["AP"]["seeds"] == 2


def test_means_of_one_seed_and_deviations_of_two():
    seeds = {1: {"AP": 1.0, "OKS": None}, 2: {"AP": 3.0, "nats": 5.0, "OKS": None}}
    told = {"mean": {"AP": 2.0, "nats": 5.0}, "sd": {"AP": pytest.approx(2**0.5)}}
    assert mean_and_sd(seeds) == told
    assert list(mean_and_sd(seeds, ["nats", "AP"])["mean"]) == ["nats", "AP"]


def test_differences_stand_in_one_table_with_their_digits():
    rows = {
        "rle": {},
        "l1": {
            "images": {"AP": {"difference": -7.66, "interval": [-9.0, -6.0]}},
            "over_seeds": {"nats": {"difference": math.nan, "interval": [math.nan] * 2}},
        },
    }
    found = {"rows": rows, "first_seed": 4, "resamples": 9}
    names = {"AP": "AP", "nats": "nats a joint", "OKS": "OKS"}
    about, table = format_differences(found, "rle", names, lambda metric: 1 if metric == "AP" else 2)
    assert "from `rle`: of seed 4" in about and "(9 resamples)" in about
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.split("\n")[2:]]
    assert lines == [["`l1`", "AP", "-7.7 (-9.0 to -6.0)", "-"], ["`l1`", "nats a joint", "-", "-"]]
    assert format_differences({**found, "rows": {"rle": {}}}, "rle", names, lambda metric: 1) == []


def test_a_report_has_the_sets_with_finished_runs(tmp_path, capsys):
    args = report_parser("text", ("a", "b")).parse_args(["--runs", "runs", "--output", str(tmp_path / "out")])
    assert args.sets == ["a", "b"] and args.resamples == 500
    run = SimpleNamespace(config=lambda: SimpleNamespace(DATASETS=SimpleNamespace(TEST=("b_val", "b_test"))))

    def compare(name, runs, dataset):
        return {"name": name, "runs": len(runs), "dataset": dataset}

    report = compare_sets(args, lambda folder: [run] * folder.endswith("b"), compare, started_by="train.sh")
    assert report == {key: {"name": "b", "runs": 1, "dataset": key} for key in ("b_val", "b_test")}
    write_report(report, "# The page\n", args.output)
    assert json.loads((tmp_path / "out" / "report.json").read_text()) == report
    assert (tmp_path / "out" / "report.md").read_text() == "# The page\n" and "# The page" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="--runs runs has no finished run; start train.sh"):
        compare_sets(args, lambda folder: [], compare, started_by="train.sh")
