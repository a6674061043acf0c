"""The same config under several losses and seeds: trained, evaluated, and compared."""

from .jobs import work_off
from .report import compare, format_comparison, write_comparison
from .runs import LOSSES, plan

__all__ = ["LOSSES", "compare_losses", "format_comparison"]


def compare_losses(config_file, output, *, script, losses, seeds, baselines=(), options=(), jobs=1, train=True):
    """Train and evaluate what is not done yet, and compare what is done, also after a signal.

    Args:
        config_file: of the losses' runs. output: folder for runs and comparison.
        script: path of ``train_net.py``.
        losses, seeds, baselines, options: see :func:`~.runs.plan`.
        jobs: see :func:`~.jobs.work_off`. train: False compares only.

    Returns:
        (comparison, see :func:`~.report.compare`; paths of the files; number of the signal that stopped it, or 0).

    Raises:
        ConfigError: a config is wrong, or another than the one that lies in ``output``.
        DataError, MediaError: results cannot be read, or the comparison not written.
    """
    runs = plan(config_file, output, losses=losses, seeds=seeds, baselines=baselines, options=options)
    signum, failures = work_off(runs, script=script, output=output, jobs=jobs) if train else (0, {})
    comparison = compare(runs, failures)
    return comparison, write_comparison(comparison, output), signum
