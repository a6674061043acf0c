"""The parts of the benchmark of prediction at scale, without a model and without Ray."""

import os
import subprocess
import sys
import tarfile

import cv2
import numpy as np
import pytest
from benchmark_scale import parse
from scale_benchmark import commands, processes
from scale_benchmark.processes import Sample, look, tree
from scale_benchmark.results import compare, cpu_of, memory_of
from scale_benchmark.shards import make_shards
from scale_toys import Toy, png, shard_of, use

from rle_onestage.errors import ConfigError
from rle_onestage.scale import predict

pytest.importorskip("pyarrow")


@pytest.fixture
def photographs(tmp_path):
    found = []
    for number in range(3):
        found.append(str(tmp_path / f"{number}.png"))
        cv2.imwrite(found[-1], np.full((40, 80, 3), 80 * number, np.uint8))
    return found


def test_shards_have_all_images_and_stay_when_they_are_made_again(tmp_path, photographs):
    first = make_shards(photographs, str(tmp_path / "s"), 11, 4, 32)
    times = [os.stat(path).st_mtime_ns for path in first]
    names = []
    for path in first:
        with tarfile.open(path) as shard:
            names += shard.getnames()
    assert names == [f"{number:06d}.jpg" for number in range(11)]
    assert make_shards(photographs, str(tmp_path / "s"), 11, 4, 32) == first
    assert [os.stat(path).st_mtime_ns for path in first] == times
    with tarfile.open(first[1]) as shard:
        data = np.frombuffer(shard.extractfile("000004.jpg").read(), np.uint8)
    assert cv2.imdecode(data, 1).shape == (16, 32, 3) and abs(cv2.imdecode(data, 1).mean() - 80) < 3  # 4 % 3 = 1


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="looks at /proc")
def test_processes_of_a_driver_are_found_with_memory_and_time():
    engine = "print(flush=True); input()"  # says that it runs: a process that is just made has no memory yet
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {engine!r}])"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as driver:
        driver.stdout.readline()
        samples = look(driver.pid, 1.5)
        driver.communicate(b"\n")
    assert samples[0][:3] == (1.5, driver.pid, "driver") and samples[1].kind == "engine"
    assert all(1 < each.megabytes < 1000 for each in samples) and tree(driver.pid) == {}


def test_a_call_that_fails_names_its_log(tmp_path):
    with pytest.raises(ConfigError, match="ended with 2; .*log says why"):
        processes.call(["--input", str(tmp_path / "none")], str(tmp_path / "log"), every=0.05)
    assert "--output" in (tmp_path / "log").read_text()


def samples_of(growth):
    """An actor for 100 s, that has other memory while it loads its model."""
    values = [(second, 300 + 10 * second if second < 25 else 900 + growth * second) for second in range(100)]
    return [Sample(second, 7, "engine" if second < 3 else "actor", value, second / 2) for second, value in values]


@pytest.mark.parametrize("growth", [0.0, 0.5])
def test_memory_that_grows_is_told_from_memory_that_is_flat(growth):
    (found,) = memory_of([*samples_of(growth), Sample(1.0, 8, "driver", 5.0, 1.0)])
    assert found.kind == "actor" and found.growth == pytest.approx(3600 * growth, abs=1e-3)
    assert found.last - found.first == pytest.approx(50 * growth) and found.most == pytest.approx(900 + 99 * growth)


def test_processor_time_is_that_of_the_work():
    late = Sample(99, 8, "driver", 5.0, 1.0)  # a process that was not there before
    assert cpu_of([*samples_of(0.0), late], 1e9) == 50.5 and cpu_of([*samples_of(0.0), late], 9.0) == 5.5


def outputs(folder, monkeypatch, changed):
    """Two outputs of two shards, of which the second may have another image."""
    use(monkeypatch, Toy())
    folder.mkdir()
    for name, bright in (("a", 9), ("b", changed)):
        shards = [shard_of(folder / f"{place}.tar", [("x.png", png(value))]) for place, value in enumerate((3, bright))]
        predict(shards, output=str(folder / name))
    return str(folder / "a"), str(folder / "b")


def test_rows_are_compared_one_by_one(tmp_path, monkeypatch):
    same = compare(*outputs(tmp_path / "x", monkeypatch, 9))
    assert same == {"rows": 2, "different": 0, "twice": 0, "unfinished": []}
    one, two = outputs(tmp_path / "y", monkeypatch, 99)
    (tmp_path / "y" / "b" / ".rle1.unfinished").write_bytes(b"")
    assert compare(one, two) == {"rows": 2, "different": 1, "twice": 0, "unfinished": [".rle1.unfinished"]}


def test_steps_call_predict_in_turn_and_kill_it_half_way(tmp_path, photographs, monkeypatch, capsys):
    """With calls that take no time; each does what the command line would."""
    use(monkeypatch, Toy())
    calls = []

    def called(words, log, every=1.0, until=None):
        shards, output = words[1 : words.index("--output")], words[words.index("--output") + 1]
        calls.append((os.path.basename(output), len(shards), "--ray" in words, until is not None))
        predict(shards, output=output)
        if until is not None:
            assert until()
            os.remove(os.path.join(output, "part-000002.parquet"))
        return [Sample(float(second), 1, "driver", 100.0, float(second)) for second in range(9)]

    monkeypatch.setattr(commands, "call", called)
    arguments = ["--number", "8", "--shards", "4", "--round-shards", "2", "--rounds", "2", "--side", "32"]
    commands.run(parse(["--output", str(tmp_path / "out"), *arguments, "--photographs", *photographs]))
    assert calls == [
        ("round-1-one", 2, False, False), ("round-1-actors", 2, True, False),
        ("round-2-actors", 2, True, False), ("round-2-one", 2, False, False),
        ("whole", 4, True, False), ("killed", 4, True, True), ("killed", 4, True, False),
    ]  # fmt: skip
    printed = capsys.readouterr().out
    assert "8 images of" in printed and "ratio to 2 times one process" in printed and "| driver" in printed
    assert "killed with 3 of 4 files written; 2 images computed after; of 8 rows 0 differ" in printed


@pytest.mark.parametrize("words", [["--number", "3"], ["--round-shards", "1"], ["--photographs", "none.jpg"]])
def test_what_makes_no_sense_is_a_sentence(words):
    with pytest.raises(ConfigError, match=words[0][2:]):
        parse(["--output", "out", *words])
