"""What the flow costs beside the usual layout of its networks, and what gradients the densities give."""

import argparse
import math
import platform
from collections.abc import Callable
from typing import Any

import torch
from tabulate import tabulate
from torch import nn

from rle_onestage.engine.benchmark import alternate
from rle_onestage.engine.device import settle_device
from rle_onestage.errors import ConfigError
from rle_onestage.evaluation.results import write_json
from rle_onestage.modeling.codec import ScaleCodec
from rle_onestage.modeling.density import build_density
from rle_onestage.modeling.density.densities import Density
from rle_onestage.modeling.density.flow import RealNVP

from .flags import whole_numbers

DENSITIES = ("l1", "l2", "laplace", "gaussian", "flow", "rle", "rle_released")
RESIDUALS = (0.1, 1.0, 10.0, 100.0, 1000.0, 10000.0)


class MaskedFlow(nn.Module):
    """RealNVP in the layout of the RLE paper (Li et al., ICCV 2021, section 4), for comparison only.

    Every coupling has two networks 2 -> hidden -> hidden -> 2, one for the log-scales and one for the shifts, that see
    both coordinates under a mask and compute both, of which the mask keeps one. The base's log-density is its formula
    and not a distribution object, which would be slower.
    """

    masks: torch.Tensor

    def __init__(self, *, couplings: int = 6, hidden: int = 64):
        super().__init__()

        def network(*last: nn.Module) -> nn.Sequential:
            return nn.Sequential(
                nn.Linear(2, hidden), nn.LeakyReLU(), nn.Linear(hidden, hidden), nn.LeakyReLU(), nn.Linear(hidden, 2),
                *last,
            )  # fmt: skip

        self.scales = nn.ModuleList(network(nn.Tanh()) for _ in range(couplings))
        self.shifts = nn.ModuleList(network() for _ in range(couplings))
        self.register_buffer("masks", torch.tensor([[i % 2, 1 - i % 2] for i in range(couplings)]).float())

    def log_prob(self, e: torch.Tensor) -> torch.Tensor:
        """Log-density (n,) of ``e`` (n, 2)."""
        z, log_det = e, e.new_zeros(len(e))
        for mask, scale, shift in zip(self.masks, self.scales, self.shifts):
            kept = z * mask
            log_scale = scale(kept) * (1 - mask)
            z = (1 - mask) * (z - shift(kept)) * torch.exp(-log_scale) + kept
            log_det = log_det - log_scale.sum(1)
        return log_det - 0.5 * z.square().sum(1) - math.log(2 * math.pi)


def run(args: argparse.Namespace) -> dict[str, Any] | None:
    """Measure, print, and write.

    Args:
        args: namespace with the flags of ``projects/speed/benchmark_flow.py``.

    Returns:
        The report, a dict of plain numbers.

    Raises:
        ConfigError: an argument is wrong. MediaError: the output cannot be written.
    """
    if args.gradients:
        report = gradients()
        print(format_gradients(report))
    else:
        if args.rounds < 1:
            raise ConfigError(f"--rounds is {args.rounds}; it must be at least 1")
        settle_device(args.device, key="--device", fall_back=False)
        report = speed(
            whole_numbers(args.points, "--points"),
            whole_numbers(args.threads, "--threads"),
            rounds=args.rounds,
            device=args.device,
        )
        print(format_speed(report))
    if args.output:
        write_json(report, args.output)
    return report


def speed(points: list[int], threads: list[int], *, rounds: int, device: str = "cpu") -> dict:
    """Milliseconds of the log-density of a batch, forward and backward, of our flow and of :class:`MaskedFlow`.

    Args:
        points: numbers of residuals.
        threads: numbers of torch's threads.
        rounds: of which the medians are taken; the two layouts take turns in each.

    Returns:
        dict with "rows": dicts of threads, points, ours_ms, masked_ms and their ratio.
    """
    torch.manual_seed(0)
    ours, masked = RealNVP().to(device), MaskedFlow().to(device)
    before, rows = torch.get_num_threads(), []
    try:
        for count in threads:
            torch.set_num_threads(count)
            for number in points:
                e = torch.randn(number, 2, device=device)
                cases = {"ours": _step(ours, e), "masked": _step(masked, e)}
                times = alternate(cases, rounds, device=device)
                rows.append({
                    "threads": count, "points": number, "ours_ms": 1e3 * times["ours"],
                    "masked_ms": 1e3 * times["masked"], "ratio": times["masked"] / times["ours"],
                })  # fmt: skip
    finally:
        torch.set_num_threads(before)
    machine = platform.processor() or platform.machine()
    return {"device": device, "torch": torch.__version__, "machine": machine, "rounds": rounds, "rows": rows}


def _step(flow: "RealNVP | MaskedFlow", e: torch.Tensor) -> Callable:
    def step() -> None:
        flow.zero_grad(set_to_none=True)
        flow.log_prob(e.clone().requires_grad_()).mean().backward()

    return step


def format_speed(report: dict) -> str:
    """A table for people."""
    rows = [(row["threads"], f"{row['points']:,}", f"{row['ours_ms']:.1f}", f"{row['masked_ms']:.1f}",
             f"{row['ratio']:.2f}") for row in report["rows"]]  # fmt: skip
    headers = ("threads", "points", "this flow, ms", "masked layout, ms", "times faster")
    return tabulate(rows, headers, tablefmt="simple", disable_numparse=True)


def gradients(*, floor: float = 0.02) -> dict[str, Any]:
    """Gradients of a joint's likelihood at residuals of any size.

    Both coordinates have the same residual. The flows are at their start, where they are a standard normal; "rle,
    random flow" has weights far from it.

    Args:
        floor: of sigma, in strides.

    Returns:
        dict with "residuals", and for sigma "at one stride" and "1 % above its floor" the rows by density: dicts of
        "mu" (norm of the gradient by the residual, nats per sigma) and "raw" (by the network's numbers for sigma; 0
        where sigma is fixed), lists in order of the residuals; "same_under_autocast": whether a forward pass under
        bfloat16 and float16 autocast gives the same gradients to the last bit.
    """
    torch.manual_seed(0)
    densities = {name: _density(name) for name in DENSITIES}
    densities["rle, random flow"] = _random_flow()
    report: dict[str, Any] = {"residuals": list(RESIDUALS)}
    same = True
    for title, sigma in (("at one stride", 1.0), ("1 % above its floor", 1.01 * floor)):
        rows = report[title] = {}
        for name, density in densities.items():
            if not density.learns_scale and sigma != 1:
                continue  # plain regression has the constant sigma that it started with
            codec = ScaleCodec(form="softplus", floor=floor, init=1.0, learned=density.learns_scale)
            rows[name] = _gradient_row(density, codec, sigma)
            mixed = [_gradient_row(density, codec, sigma, dtype=dtype) for dtype in (torch.bfloat16, torch.float16)]
            same = same and all(row == rows[name] for row in mixed)
    return {**report, "same_under_autocast": same}


def _density(name: str) -> "Density":
    density = build_density(name)
    assert isinstance(density, Density)  # for the type checker: without groups it is one of all joints
    return density


def _random_flow() -> "Density":
    density = _density("rle")
    with torch.no_grad():
        for parameter in density.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    density.refresh()
    return density


def _gradient_row(
    density: "Density", codec: "ScaleCodec", sigma: float, *, dtype: torch.dtype | None = None
) -> dict[str, list[float]]:
    unit = torch.ones(len(RESIDUALS))
    spread = torch.full((len(RESIDUALS), 1, 2), sigma)
    raw = codec.encode(spread, unit).requires_grad_()
    mu = torch.zeros_like(spread, requires_grad=True)
    label = sigma * torch.tensor(RESIDUALS)[:, None, None]
    with torch.autocast("cpu", dtype=dtype or torch.bfloat16, enabled=dtype is not None):
        decoded = codec.decode(raw, unit)
        loss = density.nll((label - mu) / decoded, decoded).sum()
    # Outside autocast, as the training does it.
    by_mu, by_raw = torch.autograd.grad(loss, (mu, raw), materialize_grads=True)
    return {"mu": (sigma * by_mu).norm(dim=-1)[:, 0].tolist(), "raw": by_raw.norm(dim=-1)[:, 0].tolist()}


def format_gradients(report: dict[str, Any]) -> str:
    """Two tables for people."""
    headers = ("density", *(f"{residual:g}" for residual in report["residuals"]))
    parts = ["Norm of the gradient of a joint's likelihood by mu, in nats per sigma, and by the raw numbers of sigma;"
             " columns: residual of each coordinate in sigma"]  # fmt: skip
    for title in ("at one stride", "1 % above its floor"):
        rows = [(name, *(f"{mu:.3g} | {raw:.3g}" for mu, raw in zip(row["mu"], row["raw"])))
                for name, row in report[title].items()]  # fmt: skip
        parts += ["", f"sigma {title}: by mu | by raw sigma", tabulate(rows, headers, tablefmt="simple")]
    same = "the same to the last bit" if report["same_under_autocast"] else "NOT the same"
    parts += ["", f"Under bfloat16 and float16 autocast: {same}."]
    return "\n".join(parts)
