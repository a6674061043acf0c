"""The demo on images: what is drawn and written, and what bad input gets."""

import json
import logging
import os

import cv2
import numpy as np
import pytest
from calibration_toys import laplace_density
from media_toys import image_file, one_person, video

from rle_onestage.cli.demo import main
from rle_onestage.demo import DemoOptions, image_ids, run_images, run_video
from rle_onestage.demo.options import video_path
from rle_onestage.errors import ConfigError, MediaError
from rle_onestage.structures.skeleton import COCO
from rle_onestage.video import io as media

ROOT = os.path.join(os.path.dirname(__file__), "..", "..")


def options(**kwargs):
    return DemoOptions(skeleton=COCO, **kwargs)


def test_files_folders_and_globs(tmp_path, caplog, monkeypatch):
    folder = tmp_path / "in"
    folder.mkdir()
    a, b, c = (image_file(folder / name) for name in ("b.jpg", "a.png", "c.JPG"))
    (folder / "notes.txt").write_text("x")
    assert media.find_images([str(folder)]) == [b, a, c]
    assert media.find_images([c, str(folder / "*.png"), str(folder)]) == [c, b, a]
    caplog.set_level(logging.INFO, "rle_onestage")
    caplog.clear()  # another test may have set the level before
    monkeypatch.chdir(folder.parent)
    spelt = [os.path.relpath(c), c, str(folder), f"./{folder.name}/", os.path.join(str(folder), os.pardir, folder.name)]
    assert media.find_images(spelt) == [os.path.relpath(c), b, a]
    assert caplog.text.count("left out") == 1  # what is said of a folder is said once
    for wrong in (str(tmp_path / "none.jpg"), str(tmp_path / "*.gif"), str(tmp_path)):
        with pytest.raises(MediaError, match=r"none.jpg|gif|no images"):
            media.find_images([wrong])


def test_output_paths(tmp_path):
    out = str(tmp_path / "out")
    assert media.output_paths(["x/a.jpg", "y/a.jpg", "z.gif"], out) == [
        f"{out}/{n}" for n in ("a.jpg", "a_2.jpg", "z.jpg")
    ]
    mixed = ["a.avif", "a.gif", "a.jpg", "b/a.gif", "c.jfif", "noending"]
    named = ["a.avif.jpg", "a.gif.jpg", "a.jpg", "a.gif_2.jpg", "c.jpg", "noending.jpg"]
    assert media.output_paths(mixed, out) == [f"{out}/{n}" for n in named]
    assert media.output_paths(["x/a.jpg"], "drawn.png") == ["drawn.png"]
    for named in ("drawn.avif", "out.txt"):
        with pytest.raises(MediaError, match=r"which is not written; end it with one of \.jpg.*, give .*/$"):
            media.output_paths(["x/a.jpg"], named)
    for folder in ("out.txt/", "run-0.5"):
        assert media.output_paths(["x/a.jpg"], folder) == [os.path.join(folder, "a.jpg")]
    with pytest.raises(MediaError, match=r"clip.xyz ends with .xyz, which is not written; end it with one of \.mp4"):
        video_path("in.mp4", str(tmp_path / "clip.xyz"))
    (tmp_path / "clip.xyz").mkdir()
    assert video_path("in.mp4", str(tmp_path / "clip.xyz")) == str(tmp_path / "clip.xyz" / "in.mp4")
    with pytest.raises(MediaError, match="2 inputs"):
        media.output_paths(["a.jpg", "b.jpg"], "one.png")
    source = image_file(tmp_path / "a.jpg")
    with pytest.raises(MediaError, match="overwritten"):
        media.output_paths([source], str(tmp_path))


def test_what_a_folder_has_is_taken_or_said(tmp_path, caplog):
    names = ["a.jpg", "b.AVIF", "c.gif", "d.jp2", "e.jfif", "f.heic", "g.ppm"]
    for name in (*names, "._a.jpg", "notes.txt", "film.mp4"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "folder.jpg").mkdir()
    with caplog.at_level("INFO", logger="rle_onestage"):
        assert media.find_images([str(tmp_path)]) == [str(tmp_path / name) for name in names]
    assert "2 other files left out (.mp4, .txt)" in caplog.text
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "a.mp4").write_bytes(b"x")
    for read in (lambda path: media.find_images([path]), media.VideoReader):
        with pytest.raises(MediaError, match=r"has no images .*1 video, to be given with --video-input"):
            read(str(tmp_path / "films"))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes")
def test_a_pipe_is_no_image_file(tmp_path):
    os.mkfifo(tmp_path / "a.jpg")
    with pytest.raises(MediaError, match="is a pipe, not a file"):
        media.find_images([str(tmp_path / "a.jpg")])


def test_an_image_too_long_for_its_format_becomes_png(tmp_path, caplog):
    media.write_image(str(tmp_path / "a.jpg"), np.zeros((2, 65600, 3), np.uint8))
    assert os.listdir(tmp_path) == ["a.jpg.png"] and cv2.imread(str(tmp_path / "a.jpg.png")).shape == (2, 65600, 3)
    assert "so it is PNG" in caplog.text


def test_results_have_the_category_of_the_data(tmp_path):
    results = tmp_path / "r.json"
    assert run_images(one_person, [image_file(tmp_path / "a.jpg")], options(json=str(results), category_id=7)) == 0
    assert [r["category_id"] for r in json.loads(results.read_text())] == [7]


def test_images_of_the_same_name_are_told_by_their_paths(tmp_path):
    results, files = tmp_path / "r.json", []
    for path in ("day_1/1.jpg", "day_2/1.jpg", "day_2/2.jpg"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        files.append(image_file(tmp_path / path))
    assert run_images(one_person, files, options(json=str(results))) == 0
    assert [each["file_name"] for each in json.loads(results.read_text())] == [*files[:2], "2.jpg"]


def test_images_and_results(tmp_path):
    sources = [image_file(tmp_path / f"00{i}.png") for i in (7, 9)]
    broken = tmp_path / "010.png"
    broken.write_bytes(b"no image")
    out, results = tmp_path / "deep" / "out", tmp_path / "new" / "results.json"
    code = run_images(one_person, [*sources, str(broken)], options(output=str(out), json=str(results), draw_sigma=True))
    assert code == 0 and sorted(os.listdir(out)) == ["007.png", "009.png"]
    assert (cv2.imread(str(out / "007.png")) != 90).any()
    found = json.loads(results.read_text())
    assert [(r["image_id"], r["file_name"]) for r in found] == [(7, "007.png"), (9, "009.png")]
    assert len(found[0]["keypoints"]) == 51 and len(found[0]["keypoint_sigmas"]) == 34
    assert found[0]["score"] == pytest.approx(0.9)
    joints = json.loads((results.parent / f"{results.stem}_joints.json").read_text())
    assert joints["keypoints"] == list(COCO.names) and "half_widths" not in joints


def test_results_come_with_what_intervals_need(tmp_path, capfd):
    source, wanted = image_file(tmp_path / "a.jpg"), laplace_density(17)
    chosen = options(json=str(tmp_path / "r.json"), density=wanted)
    assert run_images(one_person, [source], chosen) == 0
    joints = json.loads((tmp_path / "r_joints.json").read_text())
    assert joints["half_widths"]["90"] == pytest.approx(wanted.half_width(0.9).tolist(), abs=1e-4)
    assert run_images(one_person, [source], options(json="/dev/stdout")) == 0
    assert json.loads(capfd.readouterr().out) and not os.path.exists("/dev/stdout_joints.json")


def test_all_images_unreadable_is_an_error(tmp_path):
    broken = tmp_path / "a.jpg"
    broken.write_bytes(b"")
    with pytest.raises(MediaError, match=r"a.jpg cannot be used as an image \("):
        run_images(one_person, [str(broken)], options(output=str(tmp_path / "out")))


def test_image_ids():
    assert image_ids(["x/000000000139.jpg", "22.png"]) == [139, 22]
    assert image_ids(["a.jpg", "22.png"]) == [1, 2] and image_ids(["a/1.jpg", "b/1.png"]) == [1, 2]


def test_unwritable_results_leave_nothing(tmp_path):
    source = image_file(tmp_path / "a.jpg")
    with pytest.raises(MediaError, match="cannot be made"):
        run_images(one_person, [source], options(json=os.path.join(source, "r.json")))
    (tmp_path / "r.json").mkdir()
    with pytest.raises(MediaError, match="r.json cannot be written"):
        run_images(one_person, [source], options(json=str(tmp_path / "r.json")))
    assert sorted(os.listdir(tmp_path)) == ["a.jpg", "r.json"]


def test_no_display(tmp_path, monkeypatch):
    monkeypatch.setattr("rle_onestage.video.io.window.has_display", lambda: False)
    with pytest.raises(MediaError, match="--output"):
        run_images(one_person, [image_file(tmp_path / "a.jpg")], options())


def test_window_is_closed_by_the_user(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(media, "check_window", lambda: None)
    monkeypatch.setattr(media, "show", lambda image, wait: bool(shown.append(wait)))
    assert run_images(one_person, [image_file(tmp_path / "a.jpg"), image_file(tmp_path / "b.jpg")], options()) == 0
    assert shown == [0]


def run_tool(*arguments):
    return main(list(arguments))


def test_tool(tmp_path, monkeypatch):
    monkeypatch.setattr("rle_onestage.predictor.Predictor", lambda cfg, precision: one_person)
    config = os.path.join(ROOT, "configs", "quickstart.yaml")
    source = image_file(tmp_path / "a.jpg")
    assert main(["--config-file", config, "--input", source, "--output", str(tmp_path / "out")]) == 0
    assert os.listdir(tmp_path / "out") == ["a.jpg"]


@pytest.mark.parametrize(
    "opts, message",
    [([], "MODEL.WEIGHTS"), (["MODEL.WEIGHT", "x.pth"], "MODEL.WEIGHTS"), (["MODEL.WEIGHTS", "none.pth"], "none.pth")],
)
def test_tool_says_one_sentence(tmp_path, capsys, opts, message):
    config = os.path.join(ROOT, "configs", "quickstart.yaml")
    with pytest.raises(SystemExit) as stopped:
        run_tool(
            "--config-file",
            config,
            "--input",
            image_file(tmp_path / "a.jpg"),
            "--output",
            str(tmp_path / "o"),
            "--opts",
            *opts,
        )
    captured = capsys.readouterr()
    assert stopped.value.code == 2 and message in captured.err
    assert [
        line for line in captured.err.splitlines() if line.startswith("error: ")
    ] and "Traceback" not in captured.err
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    "wrong, sentence",
    [
        ({"json": ""}, "the name after --json is empty"),
        ({"output": ""}, "the name after --output is empty"),
        ({"json": "-"}, "'-' cannot be written.*give /dev/stdout"),
        ({"json": "n" * 300}, "nnn... cannot be written .File name too long.; give another name with --json"),
        ({"output": "n" * 300 + ".png"}, "nnn... cannot be written .File name too long.; give another name with --out"),
        ({"output": "n" * 300}, "n.* cannot be .*File name too long"),
    ],
)
def test_names_are_tried_before_the_work(tmp_path, monkeypatch, wrong, sentence):
    monkeypatch.chdir(tmp_path)
    image_file(tmp_path / "a.png")

    def never(image):
        raise AssertionError("the work began")

    clip = video(tmp_path / "v.mp4")
    as_video = {key: value.replace(".png", ".mp4") for key, value in wrong.items()}
    for given, run in (
        (wrong, lambda chosen: run_images(never, ["a.png"], chosen)),
        (as_video, lambda chosen: run_video(never, clip, chosen)),
    ):
        with pytest.raises(MediaError, match=sentence):
            run(options(**{"output": "out", **given}))
    assert not {name for name in os.listdir(tmp_path)} - {"a.png", "v.mp4", "out"}


@pytest.mark.parametrize("wrong", [{"reconnect": -5}, {"batch": 0}, {"threshold": 30}, {"fps": 0.0}])
def test_values_out_of_range_are_said_whoever_gives_them(wrong):
    with pytest.raises(ConfigError, match="give"):
        options(**wrong)


def test_where_nobody_reaches_the_threshold_the_best_score_is_said_once(tmp_path, caplog):
    def weak(image):
        people = one_person(image)
        people.scores[:] = 0.119
        return people

    files = [image_file(tmp_path / f"{name}.jpg") for name in "ab"]
    caplog.set_level(logging.INFO, "rle_onestage")
    for threshold, times in ((0.28, 1), (0.1, 0)):
        caplog.clear()
        assert run_images(weak, files, options(json=str(tmp_path / "r.json"), threshold=threshold)) == 0
        said = "nobody reaches 0.28; the best score is 0.11 (--confidence-threshold 0.11 draws it)"
        assert caplog.text.count(said) == times and caplog.text.count("nobody reaches") == times
