"""Which training a restart by torchrun goes on with: the one that the same torchrun began, and no other."""

import pytest
from detectron2.utils import comm

from rle_onestage.engine.processes import attempts
from rle_onestage.engine.setup import _is_gone_on_with


@pytest.fixture
def under(monkeypatch):
    """Makes this process one of torchrun's."""

    def become(run="none", restart=0, process=10):
        monkeypatch.setenv("TORCHELASTIC_RUN_ID", run)
        monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", str(restart))
        monkeypatch.setattr(attempts, "starter", lambda: process)
        return attempts.launcher()

    return become


def test_only_what_the_same_torchrun_began_is_gone_on_with(tmp_path, under):
    folder = str(tmp_path)
    mine, other = under(process=10), under(process=11)
    assert mine != other and not attempts.is_restart() and not attempts.has_begun(folder, [mine])
    attempts.note_begun(folder, [mine, mine])
    assert attempts.has_begun(folder, [mine])
    assert not attempts.has_begun(folder, [other])  # whose run has no name either
    under(run="other", process=10, restart=1)
    assert attempts.is_restart() and not attempts.has_begun(folder, [mine])
    attempts.forget(folder)
    under(process=10)
    assert not attempts.has_begun(folder, [mine])
    attempts.forget(folder)


def test_machines_leave_and_join(tmp_path, under):
    """It is the same training while one of the machines before is there, whatever their counts of restarts."""
    first, second, third, fourth = (under(run="job", process=number) for number in (10, 11, 12, 13))
    folder = str(tmp_path)
    attempts.note_begun(folder, [first, second])
    assert attempts.has_begun(folder, [third, second])
    attempts.note_begun(folder, [third, second])
    assert attempts.has_begun(folder, [fourth, third])
    assert not attempts.has_begun(folder, [first, fourth])


def test_whoever_takes_part_is_noted_before_the_training_goes_on(tmp_path, under, monkeypatch):
    """An attempt may fail before its first iteration, and the next one have none of the machines before it."""
    first, second, third = (under(run="job", process=number) for number in (10, 11, 12))
    folder = str(tmp_path)
    attempts.note_begun(folder, [first])
    monkeypatch.setattr(comm, "all_gather", lambda own: [own, (second, False) if isinstance(own, tuple) else False])
    under(run="job", process=10)
    assert _is_gone_on_with(folder)
    assert not attempts.has_begun(folder, [second])
    assert _is_gone_on_with(folder, note=True)
    assert attempts.has_begun(folder, [third, second])


def test_a_number_that_is_another_process_now_is_another_torchrun(tmp_path, under, monkeypatch):
    """In containers torchrun has the same number each time."""
    before = under(process=1)
    assert before == under(process=1)
    monkeypatch.setattr(attempts, "_started", lambda process: "later")
    assert under(process=1) != before


def test_a_first_attempt_is_not_taken_for_an_earlier_one_of_its_name(tmp_path, under):
    folder = str(tmp_path)
    attempts.note_begun(folder, [under(process=10)])
    under(run="other", process=11)
    assert not _is_gone_on_with(folder, note=True) and (tmp_path / attempts.NAME).exists()
    under(process=11)
    assert not _is_gone_on_with(folder) and not _is_gone_on_with(folder, note=True)
    under(process=11, restart=1)  # and neither is its restart, where it had not begun
    assert not _is_gone_on_with(folder)
    attempts.note_begun(folder, [under(process=11)])
    assert _is_gone_on_with(folder)


def test_machines_that_had_lost_one_another_go_on_with_the_same(tmp_path, under):
    """One of them began alone, and the other waited for OUTPUT_DIR, was refused and started again."""
    folder = str(tmp_path)
    attempts.note_begun(folder, [under(run="job", process=10)])
    other = under(run="job", process=11)
    assert not attempts.has_begun(folder, [other])
    assert attempts.has_begun(folder, [other], restarted=True)
    under(run="job", process=11, restart=1)
    assert _is_gone_on_with(folder)


def test_a_training_without_torchrun_ends_what_was_noted(tmp_path, under, monkeypatch):
    mine = under(process=10)
    attempts.note_begun(str(tmp_path), [mine])
    monkeypatch.delenv("TORCHELASTIC_RUN_ID")
    assert attempts.launcher() is None and not attempts.has_begun(str(tmp_path), [None])
    attempts.note_begun(str(tmp_path), [None])
    under(process=10, restart=1)
    assert not attempts.has_begun(str(tmp_path), [mine])


@pytest.mark.parametrize(
    "content", [b"", b"\xff", b"[1]", b"null", b"[" * 5000, b'{"run": "none"}', b'{"run": "none", "launchers": 7}']
)
def test_a_damaged_note_counts_for_nothing(tmp_path, under, content):
    (tmp_path / attempts.NAME).write_bytes(content)
    assert not attempts.has_begun(str(tmp_path), [under(process=10, restart=1)])


def test_a_folder_in_its_place_ends_no_training(tmp_path, under, caplog):
    (tmp_path / attempts.NAME).mkdir()
    mine = under(process=10)
    attempts.forget(str(tmp_path))
    attempts.note_begun(str(tmp_path), [mine])
    assert not attempts.has_begun(str(tmp_path), [mine]) and "begins the training anew" in caplog.text
