"""The study as Markdown."""

from typing import Any

from tabulate import tabulate

_HEAD = (
    "model", "format", "images", "people", "differ", "joints", "within 0.05 px, %", "beyond 0.5 px", "largest, px",
    "sigmas within 0.1 %, %", "largest, %", "scores, largest",
)  # fmt: skip


def parity_table(models: dict[str, dict[str, Any]]) -> str:
    """Of each model and format.

    Args:
        models: name -> format -> :func:`~.comparison.summary`.
    """
    rows = []
    for model, formats in models.items():
        for name, own in formats.items():
            count, beyond, largest = own["compared"], own["beyond"], own["largest"]
            shares = [_share(beyond[part], count[part]) for part in ("joints", "sigmas")]
            rows.append(
                (
                    model, name, own["images"], own["people"], own["people_differing"],
                    f"{count['joints']:,}", shares[0],
                    own["far"]["joints"], f"{largest['joints']:.2g}", shares[1], f"{100 * largest['sigmas']:.2g}",
                    f"{largest['scores']:.1g}",
                )
            )  # fmt: skip
    return _table(_HEAD, rows)


def precision_table(models: dict[str, dict[str, Any]]) -> str:
    """AP of each model.

    Args:
        models: name -> ``dataset``, and ``AP`` and ``AP50`` by the name of PyTorch or of a format.
    """
    rows = []
    for model, own in models.items():
        base = own["metrics"]["PyTorch"]["AP"]
        for name, metrics in own["metrics"].items():
            rows.append(
                (
                    model,
                    own["dataset"],
                    name,
                    *(f"{metrics[key]:.3f}" for key in ("AP", "AP50")),
                    f"{metrics['AP'] - base:+.3f}",
                )
            )
    return _table(("model", "data set", "format", "AP", "AP50", "beside PyTorch"), rows)


def _share(beyond: int, count: int) -> str:
    """Within a limit, in percent, never rounded up to all."""
    return "-" if not count else "100" if not beyond else f"{min(100 * (1 - beyond / count), 99.999):.3f}"


def _table(head: tuple[str, ...], rows: list[tuple]) -> str:
    return tabulate(rows, head, tablefmt="github", disable_numparse=True)
