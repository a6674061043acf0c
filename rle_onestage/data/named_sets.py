"""Where data sets lie that have a name, and how each was labelled; paths are resolved when a set is used."""

import os
from dataclasses import dataclass

from ..structures.skeleton import COCO, CROWDPOSE, H36M, MPII, Skeleton
from ..structures.wholebody import WHOLEBODY
from ..utils.label_address import split_address, split_layout
from ..utils.shards import shard_kind
from .labels import SetOptions
from .yolo.reading import image_root


@dataclass(frozen=True)
class Source:
    """Where a data set lies, relative to ``root`` or absolute."""

    name: str
    # Or a split of a YOLO-pose set, folder/data.yaml:train, a file of another layout, file.json:mpii, or shards that
    # carry their labels, folder/train-*.tar.
    json_file: str
    image_root: str  # "" for YOLO-pose, whose data.yaml says it, and for shards
    root: str | None = None  # None: $DETECTRON2_DATASETS
    skeleton: Skeleton | None = None  # None: from the file's categories
    annotated: bool = True
    options: SetOptions = SetOptions()

    def path(self, relative: str) -> str:
        """``relative`` below ``root``, or below ``$DETECTRON2_DATASETS`` as it is now; absolute paths stay."""
        root = self.root or os.environ.get("DETECTRON2_DATASETS", "datasets")
        return os.path.join(os.path.expanduser(root), os.path.expanduser(relative))

    @property
    def evaluator_type(self) -> str:
        """How its results are scored, as Detectron2's metadata have it."""
        return self.options.scored_as or protocol_of_layout(self.json_file)

    def image_folder(self) -> str:
        """The folder of images; it need not exist."""
        labels = self.path(self.json_file)
        if shard_kind(labels):
            return os.path.dirname(labels) or "."
        return image_root(labels) if split_address(labels) else self.path(self.image_root)


def protocol_of_layout(labels: str) -> str:
    """How results for a file of labels are scored, by its layout."""
    return _PROTOCOLS.get(split_layout(labels).layout, "coco")


_PROTOCOLS = {
    "wholebody": "coco_wholebody", "mpii": "mpii", **dict.fromkeys(("h36m", "h36m_train", "h36m_test"), "h36m"),
}  # of files by their layout  # fmt: skip
_COCO = "coco/annotations"
# Of the noisy labels that datasets/make_synthetic.py writes.
NOISE_MODELS = ("laplace", "gaussian", "correlated", "asymmetric", "two_peaked", "student")
_SETS = (
    [
        Source("rle_coco_2017_train", f"{_COCO}/person_keypoints_train2017.json", "coco/train2017", skeleton=COCO),
        Source("rle_coco_2017_val", f"{_COCO}/person_keypoints_val2017.json", "coco/val2017", skeleton=COCO),
        Source(
            "rle_coco_2017_test-dev",
            f"{_COCO}/image_info_test-dev2017.json",
            "coco/test2017",
            skeleton=COCO,
            annotated=False,
        ),
    ]
    + [
        Source(
            f"rle_{name}_{split}",
            f"{name}/annotations/person_keypoints_{split}.json",
            f"{name}/{split}",
            skeleton=skeleton,
        )
        for name, skeleton in (("synthetic", COCO), ("coco_micro", COCO), ("lspet", None))
        for split in ("train", "val")
    ]
    + [
        Source(
            f"rle_synthetic_{split}_{noise_model}",
            f"synthetic/annotations/person_keypoints_{split}_{noise_model}.json",
            f"synthetic/{split}",
            skeleton=COCO,
        )
        for noise_model in NOISE_MODELS
        for split in ("train", "val")
    ]
)


def _benchmarks() -> list[Source]:
    """Sets that others publish, in the layouts that mmpose documents (https://mmpose.readthedocs.io)."""
    crowds = SetOptions(area="box", scored_as="crowdpose")
    # A part of the people of an image is labelled, and hidden joints are not told from visible ones.
    some, few = SetOptions(area="box", hidden="unknown", partial=True), SetOptions(partial=True)
    crowdpose = [
        Source(
            f"rle_crowdpose_{split}",
            f"crowdpose/annotations/mmpose_crowdpose_{split}.json",
            "crowdpose/images",
            skeleton=CROWDPOSE,
            options=crowds,
        )
        for split in ("train", "val", "trainval", "test")
    ]
    ochuman = [
        Source(
            f"rle_ochuman_{split}",
            f"ochuman/annotations/ochuman_coco_format_{split}_range_0.00_1.00.json",
            "ochuman/images",
            skeleton=COCO,
            options=few,
        )
        for split in ("val", "test")
    ]
    wholebody = [
        Source(
            f"rle_coco_wholebody_{split}",
            f"{_COCO}/coco_wholebody_{split}_v1.0.json:wholebody",
            f"coco/{split}2017",
            skeleton=WHOLEBODY,
        )
        for split in ("train", "val")
    ]
    # Its file names begin with HumanArt/images.
    humanart = [
        Source(f"rle_humanart_{short}", f"HumanArt/annotations/{split}_humanart.json", ".", skeleton=COCO)
        for short, split in (("train", "training"), ("val", "validation"))
    ]
    mpii = [
        Source(
            f"rle_mpii_{split}", f"mpii/annotations/mpii_{split}.json:mpii", "mpii/images", skeleton=MPII, options=some
        )
        for split in ("train", "val")
    ]
    h36m = [
        Source(
            f"rle_h36m_{split}",
            f"Human36M/annotations/Human36M_subject{first}_data.json:h36m_{split}",
            "Human36M/images",
            skeleton=H36M,
        )
        for split, first in (("train", 1), ("test", 9))
    ]
    return [*crowdpose, *ochuman, *wholebody, *humanart, *mpii, *h36m]


BUILT_IN = [*_SETS, *_benchmarks()]
