"""Latency of exported files: a peer's people by hand, and each file in its turn."""

import functools
import json
import multiprocessing
import os

import beside_peers
import numpy as np
import pytest
from export_benchmark import turns
from export_benchmark.peers import Peer

from rle_onestage.errors import DataError

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

SIDE = 64


def peer(folder, found, name="peer"):
    """A file that finds the same in each image."""
    given = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, SIDE, SIDE])
    made = helper.make_tensor_value_info("output0", TensorProto.FLOAT, list(found.shape))
    nodes = [
        helper.make_node("ReduceMax", ["images"], ["most"], keepdims=0),
        helper.make_node("Mul", ["most", "zero"], ["nothing"]),
        helper.make_node("Add", ["found", "nothing"], ["output0"]),
    ]
    constants = [numpy_helper.from_array(np.float32(0), "zero"), numpy_helper.from_array(found, "found")]
    graph = helper.make_graph(nodes, "peer", [given], [made], constants)
    path = str(folder / f"{name}.onnx")
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path


def test_cells_are_suppressed_and_go_back_to_the_image(tmp_path):
    """Two cells of one person, one of another and one that is not sure, on an image twice as large as the input."""
    cells = np.array([[20, 20, 10, 20, 0.8], [21, 20, 10, 20, 0.9], [50, 30, 8, 8, 0.5], [9, 9, 4, 4, 0.1]], np.float32)
    found = Peer(peer(tmp_path, cells.T[None].copy()), 1)(np.zeros((2 * SIDE, SIDE, 3), np.uint8))
    np.testing.assert_allclose(found[:, :5], [[32, 20, 52, 60, 0.9], [92, 52, 108, 68, 0.5]], rtol=1e-5)


def test_people_of_a_file_without_suppression_stay(tmp_path):
    people = np.zeros((1, 300, 6), np.float32)
    people[0, :2, :5] = [[1, 2, 3, 4, 0.9], [1, 2, 3, 4, 0.8]]
    assert Peer(peer(tmp_path, people), 1)(np.zeros((SIDE, SIDE, 3), np.uint8))[:, 4].tolist() == pytest.approx(
        [0.9, 0.8]
    )


def scribe(path, name):
    """Writes its name at each call."""

    def call():
        with open(path, "a") as file:
            file.write(name)

    return call


def test_each_file_has_its_turn_in_each_round_after_a_warm_up(tmp_path):
    path = tmp_path / "calls"
    took = turns.measure({name: functools.partial(scribe, path, name) for name in "ab"}, 2, 4)
    assert path.read_text() == 2 * (7 * "a" + 7 * "b")
    assert all(len(times) == 2 for times in took.values()) and not multiprocessing.active_children()


class Odd(Exception):
    """What cannot go through a pipe."""

    def __init__(self, first, second):
        super().__init__(first)


def broken():
    raise DataError("it cannot be made")


def odd():
    raise Odd("odd", lambda: None)


def gone():
    return functools.partial(os._exit, 3)


@pytest.mark.parametrize(
    "make, sentence",
    [(broken, "it cannot be made"), (odd, "Odd: odd"), (gone, "a process that was timed ended with 3")],
)
def test_what_fails_in_its_process_is_raised_here(make, sentence):
    with pytest.raises(DataError, match=sentence):
        turns.measure({"a": make}, 1, 1)
    assert not multiprocessing.active_children()


def test_a_process_that_dies_while_it_rests_is_a_sentence(tmp_path):
    timed = turns.Timed(functools.partial(scribe, tmp_path / "calls", "a"))
    timed.wait()
    timed._process.kill()
    timed._process.join()
    with pytest.raises(DataError, match="a process that was timed ended with -9"):
        timed.turn(1)
    timed.close()


def test_the_table_is_of_medians_and_of_the_fastest_peer():
    text = beside_peers.table({"ours": [1.0, 9.0, 2.0], "slow": [8.0], "fast": [4.0]}, ["slow", "fast"])
    assert [row.strip() for row in text.splitlines()[2].strip("|").split("|")] == ["ours", "2.0", "1.0 to 9.0", "0.50"]


def test_the_command_writes_what_it_measured(tmp_path, capsys):
    path, output = peer(tmp_path, np.zeros((1, 300, 6), np.float32)), tmp_path / "latency.json"
    beside_peers.main(["--peer", "p", path, "--side", "32", "--rounds", "2", "--calls", "1", "--output", str(output)])
    assert len(json.loads(output.read_text())["milliseconds"]["p"]) == 2 and "| p " in capsys.readouterr().out
    with pytest.raises(SystemExit):
        beside_peers.main(["--peer", "p", path, "--peer", "p", path])
    assert "each under a name of its own" in capsys.readouterr().err
