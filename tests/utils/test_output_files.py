"""Outputs that are no regular files: never replaced; written through, or refused."""

import json
import os
import stat
import subprocess
import sys
import threading

import cv2
import numpy as np
import pytest
from demo_toys import options, within
from light_package import LIGHT
from media_toys import image_file, one_person, video

from rle_onestage.demo import run_images, run_video
from rle_onestage.errors import CheckpointError, ConfigError, MediaError
from rle_onestage.evaluation import write_json
from rle_onestage.utils import output_files
from rle_onestage.utils.output_files import kind_of, write_bytes
from rle_onestage.utils.safe_files import save_tensors, write_text
from rle_onestage.video import io as media

posix = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")


@pytest.fixture
def null(tmp_path):
    """A device as /dev/null in a folder where a rename would succeed."""
    path = tmp_path / "null"
    try:
        os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        path.write_bytes(b"x")
    except OSError:
        pytest.skip("devices cannot be made here")
    return path


class Listener:
    """Reads a named pipe in a thread."""

    def __init__(self, path):
        os.mkfifo(path)
        self.path = path
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        self.data = self.path.read_bytes()

    def heard(self):
        self.thread.join(10)
        return self.data


@posix
def test_a_pipe_is_written_through_and_stays(tmp_path):
    pipe = tmp_path / "a.json"
    listener = Listener(pipe)
    write_json([1, float("nan")], str(pipe))
    assert json.loads(listener.heard()) == [1, None] and stat.S_ISFIFO(os.stat(pipe).st_mode)


def test_a_device_is_written_through_and_stays(null, tmp_path):
    write_json({}, str(null))
    media.write_image(str(link(tmp_path / "a.png", null)), np.zeros((4, 4, 3), np.uint8))
    assert run_images(one_person, [image_file(tmp_path / "b.png")], options(json=str(null))) == 0
    assert run_video(one_person, video(tmp_path / "c.mp4"), options(json=str(null))) == 0
    assert stat.S_ISCHR(os.stat(null).st_mode) and os.path.islink(tmp_path / "a.png")


def test_weights_and_texts_never_replace_a_device(null, tmp_path):
    with pytest.raises(CheckpointError, match="null cannot be written .*it is a device"):
        save_tensors(str(null), {})
    with pytest.raises(ConfigError, match="null cannot be written .*it is a device"):
        write_text(str(null), "a")
    assert stat.S_ISCHR(os.stat(null).st_mode) and not any("tmp" in name for name in os.listdir(tmp_path))


def test_the_remedy_is_that_of_who_writes(tmp_path):
    """A tool has --output, and knows of no OUTPUT_DIR."""
    for given, remedy in (
        ({}, "check that folder and the space left"),
        ({"remedy": "choose another"}, "choose another"),
    ):
        with pytest.raises(ConfigError) as caught:
            write_text(str(tmp_path / "nowhere" / "a.md"), "a", **given)
        assert str(caught.value).endswith(f"; {remedy}") and "OUTPUT_DIR" not in str(caught.value)


def link(path, target):
    path.symlink_to(target)
    return path


def test_a_video_on_a_device_or_pipe_is_refused(null, tmp_path):
    source, out = video(tmp_path / "c.mp4"), link(tmp_path / "out.mp4", null)
    with pytest.raises(MediaError, match=r"out.mp4 cannot be written \(it is a device\)"):
        run_video(one_person, source, options(output=str(out)))
    with pytest.raises(MediaError, match="null cannot be written"):
        run_video(one_person, source, options(output=str(null)))
    with pytest.raises(MediaError, match="null cannot be written"):
        run_images(one_person, [image_file(tmp_path / "a.png")], options(output=str(null)))
    assert stat.S_ISCHR(os.stat(null).st_mode)


def test_the_target_of_a_link_is_replaced_not_the_link(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "r.json").write_text("old")
    path = link(tmp_path / "r.json", tmp_path / "far" / "r.json")
    write_json([2], str(path))
    assert path.is_symlink() and json.loads((tmp_path / "far" / "r.json").read_text()) == [2]
    assert os.listdir(tmp_path / "far") == ["r.json"]
    clip = link(tmp_path / "v.mp4", tmp_path / "far" / "v.mp4")
    video(clip)
    assert clip.is_symlink() and sorted(os.listdir(tmp_path / "far")) == ["r.json", "v.mp4"]


@posix
def test_a_pipe_that_nobody_reads_is_a_sentence_in_bounded_time(tmp_path, monkeypatch):
    monkeypatch.setattr(output_files, "PATIENCE", 0.2)
    os.mkfifo(tmp_path / "a.json")
    with pytest.raises(MediaError, match="nobody reads it"):
        within(10, lambda: write_json([], str(tmp_path / "a.json")))
    with pytest.raises(MediaError, match="nobody reads it"):
        chosen = options(json=str(tmp_path / "a.json"))
        within(10, lambda: run_images(one_person, [image_file(tmp_path / "a.png")], chosen))


@posix
@pytest.mark.parametrize("how", ["file", "pipe"])
def test_dev_stdout_is_the_own_output_as_it_is(tmp_path, how):
    code = LIGHT + (
        "from rle_onestage.utils.output_files import write_bytes, is_stdout, kind_of\n"
        "print('first', flush=True); assert is_stdout('/dev/stdout') and kind_of('/dev/stdout')\n"
        "write_bytes('/dev/stdout', b'second\\n'); print('third')"
    )
    target = tmp_path / "log"
    with open(target, "wb") if how == "file" else open(os.devnull, "wb") as file:
        run = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code], stdout=file if how == "file" else subprocess.PIPE, check=True
        )
    assert (target.read_bytes() if how == "file" else run.stdout).split() == [b"first", b"second", b"third"]
    assert os.path.islink("/dev/stdout")


def test_long_names_and_failures_leave_nothing(tmp_path):
    path = tmp_path / ("n" * 250 + ".json")
    write_bytes(path, b"1")
    assert path.read_bytes() == b"1" and kind_of(path) == "" and kind_of(tmp_path) == "a folder"
    with pytest.raises(OSError):
        write_bytes(tmp_path / ("n" * 300), b"1")
    assert os.listdir(tmp_path) == [path.name]


def test_permissions_are_the_usual_ones(tmp_path):
    (tmp_path / "a").write_text("x")
    write_bytes(tmp_path / "b", b"x")
    assert os.stat(tmp_path / "a").st_mode == os.stat(tmp_path / "b").st_mode
    assert cv2.imread(image_file(tmp_path / "p.png")) is not None


def test_results_for_an_output_that_is_closed_are_a_sentence(monkeypatch):
    """Under ``>&-`` the next file that is opened gets its number, and would get the results."""
    monkeypatch.setattr(sys, "stdout", None)
    output_files.OutputFile("/dev/stdout").discard()
    monkeypatch.setattr(sys, "__stdout__", None)
    with pytest.raises(MediaError, match="/dev/stdout cannot be written .it is closed.; give a file with --json"):
        output_files.check_target("/dev/stdout", "--json")
    with pytest.raises(OSError, match="it is closed"):
        output_files.OutputFile("/dev/stdout")


@pytest.mark.parametrize("name", ["n" * 300, "a\0b", "", "-"])
def test_what_is_no_name_of_a_file_is_said_early(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MediaError, match="cannot be written.*with --json"):
        output_files.check_target(name, "--json")
    for good in ("new", "none/new", "./-", "/dev/stdout"):
        output_files.check_target(good, "--json")
