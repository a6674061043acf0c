"""Data-loading processes that are killed, lack shared memory, or stand still; images whose reading does not end."""

import errno
import functools
import os
import re
import signal
import threading
import time
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest
import torch
from data_toys import toy_config, toy_content
from torch.utils.data import Dataset

from rle_onestage.data import UnreadableImage, batches, build_test_loader, build_train_loader, read_image
from rle_onestage.data.batches import Batches, LostWorkers, make_loader
from rle_onestage.data.coco.json_files import size_from_file
from rle_onestage.data.handover import describe_end, describe_failure, pack, unpack
from rle_onestage.errors import DataError
from rle_onestage.utils import bounded_reading as files
from rle_onestage.utils.bounded_reading import BlockedImage, read_file

WORKERS = r"DATALOADER\.NUM_WORKERS"


class Images(Dataset):
    """Six images of one number each; ``act`` is called in the worker before the fourth one is given."""

    def __init__(self, act=None):
        self.act = act

    def __len__(self):
        return 6

    def __getitem__(self, index):
        if index == 3 and self.act is not None:
            self.act()
        return {"image": torch.full((3, 40, 50), index, dtype=torch.uint8), "index": index}


def numbers(dataset, count=2):
    return [sample["index"] for batch in Batches(make_loader(dataset, num_workers=count)) for sample in batch]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(batches, "POLL_SECONDS", 1)


def kill(signum):
    os.kill(os.getpid(), signum)


@pytest.mark.parametrize(("signum", "words"), [(signal.SIGKILL, "killed by signal 9"), (signal.SIGBUS, "--shm-size")])
def test_a_worker_that_dies_is_a_sentence(signum, words):
    with pytest.raises(LostWorkers, match=words) as error:
        numbers(Images(functools.partial(kill, signum)))
    assert re.search(WORKERS, str(error.value))


def test_a_death_is_told_only_where_the_next_batch_is_asked_for():
    """Torch's handler of SIGCHLD would raise in the middle of a step."""
    before = signal.getsignal(signal.SIGCHLD)
    iterator = Batches(make_loader(Images(), num_workers=2))
    next(iterator)
    assert signal.getsignal(signal.SIGCHLD) == before
    for process in iterator._workers:
        process.kill()
        process.join()
    time.sleep(0.05)  # in which a handler would run
    with pytest.raises(LostWorkers, match="killed by signal 9"):
        list(iterator)


def test_a_worker_killed_after_it_sent_a_batch_is_a_sentence():
    """The batch's memory is fetched from its sender, who is gone by then."""
    iterator = Batches(make_loader(Images(), num_workers=1))
    packed = next(iterator._iterator)
    iterator._workers[0].kill()
    iterator._workers[0].join()
    with pytest.raises(OSError):
        unpack(packed)
    with pytest.raises(LostWorkers, match="killed by signal 9"):
        list(iterator)


def test_a_worker_that_is_stopped_after_it_sent_a_batch_is_a_sentence(monkeypatch):
    """The handle of the batch's memory comes from the worker itself."""
    monkeypatch.setattr(batches, "PATIENCE", 2)
    loader = Batches(make_loader(Images(), num_workers=1))
    time.sleep(1)  # a batch is ready
    os.kill(loader._workers[0].pid, signal.SIGSTOP)
    start = time.monotonic()
    with pytest.raises(LostWorkers, match="nothing came from the data-loading processes for 2 s"):
        list(loader)
    assert time.monotonic() - start < 15


def test_workers_that_stand_still_are_a_sentence_and_are_ended(monkeypatch):
    monkeypatch.setattr(batches, "PATIENCE", 2)
    start = time.monotonic()
    iterator = Batches(make_loader(Images(functools.partial(time.sleep, 1000)), num_workers=2))
    with pytest.raises(LostWorkers, match=f"nothing came .*{WORKERS}"):
        list(iterator)
    for process in iterator._workers:
        process.join(5)
    assert not any(process.is_alive() for process in iterator._workers) and time.monotonic() - start < 60


def raise_runtime_error():
    raise RuntimeError("DataLoader worker has a bug")


def raise_data_error():
    raise DataError("an image of somebody's own")


@pytest.mark.parametrize(
    "mistake, kind, words",
    [(raise_runtime_error, RuntimeError, "in raise_runtime_error"), (raise_data_error, DataError, "somebody's own")],
)
def test_a_mistake_in_a_worker_keeps_its_traceback_and_ends_all_workers(mistake, kind, words):
    iterator = Batches(make_loader(Images(mistake), num_workers=2))
    with pytest.raises(kind, match=words) as error:
        list(iterator)
    assert not isinstance(error.value, LostWorkers)
    for process in iterator._workers:
        process.join(2)  # torch would wait 5 s for each at the end
    assert not any(process.is_alive() for process in iterator._workers)


@pytest.mark.parametrize("way", ["memfd", "refused", "tensor"])
def test_a_batch_arrives_as_it_was_sent(monkeypatch, way):
    if way == "tensor":
        monkeypatch.delattr(os, "memfd_create")
    elif way == "refused":
        monkeypatch.setattr(os, "memfd_create", raising(errno.ENOSYS))
    rng = np.random.default_rng(0)
    images = [torch.from_numpy(rng.integers(0, 256, (3, 7, 5 + n), dtype=np.uint8)) for n in range(3)]
    batch = unpack(pack([{"image": image, "name": str(n)} for n, image in enumerate(images)]))
    assert [sample["name"] for sample in batch] == ["0", "1", "2"]
    for sample, image in zip(batch, images):
        assert torch.equal(sample["image"], image)
        sample["image"].zero_()  # what arrives can be written to, as without workers
    assert numbers(Images()) == list(range(6))


def raising(number):
    def raise_it(*_, **__):
        raise OSError(number, os.strerror(number))

    return raise_it


def no_room(*_):
    raise RuntimeError("unable to allocate shared memory(shm) for file </torch_1>: No space left on device (28)")


def test_shared_memory_that_is_full_is_a_sentence(monkeypatch):
    monkeypatch.delattr(os, "memfd_create")
    monkeypatch.setattr(torch.Tensor, "share_memory_", no_room)
    (sample,) = next(Batches(make_loader(Images(), num_workers=1)))
    assert "--shm-size" in sample["error"] and re.search(WORKERS, sample["error"])


@pytest.mark.parametrize(("number", "words"), [(errno.ENOSPC, "--shm-size"), (errno.EAGAIN, "cannot work")])
def test_workers_that_cannot_start_are_a_sentence(monkeypatch, capfd, number, words):
    """A full /dev/shm has no room for a lock; no word of torch's failing clean-up is printed."""
    monkeypatch.setattr("multiprocessing.synchronize.SemLock.__init__", raising(number))
    with pytest.raises(LostWorkers, match=f"{words}.*{WORKERS}"):
        numbers(Images())
    assert "Traceback" not in capfd.readouterr().err


def test_sentences_name_limit_and_remedy():
    assert "ulimit -n" in describe_failure(OSError(errno.EMFILE, "Too many open files"))
    assert "exit code 3" in describe_end(3) and "memory" not in describe_end(3)


def test_no_room_is_no_matter_with_memory_of_its_own(monkeypatch):
    if not hasattr(os, "memfd_create"):
        pytest.skip("Linux has it")
    monkeypatch.setattr(torch.Tensor, "share_memory_", no_room)
    assert numbers(Images()) == list(range(6))


# ---------------------------------------------------------------- images that block


@pytest.fixture
def never(monkeypatch):
    """Reading does not end, as on a network drive whose server is away; the name of the file decides."""
    release = threading.Event()

    def opened(name, *rest, true=os.open):
        if "003.png" in str(name):
            release.wait(30)
        return true(name, *rest)

    monkeypatch.setattr(files.os, "open", opened)
    monkeypatch.setattr(files, "READ_SECONDS", 0.3)
    yield
    release.set()


@pytest.mark.parametrize("count", [0, 1])
@pytest.mark.parametrize("kind", ["train", "test"])
def test_an_image_that_blocks_is_named(tmp_path, never, count, kind):
    """It is not left out as an unreadable one is: what is trained on must not depend on a server's mood."""
    name = f"blocked_{kind}_{count}"
    cfg = toy_config(tmp_path, name, toy_content(5), INPUT__POSE__SIZE=48, INPUT__POSE__MAX_UNREADABLE=1.0)
    cfg.DATALOADER.NUM_WORKERS = count
    loader = build_train_loader(cfg) if kind == "train" else iter(build_test_loader(cfg, name))
    with pytest.raises(DataError, match="image .*003.png cannot be used: its file system does not answer for 0.3 s"):
        for _ in range(5):
            next(loader)


def test_what_blocks_costs_the_others_nothing(tmp_path, never):
    paths = [tmp_path / "003.png", tmp_path / "004.png"]
    for path in paths:
        path.write_bytes(b"abc")
    with pytest.raises(BlockedImage):
        read_file(str(paths[0]))
    assert read_file(str(paths[1])) == b"abc"
    with pytest.raises(BlockedImage, match="003.png"):
        size_from_file(str(paths[0]), "people.json")


@pytest.mark.parametrize("kind", ["pipe", "folder", "device"])
def test_what_is_no_file_is_refused_at_once(tmp_path, kind):
    path = tmp_path / "link.png"
    if kind == "pipe":
        os.mkfifo(tmp_path / "pipe")
        path.symlink_to(tmp_path / "pipe")
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero")
    start = time.monotonic()
    with pytest.raises(UnreadableImage, match="link.png cannot be used: it ") as error:
        read_image(str(path))
    assert kind in str(error.value) or "directory" in str(error.value)
    with pytest.raises(DataError, match="link.png"):
        size_from_file(str(path), "people.json")
    assert time.monotonic() - start < 30


def test_handover_is_small():
    """What goes through the pipe is less than it takes in one piece (PIPE_BUF), however large the batch is."""
    if not hasattr(os, "memfd_create"):
        pytest.skip("Linux has it")
    parcel = pack([{"image": torch.zeros(3, 50, 500, dtype=torch.uint8), "index": n} for n in range(2000)])
    assert len(ForkingPickler.dumps((7, parcel))) < 4096
    assert unpack(parcel)[15]["image"].shape == (3, 50, 500)


def test_more_workers_than_cores_are_no_warning(monkeypatch, recwarn):
    """Detectron2 has 4; torch would say it twice for each loader."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0}, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    assert len(numbers(Images())) == 6
    assert not [warning for warning in recwarn if "worker" in str(warning.message)]
