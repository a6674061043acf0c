"""Several machines: how the others find the first one, and what they say where they do not."""

import signal
import socket
import time
from multiprocessing import get_context
from types import SimpleNamespace

import pytest
import torch.distributed as dist
from detectron2.utils import comm
from engine_kills import Forked

from rle_onestage.engine import launch
from rle_onestage.engine.processes import children, first_machine
from rle_onestage.engine.processes.first_machine import wait_for_store
from rle_onestage.errors import ConfigError

NOWHERE = "tcp://nosuchhost.invalid:29511"


@pytest.fixture
def listener():
    """A socket that takes connections and never says a word."""
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        made.listen()
        yield made


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    for name in ("NAME_SECONDS", "PORT_SECONDS"):
        monkeypatch.setattr(first_machine, name, 0.0)
    monkeypatch.setattr(first_machine, "ANSWER_SECONDS", 1.0)


@pytest.mark.parametrize("url", [NOWHERE, f"tcp://{'a' * 80}.b:29511"])
def test_a_host_that_nobody_knows_is_one_sentence(capsys, monkeypatch, url):
    def unknown(host, port):
        host.encode("idna")  # as the real one does
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(SystemExit) as caught:
        launch(print, 1, num_machines=2, machine_rank=1, dist_url=url)
    said = capsys.readouterr().err
    assert caught.value.code == 2
    assert said.startswith("error: --dist-url finds no machine") and said.count("\n") == 1


def test_nobody_at_the_port_and_something_else_at_it(listener):
    host, port = listener.getsockname()
    with pytest.raises(ConfigError, match="answers, but not as the first machine"):
        wait_for_store(host, port)
    listener.close()
    with pytest.raises(ConfigError, match=f"finds nobody at {host}:{port} .*refused"):
        wait_for_store(host, port)


def test_a_first_machine_that_comes_late_is_waited_for(monkeypatch, listener, caplog):
    port = listener.getsockname()[1]
    listener.close()
    monkeypatch.setattr(first_machine, "PORT_SECONDS", 20.0)
    monkeypatch.setattr(first_machine, "ANSWER_SECONDS", 10.0)
    stores = []
    knock, times = first_machine._knock, []

    def late(*address):
        times.append(0)
        if len(times) == 2:
            stores.append(dist.TCPStore("127.0.0.1", port, None, is_master=True, wait_for_workers=False))
        knock(*address)

    monkeypatch.setattr(first_machine, "_knock", late)
    wait_for_store("127.0.0.1", port)
    assert len(caplog.messages) == 1 and "trying for 20 s" in caplog.messages[0]


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_waiting_for_a_wrong_host_ends_by_a_signal(tmp_path, monkeypatch, signum):
    """Also while the system looks for the name, which may take long."""

    def wait():
        first_machine.NAME_SECONDS = first_machine.ANSWER_SECONDS = 60.0
        socket.getaddrinfo = lambda *address: (tmp_path / "there").touch() or time.sleep(60)
        launch(print, 1, num_machines=2, machine_rank=1, dist_url=NOWHERE)

    process = Forked(wait, tmp_path / "log")
    while not (tmp_path / "there").exists():
        time.sleep(0.02)
    process.send(signum, group=False)
    assert process.wait(10) in (-signum, 128 + signum)


def meet(folder):
    """What each process does."""
    (folder / f"said{comm.get_rank()}").write_text(str(comm.all_gather(comm.get_rank())))


def on_machine(rank, folder, port):
    """Start ``meet`` on one of two machines, by fork, which has all that is imported."""
    children.mp = SimpleNamespace(get_context=lambda _: get_context("fork"))
    url = f"tcp://localhost:{port}"
    launch(meet, 1, num_machines=2, machine_rank=rank, dist_url=url, device="cpu", args=(folder,))


def test_two_machines_meet(tmp_path, monkeypatch, listener):
    monkeypatch.setattr(first_machine, "PORT_SECONDS", 60.0)
    monkeypatch.setattr(first_machine, "ANSWER_SECONDS", 60.0)
    port = listener.getsockname()[1]
    listener.close()
    second = Forked(lambda: on_machine(1, tmp_path, port), tmp_path / "log1")
    first = Forked(lambda: on_machine(0, tmp_path, port), tmp_path / "log0")
    for process in (first, second):
        assert process.wait(60) == 0, process.log.read_text()
    assert [(tmp_path / f"said{rank}").read_text() for rank in (0, 1)] == ["[0, 1]"] * 2


def test_a_first_machine_that_waits_for_the_others_ends_by_a_signal(tmp_path, listener):
    port = listener.getsockname()[1]
    listener.close()

    def wait():
        from rle_onestage.engine.processes import meeting

        inner = meeting._meet
        meeting._meet = lambda *given: (tmp_path / "there").touch() or inner(*given)
        on_machine(0, tmp_path, port)

    process = Forked(wait, tmp_path / "log")
    while not (tmp_path / "there").exists():
        time.sleep(0.02)
    process.send(signal.SIGTERM, group=False)
    assert process.wait(20) == 128 + signal.SIGTERM
    assert process.log.read_text() == "interrupted\n"
