"""The table of several configs."""

import pytest
from modeling_toys import TINY
from speed.family import format_family, measure

from rle_onestage.engine.setup import load_config
from rle_onestage.errors import ConfigError


def write(folder, name, *options):
    path = folder / f"{name}.yaml"
    # Few candidates: at this size the memory of inference would be that of a hundred people.
    path.write_text(load_config("", [*TINY, "MODEL.RLE_ONESTAGE.TEST.TOPK", 10, *options]).dump())
    return str(path)


def test_table_of_two_sizes(tmp_path):
    small = write(tmp_path, "small")
    large = write(tmp_path, "large", "MODEL.RLE_ONESTAGE.HEAD.CHANNELS", 64, "MODEL.RLE_ONESTAGE.HEAD.NUM_CONVS", 3)
    report = measure([small, large], size=64, rounds=1, training_images=2)
    less, more = report["small"], report["large"]
    for key in ("parameters_M", "gflops", "training_mb"):
        assert 0 < less[key] < more[key], key
    for row in report.values():
        assert row["ms"] > 0 and row["training_mb"] > row["inference_mb"] > 0
    lines = format_family(report).splitlines()
    assert len(lines) == 4 and "mobilenetv4_conv_small_050" in lines[2] and "training, MB" in lines[0]
    assert "training_mb" not in measure([small], size=64, rounds=1)["small"]


def test_same_names_are_refused(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    paths = [write(tmp_path / folder, "n") for folder in ("a", "b")]
    with pytest.raises(ConfigError, match="every file name must be different"):
        measure(paths, size=64, rounds=1)
