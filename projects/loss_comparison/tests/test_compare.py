"""Comparison of losses: what is run and in which order, going on after a stop, and the metrics that come out."""

import json
import os
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import engine_toy
import forked_python
import pytest
from loss_comparison import compare_losses
from loss_comparison.jobs import work_off
from loss_comparison.plots import draw_comparison
from loss_comparison.report import _compared, difference, format_comparison, paper_order
from loss_comparison.runs import plan

from rle_onestage.errors import ConfigError
from rle_onestage.evaluation import read_results
from rle_onestage.utils.safe_files import write_text

TRAIN_SCRIPT = str(Path(__file__).resolve().parents[3] / "tools" / "train_net.py")
BASELINE = str(Path(__file__).resolve().parents[1] / "configs/keypoint_rcnn_synthetic.yaml")

# -------------------------------------------------------------------- the plan


@pytest.fixture
def config(tmp_path):
    return str(engine_toy.write_config(tmp_path, MAX_ITER=4, LOG_PERIOD=1))


def test_all_losses_of_a_seed_come_before_the_next_seed(config, tmp_path):
    runs = plan(config, str(tmp_path / "all"), losses=["l1", "rle_gaussian"], seeds=[3, 1], baselines=[BASELINE])
    assert [run.label for run in runs] == [
        "l1 seed 3", "rle_gaussian seed 3", "keypoint_rcnn_synthetic seed 3",
        "l1 seed 1", "rle_gaussian seed 1", "keypoint_rcnn_synthetic seed 1",
    ]  # fmt: skip
    model = runs[1].config().MODEL.RLE_ONESTAGE
    assert (model.DENSITY, model.PRESET) == ("rle", "gaussian") and runs[1].config().SEED == 3
    assert runs[1].config().OUTPUT_DIR == str(tmp_path / "all" / "rle_gaussian" / "seed3")
    assert [e.name for e in runs[2].evaluations()] == ["own"]  # its score has one factor


@pytest.mark.parametrize(
    "wrong, words",
    [
        ({"losses": ["l3"]}, "l3.*rle_gaussian"),
        ({"losses": ["l1", "l1"]}, "different"),
        ({"seeds": [1, 1]}, "different"),
        ({"baselines": [BASELINE], "baseline_weights": ["a", "b"]}, "2 files but --baselines 1"),
        ({"options": ["DATASETS.TEST", "()"]}, "DATASETS.TEST is empty"),
        ({"options": ["SOLVER.BASE_LRR", "1"]}, "BASE_LR"),
    ],
)
def test_a_wrong_plan_is_a_sentence(config, tmp_path, wrong, words):
    with pytest.raises(ConfigError, match=words):
        plan(config, str(tmp_path), **{"losses": ["l1"], "seeds": [1], **wrong})


def test_a_folder_of_another_training_is_refused(config, tmp_path):
    def planned(*options):
        return plan(config, str(tmp_path / "all"), losses=["l1"], seeds=[1], options=options)

    run = planned()[0]
    os.makedirs(run.folder)
    write_text(os.path.join(run.folder, "config.yaml"), run.config().dump())
    planned("DATASETS.TEST", "('rle_lspet_val',)", "TEST.USE_EMA", "False", "DATALOADER.NUM_WORKERS", "1")
    with pytest.raises(ConfigError, match="l1/seed1 was trained with SOLVER.MAX_ITER 4, now it is 5; give another"):
        planned("SOLVER.MAX_ITER", "5")
    with pytest.raises(ConfigError, match="TEST.KEYPOINT_OKS_SIGMAS"):  # the assignment uses them
        planned("TEST.KEYPOINT_OKS_SIGMAS", "[0.1, 0.1, 0.1]")


# -------------------------------------------------------------------- the processes

# Counts to the number in its second argument, like a training: going on where it was, saving on SIGTERM. With a fourth
# argument it first waits for another run to have started.
SCRIPT = """
import os, signal, sys, time
folder, last, pause = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
stopped = []
signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))
state = os.path.join(folder, "state")
done = int(open(state).read()) if os.path.exists(state) else 0
with open(os.path.join(folder, "starts"), "a") as file:
    file.write(f"{done} {time.time()}\\n")
if os.path.basename(folder) == "bad":
    print("error: this one never works")
    sys.exit(2)
deadline = time.time() + 60
while sys.argv[4:] and not os.path.exists(os.path.join(sys.argv[4], "starts")) and time.time() < deadline:
    time.sleep(0.01)
while done < last and not stopped and time.time() < deadline:
    time.sleep(pause)
    done += 1
    open(state, "w").write(str(done))
sys.exit(143 if done < last else 0)
"""


@dataclass
class Counting:
    """A run of that script."""

    folder: str
    iterations: int = 3
    pause: float = 0.0
    label: str = ""
    partner: str = ""

    def iterations_done(self):
        path = os.path.join(self.folder, "state")
        return int(Path(path).read_text() or 0) if os.path.exists(path) else 0

    def is_trained(self):
        return self.iterations_done() >= self.iterations

    is_done = is_trained

    def next_step(self, script):
        if not self.is_done():
            partner = [self.partner] if self.partner else []
            return "training", [script, self.folder, str(self.iterations), str(self.pause), *partner]
        return None

    def starts(self):
        """(state, time) of each start."""
        return [tuple(map(float, line.split())) for line in Path(self.folder, "starts").read_text().splitlines()]


@pytest.fixture
def script(tmp_path, monkeypatch):
    monkeypatch.setattr("loss_comparison.jobs.POLL_SECONDS", 0.01)
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    return str(path)


def counting(tmp_path, *names, **options):
    return [Counting(str(tmp_path / name), label=name, **options) for name in names]


def test_every_run_is_done_once_and_a_bad_one_does_not_stop_the_others(script, tmp_path):
    runs = counting(tmp_path, "a", "bad", "b")
    for _ in range(2):
        signum, failures = work_off(runs, script=script, output=str(tmp_path), jobs=1)
        assert signum == 0 and list(failures) == ["bad"]
        assert "code 2: error: this one never works (see" in failures["bad"]
    first, bad, second = (run.starts() for run in runs)
    assert len(first) == len(second) == 1 and len(bad) == 2
    assert first[0][1] < bad[0][1] < second[0][1]


def test_so_many_run_at_a_time(script, tmp_path):
    a, b, c = counting(tmp_path, "a", "b", "c", iterations=1)
    a.partner, b.partner = b.folder, a.folder  # each only ends when the other is there too
    assert work_off([a, b, c], script=script, output=str(tmp_path), jobs=2) == (0, {})
    assert c.starts()[0][1] >= min(os.path.getmtime(os.path.join(run.folder, "state")) for run in (a, b))


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_the_runs_save_and_the_same_call_goes_on(script, tmp_path, signum):
    run, later = counting(tmp_path, "a", "later", iterations=6, pause=0.05)

    def interrupt():
        while run.iterations_done() < 2:
            time.sleep(0.01)
        os.kill(os.getpid(), signum)

    threading.Thread(target=interrupt, daemon=True).start()
    stopped, failures = work_off([run, later], script=script, output=str(tmp_path))
    done = run.iterations_done()
    assert stopped == signum and not failures and 2 <= done < 6 and not os.path.exists(later.folder)
    assert work_off([run, later], script=script, output=str(tmp_path)) == (0, {})
    assert [start for start, _ in run.starts()] == [0, done] and later.is_done()


def test_two_comparisons_in_one_folder_are_refused(script, tmp_path):
    runs = counting(tmp_path, "a", iterations=1, pause=0.5)
    worker = threading.Thread(target=work_off, args=(runs,), kwargs={"script": script, "output": str(tmp_path)})
    worker.start()
    while not os.path.exists(tmp_path / "a" / "starts"):
        time.sleep(0.01)
    with pytest.raises(ConfigError, match="at work in"):
        work_off(runs, script=script, output=str(tmp_path))
    worker.join()


def test_a_step_that_ends_without_results_is_not_repeated_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr("loss_comparison.jobs.POLL_SECONDS", 0.01)
    path = tmp_path / "nothing.py"
    path.write_text("")
    _, failures = work_off(counting(tmp_path, "a"), script=str(path), output=str(tmp_path))
    assert failures == {"a": "training ended without its results"}


# -------------------------------------------------------------------- end to end


def test_from_config_to_comparison(config, tmp_path, monkeypatch):
    """A tiny real model: trained and evaluated under both scores by the tool's own calls of train_net.py."""
    monkeypatch.setattr("loss_comparison.jobs.POLL_SECONDS", 0.05)
    monkeypatch.setattr("loss_comparison.jobs.subprocess", forked_python)
    output = str(tmp_path / "all")
    options = [*engine_toy.REAL, "MODEL.RLE_ONESTAGE.TEST.SCORE_THRESH", "0.0"]
    arguments = dict(script=TRAIN_SCRIPT, losses=["laplace"], seeds=[1], options=options)
    comparison, paths, signum = compare_losses(config, output, **arguments)
    assert signum == 0 and not comparison["failures"] and comparison["done"] == 1
    assert all(os.path.getsize(path) for path in paths) and len(paths) == 3
    found = comparison["sets"]["toy_people"]["rows"]["laplace"]["seeds"][1]
    assert {"AP", "class_AP", "reranked_AP", "nll", "coverage_90", "minutes"} <= set(found)
    assert found["rms_px"] ** 2 >= found["median_px"] ** 2 / 2  # half of the joints are at least that far
    folder = Path(output, "laplace", "seed1")
    own = read_results(str(folder / "inference" / "coco_instances_results.json"))
    alone = read_results(str(folder / "class_score" / "inference" / "coco_instances_results.json"))
    assert all(r["score"] == pytest.approx(r["score_factors"][0], rel=1e-5) for r in alone)
    assert any(r["score"] < 0.9 * r["score_factors"][0] for r in own)
    # Nothing is done again: neither with the same command, nor for the report alone.
    before = {path: os.path.getmtime(path) for path in folder.rglob("*") if path.is_file()}
    again, _, _ = compare_losses(config, output, **arguments)
    assert again == comparison and before == {p: os.path.getmtime(p) for p in folder.rglob("*") if p.is_file()}
    runs = plan(config, output, losses=["laplace"], seeds=[1], options=[*options, "TEST.USE_EMA", "False"])
    step, command = runs[0].next_step("train_net.py")  # another evaluation: only that is done anew
    assert step == "evaluating (own score)" and "--eval-only" in command


# -------------------------------------------------------------------- the metrics


def rows(**values):
    """Losses with an AP for each seed."""
    return {name: {seed: {"AP": ap} for seed, ap in enumerate(aps, 1)} for name, aps in values.items()}


def test_difference_is_paired_with_an_interval_of_students_t():
    found = difference(rows(rle=[31, 42, 53], l1=[30, 40, 50, 60]), "rle", "l1", "AP")
    assert found["seeds"] == {1: 1, 2: 2, 3: 3} and found["mean"] == 2 and found["sd"] == 1
    assert found["interval"] == pytest.approx([2 - 4.303 / 3**0.5, 2 + 4.303 / 3**0.5], rel=1e-3)
    # Twenty degrees of freedom, by a printed table of Student's t: 2.086.
    many = difference(rows(rle=range(21), l1=[0] * 21), "rle", "l1", "AP")
    assert many["interval"][1] - many["mean"] == pytest.approx(2.086 * many["sd"] / 21**0.5, rel=1e-3)
    alone = difference(rows(rle=[31], l1=[30]), "rle", "l1", "AP")
    assert alone["mean"] == 1 and "interval" not in alone
    assert difference(rows(rle=[31], l1=[30]), "rle", "l1", "class_AP") is None


def test_order_of_the_paper_is_counted_by_seed():
    table = rows(rle=[3, 3, 3], laplace=[2, 3, 2], l1=[1, 1, 1, 9])
    assert paper_order(table, ["rle", "laplace", "l1"], "AP") == {
        "losses": ["rle", "laplace", "l1"], "holds": 2, "seeds": 3,
    }  # fmt: skip
    assert paper_order(table, ["rle"], "AP") is None


def test_page_and_plot_of_an_unfinished_comparison(tmp_path):
    table = rows(rle=[31.0, 33.0], l1=[30.0], keypoint_rcnn=[29.0, 28.0])
    for seed in (1, 2):
        table["rle"][seed]["class_AP"] = 20.0
    comparison = {"runs": 6, "done": 5, "failures": {"l1 seed 2": "why"}, "sets": {"some_val": _compared(table)}}
    page = format_comparison(json.loads(json.dumps(comparison)))
    for words in ("5 of 6 runs", "l1 seed 2 failed: why", "32.00 ± 1.41", "rle - l1", "rle - keypoint_rcnn", "+3.50"):
        assert words in page, words
    draw_comparison(comparison, str(tmp_path / "plot.png"))
    assert (tmp_path / "plot.png").read_bytes()[:4] == b"\x89PNG"
