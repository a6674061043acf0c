"""What a model costs: parameters, FLOPs, and the median time of each part, of a training step, and of many people.

Cases that are compared run in turn, round after round, so that other work on the machine hits all of them alike.
"""

import contextlib
import functools
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.structures import Instances
from detectron2.utils.events import EventStorage
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from rle_onestage.data.loader import build_test_loader, build_train_loader
from rle_onestage.engine.checkpoint import load_weights, slim
from rle_onestage.engine.device import amp_dtype
from rle_onestage.engine.models import build_for_inference
from rle_onestage.engine.optimizer import GradientClipper, build_optimizer
from rle_onestage.engine.random_people import random_sample
from rle_onestage.engine.setup import seed_everything
from rle_onestage.engine.trainer import Trainer
from rle_onestage.errors import ConfigError, DataError
from rle_onestage.modeling.locations import make_locations
from rle_onestage.modeling.meta_arch.rle_onestage import RLEOneStage
from rle_onestage.modeling.structures import DenseOutputs
from rle_onestage.utils.safe_files import save_tensors


def alternate(
    cases: Mapping[Any, Callable[[], Any]],
    rounds: int,
    *,
    device: str | torch.device = "cpu",
    warmup: int = 3,
    clock: Callable[[], float] | None = None,
) -> dict[Any, float]:
    """Median seconds of each case.

    Args:
        cases: functions without arguments by name.
        rounds: calls of each, in turn.
        device: whose queue is waited for.
        warmup: rounds that do not count.
        clock: that gives seconds; None: ``time.perf_counter``.

    Returns:
        Seconds by name.
    """

    queue = None if torch.device(device).type == "cpu" else torch.get_device_module(torch.device(device))

    def wait() -> None:
        if queue is not None:
            queue.synchronize()

    clock = clock or time.perf_counter
    times: dict[Any, list[float]] = {name: [] for name in cases}
    for number in range(rounds + warmup):
        for name, function in cases.items():
            wait()
            start = clock()
            function()
            wait()
            if number >= warmup:
                times[name].append(clock() - start)
    return {name: median(values) for name, values in times.items()}


def _equal(one: Tensor | None, other: Tensor | None) -> bool:
    """Whether two fields are the same, or there is neither."""
    return one is other or (one is not None and other is not None and torch.equal(one, other))


class Benchmark:
    """Measures one config.

    Args:
        cfg: the frozen config; ``MODEL.WEIGHTS`` is loaded where given.
        size: (height, width) of the network's input.
        batch: images at inference.
        rounds: of each measurement.

    Raises:
        ConfigError: the architecture is no :class:`~rle_onestage.modeling.meta_arch.rle_onestage.RLEOneStage`.
    """

    def __init__(self, cfg: CfgNode, *, size: Sequence[int], batch: int = 1, rounds: int = 50):
        self.cfg, self.batch, self.rounds = cfg, batch, rounds
        seed_everything(0)
        model = Trainer.build_model(cfg)
        if not isinstance(model, RLEOneStage):
            raise ConfigError(
                f"MODEL.META_ARCHITECTURE {cfg.MODEL.META_ARCHITECTURE} cannot be measured, because the benchmark "
                "knows the parts of RLEOneStage only; use that one, or derive yours from it"
            )
        self.model: Any = model  # Any, because the kind of its parts is the config's choice
        if cfg.MODEL.WEIGHTS:
            load_weights(self.model, cfg.MODEL.WEIGHTS, strict=False)
        self.model.eval()
        self.device = self.model.device
        multiple = max(1, self.model.backbone.size_divisibility)
        self.size = tuple(-(-side // multiple) * multiple for side in size)
        self.image = torch.randint(0, 256, (3, *size), dtype=torch.uint8)

    def time(self, cases: Mapping[Any, Callable[[], Any]], rounds: int | None = None) -> dict[Any, float]:
        """:func:`alternate` on this device, in milliseconds."""
        measured = alternate(cases, rounds or self.rounds, device=self.device)
        return {name: 1e3 * seconds for name, seconds in measured.items()}

    def parameters(self) -> dict[str, float]:
        """Millions of parameters: all, and those that inference uses."""
        every = sum(p.numel() for p in self.model.parameters())
        criterion = sum(p.numel() for p in self.model.criterion.parameters())
        return {"all": every / 1e6, "inference": (every - criterion) / 1e6}

    def flops(self) -> dict[str, float]:
        """GFLOPs (2 for a multiply-add) of one image from pixels to people: convolutions and matrix products."""
        return {"total": self._gflops(self.model)}

    @torch.no_grad()
    def _gflops(self, model: Any) -> float:
        with FlopCounterMode(display=False) as counter:
            model.find(torch.zeros(1, 3, *self.size, device=self.device))
        return counter.get_total_flops() / 1e9

    @torch.no_grad()
    def without_flow(self) -> dict[str, Any]:
        """This model beside one that knows no flow: built without it, from a file that has none.

        Returns:
            dict with "parameters_M", "gflops" and "ms" (of one image, in turn), each with a value for "with" and
            "without"; and "equal": whether every number about every candidate of an image is the same.
        """
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "slim.pth")
            save_tensors(path, slim({"model": self.model.state_dict()}))
            models = {"with": self.model, "without": build_for_inference(self.cfg, path)}
        image = torch.randn(1, 3, *self.size, device=self.device).contiguous(memory_format=torch.channels_last)
        cases = {name: (lambda model=model: model.find(image)) for name, model in models.items()}
        first, second = (case() for case in cases.values())
        return {
            "parameters_M": {n: sum(p.numel() for p in model.parameters()) / 1e6 for n, model in models.items()},
            "gflops": {name: self._gflops(model) for name, model in models.items()},
            "equal": all(_equal(a, b) for a, b in zip(first, second)),
            "ms": self.time(cases, 3 * self.rounds),
        }

    @torch.no_grad()
    def inference(self) -> dict[str, float]:
        """Milliseconds of backbone, dense head, decode (candidates to people) and the complete way, for the batch.

        The complete way has the look at half size too, where there is one; it is measured as "half".
        """
        model = self.model
        images = torch.randn(self.batch, 3, *self.size, device=self.device)
        images = images.contiguous(memory_format=torch.channels_last)
        features = model.backbone(images)
        maps = [features[name] for name in model.in_features]
        dense = model.head.dense(maps)
        height, width = self.image.shape[1:]
        inputs = [{"image": self.image, "height": height, "width": width} for _ in range(self.batch)]
        cases = {
            "backbone": lambda: model.backbone(images),
            "head": lambda: model.head.dense(maps),
            "decode": lambda: self._decode(dense, features),
        }
        if model.half_size_from:
            _, look = model.decoder.looks(model.half_size_from)
            cases["half"] = lambda: model.decode(model.features(model.at_half_size(images)), look)
        return self.time({**cases, "complete": lambda: model(inputs)})

    def _decode(self, dense: DenseOutputs, features: Mapping[str, Tensor], covariances: bool = True) -> list[Instances]:
        """Dense outputs to Instances, as the architecture does it; also for outputs that were made up."""
        model = self.model
        shapes = [(features[name].shape[-2], features[name].shape[-1]) for name in model.in_features]
        locations = make_locations(shapes, model.strides, self.device)
        people = model.decode_dense(dense, locations, features)
        if not covariances:
            people = people._replace(correlations=None)
        sizes = [self.size] * len(dense.score)
        return model.decoder.to_instances(people, sizes, sizes)

    @torch.no_grad()
    def people(self, numbers: Sequence[int], rounds: int = 200) -> dict[str, Any]:
        """Milliseconds for one image with so many confident people, alternating.

        Returns:
            dict with the "ms" of decode, the "complete_ms" from the input on and the "found" people of each number, and
            "ratio" and "complete_ratio" of the last number to the first.

        Raises:
            ConfigError: more people than locations or candidates.
        """
        image = torch.zeros(1, 3, *self.size, device=self.device).contiguous(memory_format=torch.channels_last)
        features = self.model.backbone(image)
        made = {number: self.crowd(number, features) for number in numbers}
        found = {number: len(self._decode(dense, features)[0]) for number, dense in made.items()}
        ms = self.time({n: functools.partial(self._decode, dense, features) for n, dense in made.items()}, rounds)
        complete = self.time({n: functools.partial(self._with_network, dense, image) for n, dense in made.items()})
        first, last = numbers[0], numbers[-1]
        return {"ms": ms, "complete_ms": complete, "found": found, "ratio": ms[last] / ms[first],
                "complete_ratio": complete[last] / complete[first]}  # fmt: skip

    @torch.no_grad()
    def covariances(self, number: int, rounds: int | None = None) -> dict[str, float]:
        """Milliseconds "with_ms" and "without_ms" covariances, in turn, for one image with so many confident people,
        from the input on; and their "ratio". On a CPU it is processor time: other work on the machine takes away far
        more than the difference."""
        image = torch.zeros(1, 3, *self.size, device=self.device).contiguous(memory_format=torch.channels_last)
        dense = self.crowd(number, self.model.backbone(image))
        cases = {c: functools.partial(self._with_network, dense, image, covariances=c) for c in (True, False)}
        clock = time.process_time if self.device.type == "cpu" else None
        took = alternate(cases, rounds or self.rounds, device=self.device, clock=clock)
        return {"with_ms": 1e3 * took[True], "without_ms": 1e3 * took[False], "ratio": took[True] / took[False]}

    def _with_network(self, dense: DenseOutputs, image: Tensor, *, covariances: bool = True) -> list[Instances]:
        """The network's work, and then decode of dense outputs that were made up."""
        features = self.model.backbone(image)
        self.model.head.dense([features[name] for name in self.model.in_features])
        return self._decode(dense, features, covariances=covariances)

    def crowd(self, number: int, features: Mapping[str, Tensor]) -> DenseOutputs:
        """Dense outputs with ``number`` small people side by side on the finest level, and nothing else."""
        shapes = [features[name].shape[-2:] for name in self.model.in_features]
        count = sum(h * w for h, w in shapes)
        # Every second cell, so that each is a peak of its neighbourhood too.
        height, width = shapes[0]
        cells = (torch.arange(0, height, 2)[:, None] * width + torch.arange(0, width, 2)).flatten()
        limit = min(len(cells), self.model.decoder.topk, self.model.decoder.max_people)
        if number > limit:
            raise ConfigError(
                f"--people {number} is more than the {limit} that fit; raise --size or MODEL.RLE_ONESTAGE.TEST.TOPK"
            )
        score = torch.full((1, count), -9.0, device=self.device)
        score += 0.01 * torch.rand(1, count, device=self.device)
        score[0, cells[torch.linspace(0, len(cells) - 1, number).round().long()]] = 9.0
        return DenseOutputs(
            score=score,
            quality=torch.full_like(score, 5.0) if self.model.head.has_quality else score.new_zeros(0),
            box=torch.full((1, count, 4), 0.9, device=self.device),
            pose=torch.randn(1, count, self.model.head.embed.in_channels, device=self.device),
        )

    def loader(self, batches: int = 10) -> float | None:
        """Milliseconds of the training loader for a batch, after its start; None where the data set is not there."""
        with contextlib.suppress(DataError, ConfigError):
            stream = iter(build_train_loader(self.cfg))
            for _ in range(max(2, self.cfg.DATALOADER.NUM_WORKERS * 2)):
                next(stream)
            return alternate({"batch": lambda: next(stream)}, batches, warmup=0)["batch"] * 1e3
        return None

    @torch.no_grad()
    def evaluation(self, images: int = 50) -> float | None:
        """Milliseconds for an image of the first test set: reading, network, people; None where it is not there."""
        if not self.cfg.DATASETS.TEST:
            return None
        with contextlib.suppress(DataError, ConfigError):
            loader = build_test_loader(self.cfg, self.cfg.DATASETS.TEST[0])
            count, start = 0, 0.0
            for inputs in loader:
                self.model(inputs)
                count += len(inputs)
                if not start:  # the first batch also starts the workers
                    start, count = time.perf_counter(), 0
                if count >= images:
                    break
            return 1e3 * (time.perf_counter() - start) / count if count else None
        return None

    def training(self, rounds: int = 10) -> dict[str, Any]:
        """Milliseconds of a training step after the flow's warm-up, and the shares of its parts.

        "density" is flow, likelihood and normaliser, forward and backward, measured by themselves on the step's
        residuals, with the share of a step in placing the nodes. "preset_step" is a step with the preset alone, "bare"
        forward and backward of backbone and pyramid, in alternation.
        """
        return TrainingStep(self).measure(rounds)


class TrainingStep:
    """A training step in parts; the data is the config's where it is there, else random people."""

    def __init__(self, benchmark: Benchmark):
        self.cfg, self.model = benchmark.cfg, benchmark.model
        self.benchmark = benchmark
        self.optimizer = build_optimizer(self.cfg, self.model)
        self.clip = GradientClipper.from_config(self.cfg, self.model)
        self.dtype = amp_dtype(self.cfg, benchmark.device)
        self.source, self.batch = self._batch()

    def _batch(self) -> tuple[str, list[dict]]:
        with contextlib.suppress(DataError, ConfigError):
            return "data set", next(iter(build_train_loader(self.cfg)))
        side = self.cfg.INPUT.POSE.SIZE or min(self.benchmark.size)
        joints, images = self.model.head.num_joints, self.cfg.SOLVER.IMS_PER_BATCH
        return "random people", [random_sample(i, side, joints) for i in range(images)]

    def forward(self, *, flow: bool) -> Tensor:
        """The total loss, with the flow on or not yet."""
        iteration = 10**9 + 1 if flow else 0  # not one at which the nodes are placed anew
        kind, enabled = self.benchmark.device.type, self.dtype is not None
        with EventStorage(iteration), torch.autocast(kind, dtype=self.dtype or torch.bfloat16, enabled=enabled):
            return torch.stack(list(self.model(self.batch).values())).sum()

    def bare(self) -> None:
        """Forward and backward of backbone and pyramid alone, on the same images."""
        kind, enabled = self.benchmark.device.type, self.dtype is not None
        images = self.model.preprocess_image(self.batch).tensor.contiguous(memory_format=torch.channels_last)
        with torch.autocast(kind, dtype=self.dtype or torch.bfloat16, enabled=enabled):
            features = self.model.backbone(images)
        sum(feature.float().sum() for feature in features.values()).backward()

    def step(self, *, flow: bool = True) -> None:
        """Forward, backward, clipping and update."""
        self.optimizer.zero_grad(set_to_none=True)
        self.forward(flow=flow).backward()
        self.clip()
        self.optimizer.step()

    def residuals(self) -> list[tuple[Tensor, Tensor, dict[str, Any]]]:
        """The arguments of every call of the likelihood in one step: (residuals, sigma, its options)."""
        density = self.model.criterion.density
        calls: list[tuple[Tensor, Tensor, dict[str, Any]]] = []
        original = density.nll

        def record(e: Tensor, sigma: Tensor, *, joint: Tensor | None = None, preset_only: bool = False) -> Tensor:
            calls.append((e.detach(), sigma.detach(), {"joint": joint, "preset_only": preset_only}))
            return original(e, sigma, joint=joint, preset_only=preset_only)

        density.nll = record
        try:
            self.forward(flow=True)
        finally:
            del density.nll
        return calls

    def measure(self, rounds: int) -> dict[str, Any]:
        """See :meth:`Benchmark.training`."""
        model, density = self.model, self.model.criterion.density
        model.train()
        for group in self.optimizer.param_groups:
            group["lr"] = 0.0  # the weights that are measured stay those that were loaded
        self.step()
        density.refresh(density.TRAINING_TOLERANCE)
        nodes = density.node_count()
        calls = [(e.requires_grad_(), sigma.requires_grad_(), options) for e, sigma, options in self.residuals()]

        def likelihood() -> None:
            loss = sum(density.nll(e, sigma, **options).sum() for e, sigma, options in calls)
            if loss.requires_grad:
                loss.backward()

        try:
            parts = self.benchmark.time(
                {
                    "step": self.step,
                    "preset_step": lambda: self.step(flow=False),
                    "bare": self.bare,
                    "forward": lambda: self.forward(flow=True),
                    "likelihood": likelihood,
                    "refresh": lambda: density.refresh(density.TRAINING_TOLERANCE),
                    "optimizer": lambda: (self.clip(), self.optimizer.step()),
                },
                rounds,
            )
        finally:
            model.eval()
        return self._report(parts, calls, nodes)

    def _report(self, parts: dict[str, float], calls: list[tuple], nodes: int) -> dict[str, Any]:
        step, every = parts["step"], self.model.criterion.REFRESH_EVERY
        own = parts["likelihood"] + parts["refresh"] / every
        shares = {
            "forward": parts["forward"] / step,
            "backward": max(0.0, step - parts["forward"] - parts["optimizer"]) / step,
            "optimizer": parts["optimizer"] / step,
            "density": own / step,
        }
        return {
            "ms": {**parts, "density": own},
            "shares": shares,
            "flow_step_over_preset_step": step / parts["preset_step"],
            "step_over_bare": step / parts["bare"],
            "data": self.source,
            "images": len(self.batch),
            "residuals": sum(e[..., 0].numel() for e, _, options in calls if not options["preset_only"]),
            "nodes": nodes,
        }
