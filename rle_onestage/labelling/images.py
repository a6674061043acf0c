"""Images in, a COCO-format file of labels out."""

import logging
import os
import time
from pathlib import Path

import numpy as np
import torch

from ..demo.images import image_ids
from ..demo.left_out import is_expected, nothing_usable, reason_to_leave_out
from ..demo.progress import progress
from ..errors import ConfigError, MediaError, counted, shown
from ..evaluation.results import PIXEL_CENTRE, write_json
from ..predictor import Category, Predictor
from ..structures.skeleton import Skeleton
from ..utils.images import read_image
from ..utils.output_files import check_target, kind_of
from ..utils.signals import StopRequest
from ..video import io as media
from .deciding import ImageLabels, Label, decide
from .fusing import as_detections, fuse, match_views
from .options import LabelOptions, Limit
from .views import look, predictors_at

logger = logging.getLogger(__name__)

SOURCE = "rle-onestage"
PERSON = Category()
DECIMALS = 2  # of pixels


class Labeller:
    """Labels the people of an image as far as a predictor is sure of them.

        >>> labeller = Labeller(Predictor(load_config("configs/demo.yaml")), LabelOptions(sizes=(320, 512)))
        >>> labels = labeller(cv2.imread("photo.jpg"))

    Args:
        predictor: a :class:`~.predictor.Predictor`; its own resize is not used.
        options: how to look, and what is sure enough.

    Raises:
        ConfigError: the model has no density of errors, or a threshold names a part that the joints do not have.
    """

    def __init__(self, predictor: Predictor, options: LabelOptions | None = None) -> None:
        self.options = options or LabelOptions()
        self.skeleton: Skeleton = predictor.skeleton
        self.category: Category = getattr(predictor, "category", PERSON)
        for value in vars(self.options).values():
            if isinstance(value, Limit):
                value.of(self.skeleton.names)
        try:
            self.density = predictor.error_density.to("cpu")
        except AttributeError as error:
            raise ConfigError("the model has no density of errors, so no joint is known to be sure") from error
        if self.options.min_joints > self.skeleton.num_joints:
            raise ConfigError(
                f"min_joints is {shown(self.options.min_joints)}, but people have "
                f"{counted(self.skeleton.num_joints, 'joint')}; give fewer"
            )
        self._predictors = predictors_at(predictor, self.options.sizes)

    def __call__(self, image: np.ndarray) -> ImageLabels:
        """The labels of an image.

        Args:
            image: (H, W, 3) uint8 BGR.

        Raises:
            DataError: the image has another shape or type.
            ConfigError: the model reports no standard deviations.
        """
        skeleton = self.skeleton
        views = look(self._predictors, image, skeleton.flip_index, self.options)
        people = [fuse(found) for found in match_views(views, skeleton.oks_sigmas, self.options.match)]
        if not people:
            return ImageLabels([], [])
        fused = as_detections(people)
        sigma, area, oks_sigmas = (
            torch.as_tensor(values, dtype=torch.float32) for values in (fused.sigmas, fused.areas, skeleton.oks_sigmas)
        )
        expected = self.density.expected_oks(sigma, area, oks_sigmas).numpy()
        return decide(
            people, expected, names=skeleton.names, oks_sigmas=skeleton.oks_sigmas, size=image.shape[:2],
            options=self.options,
        )  # fmt: skip


class Counts:
    """How a run goes."""

    def __init__(self) -> None:
        self.images = self.people = self.joints = self.ignored = 0
        self.left_out: list[Exception] = []
        self._begin = time.perf_counter()

    def add(self, labels: ImageLabels) -> None:
        """Count the labels of an image."""
        self.images += 1
        self.people += len(labels.people)
        self.joints += int(sum(person.kept.sum() for person in labels.people))
        self.ignored += len(labels.ignored)

    def __str__(self) -> str:
        seconds = (time.perf_counter() - self._begin) / max(self.images, 1)
        return (
            f"{counted(self.people, 'person', 'people')} with {counted(self.joints, 'joint')} and "
            f"{counted(self.ignored, 'ignore region')} in {counted(self.images, 'image')} ({seconds:.2f} s each)"
        )


def label_images(
    predictor: Predictor,
    inputs: list[str],
    output: str,
    *,
    options: LabelOptions | None = None,
    image_root: str | None = None,
    limit: int | None = None,
    info: dict | None = None,
) -> int:
    """Label image files, folders and globs, and write a COCO-format keypoint file, whole or not at all.

    Images that cannot be read or looked at are named, counted and left out, whatever goes wrong with one. On Ctrl-C,
    SIGTERM or SIGHUP the images labelled so far are written.

    Args:
        predictor: a :class:`~.predictor.Predictor`.
        inputs: files, folders and globs.
        output: the file to write.
        options: how to look, and what is sure enough.
        image_root: folder that the file's image names are relative to; None takes the innermost one that has all.
        limit: at most so many images, the first ones.
        info: more to be written down in ``info``.

    Returns:
        the exit code: 0, also where images that are damaged or too large were left out; 1 where others failed;
        128 + signal when interrupted.

    Raises:
        MediaError: an input does not exist or is not below ``image_root``, no image can be read, or the output cannot
            be written.
        ConfigError: see :class:`Labeller`.
    """
    files = media.find_images(inputs)[:limit]
    names = relative_names(files, image_root)
    _check_output(output, files)
    labeller = Labeller(predictor, options)
    counts = Counts()
    sizes, mirror = labeller.options.sizes, labeller.options.mirror
    mirrored = ", as it is and mirrored" if mirror else ""
    logger.info("Each image is looked at with longest sides of %s px%s", ", ".join(map(str, sizes)), mirrored)
    with StopRequest() as stop:
        images, annotations = _label_all(labeller, files, names, counts, stop)
    if not images:
        raise nothing_usable(files, counts.left_out[0])
    info = {"description": f"labels by {SOURCE}", "options": labeller.options.as_dict(), **(info or {})}
    category = category_of(labeller.skeleton, labeller.category)
    labels = {"info": info, "images": images, "annotations": annotations, "categories": [category]}
    write_json(labels, output, keep_earlier=True)  # which somebody may have corrected
    return _ended(stop, counts, output, len(files))


def _label_all(
    labeller: Labeller, files: list[str], names: list[str], counts: Counts, stop: StopRequest
) -> tuple[list[dict], list[dict]]:
    """The file's ``images`` and ``annotations``, until a signal came; what cannot be used is named and counted."""
    images: list[dict] = []
    annotations: list[dict] = []
    for file, name, image_id in progress(list(zip(files, names, image_ids(files))), len(files), "image", counts):
        try:
            image = read_image(file)
            labels = labeller(image)
        except Exception as error:
            logger.warning("left out %s: %s", file, reason_to_leave_out(error))
            counts.left_out.append(error)
            continue
        counts.add(labels)
        images.append({"id": image_id, "file_name": name, "width": image.shape[1], "height": image.shape[0]})
        first = len(annotations) + 1
        annotations.extend(annotations_of(labels, image_id, first, image.shape[:2], labeller.category.id))
        if stop.signum:
            break
    return images, annotations


def _ended(stop: StopRequest, counts: Counts, output: str, number: int) -> int:
    """Say what was done of so many images; the exit code."""
    left_out = f"; {counted(len(counts.left_out), 'image')} left out" if counts.left_out else ""
    logger.info("%s%s; written to %s", counts, left_out, output)
    if not stop.signum:
        return 0 if all(map(is_expected, counts.left_out)) else 1
    logger.warning("interrupted: %s has %d of %d images", output, counts.images, number)
    return stop.exit_code


def annotations_of(
    labels: ImageLabels, image_id: int, first_id: int, size: tuple[int, int], category_id: int | str = 1
) -> list[dict]:
    """The labels of an image as COCO annotations, people first.

    Args:
        labels: in pixels from the corner of the first pixel; the file has pixel indices.
        image_id: of the image.
        first_id: of the first annotation; the others follow.
        size: height and width of the image.
        category_id: of what was found.
    """
    return [
        _annotation(label, size, {"id": number, "image_id": image_id, "category_id": category_id, "iscrowd": crowd})
        for number, (label, crowd) in enumerate(
            [*((p, 0) for p in labels.people), *((region, 1) for region in labels.ignored)], start=first_id
        )
    ]


def _annotation(label: Label, size: tuple[int, int], ids: dict) -> dict:
    last = np.array([size[1] - 1, size[0] - 1])
    points = (label.joints - PIXEL_CENTRE).clip(0, last).round(DECIMALS)
    keypoints = np.concatenate([points, np.full((len(points), 1), 2.0)], 1) * label.kept[:, None]
    sigmas = label.sigmas.round(DECIMALS + 1) * label.kept[:, None]
    between = label.correlations * label.sigmas.prod(-1)
    covariances = np.insert(label.sigmas**2, 1, between, axis=1).round(2 * DECIMALS + 1) * label.kept[:, None]
    x0, y0, x1, y1 = label.box
    return {
        **ids,
        "bbox": [round(float(v), DECIMALS) for v in (x0, y0, x1 - x0, y1 - y0)],
        "area": round(label.area, DECIMALS),
        "area_source": "box x the model's ratio",
        "segmentation": [],  # CVAT wants the field
        "keypoints": [int(v) if v == int(v) else v for v in keypoints.ravel().tolist()],
        "num_keypoints": int(label.kept.sum()),
        "keypoint_sigmas": sigmas.ravel().tolist(),
        "keypoint_covariances": covariances.ravel().tolist(),
        "score": round(label.score, 4),
        "source": SOURCE,
    }


def category_of(skeleton: Skeleton, category: Category = PERSON) -> dict:
    """The ``categories`` entry of a file with these joints; limbs are counted from 1, as COCO does."""
    return {
        "id": category.id,
        "name": category.name,
        "supercategory": category.name,
        "keypoints": list(skeleton.names),
        "skeleton": [[a + 1, b + 1] for a, b in skeleton.limbs],
    }


def relative_names(files: list[str], image_root: str | None) -> list[str]:
    """Names of images relative to a folder, with slashes on every system.

    Args:
        files: paths.
        image_root: the folder; None takes the innermost one that has all files.

    Raises:
        MediaError: the folder does not exist, or a file is not below it.
    """
    paths = [os.path.abspath(file) for file in files]
    if image_root is None:
        root = os.path.commonpath([os.path.dirname(path) for path in paths])
    else:
        root = os.path.abspath(os.path.expanduser(image_root))
        if not os.path.isdir(root):
            raise MediaError(f"folder {image_root} does not exist; check --image-root")
    for file, path in zip(files, paths):
        if not Path(path).is_relative_to(root):
            raise MediaError(f"{file} is not below {image_root}; give a folder that has all images as --image-root")
    return [Path(path).relative_to(root).as_posix() for path in paths]


def _check_output(output: str, files: list[str]) -> None:
    """Fail now rather than after an hour."""
    check_target(output, "--output")
    if os.path.realpath(output) in map(os.path.realpath, files):
        raise MediaError(f"{output} is an input and would be overwritten; give another file with --output")
    if not kind_of(output):
        media.make_folder(os.path.dirname(os.path.abspath(output)))
