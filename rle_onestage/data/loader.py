"""Loaders for training and evaluation.

Every random choice in training comes from ``numpy.random.default_rng((seed, iteration, slot))``, so a batch is a
function of the config and the iteration; see :mod:`.sampler`. The seed is ``cfg.SEED``. When that is negative, one is
drawn here and named in a warning; the engine draws it before, and keeps it in ``config.yaml`` for resumed runs.
"""

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetFromList
from detectron2.utils import comm
from torch.utils.data import Dataset

from ..errors import ConfigError, DataError, PoseError, naming_own_code
from ..utils.bounded_reading import BlockedImage, UnreadableImage
from .batches import Batches, make_loader
from .coco.json_files import Problems
from .datasets import get_skeleton, load_dataset
from .image_presence import check_training_images
from .mapper import Mapper, PoseMapper, build_mapper
from .randomness import drawn_from
from .sampler import BatchOrder, Draw, TrainSampler, check_shares
from .training_sets import TrainingSets, load_training_records, training_cutouts

logger = logging.getLogger(__name__)

# So many images in a row are tried before a sample is given up.
MAX_TRIES = 20


class TrainDataset(Dataset):
    """Maps a :class:`~.sampler.Draw` to a sample.

    Exceptions of ours travel to the main process as data, so that they stay one sentence there: a sample has either
    what its mapper gives and ``unreadable``, a list of (file name, reason) met on the way, or ``error`` in its place.

    Args:
        records: of the data set.
        mapper: of their images. One that is no :class:`~.mapper.PoseMapper` is given the record alone, and what it
            draws from Python's, NumPy's and torch's generators is a function of the draw too. None stands for "take
            another image", as in Detectron2.
        order: of the images, which a mosaic draws its others from.
        seed: of all random choices.
        mosaic_prob: how often a sample is a mosaic, before the iteration ``mosaic_end``.
        mosaic_end: the first iteration without mosaics.
    """

    def __init__(
        self,
        records: list[dict],
        mapper: Mapper,
        order: BatchOrder,
        seed: int,
        mosaic_prob: float = 0.0,
        mosaic_end: int = 0,
    ):
        self.order = order
        self.records = DatasetFromList(records, copy=False)
        self.mapper = mapper
        self.seed = seed
        self.mosaic_prob, self.mosaic_end = mosaic_prob, mosaic_end

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, draw: Draw) -> dict[str, Any]:
        unreadable: dict[str, str] = {}
        for index, alone in self._attempts(draw):
            # The generator starts anew, so that a sample does not depend on what failed before it.
            rng = np.random.default_rng((self.seed, draw.iteration, draw.slot))
            try:
                sample = self._map(self.records[index], rng, () if alone else self._others(rng))
            except BlockedImage as error:
                return {"error": str(error), "unreadable": list(unreadable.items())}
            except UnreadableImage as error:
                unreadable[error.file_name] = error.reason
                continue
            except PoseError as error:
                return {"error": str(error), "unreadable": list(unreadable.items())}
            if sample is not None:
                return {**sample, "unreadable": list(unreadable.items())}
        return {"error": _nothing_usable(unreadable), "unreadable": list(unreadable.items())}

    def _map(self, record: dict[str, Any], rng: np.random.Generator, others: Sequence[dict]) -> dict[str, Any] | None:
        what = f"mapper {getattr(self.mapper, '__qualname__', type(self.mapper).__name__)} (INPUT.MAPPER)"
        with naming_own_code(f"{what}, image {record.get('file_name', '?')}"):
            if isinstance(self.mapper, PoseMapper):
                return self.mapper(record, rng, others)
            with drawn_from(rng):
                return self.mapper(record)

    def _attempts(self, draw: Draw) -> list[tuple[int, bool]]:
        """(index of a record, whether without a mosaic): the draw's own twice, as a mosaic may fail by its others."""
        indices = [(draw.image + step) % len(self) for step in range(min(MAX_TRIES, len(self)))]
        mosaics = self.mosaic_prob and draw.iteration < self.mosaic_end
        return [(indices[0], False)] * bool(mosaics) + [(index, True) for index in indices]

    def _others(self, rng: np.random.Generator) -> Sequence[dict]:
        """Three more records where this sample is to be a mosaic."""
        if rng.random() >= self.mosaic_prob:
            return ()
        return [self.records[int(index)] for index in self.order.pick(rng, 3)]


def _nothing_usable(unreadable: dict[str, str]) -> str:
    """The sentence for a sample that none of the images gave.

    Args:
        unreadable: file name -> reason.
    """
    if not unreadable:
        return f"the mapper of INPUT.MAPPER gives None for {MAX_TRIES} images in a row; let it give samples."
    name, reason = next(iter(unreadable.items()))
    return f"{len(unreadable)} images in a row cannot be used, the first is {name}: {reason}; check the image folder."


class _SharedCount:
    """Counts different names over all processes, by the store at which these have met.

    It costs nothing until a name is added, and no process waits for another one.
    """

    _made = 0

    def __init__(self) -> None:
        # The same in every process, as all make their loaders in the same order.
        self._prefix = f"rle_onestage/unreadable/{_SharedCount._made}"
        _SharedCount._made += 1
        self._own: set[str] = set()

    def add(self, name: str) -> int:
        """Names so far, with this one."""
        self._own.add(name)
        if comm.get_world_size() == 1:
            return len(self._own)
        store = torch.distributed.distributed_c10d._get_default_store()
        first = store.add(f"{self._prefix}/of/{name}", 1) == 1
        return store.add(self._prefix, int(first))


class TrainLoader:
    """Endless iterator over the batches of one process (lists of samples), which counts what could not be used.

    Args:
        dataset: to draw from.
        sampler: which images.
        num_workers: processes; 0: none.
        max_unreadable: share of the data set's images, met by any of the processes, at which an error is raised.
        problems: what was left out when the annotations were read.

    Raises:
        DataError: while iterating, too many images cannot be used, or one blocks.
        LostWorkers: while iterating, a worker was killed, or cannot work.
    """

    def __init__(
        self,
        dataset: TrainDataset,
        sampler: TrainSampler,
        *,
        num_workers: int = 0,
        max_unreadable: float = 0.01,
        problems: Problems | None = None,
    ):
        self._dataset, self._sampler = dataset, sampler
        self._max_unreadable = max_unreadable
        self._problems = Problems()
        if problems is not None:
            self._problems.merge(problems)
        self._unreadable: dict[str, str] = {}
        self._count = _SharedCount()
        self._loader = make_loader(
            dataset, num_workers=num_workers, batch_sampler=sampler, persistent_workers=num_workers > 0
        )
        self._batches: Batches | None = None

    def __iter__(self) -> "TrainLoader":
        return self

    def __next__(self) -> list[dict]:
        if self._batches is None:
            self._batches = Batches(self._loader)
        return self._checked(next(self._batches))

    def start_at(self, iteration: int) -> None:
        """Let the first batch be that of an iteration, for a run that goes on. Call it before the first batch."""
        self._sampler.start_iter = iteration

    def make(self, iteration: int) -> list[dict]:
        """The batch of an iteration, made in this process: the same as that of the data-loading processes."""
        return self._checked([self._dataset[draw] for draw in self._sampler.draws(iteration)])

    def _checked(self, batch: list[dict]) -> list[dict]:
        for sample in batch:
            for name, reason in sample.pop("unreadable"):
                self._count_unreadable(name, reason)
        for sample in batch:
            if "error" in sample:
                raise DataError(sample["error"])
        return batch

    def _count_unreadable(self, name: str, reason: str) -> None:
        if name in self._unreadable:
            return
        self._unreadable[name] = reason
        self._problems.add("unreadable images skipped", f"{name} ({reason})")
        logger.warning("Skipped image %s: %s.", name, reason)
        count, size = self._count.add(name), len(self._dataset)
        if count > self._max_unreadable * size:
            raise DataError(
                f"{count} of {size} training images cannot be used, more than INPUT.POSE.MAX_UNREADABLE "
                f"({self._max_unreadable:g}) allows; the last is {name}: {reason}; repair the data or raise the limit."
            )

    def report(self) -> dict[str, list]:
        """What could not be used so far: reason -> names (annotation ids, files). For the end of training."""
        return {reason: list(names) for reason, names in self._problems.names.items()}

    def report_lines(self) -> list[str]:
        """The report as one readable line for each reason."""
        return self._problems.lines()


class TestDataset(Dataset):
    """Maps the images of one process in their order.

    Args:
        records: of these images.
        mapper: of them.
    """

    __test__ = False  # not a test, for pytest

    def __init__(self, records: list[dict], mapper: Mapper):
        # With more processes than images some have none, which cannot be serialised.
        self.records = DatasetFromList(records, copy=False, serialize=bool(records))
        self.mapper = mapper

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> dict[str, Any]:
        try:
            return self.mapper(self.records[index])
        except PoseError as error:
            return {"error": str(error)}


class TestLoader:
    """Goes once over the images of this process, as lists of samples; can be iterated again.

    Args:
        dataset: the images.
        batch_size: images of one batch.
        num_workers: processes; 0: none.

    Raises:
        DataError: while iterating, an image cannot be used; an evaluation must not leave one out.
        LostWorkers: while iterating, a worker was killed, or cannot work.
    """

    __test__ = False

    def __init__(self, dataset: TestDataset, *, batch_size: int = 1, num_workers: int = 0):
        self.dataset = dataset
        num_workers = min(num_workers, len(dataset))
        self._loader = make_loader(dataset, num_workers=num_workers, batch_size=batch_size)

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[list[dict]]:
        for batch in Batches(self._loader):
            for sample in batch:
                if "error" in sample:
                    raise DataError(sample["error"])
            yield batch


def build_train_loader(cfg: CfgNode, start_iter: int = 0, *, mapper: Mapper | None = None) -> TrainLoader:
    """The training loader of this process.

    Args:
        cfg: reads DATASETS, DATALOADER, INPUT, SEED, and SOLVER.IMS_PER_BATCH (over all processes).
        start_iter: the iteration of the first batch, of a resumed run.
        mapper: from a data set dictionary to the model's input; None: the one that ``INPUT.MAPPER`` names.

    Raises:
        ConfigError: no data set, a batch of fewer images than processes, an unknown mapper, or one that makes
            no mosaics where the config asks for them.
        DataError: a data set cannot be used, or too many of its images are missing.
    """
    world_size = comm.get_world_size()
    check_shares(cfg.SOLVER.IMS_PER_BATCH, world_size)
    training = load_training_records(cfg)
    if mapper is None:
        cutouts = training_cutouts(cfg, training)
        mapper = build_mapper(cfg, True, skeleton=training.skeleton, rules=training.rules, cutouts=cutouts)
    if cfg.INPUT.POSE.MOSAIC_PROB and not isinstance(mapper, PoseMapper):
        raise ConfigError(
            f"INPUT.POSE.MOSAIC_PROB is {cfg.INPUT.POSE.MOSAIC_PROB:g}, but the mapper is no PoseMapper and makes no "
            "mosaics; set it to 0."
        )
    check_training_images(training.records, mapper, cfg.INPUT.POSE.MAX_UNREADABLE)
    order = _batch_order(cfg, training)
    dataset = TrainDataset(
        training.records,
        mapper,
        order,
        order.seed,
        mosaic_prob=cfg.INPUT.POSE.MOSAIC_PROB,
        mosaic_end=round(cfg.SOLVER.MAX_ITER * (1 - cfg.INPUT.POSE.MOSAIC_OFF)),
    )
    return TrainLoader(
        dataset,
        TrainSampler(order, start_iter=start_iter, rank=comm.get_rank(), world_size=world_size),
        num_workers=cfg.DATALOADER.NUM_WORKERS,
        max_unreadable=cfg.INPUT.POSE.MAX_UNREADABLE,
        problems=training.problems,
    )


def _batch_order(cfg: CfgNode, training: TrainingSets) -> BatchOrder:
    """Which images come when, by the config's seed or one that is drawn here."""
    seed = cfg.SEED
    if seed < 0:
        seed = comm.shared_random_seed()
        logger.warning("SEED is negative: this run's data come from seed %d; a resumed run needs SEED %d.", seed, seed)
    groups = None
    if cfg.DATALOADER.ASPECT_RATIO_GROUPING and not cfg.INPUT.POSE.SIZE:
        groups = [record["width"] > record["height"] for record in training.records]
    return BatchOrder(len(training.records), cfg.SOLVER.IMS_PER_BATCH, seed, groups, training.often)


def build_test_loader(
    cfg: CfgNode, dataset_name: str, *, batch_size: int = 1, annotations: bool = False, mapper: Mapper | None = None
) -> TestLoader:
    """The evaluation loader of this process: each image of the set comes once, over all processes together.

    Args:
        cfg: reads INPUT and DATALOADER.
        dataset_name: a registered data set.
        batch_size: images of one batch.
        annotations: samples carry ``instances`` too.
        mapper: from a data set dictionary to the model's input; None: the one that ``INPUT.MAPPER`` names.

    Raises:
        ConfigError: as :func:`~.datasets.load_dataset`; or the mapper is unknown.
        DataError: as :func:`~.datasets.load_dataset`.
    """
    records = load_dataset(cfg, dataset_name)
    rank, world_size = comm.get_rank(), comm.get_world_size()
    share = records[rank * len(records) // world_size : (rank + 1) * len(records) // world_size]
    if mapper is None:
        skeleton = get_skeleton(cfg, dataset_name)
        mapper = build_mapper(cfg, False, skeleton=skeleton, annotations=annotations)
    return TestLoader(TestDataset(share, mapper), batch_size=batch_size, num_workers=cfg.DATALOADER.NUM_WORKERS)
