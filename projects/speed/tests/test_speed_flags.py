"""Numbers that the benchmarks cannot use are one sentence."""

import pytest
from speed.flags import whole_numbers

from rle_onestage.errors import ConfigError


@pytest.mark.parametrize(("text", "words"), [("0", "below 1"), (f"1,{10**20}", "too large"), ("x", "not a list")])
def test_lists_of_numbers(text, words):
    with pytest.raises(ConfigError, match=words):
        whole_numbers(text, "--threads")
