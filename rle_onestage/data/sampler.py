"""Which image comes when, as pure functions of (seed, iteration).

The stream of one process is cut into global batches; process ``r`` of ``n`` takes the ``r``-th part of each. So neither
the number of workers nor that of processes changes what an iteration sees, and a resumed run goes on where it stopped.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from torch.utils.data import Sampler

from ..errors import ConfigError

# Keeps the permutations' random numbers apart from those of the samples, which use (seed, iteration, slot).
_ORDER = 0x0D0E


class Draw(NamedTuple):
    """One place in the stream."""

    iteration: int
    slot: int  # place in the global batch
    image: int  # its index in the data set


class BatchOrder:
    """Global batches of image indices.

    Args:
        size: number of images.
        batch: images in a global batch.
        seed: of the order.
        groups: (size,) group of each image, or None. A batch then holds one group as far as possible (Detectron2's
            aspect-ratio grouping, to waste less padding); the last ``size % batch`` images of an epoch's order wait for
            another epoch. Without groups every epoch shows every image once.
        often: (size,) how often each image comes in an epoch, or None for once each. Of images that come 2.3 times all
            come twice, and in each epoch another 30 % of them (of those that have the same number) a third time; at
            least one image of a number above 0 comes.
    """

    def __init__(
        self, size: int, batch: int, seed: int, groups: ArrayLike | None = None, often: ArrayLike | None = None
    ):
        self.often = None if often is None or (np.asarray(often) == 1).all() else np.asarray(often, float)
        self.images, self.size, self.batch, self.seed = size, size, batch, seed
        if self.often is not None:
            self.size = sum(self._copies(kind, len(members)) for kind, members in self._kinds(self.often))
        self.groups = None if groups is None or self.size < 2 * batch else np.asarray(groups)
        self._epochs: dict[int, np.ndarray] = {}

    def _kinds(self, often: np.ndarray) -> list[tuple[float, np.ndarray]]:
        """(how often, the images that come so often) of each number."""
        return [(float(kind), np.flatnonzero(often == kind)) for kind in np.unique(often)]

    @staticmethod
    def _copies(kind: float, count: int) -> int:
        whole = int(kind) * count
        return max(whole + int(round((kind - int(kind)) * count)), int(kind > 0 and count > 0))

    def pick(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """``count`` random images (with replacement), each as probable as it is frequent."""
        if self.often is None:
            return rng.integers(self.images, size=count)
        ends = np.cumsum(self.often)
        return np.minimum(np.searchsorted(ends, rng.random(count) * ends[-1], side="right"), self.images - 1)

    def __call__(self, iteration: int) -> np.ndarray:
        """The images of an iteration: (batch,) indices."""
        if self.groups is not None:
            batches = self.size // self.batch
            return self._order(iteration // batches)[iteration % batches]
        places = np.arange(iteration * self.batch, (iteration + 1) * self.batch)
        return np.array([self._order(p // self.size)[p % self.size] for p in places.tolist()])

    def _order(self, epoch: int) -> np.ndarray:
        if epoch not in self._epochs:
            while len(self._epochs) > 2:  # a batch may touch two epochs
                self._epochs.pop(min(self._epochs))
            rng = np.random.default_rng((self.seed, _ORDER, epoch))
            order = rng.permutation(self.size) if self.often is None else self._repeated(rng, self.often)
            self._epochs[epoch] = order if self.groups is None else self._grouped(order, rng, self.groups)
        return self._epochs[epoch]

    def _repeated(self, rng: np.random.Generator, often: np.ndarray) -> np.ndarray:
        parts: list[np.ndarray] = []
        for kind, members in self._kinds(often):
            whole, copies = int(kind), self._copies(kind, len(members))
            parts += [np.tile(members, whole), rng.permutation(members)[: copies - whole * len(members)]]
        return rng.permutation(np.concatenate(parts))

    def _grouped(self, order: np.ndarray, rng: np.random.Generator, groups: np.ndarray) -> np.ndarray:
        """Batches (size // batch, batch): whole ones of one group, what is left over mixed, in random order."""
        whole, left = [], []
        for group in np.unique(groups):
            members = order[groups[order] == group]
            count = len(members) // self.batch * self.batch
            whole.append(members[:count].reshape(-1, self.batch))
            left.append(members[count:])
        rest = np.concatenate(left)
        count = len(rest) // self.batch * self.batch
        batches = np.concatenate([*whole, rest[:count].reshape(-1, self.batch)])
        return batches[rng.permutation(len(batches))]


def check_shares(batch: int, world_size: int) -> None:
    """Check that each process gets an image of a global batch.

    Raises:
        ConfigError: there are more processes than images.
    """
    if batch < max(world_size, 1):
        raise ConfigError(
            f"SOLVER.IMS_PER_BATCH is {batch}, fewer images than the {world_size} processes that share them; choose at "
            f"least {world_size}"
        )


def share_of(batch: int, rank: int, world_size: int) -> range:
    """The slots of a global batch that a process has; the shares differ by one image at most."""
    return range(rank * batch // world_size, (rank + 1) * batch // world_size)


class TrainSampler(Sampler):
    """Endless batches of :class:`Draw` for one process, for the ``batch_sampler`` of a DataLoader.

    Args:
        order: the global batches.
        start_iter: first iteration.
        rank: of this process.
        world_size: number of processes, at most ``order.batch``.
    """

    def __init__(self, order: BatchOrder, *, start_iter: int = 0, rank: int = 0, world_size: int = 1):
        self.order, self.start_iter = order, start_iter
        self.slots = share_of(order.batch, rank, world_size)

    def __iter__(self) -> Iterator[list[Draw]]:
        iteration = self.start_iter
        while True:
            yield self.draws(iteration)
            iteration += 1

    def draws(self, iteration: int) -> list[Draw]:
        """This process's part of the batch of an iteration."""
        indices = self.order(iteration)
        return [Draw(iteration, slot, int(indices[slot])) for slot in self.slots]
