"""Which training a restart by torchrun goes on with: the one that the same torchrun began, and no other."""

import os

import pytest

from rle_onestage.engine.processes import attempts
from rle_onestage.engine.setup import _goes_on_after_restart


@pytest.fixture
def under(monkeypatch):
    """Makes this process one of torchrun's."""

    def become(run="none", machines=1, restart=0, process=None):
        monkeypatch.setenv("TORCHELASTIC_RUN_ID", run)
        monkeypatch.setenv("GROUP_WORLD_SIZE", str(machines))
        monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", str(restart))
        if process is not None:
            monkeypatch.setattr(os, "getppid", lambda: process)

    return become


def test_only_what_the_same_torchrun_began_is_gone_on_with(tmp_path, under):
    folder = str(tmp_path)
    under(process=10)
    assert not attempts.is_restart() and not attempts.has_begun(folder)
    attempts.note_begun(folder)
    under(process=10, restart=1)
    assert attempts.is_restart() and attempts.has_begun(folder)
    under(process=11, restart=1)  # another torchrun whose run has no name either
    assert not attempts.has_begun(folder)
    under(run="other", process=10, restart=1)
    assert not attempts.has_begun(folder)
    attempts.forget(folder)
    under(process=10, restart=1)
    assert not attempts.has_begun(folder)
    attempts.forget(folder)


def test_among_several_machines_the_first_process_may_move(tmp_path, under):
    under(run="job", machines=2, process=10)
    attempts.note_begun(str(tmp_path))
    under(run="job", machines=1, process=11, restart=1)
    assert attempts.has_begun(str(tmp_path))
    under(run="job2", machines=2, process=10, restart=1)
    assert not attempts.has_begun(str(tmp_path))


def test_a_first_attempt_is_not_taken_for_an_earlier_one_of_its_name(tmp_path, under):
    """It leaves the note of any other torchrun, which goes when the training begins."""
    folder = str(tmp_path)
    under(process=10)
    attempts.note_begun(folder)
    under(process=11)
    assert not _goes_on_after_restart(folder) and (tmp_path / attempts.NAME).exists()
    under(machines=2, process=11)
    assert not _goes_on_after_restart(folder)
    under(machines=2, process=11, restart=1)
    assert not _goes_on_after_restart(folder)
    attempts.note_begun(folder)
    assert _goes_on_after_restart(folder)


def test_a_training_without_torchrun_ends_what_was_noted(tmp_path, under, monkeypatch):
    under(process=10)
    attempts.note_begun(str(tmp_path))
    monkeypatch.delenv("TORCHELASTIC_RUN_ID")
    assert not attempts.has_begun(str(tmp_path))
    attempts.note_begun(str(tmp_path))
    under(process=10, restart=1)
    assert not attempts.has_begun(str(tmp_path))


@pytest.mark.parametrize("content", [b"", b"\xff", b"[1]", b"null", b"[" * 5000, b'{"run": "none"}'])
def test_a_damaged_note_counts_for_nothing(tmp_path, under, content):
    (tmp_path / attempts.NAME).write_bytes(content)
    under(process=10, restart=1)
    assert not attempts.has_begun(str(tmp_path))


def test_a_folder_in_its_place_ends_no_training(tmp_path, under, caplog):
    (tmp_path / attempts.NAME).mkdir()
    under(process=10)
    attempts.forget(str(tmp_path))
    attempts.note_begun(str(tmp_path))
    assert not attempts.has_begun(str(tmp_path)) and "begins the training anew" in caplog.text
