"""Config keys of earlier versions."""

import pytest

from rle_onestage.engine.config import renamed
from rle_onestage.engine.config.schema import SCHEMA, known_defaults, leaves
from rle_onestage.engine.setup import load_config
from rle_onestage.errors import ConfigError

OLD = """
MODEL:
  RLE_ONESTAGE:
    SIGMA: {INIT: 3.5, FORM: box}
    REFINE: {SIGMA_INIT: 0.75}
    LOSS: {PERSON: 0.25}
    TEST: {PERSON_POWER: 2.0}
"""
PREFIX = "MODEL.RLE_ONESTAGE."


@pytest.fixture(autouse=True)
def untold(monkeypatch):
    monkeypatch.setattr(renamed, "_told", set())


def renamed_lines(caplog):
    return [record.getMessage() for record in caplog.records if "the config key" in record.getMessage()]


def test_every_new_name_is_a_key_and_no_old_one_is():
    keys = [name for name, _ in leaves(known_defaults())]
    for old, new in renamed.RENAMED.items():
        assert any(key == new or key.startswith(f"{new}.") for key in keys)
        assert not any(key == old or key.startswith(f"{old}.") for key in [*keys, *SCHEMA])


def test_a_file_with_earlier_keys_is_read(tmp_path, caplog):
    path = tmp_path / "old.yaml"
    path.write_text(OLD)
    for _ in range(2):
        model = load_config(str(path)).MODEL.RLE_ONESTAGE
    assert (model.SCALE.INIT, model.SCALE.FORM, model.REFINE.SCALE_INIT) == (3.5, "box", 0.75)
    assert (model.LOSS.SCORE, model.TEST.SCORE_POWER) == (0.25, 2.0)
    lines = renamed_lines(caplog)
    assert len(lines) == len(renamed.RENAMED) and all(str(path) in line for line in lines)  # one each
    assert any(f"{PREFIX}SIGMA is {PREFIX}SCALE now" in line for line in lines)


def test_a_config_of_today_may_stand_on_one_of_earlier(tmp_path):
    (tmp_path / "base.yaml").write_text(OLD)
    path = tmp_path / "new.yaml"
    path.write_text("_BASE_: base.yaml\nMODEL:\n  RLE_ONESTAGE:\n    SCALE: {INIT: 1.5}\n")
    scale = load_config(str(path)).MODEL.RLE_ONESTAGE.SCALE
    assert (scale.INIT, scale.FORM) == (1.5, "box")


def test_earlier_keys_on_the_command_line(caplog):
    cfg = load_config("", [f"{PREFIX}SIGMA.FLOOR", "0.5", f"{PREFIX}LOSS.PERSON", "3"])
    assert cfg.MODEL.RLE_ONESTAGE.SCALE.FLOOR == 0.5 and cfg.MODEL.RLE_ONESTAGE.LOSS.SCORE == 3.0
    assert f"options given: the config key {PREFIX}SIGMA.FLOOR is {PREFIX}SCALE.FLOOR now" in renamed_lines(caplog)


def test_a_wrong_value_under_an_earlier_name_is_named_with_its_line(tmp_path):
    path = tmp_path / "old.yaml"
    path.write_text("MODEL:\n  RLE_ONESTAGE:\n    SIGMA:\n      FORM: round\n")
    with pytest.raises(ConfigError, match="line 4: MODEL.RLE_ONESTAGE.SCALE.FORM is 'round'"):
        load_config(str(path))


def test_both_names_are_one_sentence(tmp_path):
    path = tmp_path / "both.yaml"
    path.write_text("MODEL:\n  RLE_ONESTAGE:\n    LOSS: {PERSON: 1.0, SCORE: 2.0}\n")
    with pytest.raises(ConfigError, match="both.yaml: .*LOSS.PERSON is the earlier name of .*LOSS.SCORE, and both"):
        load_config(str(path))
    with pytest.raises(ConfigError, match="both are given; keep MODEL.RLE_ONESTAGE.TEST.SCORE_POWER alone"):
        load_config("", [f"{PREFIX}TEST.SCORE_POWER", "1.0", f"{PREFIX}TEST.PERSON_POWER", "2.0"])


def test_odd_files_with_earlier_keys(tmp_path):
    path = tmp_path / "odd.yaml"
    path.write_text("MODEL:\n  RLE_ONESTAGE: {SIGMA: 3}\n")
    with pytest.raises(ConfigError, match="MODEL.RLE_ONESTAGE.SCALE is a group"):
        load_config(str(path))
    path.write_text("MODEL: 3\n")
    with pytest.raises(ConfigError, match="MODEL is a group"):
        load_config(str(path))
