"""The demo over images: what goes wrong with one image costs that image alone."""

import json
import os

import cv2
import numpy as np
import pytest
from demo_toys import options
from image_toys import png_of
from media_toys import image_file, no_more_than, noise, one_person

from rle_onestage.demo import images as images_module
from rle_onestage.demo import results as results_module
from rle_onestage.demo import run_images
from rle_onestage.errors import ConfigError, MediaError


def names(path):
    return [result["file_name"] for result in json.loads(path.read_text())]


def test_huge_sizes_and_long_names_cost_that_image(tmp_path):
    folder, out, found = tmp_path / "in", tmp_path / "out", tmp_path / "r.json"
    folder.mkdir()
    long = "n" * 251 + ".png"
    for name in ("a.png", long, "z.png"):
        image_file(folder / name)
    (folder / "h.png").write_bytes(png_of(100_000))
    assert run_images(one_person, [str(folder)], options(output=str(out), json=str(found))) == 0
    assert sorted(os.listdir(out)) == ["a.png", long, "z.png"] and names(found) == ["a.png", long, "z.png"]


def test_an_image_that_cannot_be_written_costs_that_image(tmp_path, caplog):
    sources = [image_file(tmp_path / name) for name in ("a.png", "b.png", "c.png")]
    out, found = tmp_path / "out", tmp_path / "r.json"
    (out / "b.png").mkdir(parents=True)
    assert run_images(one_person, sources, options(output=str(out), json=str(found))) == 1
    assert (out / "a.png").is_file() and (out / "c.png").is_file() and names(found) == ["a.png", "b.png", "c.png"]
    assert sum("b.png" in record.getMessage() for record in caplog.records) == 1


def test_a_full_disk_costs_what_does_not_fit(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), noise(0, (300, 300)))
    small, found, out = image_file(tmp_path / "b.png"), tmp_path / "r.json", tmp_path / "out"
    chosen = options(output=str(out), json=str(found))
    with no_more_than(60_000):
        assert run_images(one_person, [str(tmp_path / "a.png"), small], chosen) == 1
    assert os.listdir(out) == ["b.png"] and names(found) == ["a.png", "b.png"]
    with no_more_than(60_000), pytest.raises(MediaError, match="no image could be written, of 1; .*File too large"):
        run_images(one_person, [str(tmp_path / "a.png")], chosen)


def test_no_memory_for_an_image_costs_that_image(tmp_path):
    sources = [image_file(tmp_path / "a.png"), image_file(tmp_path / "b.png", size=(80, 48))]

    def failing(error):
        def predict(image):
            if image.shape[1] == 64:
                raise error
            return one_person(image)

        return predict

    for error in (MemoryError(), RuntimeError("DefaultCPUAllocator: not enough memory")):
        assert run_images(failing(error), sources, options(json=str(tmp_path / "r.json"))) == 0
        assert names(tmp_path / "r.json") == ["b.png"]


@pytest.mark.parametrize("error", [RuntimeError("shapes"), ValueError("broken"), ZeroDivisionError("x"), KeyError("k")])
def test_whatever_fails_with_an_image_costs_that_image_alone(tmp_path, caplog, monkeypatch, error):
    caplog.set_level("INFO")
    sources = [image_file(tmp_path / name) for name in ("a.png", "b.png", "c.png")]
    found, out = tmp_path / "r.json", tmp_path / "out"
    chosen = options(output=str(out), json=str(found))

    def second(call):
        calls = []

        def wrapped(*args, **kwargs):
            calls.append(1)
            if len(calls) == 2:
                raise error
            return call(*args, **kwargs)

        return wrapped

    assert run_images(second(one_person), sources, chosen) == 1
    assert names(found) == ["a.png", "c.png"] == sorted(os.listdir(out))
    assert f"left out {sources[1]}: {type(error).__name__}" in caplog.text
    last = caplog.messages[-1]
    assert last.startswith("2 people in 2 images, ")
    assert last.endswith(f"; 2 images drawn in the folder {out}; results in {found}; 1 image could not be looked at")
    for place in ("read_image", "draw"):
        with monkeypatch.context() as patch:
            patch.setattr(images_module, place, second(getattr(images_module, place)))
            assert run_images(one_person, sources, chosen) == 1
    assert names(found) == ["a.png", "b.png", "c.png"]
    with pytest.raises(MediaError, match=f"none of the 2 inputs .*first: .*a.png: {type(error).__name__}"):
        run_images(failing_always(error), sources[:2], chosen)


def test_a_link_to_itself_costs_itself(tmp_path, caplog):
    image_file(tmp_path / "a.png")
    (tmp_path / "b.png").symlink_to("b.png")
    (tmp_path / "c").symlink_to("c")
    assert run_images(one_person, [str(tmp_path)], options(json=str(tmp_path / "r.json"))) == 0
    assert names(tmp_path / "r.json") == ["a.png"] and "b.png: it cannot be opened (Too many levels" in caplog.text


def failing_always(error):
    def predict(image):
        raise error

    return predict


def test_what_is_wrong_for_all_images_ends_the_run(tmp_path):
    with pytest.raises(ConfigError, match="no sigmas"):
        run_images(
            failing_always(ConfigError("no sigmas")),
            [image_file(tmp_path / "a.png")],
            options(json=str(tmp_path / "r")),
        )


def test_results_are_there_while_the_run_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(results_module, "_EVERY", 0.0)
    monkeypatch.setattr(results_module, "_SHARE", 0.0)
    sources, found, seen = [image_file(tmp_path / f"{i}.png") for i in range(4)], tmp_path / "r.json", []

    def watching(image):
        seen.append(names(found) if found.exists() else None)
        return one_person(image)

    assert run_images(watching, sources, options(json=str(found))) == 0
    assert seen == [None, ["0.png"], ["0.png", "1.png"], ["0.png", "1.png", "2.png"]] and len(names(found)) == 4


def test_results_outlive_what_ends_a_run(tmp_path):
    sources, calls = [image_file(tmp_path / f"{i}.png") for i in range(3)], []

    def failing(image):
        calls.append(1)
        if len(calls) == 3:
            raise SystemExit
        return one_person(image)

    with pytest.raises(SystemExit):
        run_images(failing, sources, options(json=str(tmp_path / "r.json")))
    assert names(tmp_path / "r.json") == ["0.png", "1.png"]


def test_a_full_disk_meanwhile_is_said_once_and_made_good_at_the_end(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(results_module, "_EVERY", 0.0)
    monkeypatch.setattr(results_module, "_SHARE", 0.0)
    found, writes = tmp_path / "r.json", []
    real = results_module.write_bytes

    def full(path, data):
        writes.append(1)
        if len(writes) <= 2:
            raise OSError(28, "No space left on device")
        real(path, data)

    monkeypatch.setattr(results_module, "write_bytes", full)
    assert run_images(one_person, [image_file(tmp_path / f"{i}.png") for i in range(3)], options(json=str(found))) == 0
    assert sum("No space" in record.getMessage() for record in caplog.records) == 1 and len(names(found)) == 3
    assert np.isfinite(json.loads(found.read_text())[0]["score"])
