"""Every script of the projects and data sets runs from the repository's root as it is: nothing need be on the path."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = sorted(
    str(path.relative_to(ROOT))
    for folder in ("projects/*", "datasets")
    for path in ROOT.glob(f"{folder}/*.py")
    if "__main__" in path.read_text(encoding="utf-8")
)
# Imports once what the scripts need of the package, then runs each script in a copy of the process, as
# `python SCRIPT --help` would.
RUNNER = """
import os, runpy, sys
import detectron2.engine, scipy.stats, rle_onestage.calibration, rle_onestage.demo, rle_onestage.engine.trainer
for script in sys.argv[1:]:
    sys.stdout.flush()
    child = os.fork()
    if not child:
        sys.path[0] = os.path.dirname(os.path.abspath(script))
        sys.argv = [script, "--help"]
        print("@@@", script, flush=True)
        try:
            runpy.run_path(script, run_name="__main__")
        except SystemExit as end:
            print("\\n= ended with", end.code, flush=True)
        finally:
            sys.stdout.flush()
            os._exit(0)
    os.waitpid(child, 0)
"""


def test_every_script_shows_its_help():
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg"}  # the package alone, as installed
    command = [sys.executable, "-c", RUNNER, *SCRIPTS]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    answers = dict(part.split("\n", 1) for part in done.stdout.split("@@@ ") if "\n" in part)
    assert len(SCRIPTS) > 15
    for script in SCRIPTS:
        answer = answers.get(script, "")
        assert "= ended with 0" in answer and "usage: " in answer, f"{script}: {answer[-300:]} {done.stderr[-2000:]}"
