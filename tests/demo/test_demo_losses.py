"""The demo over images: what goes wrong with one image costs that image alone."""

import json
import os

import cv2
import numpy as np
import pytest
from demo_toys import options
from image_toys import png_of
from media_toys import image_file, no_more_than, noise, one_person

from rle_onestage.demo import results as results_module
from rle_onestage.demo import run_images
from rle_onestage.errors import MediaError


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
    with no_more_than(60_000), pytest.raises(MediaError, match="none of 1 images.*File too large"):
        run_images(one_person, [str(tmp_path / "a.png")], chosen)


def test_no_memory_for_an_image_costs_that_image_but_other_errors_are_raised(tmp_path):
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
    with pytest.raises(RuntimeError, match="shapes"):
        run_images(failing(RuntimeError("shapes")), sources, options(json=str(tmp_path / "r.json")))


def test_results_are_there_while_the_run_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(results_module, "_EVERY", 0.0)
    monkeypatch.setattr(results_module, "_SHARE", 0.0)
    sources, found, seen = [image_file(tmp_path / f"{i}.png") for i in range(4)], tmp_path / "r.json", []

    def watching(image):
        seen.append(names(found) if found.exists() else None)
        return one_person(image)

    assert run_images(watching, sources, options(json=str(found))) == 0
    assert seen == [None, ["0.png"], ["0.png", "1.png"], ["0.png", "1.png", "2.png"]] and len(names(found)) == 4


def test_results_outlive_an_error_in_the_model(tmp_path):
    sources, calls = [image_file(tmp_path / f"{i}.png") for i in range(3)], []

    def failing(image):
        calls.append(1)
        if len(calls) == 3:
            raise ValueError("broken")
        return one_person(image)

    with pytest.raises(ValueError, match="broken"):
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
