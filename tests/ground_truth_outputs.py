"""Labels as dense outputs of a network that is always right, through codec, decode and evaluation.

For each image: targets as in training, candidates and assignment of the style; at the assigned locations the boxes
    and joints of
the person, encoded and decoded again; everywhere else nothing. What comes out is what the best network could get.
"""

import torch
from detectron2.structures import Boxes, BoxMode, Instances, Keypoints
from modeling_toys import candidate_predictions

from rle_onestage.data.datasets import load_dataset
from rle_onestage.evaluation import PoseEvaluator
from rle_onestage.modeling.assignment import Assignment, CenterAssigner, DynamicAssigner, PeakAssigner
from rle_onestage.modeling.codec import ScaleCodec, decode_boxes, decode_joints, encode_boxes, encode_joints
from rle_onestage.modeling.density import build_density
from rle_onestage.modeling.locations import make_locations
from rle_onestage.modeling.postprocessing import Decoder
from rle_onestage.modeling.structures import DenseOutputs, Poses
from rle_onestage.modeling.targets import make_targets, take

STRIDES = {"fcos": (8, 16, 32), "center": (8, 16, 32), "centernet": (4,)}
SIGMA = 0.05  # strides


def make_assigner(style, sigmas):
    """The assigner of a style; "center" is the fcos style with plain centre sampling."""
    if style == "centernet":
        return PeakAssigner()
    if style == "center":
        return CenterAssigner(radius=1.5, level_sizes=[64, 128])
    return DynamicAssigner(topk=10, radius=2.5, oks_widen=3.0, oks_sigmas=sigmas)


def make_decoder(style, sigmas, **options):
    """A decoder with the defaults of the config."""
    defaults = {
        "topk": 100,
        "pre_nms_topk": 0,
        "score_thresh": 0.01,
        "max_people": 100,
        "box_nms": 0.65,
        "oks_nms": 0.7,
    }
    powers = {"score_power": 1.0, "quality_power": 0.5, "oks_power": 1.0}
    own = {"oks_sigmas": list(sigmas), "group": [0] * len(sigmas), "use_peaks": style == "centernet"}
    decoder = Decoder(**{**own, **defaults, **powers, **options})
    decoder.set_density(build_density("laplace"))
    return decoder


def assign(style, sigmas, targets, locations):
    """Pairs and assignment when every candidate answers exactly for the nearest person that it may answer for."""
    assigner = make_assigner(style, sigmas)
    pairs = assigner.candidates(locations, targets)
    image, location = pairs.candidates
    centre = (targets.boxes[..., :2] + targets.boxes[..., 2:])[image] / 2  # (P, M, 2)
    gap = (centre - locations.xy[location][:, None]).abs().amax(-1).masked_fill(~pairs.allowed, float("inf"))
    person = take(targets, image, gap.argmin(1))
    poses = Poses(person.joints, torch.ones_like(person.joints), torch.zeros_like(person.joints[..., 0]))
    said = candidate_predictions(poses, indices=pairs.candidates, boxes=person.boxes)
    return pairs, assigner(pairs, locations, targets, said)


def perfect_people(inputs, style, sigmas, decoder):
    """People of images (dicts as for training, with labels) from outputs that are the labels.

    Returns:
        list of Instances, and the number of labelled people without an assigned location.
    """
    targets = make_targets(inputs, len(sigmas), torch.device("cpu"))
    sides = [max(x["image"].shape[axis] for x in inputs) for axis in (1, 2)]
    shapes = [tuple(-(-side // stride) for side in sides) for stride in STRIDES[style]]
    locations = make_locations(shapes, STRIDES[style], torch.device("cpu"))
    pairs, assignment = assign(style, sigmas, targets, locations)
    dense, table = _outputs(targets, locations, pairs, assignment)
    candidates, score = decoder.select(dense, locations)
    image, location = candidates
    joints, presence = table[0][image, location], table[1][image, location]
    stride = locations.stride[location]
    codec = ScaleCodec(form="softplus", floor=0.02, init=SIGMA)
    poses = Poses(
        mu=decode_joints(joints, locations.xy[location], stride),
        scale=codec.decode(torch.zeros_like(joints), codec.unit(stride, torch.zeros(len(stride), 4))),
        presence=presence,
    )
    boxes = decode_boxes(dense.box[image, location], locations.xy[location], stride)
    said = candidate_predictions(poses, indices=candidates, boxes=boxes, score=dense.score[image, location])
    people = decoder(said, score)
    image_sizes = [tuple(x["image"].shape[1:]) for x in inputs]
    found = decoder.to_instances(people, image_sizes, [(x["height"], x["width"]) for x in inputs])
    return found, _unanswered(targets, pairs, assignment)


def _outputs(targets, locations, pairs, assignment: Assignment):
    """Dense outputs, and the (offsets, presence) of every location that a projection would give."""
    batch, count, joints = len(targets.valid), len(locations.xy), targets.joints.shape[2]
    chosen = (assignment.person >= 0).nonzero()[:, 0]
    image, location = (index[chosen] for index in pairs.candidates)
    person = take(targets, image, assignment.person[chosen])
    xy, stride = locations.xy[location], locations.stride[location]
    logits, box = torch.full((batch, count), -20.0), torch.ones(batch, count, 4)
    offsets, presence = torch.zeros(batch, count, joints, 2), torch.full((batch, count, joints), -20.0)
    # The better a candidate fits, the surer; distances to the sides cannot be negative.
    logits[image, location] = torch.logit(assignment.target[chosen].clamp(max=0.99)) + 3
    box[image, location] = encode_boxes(person.boxes, xy, stride).clamp(min=0)
    # Unlabelled joints are somewhere in the person, not all at the origin.
    middle = (person.boxes[:, None, :2] + person.boxes[:, None, 2:]) / 2
    truth = torch.where(person.labelled[..., None], person.joints, middle)
    offsets[image, location] = encode_joints(truth, xy, stride)
    presence[image, location] = torch.where(person.labelled, 20.0, -20.0)
    return DenseOutputs(logits, torch.zeros(0), box, torch.zeros(batch, count, 0)), (offsets, presence)


def _unanswered(targets, pairs, assignment):
    answered = torch.zeros_like(targets.valid)
    chosen = assignment.person >= 0
    answered[pairs.candidates.image[chosen], assignment.person[chosen]] = True
    return int((targets.valid & targets.labelled.any(2) & ~answered).sum())


def run(cfg, name, style, **options):
    """Figures of a data set's labels through targets, codec and decode.

    Args:
        cfg: gives the number of joints. name: of a registered data set. style: a key of ``STRIDES``.
        options: of the decoder.

    Returns:
        The figures of :class:`PoseEvaluator`, and the number of labelled people without an assigned location.
    """
    records = load_dataset(cfg, name)
    evaluator = PoseEvaluator.from_config(cfg, name, output_dir=None)
    sigmas = evaluator.oks_sigmas.tolist()
    decoder = make_decoder(style, sigmas, **options)
    missed = 0
    for record in records:
        sample = {**record, **_labels(record, len(sigmas))}
        found, count = perfect_people([sample], style, sigmas, decoder)
        evaluator.process([sample], [{"instances": found[0]}])
        missed += count
    return evaluator.evaluate(), missed


def _labels(record, num_joints):
    """The fields of a sample for training, of a image as it is."""
    size = (record["height"], record["width"])
    people = [a for a in record["annotations"] if not a.get("iscrowd")]
    crowds = [a for a in record["annotations"] if a.get("iscrowd")]
    truth = Instances(size)
    truth.gt_boxes = Boxes(torch.tensor([_corners(a) for a in people]).reshape(-1, 4))
    ignore_boxes = Boxes(torch.tensor([_corners(a) for a in crowds]).reshape(-1, 4))
    keypoints = torch.tensor([a["keypoints"] for a in people], dtype=torch.float32)
    truth.gt_keypoints = Keypoints(keypoints.reshape(-1, num_joints, 3))
    truth.gt_area = torch.tensor([a["area"] for a in people], dtype=torch.float32)
    return {"image": torch.empty(3, *size), "instances": truth, "ignore_boxes": ignore_boxes}


def _corners(annotation):
    return BoxMode.convert(list(annotation["bbox"]), annotation["bbox_mode"], BoxMode.XYXY_ABS)
