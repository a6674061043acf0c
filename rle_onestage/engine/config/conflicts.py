"""Keys that decide over other keys: what a config says in vain is said, and the size at test is settled."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from detectron2.config import CfgNode, get_cfg
from detectron2.utils import comm

from rle_onestage.config import add_rle_onestage_config
from rle_onestage.engine.config.validation import get
from rle_onestage.engine.ema import ema_decay

logger = logging.getLogger("rle_onestage")

WITHOUT_PRESET = ("laplace", "gaussian", "student", "l1", "l2")  # densities for which PRESET has no effect
OTHER_SIZE = 1.3  # times as large: the zoom of most trainings covers less
TEST_KEYS = ("INPUT.MIN_SIZE_TEST", "INPUT.MAX_SIZE_TEST")


def input_sizes(cfg: CfgNode) -> dict[str, dict[str, Any]]:
    """The sizes of the images in training and at test, in pixels, for ``metrics.json``.

    Returns:
        ``{"train": ..., "test": ...}``, each ``{"canvas": side}`` or ``{"shortest": side or sides, "longest": side}``;
        a shortest side of 0 leaves the images as they are.
    """
    inputs = cfg.INPUT
    train = {"canvas": inputs.POSE.SIZE}
    if not inputs.POSE.SIZE:
        sides = inputs.MIN_SIZE_TRAIN
        sides = list(sides) if isinstance(sides, (list, tuple)) else sides
        train = {"shortest": sides, "longest": inputs.MAX_SIZE_TRAIN}
    return {"train": train, "test": {"shortest": inputs.MIN_SIZE_TEST, "longest": inputs.MAX_SIZE_TEST}}


def other_size(sizes: Mapping[str, Mapping[str, Any]]) -> str:
    """A sentence, and a blank, where images have a clearly other size at test than in training; else nothing.

    Args:
        sizes: of :func:`input_sizes`.
    """
    train, test = (max(size.get("canvas", 0), size.get("longest", 0)) for size in (sizes["train"], sizes["test"]))
    if not sizes["test"]["shortest"] or max(train, test) <= OTHER_SIZE * min(train, test):
        return ""
    return (
        f"The images are tested at {describe_size(sizes['test'])}, but the config trains at "
        f"{describe_size(sizes['train'])}, and sigma is right at about the size of the training or of a calibration: "
        "test at that size, or calibrate at this one. "
    )


def describe_size(size: Mapping[str, Any]) -> str:
    """One of :func:`input_sizes` in words."""
    if "canvas" in size:
        return f"a canvas of {size['canvas']} px"
    shortest, longest = size["shortest"], size["longest"]
    if shortest == 0:
        return "the images' own size"
    if isinstance(shortest, list):
        low, high = min(shortest), max(shortest)
        shortest = low if low == high else f"{low} to {high}"
    elif shortest >= longest:
        return f"a longest side of {longest} px"
    return f"a shortest side of {shortest} px and a longest of at most {longest} px"


def settle_test_size(cfg: CfgNode, opts: Sequence[Any] | None = ()) -> None:
    """Let a config that trains on a canvas and leaves the size at test open be tested at the canvas's size.

    That is what such configs meant while ``INPUT.POSE.SIZE`` decided at test too: their runs keep their metrics. The
    size is written into the keys that Detectron2 knows, so that its own tools use it as well.

    Args:
        cfg: changed in place, where both keys are at Detectron2's defaults.
        opts: ``[KEY, VALUE, ...]`` of the command line; what stands there is left alone.
    """
    side, defaults = cfg.INPUT.POSE.SIZE, get_cfg()
    named = set((opts or ())[0::2]) & set(TEST_KEYS)
    if not side or named or any(get(cfg, key) != get(defaults, key) for key in TEST_KEYS):
        return
    cfg.INPUT.MIN_SIZE_TEST = cfg.INPUT.MAX_SIZE_TEST = side
    _warn(f"{' and '.join(TEST_KEYS)} are Detectron2's defaults: images are tested at INPUT.POSE.SIZE, {side}")


def say_sizes_of(cfg: CfgNode) -> None:
    """Say where the sizes of images in training and at test differ."""
    sizes, side = input_sizes(cfg), cfg.INPUT.POSE.SIZE
    if side and not cfg.INPUT.MIN_SIZE_TEST == cfg.INPUT.MAX_SIZE_TEST == side and comm.is_main_process():
        logger.info(
            "Size of images at test: %s (%s); in training: %s (INPUT.POSE.SIZE).",
            describe_size(sizes["test"]), " and ".join(TEST_KEYS), describe_size(sizes["train"]),
        )  # fmt: skip


def warn_of_conflicts(cfg: CfgNode) -> None:
    """Warn of every key that has no effect because another one decides."""
    for sentence in conflicts(cfg):
        _warn(sentence)


def conflicts(cfg: CfgNode) -> list[str]:
    """A sentence for each key that was set and has no effect because another one decides."""
    defaults = get_cfg()
    add_rle_onestage_config(defaults)

    def are_set(*keys: str) -> list[str]:
        return [key for key in keys if get(cfg, key) != get(defaults, key)]

    return [*_size_conflicts(cfg, are_set), *_model_conflicts(cfg, are_set), *_test_conflicts(cfg)]


def _size_conflicts(cfg: CfgNode, are_set: Callable[..., list[str]]) -> Iterator[str]:
    inputs = cfg.INPUT
    side, shortest, longest = inputs.POSE.SIZE, inputs.MIN_SIZE_TEST, inputs.MAX_SIZE_TEST
    if shortest > longest:
        yield (
            f"INPUT.MIN_SIZE_TEST {shortest} has no effect, because INPUT.MAX_SIZE_TEST is {longest}: for a longest "
            f"side of {shortest} set both"
        )
    canvas = ("INPUT.POSE.SCALE", "INPUT.POSE.ROTATE", "INPUT.POSE.TRANSLATE")
    edges = ("INPUT.MIN_SIZE_TRAIN", "INPUT.MAX_SIZE_TRAIN", "INPUT.MIN_SIZE_TRAIN_SAMPLING")
    if are_set(*edges) and side:
        yield f"{', '.join(are_set(*edges))} has no effect, because INPUT.POSE.SIZE sets a canvas for training"
    if are_set(*canvas) and not side:
        yield f"{', '.join(are_set(*canvas))} has no effect without a canvas; set INPUT.POSE.SIZE"
    if are_set("INPUT.POSE.FLIP_PROB") and inputs.POSE.FLIP_PROB and inputs.RANDOM_FLIP == "none":
        yield "INPUT.POSE.FLIP_PROB has no effect, because INPUT.RANDOM_FLIP is none"
    if are_set("DATASETS.PROPOSAL_FILES_TEST") and inputs.MAPPER == "PoseMapper":
        yield "DATASETS.PROPOSAL_FILES_TEST has no effect with INPUT.MAPPER PoseMapper; set that to GivenBoxesMapper"
    if are_set("DATALOADER.SAMPLER_TRAIN"):
        yield "DATALOADER.SAMPLER_TRAIN has no effect here: every image comes once in a round"


def _model_conflicts(cfg: CfgNode, are_set: Callable[..., list[str]]) -> Iterator[str]:
    if cfg.MODEL.META_ARCHITECTURE != "RLEOneStage":
        return
    model, prefix = cfg.MODEL.RLE_ONESTAGE, "MODEL.RLE_ONESTAGE."
    if 0 < model.REFINE.TEST_STEPS < model.REFINE.STEPS:
        yield (
            f"{prefix}REFINE.TEST_STEPS {model.REFINE.TEST_STEPS} has no effect, because REFINE.STEPS is "
            f"{model.REFINE.STEPS}: at test there are no fewer passes than in training"
        )
    context = are_set(f"{prefix}REFINE.CONTEXT_FEATURES")
    if context and not model.REFINE.STEPS:
        yield f"{context[0]} has no effect, because REFINE.STEPS is 0: there is no refinement"
    thresholds = are_set(f"{prefix}TEST.BOX_NMS", f"{prefix}TEST.OKS_NMS")
    if thresholds and model.STYLE == "centernet" and not model.TEST.HALF_SIZE_FROM:
        yield f"{', '.join(thresholds)} has no effect, because STYLE centernet has no suppression"
    yield from _density_conflicts(cfg, are_set)
    if are_set("SOLVER.BASE_LR_END") and cfg.SOLVER.LR_SCHEDULER_NAME != "WarmupCosineLR":
        yield "SOLVER.BASE_LR_END has no effect, because SOLVER.LR_SCHEDULER_NAME is not WarmupCosineLR"


def _density_conflicts(cfg: CfgNode, are_set: Callable[..., list[str]]) -> Iterator[str]:
    model, prefix = cfg.MODEL.RLE_ONESTAGE, "MODEL.RLE_ONESTAGE."
    if are_set(f"{prefix}PRESET") and model.DENSITY in WITHOUT_PRESET:
        yield f"{prefix}PRESET {model.PRESET} has no effect, because DENSITY is {model.DENSITY}"
    if are_set(f"{prefix}STUDENT.GROUPS"):
        is_student = model.DENSITY == "student" or (model.PRESET == "student" and model.DENSITY not in WITHOUT_PRESET)
        reason = "FLOW.GROUPS is set" if is_student else "neither DENSITY nor PRESET is student"
        if len(model.FLOW.GROUPS) or not is_student:
            yield f"{prefix}STUDENT.GROUPS {model.STUDENT.GROUPS} has no effect, because {reason}"


def _test_conflicts(cfg: CfgNode) -> Iterator[str]:
    if cfg.TEST.MAX_PEOPLE > max(cfg.TEST.DETECTIONS_PER_IMAGE, 20):
        yield (
            f"TEST.MAX_PEOPLE {cfg.TEST.MAX_PEOPLE} has no effect beyond TEST.DETECTIONS_PER_IMAGE, "
            f"{cfg.TEST.DETECTIONS_PER_IMAGE}: no more people are returned"
        )
    if cfg.TEST.BEST_METRIC and not cfg.DATASETS.TEST:
        yield "TEST.BEST_METRIC has no effect, because DATASETS.TEST is empty"
    elif cfg.TEST.BEST_METRIC and not cfg.TEST.EVAL_PERIOD:
        yield "TEST.BEST_METRIC has no effect but at the end, because TEST.EVAL_PERIOD is 0"


def warn_of_schedule(cfg: CfgNode) -> None:
    """Warn at the start of a training of what its schedule never comes to."""
    for sentence in schedule_conflicts(cfg):
        _warn(sentence)


def schedule_conflicts(cfg: CfgNode) -> Iterator[str]:
    """A sentence for each warm-up, and for steps of the learning rate, that do not end within the training.

    Each names a value to set. That of ``EMA.WARMUP`` is half the training: with a much shorter ramp the average of a
    short training would come to rest long before its end.

    Args:
        cfg: with iterations as they are trained, see ``SOLVER.REFERENCE_WORLD_SIZE``.
    """
    solver, model = cfg.SOLVER, cfg.MODEL.RLE_ONESTAGE
    most = solver.MAX_ITER
    end = f"is not below SOLVER.MAX_ITER {most}"
    idle = {"rle": "the flow is", "rle_released": "the flow is", "flow": "the flow is",
            "student": "the degrees of freedom are"}  # fmt: skip
    ours = cfg.MODEL.META_ARCHITECTURE == "RLEOneStage"
    if ours and model.DENSITY in idle and model.FLOW.WARMUP_ITERS >= solver.MAX_ITER:
        yield (
            f"MODEL.RLE_ONESTAGE.FLOW.WARMUP_ITERS {model.FLOW.WARMUP_ITERS} {end}: {idle[model.DENSITY]} not trained, "
            f"and DENSITY {model.DENSITY} stays {'as it starts' if model.DENSITY == 'student' else 'its preset'}; "
            f"set it to {most * 3 // 10}"
        )
    if solver.WARMUP_ITERS >= solver.MAX_ITER and solver.WARMUP_FACTOR != 1:
        rate = f"SOLVER.BASE_LR {solver.BASE_LR:g}"
        way = f"rises to the end and never stays at {rate}"
        if solver.WARMUP_METHOD == "constant":
            way = f"stays at WARMUP_FACTOR {solver.WARMUP_FACTOR:g} of {rate}"
        yield f"SOLVER.WARMUP_ITERS {solver.WARMUP_ITERS} {end}: the learning rate {way}; set it to {most // 10}"
    steps = solver.STEPS if solver.LR_SCHEDULER_NAME == "WarmupMultiStepLR" and solver.GAMMA != 1 else ()
    if steps and min(steps) >= solver.MAX_ITER:
        yield (
            f"SOLVER.STEPS {list(steps)} {end}: the learning rate never falls; set them to "
            f"[{most * 2 // 3}, {most * 8 // 9}]"
        )
    average = solver.EMA
    if average.ENABLED and average.WARMUP >= solver.MAX_ITER and average.DECAY:
        kept = ema_decay(average.DECAY, average.WARMUP, solver.MAX_ITER)
        yield (
            f"SOLVER.EMA.WARMUP {average.WARMUP} {end}: the average, which is evaluated and saved, is one of about the "
            f"last {1 / (1 - kept):.1f} iterations; "
            f"{f'set it to {most // 2}' if most > 1 else 'set SOLVER.EMA.ENABLED False'}"
        )


def _warn(sentence: str) -> None:
    if comm.is_main_process():
        logger.warning("%s.", sentence[0].upper() + sentence[1:])
