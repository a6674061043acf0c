"""The flow's benchmark compares the same function in two layouts; its table of gradients is that of the formulas."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from speed.flow_benchmark import MaskedFlow, run

from rle_onestage.errors import PoseError
from rle_onestage.modeling.density.flow import RealNVP


def arguments(**changed):
    flags = {"points": "64,32", "threads": "1", "rounds": 1, "device": "cpu", "gradients": False, "output": ""}
    return SimpleNamespace(**{**flags, **changed})


def test_both_layouts_can_be_the_same_function():
    """Our weights, written into the masked networks: one output each, no weight on the coordinate that is changed."""
    torch.manual_seed(0)
    ours, masked = RealNVP(hidden=8), MaskedFlow(hidden=8)
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
        for coupling, *networks in zip(ours.couplings, masked.scales, masked.shifts):
            kept = 1 - coupling.active
            for output, network in enumerate(networks):
                network[0].weight[:, coupling.active], network[0].weight[:, kept] = 0, coupling.layers[0].weight[:, 0]
                network[2].weight.copy_(coupling.layers[2].weight)
                network[4].weight.copy_(coupling.layers[4].weight[output].expand(2, -1))
                network[4].bias.copy_(coupling.layers[4].bias[output].expand(2))
                for layer in (0, 2):
                    network[layer].bias.copy_(coupling.layers[layer].bias)
    e = torch.randn(200, 2)
    assert torch.allclose(masked.log_prob(e), ours.log_prob(e), atol=1e-4)
    assert ours.log_prob(e).std() > 0.1


def test_speed_report(tmp_path, capsys):
    threads = torch.get_num_threads()
    report = run(arguments(output=str(tmp_path / "new" / "flow.json")))
    assert [row["points"] for row in report["rows"]] == [64, 32] and torch.get_num_threads() == threads
    for row in report["rows"]:
        assert row["ratio"] == pytest.approx(row["masked_ms"] / row["ours_ms"])
    assert json.loads((tmp_path / "new" / "flow.json").read_text())["rows"] == report["rows"]
    assert "times faster" in capsys.readouterr().out


def test_gradient_report(capsys):
    report = run(arguments(gradients=True))
    assert report["same_under_autocast"] is True
    assert report["at one stride"]["laplace"]["mu"] == pytest.approx([2.0] * 6, rel=1e-4)
    assert report["at one stride"]["gaussian"]["mu"][-1] == pytest.approx(2**0.5 * 1e4, rel=1e-4)
    assert report["at one stride"]["l1"]["raw"] == [0.0] * 6 and "l1" not in report["1 % above its floor"]
    assert "rle, random flow" in capsys.readouterr().out


@pytest.mark.parametrize("changed, word", [({"points": "0"}, "--points"), ({"threads": "two"}, "--threads"),
                                           ({"rounds": 0}, "--rounds"), ({"device": "cuda"}, "--device"),
                                           ({"output": "/proc/no/x"}, "/proc/no/x")])  # fmt: skip
def test_bad_arguments_are_named(changed, word):
    if changed == {"device": "cuda"} and torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(PoseError) as caught:
        run(arguments(**changed))
    assert word in str(caught.value)


def test_the_tool_ends_with_a_sentence(monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[1]))
    import benchmark_flow as tool

    monkeypatch.setattr(sys, "argv", ["benchmark_flow.py", "--points", "none"])
    with pytest.raises(SystemExit) as caught:
        tool.main()
    assert caught.value.code == 2 and "--points" in capsys.readouterr().err
