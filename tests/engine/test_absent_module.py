"""A config whose IMPORTS names a module that is not on this machine."""

import pytest

from rle_onestage.engine import load_config
from rle_onestage.errors import ConfigError

ABSENT = """
IMPORTS: [absent_parts]
INPUT: {AUGMENTATIONS: [[Fog, {strength: 0.3}]], MAPPER: OwnMapper, FORMAT: RGB}
MODEL: {RLE_ONESTAGE: {ASSIGN: {NAME: OwnAssigner}}}
SOLVER: {HOOKS: [[Stopwatch, {period: 100}]]}
TEST: {EVALUATORS: [PoseEvaluator, PeopleCount]}
"""


def test_inference_goes_on_without_the_module_of_a_training(tmp_path, caplog):
    path = tmp_path / "a.yaml"
    path.write_text(ABSENT)
    cfg = load_config(str(path), task="inference")
    assert "IMPORTS names the module absent_parts, which cannot be found" in caplog.text
    assert not cfg.IMPORTS and not cfg.INPUT.AUGMENTATIONS and not cfg.SOLVER.HOOKS
    assert cfg.INPUT.FORMAT == "RGB"  # all else is the file's
    with pytest.raises(ConfigError, match="^IMPORTS names the module absent_parts"):
        load_config(str(path))
    with pytest.raises(ConfigError, match="^IMPORTS names the module absent_too"):  # asked for, not only recorded
        load_config(str(path), imports=["absent_too"], task="inference")


def test_parts_that_an_evaluation_uses_are_still_needed(tmp_path):
    path = tmp_path / "a.yaml"
    without_mapper = ABSENT.replace("MAPPER: OwnMapper, ", "")
    for text, said in ((ABSENT, "INPUT.MAPPER is 'OwnMapper'"), (without_mapper, "TEST.EVALUATORS.*PeopleCount")):
        path.write_text(text)
        with pytest.raises(ConfigError, match=f"{said}.*a module of IMPORTS"):
            load_config(str(path), task="evaluation")
    path.write_text(without_mapper.replace(", PeopleCount", ""))
    assert load_config(str(path), task="evaluation").TEST.EVALUATORS == ["PoseEvaluator"]
