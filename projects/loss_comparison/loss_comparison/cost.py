"""What the one-stage model and a two-stage one cost, by the number of people in the image, measured in turn."""

import contextlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from detectron2.config import CfgNode
from detectron2.structures import Instances
from torch.utils.flop_counter import FlopCounterMode

from rle_onestage.engine.benchmark import Benchmark, alternate
from rle_onestage.engine.checkpoint import load_weights
from rle_onestage.engine.memory import PeakMemory
from rle_onestage.engine.models import build_architecture
from rle_onestage.engine.setup import load_config, seed_everything
from rle_onestage.errors import ConfigError
from rle_onestage.evaluation import write_json
from rle_onestage.utils.tables import table_text

if TYPE_CHECKING:
    from rle_onestage.modeling.locations import Locations
    from rle_onestage.modeling.structures import DenseOutputs


ONE_STAGE, TWO_STAGE = "one-stage", "two-stage"


class OneStage:
    """This project's model. Its dense head runs as ever; then stand-ins for its outputs show so many people.

    Args:
        cfg: the config; ``MODEL.WEIGHTS`` is loaded where given.
        size: (height, width) of the image.
    """

    def __init__(self, cfg: CfgNode, size: tuple[int, int]):
        self._benchmark = Benchmark(cfg, size=size)
        self.model, self.image = self._benchmark.model, self._benchmark.image
        with torch.no_grad():
            self._features = self.model.backbone(torch.zeros(1, 3, *self._benchmark.size, device=self.model.device))

    @contextlib.contextmanager
    def showing(self, people: int) -> Iterator[None]:
        """Within the block every image has so many people."""
        crowd, original = self._benchmark.crowd(people, self._features), self.model.dense

        def dense(features: dict[str, torch.Tensor]) -> "tuple[DenseOutputs, Locations]":
            return crowd, original(features)[1]

        self.model.dense = dense
        try:
            yield
        finally:
            del self.model.dense

    def own_parameters(self) -> list[torch.nn.Parameter]:
        """All that inference uses but the backbone's."""
        return [p for name, p in self.model.named_parameters() if not name.startswith(("backbone.", "criterion."))]


class TwoStage:
    """Detectron2's ``GeneralizedRCNN``. All stages run; of its boxes the best so many are kept, none suppressed.

    Args:
        cfg: as for :class:`OneStage`.
        size: as for :class:`OneStage`.

    Raises:
        ConfigError: the config describes another architecture.
    """

    def __init__(self, cfg: CfgNode, size: tuple[int, int]):
        if cfg.MODEL.META_ARCHITECTURE != "GeneralizedRCNN" or not cfg.MODEL.KEYPOINT_ON:
            raise ConfigError(
                f"MODEL.META_ARCHITECTURE of --two-stage is {cfg.MODEL.META_ARCHITECTURE}; give a config of "
                "GeneralizedRCNN with MODEL.KEYPOINT_ON"
            )
        seed_everything(0)
        self.model: Any = build_architecture(cfg).eval()
        if cfg.MODEL.WEIGHTS:
            load_weights(self.model, cfg.MODEL.WEIGHTS, strict=True)
        self.image = torch.randint(0, 256, (3, *size), dtype=torch.uint8)

    @contextlib.contextmanager
    def showing(self, people: int) -> Iterator[None]:
        """Within the block so many boxes are kept."""
        predictor = self.model.roi_heads.box_predictor
        wanted = {"test_score_thresh": -1.0, "test_nms_thresh": 1.0, "test_topk_per_image": people}
        before = {name: getattr(predictor, name) for name in wanted}
        vars(predictor).update(wanted)
        try:
            yield
        finally:
            vars(predictor).update(before)

    def own_parameters(self) -> list[torch.nn.Parameter]:
        """All but the backbone's."""
        return [p for name, p in self.model.named_parameters() if not name.startswith("backbone.")]


@torch.no_grad()
def infer(side: "OneStage | TwoStage", people: int) -> Instances:
    """One image with so many people through the whole model; returns the ``Instances``."""
    height, width = side.image.shape[1:]
    with side.showing(people):
        return side.model([{"image": side.image, "height": height, "width": width}])[0]["instances"]


def measure(
    one_config: str,
    two_config: str,
    *,
    size: int,
    people: list[int],
    threads: list[int],
    rounds: int = 30,
    one_options: Sequence[str] = (),
    two_options: Sequence[str] = (),
) -> dict[str, Any]:
    """Parameters, FLOPs, memory and time of both.

    Args:
        one_config: config file of the one-stage model.
        two_config: config file of the two-stage model.
        one_options: ``[KEY, VALUE, ...]`` of the one-stage model.
        two_options: ``[KEY, VALUE, ...]`` of the two-stage model.
        size: side of the square image, in pixels.
        people: numbers of people.
        threads: numbers of torch's threads.
        rounds: images of each case, in turn, of which the median time counts.

    Returns:
        dict of ``size``, ``rounds``, ``torch``; and for ``one-stage`` and ``two-stage`` a dict of ``parameters_M``,
        ``own_parameters_M`` (without the backbone), ``backbone_gflops``, and ``people``: number -> dict of ``found``,
        ``gflops`` (without the backbone; 2 for a multiply-add), ``peak_mb`` (of the tensors that are made on the way)
        and ``ms``: threads -> milliseconds from the image to ``Instances``.

    Raises:
        ConfigError: a config is wrong, or a model cannot show so many people.
        CheckpointError: the weights do not fit.
    """
    sides: OrderedDict[str, OneStage | TwoStage] = OrderedDict()
    sides[ONE_STAGE] = OneStage(load_config(one_config, one_options), (size, size))
    sides[TWO_STAGE] = TwoStage(load_config(two_config, two_options), (size, size))
    return _measure_sides(sides, size=size, people=people, threads=threads, rounds=rounds)


def measure_heads(
    config: str,
    heads: Mapping[str, Sequence[str]],
    *,
    size: int,
    people: list[int],
    threads: list[int],
    rounds: int = 30,
    clock: Callable[[], float] | None = None,
) -> dict[str, Any]:
    """The same of one two-stage config with several keypoint heads.

    Args:
        config: config file of a two-stage model.
        heads: ``[KEY, VALUE, ...]`` of each, by its name.
        size: as of :func:`measure`.
        people: as of :func:`measure`.
        threads: as of :func:`measure`.
        rounds: as of :func:`measure`.
        clock: as of :func:`rle_onestage.engine.benchmark.alternate`.

    Returns:
        As of :func:`measure`, by the names of the heads.
    """
    sides: OrderedDict[str, OneStage | TwoStage] = OrderedDict()
    for name, options in heads.items():
        sides[name] = TwoStage(load_config(config, options), (size, size))
    return _measure_sides(sides, size=size, people=people, threads=threads, rounds=rounds, clock=clock)


def _measure_sides(
    sides: "OrderedDict[str, OneStage | TwoStage]",
    *,
    size: int,
    people: list[int],
    threads: list[int],
    rounds: int,
    clock: Callable[[], float] | None = None,
) -> dict[str, Any]:
    """As :func:`measure`, of models by their names."""
    device = next(iter(sides.values())).model.device
    report: dict[str, Any] = {"size": size, "rounds": rounds, "torch": torch.__version__}
    for name, side in sides.items():
        report[name] = _static(side, size)
        report[name]["people"] = {number: _for_people(side, number, name) for number in people}
    before = torch.get_num_threads()
    for count in threads:
        torch.set_num_threads(count)
        cases = {(name, n): (lambda s=side, n=n: infer(s, n)) for n in people for name, side in sides.items()}
        for (name, number), seconds in alternate(cases, rounds, device=device, clock=clock).items():
            report[name]["people"][number].setdefault("ms", {})[count] = 1e3 * seconds
    torch.set_num_threads(before)
    return report


@torch.no_grad()
def _static(side: "OneStage | TwoStage", size: int) -> dict[str, float]:
    """What does not depend on the people."""
    own = sum([p.numel() for p in side.own_parameters()])
    trunk: Any = side.model.backbone
    backbone = sum([p.numel() for p in trunk.parameters()])
    with FlopCounterMode(display=False) as counter:
        trunk(torch.zeros(1, 3, size, size, device=side.model.device))
    return {
        "parameters_M": (own + backbone) / 1e6,
        "own_parameters_M": own / 1e6,
        "backbone_gflops": counter.get_total_flops() / 1e9,
    }


def _for_people(side: "OneStage | TwoStage", number: int, name: str) -> dict[str, float] | None:
    found = len(infer(side, number))
    if found != number:
        raise ConfigError(
            f"the {name} model finds {found} people where {number} are shown; choose fewer, or larger --size"
        )
    with FlopCounterMode(display=False) as counter:
        infer(side, number)
    own = counter.get_total_flops() - _backbone_flops(counter)
    with PeakMemory(side.model) as memory:
        infer(side, number)
    return {"found": found, "gflops": own / 1e9, "peak_mb": memory.peak / 1e6}


def _backbone_flops(counter: FlopCounterMode) -> int:
    counts = counter.get_flop_counts()
    inside = [operations for name, operations in counts.items() if name.endswith(".backbone")]
    return sum(inside[0].values()) if inside else 0


def format_costs(report: dict) -> str:
    """What :func:`measure` gives, as text."""
    names = [name for name, entry in report.items() if isinstance(entry, dict)]
    people = list(report[names[0]]["people"])
    threads = list(report[names[0]]["people"][people[0]]["ms"])
    header = ["", "people", "GFLOPs without backbone", "peak MB", *(f"ms, {_plural(t)}" for t in threads)]
    rows, lines = [], []
    for name in names:
        for number, row in report[name]["people"].items():
            rows.append([name, number, f"{row['gflops']:.3f}", f"{row['peak_mb']:.1f}",
                         *(f"{row['ms'][t]:.1f}" for t in threads)])  # fmt: skip
        first, last = (report[name]["people"][n]["ms"] for n in (people[0], people[-1]))
        ratios = ", ".join(f"{last[t] / first[t]:.2f} with {_plural(t)}" for t in threads)
        every, own, flops = (report[name][key] for key in ("parameters_M", "own_parameters_M", "backbone_gflops"))
        lines.append(
            f"{name}: {every:.2f} M parameters, {own:.2f} M without the backbone (of {flops:.3f} GFLOPs); time at "
            f"{people[-1]} people over that at {people[0]}: {ratios}"
        )
    table = table_text(rows, header)
    about = (
        f"An image of {report['size']} x {report['size']} to Instances, median of {report['rounds']} in turn; FLOPs: "
        "2 for a multiply-add; a one-stage model decodes so many people, a two-stage one keeps so many boxes."
    )
    return "\n\n".join([about, table, *lines])


def _plural(threads: int) -> str:
    return f"{threads} thread" + ("s" if threads > 1 else "")


def write_costs(report: dict, path: str) -> None:
    """Write the report as JSON."""
    write_json(report, path)
