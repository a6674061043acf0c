"""Numbers that the benchmarks cannot use are one sentence."""

import pytest
from speed import benchmark_report, flow_benchmark

from rle_onestage.errors import ConfigError


@pytest.mark.parametrize("room", [benchmark_report, flow_benchmark])
@pytest.mark.parametrize(("text", "words"), [("0", "below 1"), (f"1,{10**20}", "too large"), ("x", "not a list")])
def test_lists_of_numbers(room, text, words):
    with pytest.raises(ConfigError, match=words):
        room._numbers(text, "--threads")
