"""The steps of the benchmark, and their tables."""

import argparse
import os
import shutil
from collections.abc import Callable, Sequence
from typing import Any

from rle_onestage.data.coco.json_files import read_json
from rle_onestage.errors import ConfigError
from rle_onestage.evaluation import write_json
from rle_onestage.evaluation.people_parquet import part_files
from rle_onestage.scale import Summary, read_summary
from rle_onestage.utils.tables import table_text

from .processes import Sample, call
from .results import compare, cpu_of, memory_of, spread
from .shards import make_shards

STEPS = ("rounds", "whole", "killed")
_WHOLE, _KILLED = "whole", "killed"


class _Benchmark:
    """The calls of a benchmark, and what they came to.

    Args:
        args: of the command line.
        shards: paths.
    """

    def __init__(self, args: argparse.Namespace, shards: Sequence[str]) -> None:
        self.args, self.shards = args, shards
        self.found: dict[str, Any] = {"options": {key: value for key, value in vars(args).items() if key != "output"}}

    def rounds(self) -> None:
        """One process and the actors in turn."""
        args, rates, work = self.args, [], []
        for number in range(args.rounds):
            order = (False, True) if number % 2 == 0 else (True, False)
            both = {on_ray: self._timed(number, on_ray) for on_ray in order}
            rates.append([both[on_ray][0].images_per_second for on_ray in (False, True)])
            work.append([1000 * both[on_ray][1] / both[on_ray][0].images for on_ray in (False, True)])
            one, several = rates[-1]
            print(f"round {number + 1}: one process {one:.2f} images/s, {args.actors} actors {several:.2f}", flush=True)
        columns = {
            "one process, images/s": [one for one, _ in rates],
            f"{args.actors} actors, images/s": [all_ for _, all_ in rates],
            f"ratio to {args.actors} times one process": [all_ / (args.actors * one) for one, all_ in rates],
            "one process, ms of CPU an image": [one for one, _ in work],
            f"{args.actors} actors, ms of CPU an image": [all_ for _, all_ in work],
        }
        self.found["rounds"] = columns
        rows = [[name, *spread(values)] for name, values in columns.items()]
        print(table_text(rows, (f"{args.rounds} rounds in turn", "min", "median", "max")), flush=True)

    def _timed(self, number: int, on_ray: bool) -> tuple[Summary, float]:
        """The summary of a call over the shards of a round, and the processor seconds of its work."""
        name = f"round-{number + 1}-{'actors' if on_ray else 'one'}"
        output, samples = self._called(name, self.shards[: self.args.round_shards], on_ray)
        summary = read_summary(output)
        return summary, cpu_of(samples, summary.seconds - summary.start_seconds)

    def whole(self) -> None:
        """All shards, with the memory over time."""
        output, samples = self._called(_WHOLE, self.shards, True)
        summary, memory = read_summary(output), memory_of(samples)
        self.found["whole"] = {
            "summary": summary._asdict(), "memory": [each._asdict() for each in memory],
            "samples": [each for each in samples if each.kind != "engine"],
        }  # fmt: skip
        print(summary, flush=True)
        rows = [[each.kind, *map(round, each[1:])] for each in memory]
        headers = ("process", "s", "MB, 2nd quarter", "MB, last quarter", "MB, most", "MB more an hour")
        print(table_text(rows, headers), flush=True)

    def killed(self) -> None:
        """All shards once more, with a driver that is killed half-way."""
        if not os.path.exists(os.path.join(self._place(_WHOLE), "_summary.json")):
            raise ConfigError(f"{self._place(_WHOLE)} has no results to compare with; let the step {_WHOLE} end first")
        output = self._place(_KILLED)
        half = max(1, len(self.shards) // 2)
        self._called(_KILLED, self.shards, True, until=lambda: _number_of_parts(output) >= half)
        kept = _number_of_parts(output)
        self._called(_KILLED, self.shards, True, anew=False)
        computed = read_summary(output).computed
        same = compare(self._place(_WHOLE), output)
        self.found["killed"] = {"files_kept": kept, "computed_after": computed, **same}
        print(
            f"killed with {kept} of {len(self.shards)} files written; {computed} images computed after; of "
            f"{same['rows']} rows {same['different']} differ from the undisturbed call's, {same['twice']} are there "
            f"twice, {len(same['unfinished'])} files are unfinished", flush=True,
        )  # fmt: skip

    def _place(self, name: str) -> str:
        return os.path.join(self.args.output, name)

    def _called(
        self, name: str, shards: Sequence[str], on_ray: bool, anew: bool = True, until: Callable[[], bool] | None = None
    ) -> tuple[str, list[Sample]]:
        """Predict some shards; gives the folder of the results and the samples of the processes."""
        args, output = self.args, self._place(name)
        if anew:
            shutil.rmtree(output, ignore_errors=True)
        words = ["--input", *shards, "--output", output, "--model", args.model, "--threads", str(args.threads)]
        words += ["--ray", "local", "--actors", str(args.actors)] if on_ray else []
        return output, call([*words, *args.opts], self._place(f"{name}.log"), until=until)


def _number_of_parts(folder: str) -> int:
    return len(part_files(folder)) if os.path.isdir(folder) else 0


def run(args: argparse.Namespace) -> None:
    """Make the shards, do the steps, print and write what they came to."""
    os.environ.setdefault("RAY_worker_niceness", "0")  # actors have the say that the one process has
    folder = os.path.join(args.output, "shards")
    shards = make_shards(args.photographs, folder, args.number, args.shards, args.side)
    size = sum(map(os.path.getsize, shards)) / args.number
    print(f"{args.number} images of {size / 1e3:.1f} kB in {len(shards)} shards", flush=True)
    benchmark, path = _Benchmark(args, shards), os.path.join(args.output, "scale.json")
    if os.path.exists(path):  # of other steps
        benchmark.found = {**read_json(path), **benchmark.found}
    for step in args.steps:
        getattr(benchmark, step)()
        write_json(benchmark.found, path)
