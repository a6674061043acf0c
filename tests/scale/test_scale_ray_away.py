"""Storage that fails under the actors of Ray, in other processes: the same rows and sentences as in this one."""

import os

import pytest
from flaky_storage import failing, use_flaky
from scale_toys import png, rows_in, shard_of

from rle_onestage.errors import PoseError
from rle_onestage.scale import JobOptions, ModelChoice, RayOptions, predict

pytest.importorskip("ray", reason="the extra ray is not installed")
pytestmark = pytest.mark.slow
MODEL = ModelChoice("people_synthetic", ("INPUT.MIN_SIZE_TEST", "64", "INPUT.MAX_SIZE_TEST", "64"))


def known_to_workers(monkeypatch, folder):
    """Let processes that begin from now on know flaky://, as those of an installed package do."""
    made = folder / "flaky_storage-1.0.dist-info"
    made.mkdir(parents=True)
    (made / "METADATA").write_text("Metadata-Version: 2.1\nName: flaky_storage\nVersion: 1.0\n")
    (made / "entry_points.txt").write_text("[fsspec.specs]\nflaky = flaky_storage:Flaky\n")
    tests = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    places = [str(folder), tests, os.path.dirname(tests), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, places)))
    monkeypatch.setenv("RAY_worker_niceness", "0")


def test_actors_fail_with_rows_and_sentences(tmp_path, monkeypatch):
    use_flaky(monkeypatch, tmp_path / "root")
    known_to_workers(monkeypatch, tmp_path / "package")
    (tmp_path / "root" / "in").mkdir()
    for shard in "ab":
        shard_of(tmp_path / "root" / "in" / f"{shard}.tar", [(f"{number}.png", png(number)) for number in range(3)])

    def call():
        ray = RayOptions(actors=1)
        return predict("flaky://in", MODEL, output="flaky://out", ray=ray, options=JobOptions(max_errors=1))

    with failing("read", name="b.tar"):
        first = call()
    assert (first.images, first.errors, first.away) == (4, 1, 1) and "SlowDown" in first.samples[0]
    with failing("rename", name="part"), pytest.raises(PoseError, match=r"part-000001.parquet cannot be written \(Cl"):
        call()
    again = call()
    assert (again.images, again.errors, again.computed) == (6, 0, 3)
    assert [row["error"] for row in rows_in(tmp_path / "root" / "out")] == [None] * 6
