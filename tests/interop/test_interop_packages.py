"""Packages that are not there: one sentence with the command, which ``except ImportError`` catches too."""

import sys

import pytest
from interop_people import random_people

from rle_onestage.errors import MissingPackageError, PoseError
from rle_onestage.interop import fiftyone_skeleton, to_fiftyone, to_supervision, to_supervision_detections
from rle_onestage.interop.packages import optional_package
from rle_onestage.structures.skeleton import COCO

SUPERVISION = r"^supervision is not installed; run pip install 'rle-onestage\[supervision\]'$"
FIFTYONE = "^fiftyone is not installed; run pip install fiftyone, in an environment without opencv-python$"


@pytest.mark.parametrize(
    "module, call, argument, sentence",
    [
        ("supervision", to_supervision, random_people(1, 2), SUPERVISION),
        ("supervision", to_supervision_detections, random_people(1, 2), SUPERVISION),
        ("fiftyone", to_fiftyone, random_people(1, 2), FIFTYONE),
        ("fiftyone", fiftyone_skeleton, COCO, FIFTYONE),
    ],
)
def test_a_missing_package_is_one_sentence(module, call, argument, sentence, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [])
    with pytest.raises(MissingPackageError, match=sentence) as raised:
        call(argument)
    assert isinstance(raised.value, PoseError) and isinstance(raised.value, ImportError)
    assert raised.value.__suppress_context__  # no second traceback above the sentence


def test_what_a_package_lacks_is_named(tmp_path, monkeypatch):
    (tmp_path / "halfway.py").write_text("import not_there_at_all\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingPackageError, match="^halfway needs not_there_at_all, which is not installed; run it$"):
        optional_package("halfway", "it")


def test_a_version_without_a_module_and_an_error_without_a_name_are_said(tmp_path, monkeypatch):
    (tmp_path / "nameless.py").write_text("raise ModuleNotFoundError('install what I need')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingPackageError, match="^this version of json has no json.newer; upgrade it .it.$"):
        optional_package("json.newer", "it")
    with pytest.raises(MissingPackageError, match="^nameless cannot be imported .install what I need.; run it$"):
        optional_package("nameless", "it")
