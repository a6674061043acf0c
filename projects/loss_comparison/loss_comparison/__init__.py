"""The same config under several losses and seeds: trained, evaluated, and compared."""

from typing import Any

from .jobs import work_off
from .report import compare, format_comparison, write_comparison
from .rules import read_rules
from .runs import LOSSES, plan

__all__ = ["LOSSES", "compare_losses", "format_comparison", "read_rules"]


def compare_losses(
    config_file: str, output: str, *, script: str, jobs: int = 1, train: bool = True, **planned: Any
) -> tuple[dict[str, Any], list[str], int]:
    """Train and evaluate what is not done yet, and compare what is done, also after a signal.

    Args:
        config_file: of the losses' runs.
        output: folder for runs and comparison.
        script: path of ``train_net.py``.
        jobs: see :func:`~.jobs.work_off`.
        train: False compares only.
        planned: ``losses``, ``seeds``, ``baselines``, ``baseline_weights``, ``options`` and ``rules`` of
            :func:`~.runs.plan`.

    Returns:
        (comparison, see :func:`~.report.compare`; paths of the files; number of the signal that stopped it, or 0).

    Raises:
        ConfigError: a config is wrong, or another than the one that lies in ``output``.
        DataError, MediaError: results cannot be read, or the comparison not written.
    """
    runs = plan(config_file, output, **planned)
    signum, failures = work_off(runs, script=script, output=output, jobs=jobs) if train else (0, {})
    comparison = compare(runs, failures)
    return comparison, write_comparison(comparison, output), signum
