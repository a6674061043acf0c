"""Training samples of noise, where a benchmark has no data set."""

from typing import Any

import torch
from detectron2.structures import Boxes, Instances, Keypoints


def random_sample(number: int, side: int, num_joints: int, people: int = 3) -> dict[str, Any]:
    """A training sample of noise with people anywhere."""
    generator = torch.Generator().manual_seed(number)
    corner = torch.rand(people, 2, generator=generator) * side * 0.5
    boxes = torch.cat([corner, corner + side * (0.2 + 0.3 * torch.rand(people, 2, generator=generator))], 1)
    share = torch.rand(people, num_joints, 2, generator=generator)
    joints = boxes[:, None, :2] * (1 - share) + boxes[:, None, 2:] * share
    truth = Instances((side, side))
    truth.gt_boxes, truth.gt_classes = Boxes(boxes), torch.zeros(people, dtype=torch.int64)
    truth.gt_area = 0.5 * truth.gt_boxes.area()
    truth.gt_keypoints = Keypoints(torch.cat([joints, torch.full((people, num_joints, 1), 2.0)], 2))
    image = torch.randint(0, 256, (3, side, side), dtype=torch.uint8, generator=generator)
    return {
        "image": image, "instances": truth, "height": side, "width": side, "file_name": f"random {number}",
        "image_id": number,
    }  # fmt: skip
