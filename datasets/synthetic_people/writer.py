"""Write a data set: images, COCO-format labels, videos; in parallel, into a temporary folder that is renamed when
it is complete."""

import json
import multiprocessing
import os
import shutil
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from tqdm import tqdm

from rle_onestage.errors import DataError
from rle_onestage.utils.near import did_you_mean

from .labels import category
from .noise import check_noise, write_noisy_labels
from .render import render
from .scene import Layout, sample_scene
from .seeds import stream
from .statistics import clips_sentence, clips_summary, difficulty, sentence
from .video import write_video

if TYPE_CHECKING:
    from synthetic_people.camera import Camera


VERSION = 1
JPEG_QUALITY = 92
SETTINGS_FILE = "settings.json"


@dataclass(frozen=True)
class Settings:
    """All that decides the bytes of a set. ``size`` is the longest side, or (width, height); ``video_style`` is
    "passing" (``video``) or "tracking" (``clips``)."""

    train: int = 3000
    val: int = 500
    videos: int = 2
    frames: int = 75
    size: int | tuple[int, int] = 256
    seed: int = 0
    supersampling: int = 2
    layout: Layout = Layout()
    video_style: str = "passing"


# Fields that sets made before them lack: at its default such a field is left out of the files.
ADDED = ("video_style",)

PRESETS = {
    "quickstart": Settings(),
    "standard": Settings(train=20000, val=2000, videos=8, frames=150, size=640),
    "crowded": Settings(
        train=3000,
        val=500,
        size=384,
        layout=Layout(people=(6, 14), weights=(1.0,), crowding=1.2, close_up=0.04, share=(0.5, 0.85)),
    ),
    "clips": Settings(
        train=0,
        val=0,
        videos=10,
        frames=200,
        size=(480, 360),
        layout=Layout(people=(3, 12), weights=(1.0,), close_up=0.0, share=(0.42, 0.6)),
        video_style="tracking",
    ),
}


@dataclass(frozen=True)
class Job:
    """A piece of work for one process: a few images of a split, or one video."""

    folder: str
    split: str
    number: int
    count: int
    frames: int
    size: int | tuple[int, int]
    seed: int
    supersampling: int
    layout: Layout
    info: dict
    categories: list
    video_style: str = "passing"


def make_dataset(
    output: Path | str,
    *,
    preset: str = "quickstart",
    workers: int | None = None,
    force: bool = False,
    quiet: bool = False,
    noise: str | None = None,
    noise_scale: float = 1.0,
    **changes: Any,
) -> dict[str, dict[str, Any]]:
    """Make the synthetic set in ``output``, or find that it is there already.

    Args:
        preset: a name in ``PRESETS``; ``changes`` replace its fields (train, val, videos, frames, size, seed,
            supersampling) and ``people`` (min, max).
        workers: processes; default one for each core that may be used. The files do not depend on it.
        force: replace an existing different set.
        noise: one of :data:`.noise.NOISE_MODELS`: also write annotation files with noisy labels, over the same images.
        noise_scale: factor of the standard deviation of :func:`.noise.noise_std`.

    Returns:
        dict of split -> :func:`~.statistics.difficulty`, and "videos" -> :func:`~.statistics.clips_summary` if
        these are for tracking.

    Raises:
        DataError: arguments out of range, or ``output`` holds something else.
    """
    settings = make_settings(preset, **changes)
    if noise is not None:
        check_noise(noise, noise_scale)
    output = os.path.abspath(output)
    say = (lambda text: None) if quiet else (lambda text: print(text, flush=True))
    found = find_existing(output, settings, force)
    if found is not None:
        say(f"{output} is complete already")
    else:
        start = time.time()
        generate(output, settings, workers or usable_cores(), quiet)
        found = read_statistics(output)
        images = settings.train + settings.val
        say(f"made {images} images and {settings.videos} videos in {time.time() - start:.1f} s: {output}")
    for split, figures in found.items():
        if split == "videos" or figures["images"]:
            say(clips_sentence(split, figures) if split == "videos" else sentence(split, figures))
    if noise is not None:
        say(f"adding annotation files with {noise} noise of the labels; the images and clean labels stay as they are")
        for path, line in write_noisy_labels(output, noise, noise_scale).items():
            say(f"{os.path.relpath(path, output)}: {line}")
    return found


def make_settings(preset: str, people: list[int] | tuple[int, int] | None = None, **changes: Any) -> "Settings":
    """Settings of a preset with changes; DataError names what is out of range."""
    if preset not in PRESETS:
        hint = did_you_mean(preset, PRESETS)
        raise DataError(f"preset {preset!r} is unknown; {hint}{' ' * bool(hint)}choose one of {', '.join(PRESETS)}")
    settings = replace(PRESETS[preset], **{k: v for k, v in changes.items() if v is not None})
    if people is not None:
        if not 1 <= people[0] <= people[1] <= 40:
            raise DataError(
                f"people {people[0]} to {people[1]} makes no sense; give MIN and MAX with 1 <= MIN <= MAX <= 40"
            )
        settings = replace(settings, layout=replace(settings.layout, people=tuple(int(p) for p in people)))
    size = (settings.size,) if not isinstance(settings.size, (tuple, list)) else tuple(settings.size)
    if len(size) not in (1, 2) or any(int(s) != s or not 64 <= s <= 4096 or s % 2 for s in size):
        raise DataError(
            f"size {' x '.join(map(str, size))} cannot be made; give one or two even numbers from 64 to 4096"
        )
    for name in ("train", "val", "videos"):
        if getattr(settings, name) < 0:
            raise DataError(f"--{name} {getattr(settings, name)} is negative; give 0 or more")
    if settings.frames < 2:
        raise DataError(f"--frames {settings.frames} makes no video; give 2 or more")
    if not 0 <= settings.seed < 2**63:
        raise DataError(f"seed {settings.seed} is out of range; give a number from 0 to 2^63 - 1")
    return replace(settings, size=int(size[0]) if len(size) == 1 else (int(size[0]), int(size[1])))


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def as_json(settings: "Settings") -> dict:
    """Settings as they come back from a JSON file; without what is in ``ADDED`` and at its default, so that older sets
    stay complete and their files the same."""
    default = {f.name: f.default for f in fields(settings)}
    kept = {k: v for k, v in asdict(settings).items() if k not in ADDED or v != default[k]}
    return json.loads(json.dumps({"generator_version": VERSION, **kept}))


def find_existing(output: str, settings: "Settings", force: bool) -> dict[str, dict[str, Any]] | None:
    """Statistics of a complete set of the same settings, or None when ``output`` may be written.

    Raises:
        DataError: there is something else.
    """
    if not os.path.exists(output) or (os.path.isdir(output) and not os.listdir(output)):
        return None
    path = os.path.join(output, SETTINGS_FILE)
    if not os.path.isfile(path):
        raise DataError(f"{output} exists and is not a synthetic set; name another folder")
    with open(path) as file:
        there = json.load(file)
    if there == as_json(settings) and _is_complete(output, settings):
        return read_statistics(output)
    if force:
        return None
    wanted = as_json(settings)
    different = sorted(k for k in {*there, *wanted} if there.get(k) != wanted.get(k)) or ["missing files"]
    raise DataError(
        f"{output} holds a different synthetic set ({', '.join(different)}); "
        "use --force to replace it or name another folder"
    )


def _is_complete(output: str, settings: "Settings") -> bool:
    for split in ("train", "val"):
        folder = os.path.join(output, split)
        if not os.path.isfile(_json_path(output, split)) or len(os.listdir(folder)) != getattr(settings, split):
            return False
    return len(os.listdir(os.path.join(output, "videos"))) == settings.videos


def _json_path(folder: str, split: str) -> str:
    return os.path.join(folder, "annotations", f"person_keypoints_{split}.json")


def read_statistics(output: str) -> dict:
    """The figures that were stored when the set was made."""
    with open(os.path.join(output, "statistics.json")) as file:
        return json.load(file)


def generate(output: str, settings: "Settings", workers: int, quiet: bool = True) -> None:
    """Make everything in a temporary folder beside ``output`` and rename it; whatever goes wrong, ``output`` stays as
    it was."""
    partial = f"{output}.partial-{os.getpid()}"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        for name in ("annotations/videos", "train", "val", "videos"):
            os.makedirs(os.path.join(partial, name))
    except OSError as error:
        raise DataError(f"{output} cannot be written ({error.strerror}); name another folder") from error
    try:
        _fill(partial, settings, workers, quiet)
        old = f"{output}.old-{os.getpid()}"
        if os.path.exists(output):
            os.rename(output, old)
        os.rename(partial, output)
        shutil.rmtree(old, ignore_errors=True)
    except BrokenProcessPool as error:
        raise DataError(
            f"a process that draws images was killed (out of memory?); give fewer than {workers} with --workers"
        ) from error
    except OSError as error:
        raise DataError(
            f"{output} cannot be made ({error.strerror or error}); check the space left there and, with --workers "
            "above 1, in /dev/shm (docker run --shm-size)"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _fill(folder: str, settings: "Settings", workers: int, quiet: bool) -> None:
    info = {
        "description": "Synthetic people of rle-onestage",
        "version": str(VERSION),
        "seed": settings.seed,
        "settings": as_json(settings),
    }
    shared: dict[str, Any] = dict(folder=folder, frames=settings.frames, size=settings.size, seed=settings.seed,
                  supersampling=settings.supersampling, video_style=settings.video_style,
                  layout=settings.layout, info=info, categories=[category()])  # fmt: skip
    jobs = [Job(split="videos", number=k, count=0, **shared) for k in range(settings.videos)]
    for split in ("train", "val"):
        total = getattr(settings, split)
        jobs += [Job(split=split, number=k, count=min(16, total - k), **shared) for k in range(0, total, 16)]
    results = _run(jobs, workers, settings.train + settings.val + settings.videos * settings.frames, quiet)
    statistics = {}
    for split in ("train", "val"):
        parts = [part for job, result in zip(jobs, results) if job.split == split for part in result]
        data = _collect(parts, info)
        statistics[split] = difficulty(data)
        data["info"] = {**info, "statistics": statistics[split]}
        with open(_json_path(folder, split), "w") as file:
            json.dump(data, file)
    if settings.video_style == "tracking":
        statistics["videos"] = clips_summary([r for job, r in zip(jobs, results) if job.split == "videos"])
    for name, content in (("statistics.json", statistics), (SETTINGS_FILE, as_json(settings))):
        with open(os.path.join(folder, name), "w") as file:
            json.dump(content, file, indent=1)


def _collect(parts: list[tuple[dict, list]], info: dict) -> dict[str, Any]:
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image, people in parts:
        images.append(image)
        for person in people:
            annotations.append({"id": len(annotations) + 1, "image_id": image["id"], **person})
    return {"info": info, "images": images, "annotations": annotations, "categories": [category()], "licenses": []}


def _run(jobs: "list[Job]", workers: int, total: int, quiet: bool) -> list[Any]:
    """Results in the order of the jobs."""
    results: list[Any] = [None] * len(jobs)
    progress = Progress(total, quiet)
    if workers == 1:
        for k, job in enumerate(jobs):
            results[k] = work(job)
            progress.advance(job.count or job.frames)
    else:
        # A forked worker need not import the package (and torch) again; elsewhere than on Linux forking is not safe.
        context = multiprocessing.get_context("fork" if sys.platform.startswith("linux") else "spawn")
        with ProcessPoolExecutor(
            workers, mp_context=context, initializer=_prepare_worker, initargs=(os.getpid(),)
        ) as pool:
            futures = {pool.submit(work, job): k for k, job in enumerate(jobs)}
            try:
                for future in as_completed(futures):
                    k = futures[future]
                    results[k] = future.result()
                    progress.advance(jobs[k].count or jobs[k].frames)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    progress.close()
    return results


def _prepare_worker(parent: int) -> None:
    """One thread for OpenCV, and an end when the parent has ended, however that came about."""
    cv2.setNumThreads(1)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def work(job: "Job") -> dict[str, float] | list[tuple[dict, list]] | None:
    """Do one job: [(image entry, annotations)] of images, or :func:`~.video.write_video`'s figures."""
    if job.split == "videos":
        return write_video(job)
    return [write_image(job, number) for number in range(job.number, job.number + job.count)]


def make_image(
    seed: int, split: str, number: int, size: int | tuple[int, int], layout: "Layout", supersampling: int = 2
) -> "tuple[np.ndarray, list[dict], Camera]":
    """(image (H, W, 3) uint8 BGR, annotations without ids, camera): a pure function of the arguments."""
    scene = sample_scene(seed, split, number, size, layout)
    image, people = render(scene, stream(seed, split, number, "effects", 1), supersampling)
    return image, [person for person in people if person is not None], scene.camera


def write_image(job: "Job", number: int) -> tuple[dict[str, Any], list[dict]]:
    """Write one JPEG; (image entry, annotations)."""
    image, people, camera = make_image(job.seed, job.split, number, job.size, job.layout, job.supersampling)
    name = f"{number + 1:012d}.jpg"
    path = os.path.join(job.folder, job.split, name)
    if not cv2.imwrite(path, image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]):
        raise DataError(f"{path} cannot be written; is the disk full?")
    height, width = image.shape[:2]
    return {"id": number + 1, "file_name": name, "width": width, "height": height, "camera": camera.as_dict()}, people


class Progress:
    """A bar on a terminal, a plain line every tenth elsewhere."""

    def __init__(self, total: int, quiet: bool):
        self.total, self.done, self.quiet, self.start = max(total, 1), 0, quiet, time.time()
        self.bar = tqdm(total=total, unit="img", desc="synthetic people") if not quiet and sys.stderr.isatty() else None

    def advance(self, count: int) -> None:
        """``count`` more images are done."""
        before, self.done = self.done, self.done + count
        if self.bar is not None:
            self.bar.update(count)
        elif not self.quiet and before * 10 // self.total != self.done * 10 // self.total:
            seconds = time.time() - self.start
            left = seconds / self.done * (self.total - self.done)
            print(
                f"synthetic people: {self.done}/{self.total} images, {self.done / seconds:.1f}/s, {left:.0f} s left",
                flush=True,
            )

    def close(self) -> None:
        """Finish the bar."""
        if self.bar is not None:
            self.bar.close()
