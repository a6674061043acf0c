"""How many cores there are in a container."""

import os

import pytest

from rle_onestage.utils import cores
from rle_onestage.utils.cores import own_threads, usable_cores


@pytest.fixture(autouse=True)
def eight(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)


@pytest.mark.parametrize(
    "limit, cores",
    [
        ("250000 100000", 2), ("50000 100000", 1), ("max 100000", 8), ("9900000 100000", 8), ("", 8), ("x", 8),
        ("100000 0", 8),
    ],
)  # fmt: skip
def test_the_quota_of_the_control_group_counts(tmp_path, limit, cores):
    (tmp_path / "cpu.max").write_text(limit + "\n")
    assert usable_cores(str(tmp_path)) == cores


@pytest.mark.parametrize("limit, cores", [("300000", 3), ("-1", 8)])
def test_so_does_that_of_older_systems(tmp_path, limit, cores):
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text(limit + "\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert usable_cores(str(tmp_path)) == cores


def test_without_control_groups_the_affinity_counts(tmp_path, monkeypatch):
    assert usable_cores(str(tmp_path)) == 8
    monkeypatch.delattr(os, "sched_getaffinity")
    assert usable_cores(str(tmp_path)) == 64


@pytest.mark.parametrize("told, threads", [("3", 3), ("", 8), ("0", 8), ("3,2", 8)])
def test_threads_are_those_of_openmp_where_it_is_told(monkeypatch, told, threads):
    monkeypatch.setenv("OMP_NUM_THREADS", told)
    monkeypatch.setattr(cores, "usable_cores", lambda: 8)
    assert own_threads() == threads
