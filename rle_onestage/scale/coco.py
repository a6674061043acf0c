"""COCO results beside the folder of a job, what they leave open of the joints, and whose a file of that name is."""

import hashlib
import json
import logging
import os
from typing import Any

from ..errors import ConfigError, counted
from ..evaluation.joint_factors import joints_path
from ..evaluation.people_parquet import write_coco_results
from ..evaluation.results import write_json
from ..utils.output_files import kind_of, write_text
from . import storage

logger = logging.getLogger(__name__)

# In the folder: SHA-256 of all that the job wrote beside it, by which it knows its own files.
OWN = "_coco.json"
_BLOCK = 2**20  # bytes that are read at once


def results_path(output: str) -> str:
    """``people.json`` for the folder ``people``.

    Args:
        output: of the job, on this machine.
    """
    path = os.path.normpath(storage.local(output))
    return f"{os.path.abspath(path) if os.path.basename(path) in ('.', '..') else path}.json"


def check_own(output: str) -> None:
    """Raises ConfigError where another than this job wrote a file that the results would replace.

    Args:
        output: of the job, on this machine; it need not be there.
    """
    results, own = results_path(output), _own(output)
    for path in (results, joints_path(results)):
        if kind_of(path) or (os.path.exists(path) and _digest(path) not in own):
            raise ConfigError(
                f"--format coco would replace {path}, which this job did not write; give another --output, or remove "
                "that file"
            )


def write(output: str, joints: dict[str, Any]) -> None:
    """Write COCO results, and what they leave open of the joints, beside the folder of a job.

    Args:
        output: of the job, on this machine.
        joints: see :func:`~.evaluation.joint_factors.joint_factors`.
    """
    results = results_path(output)
    # Known before it has its name: a call that is killed in between leaves nothing that the next one refuses.
    number = write_coco_results(storage.local(output), results, tell=lambda digest: _note(output, digest))
    write_json(joints, joints_path(results))
    _note(output, _digest(joints_path(results)))
    logger.info("%s in %s; names and half-widths of the joints in %s",
                counted(number, "COCO result"), results, joints_path(results))  # fmt: skip


def _own(output: str) -> list[str]:
    """Digests of the files that the job wrote."""
    try:
        with open(storage.joined(output, OWN), encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError):
        return []
    return found if isinstance(found, list) else []


def _note(output: str, digest: str) -> None:
    own = _own(output)
    if digest not in own:
        write_text(storage.joined(output, OWN), json.dumps([*own, digest]))


def _digest(path: str) -> str:
    """SHA-256 of a file; empty where it cannot be read."""
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    except OSError:
        return ""
    return digest.hexdigest()
