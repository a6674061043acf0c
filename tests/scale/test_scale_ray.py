"""Jobs on Ray: the rows are those of one process, also where a worker is killed."""

import os
import signal
import threading
import time

import pytest
from scale_toys import folder_of, rows_in

from rle_onestage.errors import ConfigError
from rle_onestage.scale import JobOptions, ModelChoice, RayOptions, predict
from rle_onestage.scale.engines import _sentence

ray = pytest.importorskip("ray", reason="the extra ray is not installed")
MODEL = ModelChoice("people_synthetic", ("INPUT.MIN_SIZE_TEST", "64", "INPUT.MAX_SIZE_TEST", "64"))


@pytest.fixture(scope="module")
def cluster():
    """One cluster of this machine for all tests, whose workers have the say that this process has."""
    os.environ["RAY_worker_niceness"] = "0"
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    folder = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    ray.init(
        address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR",
        object_store_memory=100 * 2**20, runtime_env={"env_vars": {"PYTHONPATH": _python_path(folder)}},
    )  # fmt: skip
    yield
    ray.shutdown()


def _python_path(tests):
    return os.pathsep.join([os.path.dirname(tests), *filter(None, [os.environ.get("PYTHONPATH")])])


def kill_a_worker(output, killed):
    """Kill an actor by signal 9 as soon as some of the job is written."""
    for _ in range(1200):
        if os.path.isdir(output) and any(name.endswith(".parquet") for name in os.listdir(output)):
            break
        time.sleep(0.05)
    for process in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{process}/cmdline", "rb") as file:
                words = file.read()
        except OSError:
            continue
        if words.startswith(b"ray::") and b"MapWorker" in words:
            os.kill(int(process), signal.SIGKILL)
            killed.append(int(process))
            return


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="finds the actor by /proc")
def test_a_job_on_ray_is_that_of_one_process_although_a_worker_is_killed(tmp_path, cluster):
    folder = folder_of(tmp_path / "in", range(1, 31), size=(96, 64))
    (tmp_path / "in" / "000012.png").write_bytes(b"broken")
    options = JobOptions(rows=3, max_errors=0.1)
    killed = []
    killer = threading.Thread(target=kill_a_worker, args=(tmp_path / "ray", killed))
    killer.start()
    on_ray = predict(folder, MODEL, output=str(tmp_path / "ray"), ray=RayOptions(actors=2), options=options)
    killer.join()
    assert killed and on_ray.actors == 2
    assert on_ray.start_seconds + on_ray.images / on_ray.images_per_second <= 1.01 * on_ray.seconds
    alone = predict(folder, MODEL, output=str(tmp_path / "alone"), threads=1, options=options)
    assert (
        (on_ray.images, on_ray.errors, on_ray.computed) == (alone.images, alone.errors, alone.computed) == (30, 1, 30)
    )
    assert rows_in(tmp_path / "ray") == rows_in(tmp_path / "alone")
    assert ray.data.read_parquet(str(tmp_path / "ray")).count() == 30
    assert predict(folder, MODEL, output=str(tmp_path / "ray"), ray="local", options=options).computed == 0


def test_relative_paths_go_by_the_folder_of_the_command(tmp_path, cluster, monkeypatch):
    """The cluster was started in another one."""
    folder_of(tmp_path / "in", [1, 2], size=(96, 64))
    monkeypatch.chdir(tmp_path)
    summary = predict("in", MODEL, output="out", ray=RayOptions(actors=1))
    assert summary.errors == 0
    assert [row["path"] for row in rows_in(tmp_path / "out")] == [
        str(tmp_path / "in" / f"00000{n}.png") for n in (1, 2)
    ]
    assert predict("in", MODEL, output="out", threads=1).computed == 0  # the same job without Ray


class ActorUnavailableError(Exception):
    """As Ray raises it when a unit was tried often enough."""


def test_what_ray_says_is_one_sentence():
    told = _sentence(ActorUnavailableError("The actor is unavailable\nRpcError"))
    assert "a unit's worker died 4 times (ActorUnavailableError); what was written stays" in told
    assert "KeyError: 'b'; what" in _sentence(KeyError("b")) and "\n" not in _sentence(ValueError("a\nb"))


def test_a_cluster_that_is_too_small_or_does_not_answer(tmp_path, cluster, monkeypatch):
    folder = folder_of(tmp_path / "in", [1])
    with pytest.raises(ConfigError, match="has 2 CPUs and 0 GPUs, and an actor needs 64 and 0"):
        predict(folder, MODEL, output=str(tmp_path / "out"), ray=RayOptions(threads=64))
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(ConfigError, match=r"127.0.0.1:1 cannot be reached \(.*refused\); check --ray"):
        predict(folder, MODEL, output=str(tmp_path / "out"), ray="127.0.0.1:1")
